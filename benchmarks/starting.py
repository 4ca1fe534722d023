"""Row 13: the CPU time that the app adds to django.setup() in fresh interpreters, and if it imports httpx."""

from __future__ import annotations

from statistics import median

from benchmarks.measuring import Child, Report, arguments, rounds

PROGRAM = """
import sys, time
from django.conf import settings
apps = ["django.contrib.auth", "django.contrib.contenttypes", "django_q", *sys.argv[1:]]
keys = dict.fromkeys(["API_BASE_URL", "LOGIN_BASE_URL"], "https://api.example.com")
keys |= {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "SOURCE": "com.example"}
settings.configure(
    INSTALLED_APPS=apps, GENESYS_EVENTBRIDGE={"default": keys},
    Q_CLUSTER={"orm": "default", "timeout": 60, "retry": 90},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django
began = time.process_time()
django.setup()
print([time.process_time() - began, int("httpx" in sys.modules)])
"""


def setup(*apps: str) -> tuple[float, int]:
    child = Child("-c", PROGRAM, *apps)
    seconds, httpx = child.line().strip("[]").split(", ")
    child.end()
    return float(seconds) * 1000, int(httpx)


def main() -> None:
    options = arguments(__doc__)
    sides = {"without": lambda: setup()[0], "with": lambda: setup("genesys_eventbridge")[0]}
    samples = rounds(sides, 3 if options.quick else 15)
    added = median(a - b for a, b in zip(samples["with"], samples["without"], strict=True))
    report = Report()
    medians = {f"{name} (ms)": median(taken) for name, taken in samples.items()}
    report.add("13", "ms that the app adds to django.setup()", added, "<= 15", **medians)
    report.add("13", "it imports httpx (1: yes)", setup("genesys_eventbridge")[1], "0")
    report.table()


if __name__ == "__main__":
    main()
