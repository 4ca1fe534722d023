# In a fresh clone run `make demo` or `make test`. You only need Python >= 3.11, pip and make.
#
#   PYTHON=python3.13     another interpreter          VENV=.venv-3.13   another environment
#   PYTEST_ARGS="-x -k relay"                          arguments for every pytest run of `make test`
#   TEST_DATABASES="sqlite mysql"                      only these (default: SQLite and each server with a URL)
#   TEST_PROCESSES=1                                   number of pytest processes on SQLite (default: 3)
#   EVENTBRIDGE_TEST_DEPTH=full                        all examples of the property tests (default: a quarter)

# The first of these that works and is new enough; a name on PATH may be a shim that does nothing.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
VENV ?= .venv
PYTEST_ARGS ?=

# RUN is an environment with the packages a user gets; DEV adds the development dependencies.
# A driver is installed only if its server's URL is set, because some drivers are compiled.
RUN := $(VENV)/.run-$(shell cksum < pyproject.toml | cut -d' ' -f1)
drivers = $(if $(TEST_POSTGRESQL_URL),postgresql) $(if $(TEST_MYSQL_URL),mysql) $(if $(TEST_REDIS_URL),redis)
empty :=
space := $(empty) $(empty)
comma := ,
EXTRAS := $(subst $(space),$(comma),$(strip schema $(drivers)))
DEV := $(VENV)/.dev-$(notdir $(RUN))-$(subst $(comma),-,$(EXTRAS))
BROWSER := $(VENV)/.browser-$(notdir $(DEV))
DOCS := $(VENV)-docs/$(notdir $(RUN))
THIRD_PARTY := $(VENV)/.third-party-$(notdir $(DEV))

# Most of the modules that pip would compile are never imported.
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile
CODE := $(wildcard genesys_eventbridge tests benchmarks)

.PHONY: help install demo serve test docs third-party sdk sdk-install asyncapi asyncapi-install httpx2 httpx2-install gateways browser browser-install themes screenshots messages coverage chaos simulation model mutants audit bench lint format clean

help:
	@echo 'make demo      publish orders of the example shop to a stand-in platform on this machine'
	@echo 'make serve     the same, and keep the site up so that you can look at the admin'
	@echo 'make test      the whole suite on SQLite, and on each server whose TEST_*_URL is set;'
	@echo '               EVENTBRIDGE_TEST_DEPTH=full runs all examples of the property tests,'
	@echo '               EVENTBRIDGE_SIMULATION=full runs outages of twelve simulated hours'
	@echo 'make install   create the environment for the tests'
	@echo 'make docs      build the documentation site in build/docs; any warning is an error'
	@echo 'make third-party  test events from models of other libraries: trees, histories, soft deletes'
	@echo 'make sdk       let the official SDK (172 MB) invoke the webhook of the sandbox'
	@echo 'make asyncapi  let the official AsyncAPI parser read the catalogue; needs node and npm'
	@echo 'make httpx2    run the tests of the client with httpx2 instead of httpx'
	@echo 'make gateways  test with real nginx, haproxy and squid (apt-get install nginx haproxy squid)'
	@echo 'make browser   test the admin pages in a real browser; needs Chromium (apt-get install chromium-headless-shell)'
	@echo 'make themes    test them in django-unfold and django-jazzmin, with pictures in build/themes'
	@echo 'make screenshots  recreate docs/images with the same browser'
	@echo 'make messages  update the translations from the code, compile them and list what is missing'
	@echo 'make coverage  the suite on SQLite with branch coverage'
	@echo 'make simulation  try a thousand interleavings of workers, operators and faults on each database: SEEDS=1000'
	@echo 'make chaos     kill processes at random for a long time on each database: SECONDS=900 SEED=1'
	@echo 'make model     check the model of the guarantees with SPIN (apt-get install spin gcc)'
	@echo 'make mutants   remove each guard and check that a test fails'
	@echo 'make audit     check what a user installs for known vulnerabilities; needs PyPI'
	@echo 'make bench     measure what docs/benchmarks.md shows: an hour, or BENCH_ARGS=--quick'
	@echo 'make lint      ruff, mypy, import-linter and zizmor'
	@echo 'make format    let ruff fix and format what it can'
	@echo 'make clean     remove environments, builds and caches'

demo: $(RUN)
	$(VENV)/bin/python example_project/manage.py demo

serve: $(RUN)
	$(VENV)/bin/python example_project/manage.py demo --serve

install: $(DEV)

test: $(DEV)
	VENV='$(VENV)' sh tests/run.sh $(PYTEST_ARGS)

# In an environment of its own: nothing that the tests need depends on Sphinx.
docs: $(DOCS)
	$(VENV)-docs/bin/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs build/docs
	@echo 'The site: build/docs/index.html'

third-party: $(THIRD_PARTY)
	$(VENV)/bin/python -m pytest --ds=tests.third_party.settings $(or $(PYTEST_ARGS),tests/third_party)

# Not pinned: a newer SDK shows whether something has changed. It never goes into the environment of the tests.
sdk: $(DEV) sdk-install
	SDK_PYTHON='$(abspath $(VENV)-sdk/bin/python)' $(VENV)/bin/python -m pytest $(or $(PYTEST_ARGS),tests/sdk)

sdk-install: $(VENV)-sdk/.installed

$(VENV)-sdk/.installed: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(VENV)-sdk
	$(VENV)-sdk/bin/python -m pip install --quiet --disable-pip-version-check PureCloudPlatformClientV2
	@touch $@

# The versions and hashes of the lock file; scripts of packages are not run.
asyncapi: $(DEV) asyncapi-install
	ASYNCAPI_HOME='$(abspath $(VENV)-asyncapi)' $(VENV)/bin/python -m pytest $(or $(PYTEST_ARGS),tests/asyncapi)

asyncapi-install:
	mkdir -p $(VENV)-asyncapi
	cmp -s tests/asyncapi/package-lock.json $(VENV)-asyncapi/installed.json || { \
		cp tests/asyncapi/package.json tests/asyncapi/package-lock.json $(VENV)-asyncapi/ && \
		npm ci --prefix $(VENV)-asyncapi --ignore-scripts --no-audit --no-fund --loglevel=error && \
		cp tests/asyncapi/package-lock.json $(VENV)-asyncapi/installed.json; }

# The tests that meet the HTTP library, with httpx2 and without httpx.
HTTPX2_TESTS = tests/client tests/relay tests/sandbox tests/test_tls.py tests/test_ping.py tests/alerts
WITHOUT_HTTP = tests/relay/test_state_machine.py # its senders are a model: it takes long, and no library is in use
httpx2: httpx2-install
	$(VENV)-httpx2/bin/python -m pytest $(or $(PYTEST_ARGS),$(wildcard $(HTTPX2_TESTS)) --ignore=$(WITHOUT_HTTP))

httpx2-install: | $(VENV)/bin/python
	test -x $(VENV)-httpx2/bin/python || $(VENV)/bin/python -m venv $(VENV)-httpx2
	$(VENV)-httpx2/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)-httpx2/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[schema,httpx2]' --group test
	$(VENV)-httpx2/bin/python -m pip uninstall --quiet --yes httpx httpcore

# A gateway that is not installed is skipped, and pytest's summary says so.
gateways: $(DEV)
	$(VENV)/bin/python -m pytest $(or $(PYTEST_ARGS),tests/gateways)

# Install Chromium yourself; pip installs its driver and axe.
browser-install: $(BROWSER)

browser: $(BROWSER)
	$(VENV)/bin/python -m pytest --ds=tests.browser.settings $(or $(PYTEST_ARGS),tests/browser)

# The pages in django-unfold and django-jazzmin. Look at the pictures, too.
themes: $(BROWSER)
	for theme in unfold jazzmin; do \
		EVENTBRIDGE_PICTURES=build/themes $(VENV)/bin/python -m pytest \
			--ds=tests.browser.themes.$$theme $(or $(PYTEST_ARGS),tests/browser/themes) || exit 1; \
	done

screenshots: $(BROWSER)
	$(VENV)/bin/python -m tests.browser.screenshots docs/images

# NEW=it adds a language. Babel does it: GNU gettext is not needed.
messages: $(DEV)
	$(VENV)/bin/python -m tests.messages $(NEW)

coverage: $(DEV)
	$(VENV)/bin/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

SECONDS ?= 900
chaos: $(DEV)
	@for database in sqlite $(if $(TEST_POSTGRESQL_URL),postgresql) $(if $(TEST_MYSQL_URL),mysql); do \
		EVENTBRIDGE_TEST_DATABASE=$$database $(VENV)/bin/python -m tests.chaos --seconds $(SECONDS) \
			$(if $(SEED),--seed $(SEED)) || exit 1; \
	done

# Seeded interleavings of the real code on each database whose TEST_*_URL is set. SEEDS=10000 for a night.
SEEDS ?= 1000
simulation: $(DEV)
	@for database in sqlite $(if $(TEST_POSTGRESQL_URL),postgresql) $(if $(TEST_MYSQL_URL),mysql); do \
		$(VENV)/bin/python -m tests.simulation --seeds $(SEEDS) --database $$database || exit 1; \
	done

# The properties with their states, and what breaks when a guard is removed. MODEL_ARGS=order selects by name.
model: $(DEV)
	$(VENV)/bin/python -m tests.model $(MODEL_ARGS)

mutants: $(DEV)
	$(VENV)/bin/python -m tests.mutants

# pip-audit has dependencies of its own, so it runs in a separate environment. It checks what a user gets, and the lowest
# supported versions (not from a source distribution, which has no .ci). Without --strict it would succeed even if
# the advisory service knew none of the packages, as is the case for a mirror.
audit: $(RUN)
	$(VENV)/bin/python -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/bin/python -m pip freeze --exclude-editable > $(VENV)-audit/installed.txt
	test ! -e .ci/floors.py || $(VENV)/bin/python .ci/floors.py > $(VENV)-audit/lowest.txt
	touch $(VENV)-audit/lowest.txt
	for versions in installed lowest; do \
		$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)-audit/$$versions.txt || exit 1; \
	done || { \
		echo 'make audit: failed. Either a vulnerability is listed above, or the advisory service did not respond for' >&2; \
		echo 'every package. In that case run it again where PyPI itself can be reached.' >&2; exit 1; }

BENCH_ARGS ?=
bench: $(DEV)
	$(PIP) --group bench
	VENV='$(VENV)' sh benchmarks/run.sh $(BENCH_ARGS)

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(CODE)
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m tests.prose
	@# A source distribution may come without the workflows.
	test ! -d .github || $(VENV)/bin/zizmor --offline --pedantic --quiet --no-progress .github
	@# The example project has its own settings, so it has its own mypy.ini.
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

# The stamp's name depends on what is to be installed, so that an outdated environment is never reused.
$(RUN): | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(DEV): $(RUN)
	$(PIP) --upgrade 'pip>=25.1' # the first version that reads [dependency-groups]
	$(PIP) --editable '.[$(EXTRAS)]' --group dev
	@touch $@

$(BROWSER): $(DEV)
	$(PIP) --group browser
	@touch $@

$(DOCS): | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group docs
	@touch $@

$(THIRD_PARTY): $(DEV)
	$(PIP) --group third-party
	@touch $@
