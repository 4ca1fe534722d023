# Two commands on a fresh clone: `make demo` and `make test`. Only Python >= 3.11, pip and make are assumed.
#
#   PYTHON=python3.13     another interpreter          VENV=.venv-3.13   another environment
#   PYTEST_ARGS="-x -k relay"                          arguments for every pytest run of `make test`
#   TEST_DATABASES="sqlite mysql"                      only these (default: SQLite and each server with a URL)
#   TEST_PROCESSES=1                                   pytest processes on SQLite (default: 2)
#   EVENTBRIDGE_TEST_DEPTH=full                        all examples of the property tests (default: a quarter)

# The first of these that runs and is new enough; a name on PATH may be a shim that runs nothing.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
VENV ?= .venv
PYTEST_ARGS ?=

# An environment made of the packages a user gets, and the same with what the work on this project needs.
# Drivers are installed where their server is given, because some of them are compiled.
RUN := $(VENV)/.run-$(shell cksum < pyproject.toml | cut -d' ' -f1)
drivers = $(if $(TEST_POSTGRESQL_URL),postgresql) $(if $(TEST_MYSQL_URL),mysql) $(if $(TEST_REDIS_URL),redis)
empty :=
space := $(empty) $(empty)
comma := ,
EXTRAS := $(subst $(space),$(comma),$(strip schema $(drivers)))
DEV := $(VENV)/.dev-$(notdir $(RUN))-$(subst $(comma),-,$(EXTRAS))
BROWSER := $(VENV)/.browser-$(notdir $(DEV))
THIRD_PARTY := $(VENV)/.third-party-$(notdir $(DEV))

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
CODE := $(wildcard genesys_eventbridge tests benchmarks)

.PHONY: help install demo serve test third-party gateways browser screenshots coverage chaos mutants audit bench lint format clean

help:
	@echo 'make demo      orders in the example shop travel to a platform on this machine'
	@echo 'make serve     the same, and the site stays up for a look at the admin'
	@echo 'make test      the whole suite on SQLite, and on each server whose TEST_*_URL is set;'
	@echo '               EVENTBRIDGE_TEST_DEPTH=full for all examples of the property tests,'
	@echo '               EVENTBRIDGE_SIMULATION=full for outages of twelve simulated hours'
	@echo 'make install   only the environment that the tests need'
	@echo 'make third-party  events from models of other libraries: trees, histories, soft deletes'
	@echo 'make gateways  events through real nginx, haproxy and squid (apt-get install nginx haproxy squid)'
	@echo 'make browser   the admin pages in a real browser; needs Chromium (apt-get install chromium)'
	@echo 'make screenshots  docs/images anew, with the same browser'
	@echo 'make coverage  the suite on SQLite with branch coverage'
	@echo 'make chaos     a long storm of killed processes on each database: SECONDS=900 SEED=1'
	@echo 'make mutants   remove each guard and see a test fail'
	@echo 'make audit     known weaknesses of what a user installs; asks PyPI'
	@echo 'make bench     what docs/benchmarks.md shows, on this machine: an hour, or BENCH_ARGS=--quick'
	@echo 'make lint      ruff and mypy'
	@echo 'make format    let ruff rewrite what it can'
	@echo 'make clean     remove environments, builds and caches'

demo: $(RUN)
	$(VENV)/bin/python example_project/manage.py demo

serve: $(RUN)
	$(VENV)/bin/python example_project/manage.py demo --serve

install: $(DEV)

test: $(DEV)
	VENV='$(VENV)' sh tests/run.sh $(PYTEST_ARGS)

third-party: $(THIRD_PARTY)
	$(VENV)/bin/python -m pytest --ds=tests.third_party.settings $(or $(PYTEST_ARGS),tests/third_party)

# A gateway that is not installed is skipped, and pytest's summary says so.
gateways: $(DEV)
	$(VENV)/bin/python -m pytest $(or $(PYTEST_ARGS),tests/gateways)

# Chromium is not ours to install; what drives it and axe come with pip.
browser: $(BROWSER)
	$(VENV)/bin/python -m pytest --ds=tests.browser.settings $(or $(PYTEST_ARGS),tests/browser)

screenshots: $(BROWSER)
	$(VENV)/bin/python -m tests.browser.screenshots docs/images

coverage: $(DEV)
	$(VENV)/bin/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

SECONDS ?= 900
chaos: $(DEV)
	@for database in sqlite $(if $(TEST_POSTGRESQL_URL),postgresql) $(if $(TEST_MYSQL_URL),mysql); do \
		EVENTBRIDGE_TEST_DATABASE=$$database $(VENV)/bin/python -m tests.chaos --seconds $(SECONDS) \
			$(if $(SEED),--seed $(SEED)) || exit 1; \
	done

mutants: $(DEV)
	$(VENV)/bin/python -m tests.mutants

# pip-audit has dependencies of its own: it looks from another environment at what a user gets, and at the lowest
# versions that are promised (a source distribution cannot name them: it has no .ci). Without --strict it
# calls it a success where the advisory service knows none of the packages, as a mirror does.
audit: $(RUN)
	$(VENV)/bin/python -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/bin/python -m pip freeze --exclude-editable > $(VENV)-audit/installed.txt
	test ! -e .ci/floors.py || $(VENV)/bin/python .ci/floors.py > $(VENV)-audit/lowest.txt
	touch $(VENV)-audit/lowest.txt
	for versions in installed lowest; do \
		$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)-audit/$$versions.txt || exit 1; \
	done || { \
		echo 'make audit: not clean. Either a weakness is listed above, or the advisory service did not answer for' >&2; \
		echo 'each package: then nothing is known. Run it again where PyPI itself is reached.' >&2; exit 1; }

BENCH_ARGS ?=
bench: $(DEV)
	$(PIP) --group bench
	VENV='$(VENV)' sh benchmarks/run.sh $(BENCH_ARGS)

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(CODE)
	$(VENV)/bin/lint-imports
	@# The example's models belong to its own settings: it has its own mypy.ini.
	cd example_project && $(abspath $(VENV))/bin/mypy .

format: $(DEV)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || { echo 'No Python >= 3.11 found. Name one: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The name of the stamp changes with what is to be installed: nothing old is taken for new.
$(RUN): | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(DEV): $(RUN)
	$(PIP) --upgrade 'pip>=25.1' # the first that reads [dependency-groups]
	$(PIP) --editable '.[$(EXTRAS)]' --group dev
	@touch $@

$(BROWSER): $(DEV)
	$(PIP) --group browser
	@touch $@

$(THIRD_PARTY): $(DEV)
	$(PIP) --group third-party
	@touch $@
