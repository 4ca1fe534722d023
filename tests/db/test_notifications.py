"""Notifications of PostgreSQL: a listener hears those of other connections, or says that it hears none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from genesys_eventbridge.db import notifications
from genesys_eventbridge.db.notifications import COALESCE, Bell, Listener, notify
from tests.test_qcluster import until

needs_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")


class TestBell:
    """A commit within COALESCE of a notification sends none, so a listener looks once more after it."""

    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [100.0]
        monkeypatch.setattr(notifications, "time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    def test_without_a_ring_it_waits_as_long_as_it_is_asked_to(self, now: list[float]) -> None:
        bell = Bell()
        bell.reset()

        assert bell.patience(7) == 7

    def test_after_a_look_within_the_window_it_waits_for_its_end_only(self, now: list[float]) -> None:
        bell = Bell()
        bell.ring()
        now[0] += COALESCE / 2
        bell.reset()
        assert bell.patience(7) == pytest.approx(COALESCE / 2)

        now[0] += COALESCE
        assert bell.patience(7) == 0

        bell.reset()
        assert bell.patience(7) == 7

    def test_a_ring_after_the_reset_ends_the_wait(self) -> None:
        bell = Bell()
        bell.reset()
        bell.ring()

        bell.wait(3600)

    def test_a_stop_ends_the_wait_although_nothing_rings(self, stop: threading.Event) -> None:
        """A listener that hangs while it connects rings no bell."""
        bell = Listener("default", stop).bell("publish:default")
        bell.reset()
        waiting = threading.Thread(target=bell.wait, args=[3600], daemon=True)
        waiting.start()

        stop.set()

        waiting.join(30)
        assert not waiting.is_alive()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    stop = threading.Event()
    yield stop
    stop.set()


@pytest.fixture
def listener(stop: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(notifications, "RETRY", 0.05)
    listener = Listener("default", stop)
    yield listener
    stop.set()
    if listener.ident is not None:
        listener.join(30)


@needs_postgresql
@pytest.mark.django_db(transaction=True)
class TestListener:
    def test_it_rings_the_bells_of_the_topic_and_no_others(self, listener: Listener) -> None:
        mine, other = listener.bell("publish:default"), listener.bell("publish:emea")
        listener.start()
        until(lambda: listener.hears_since is not None)
        mine.reset()
        other.reset()

        notify("default", "publish:default")

        until(mine._rung.is_set)
        assert not other._rung.is_set()

    def test_after_a_lost_connection_it_rings_all_and_listens_again(
        self, listener: Listener, caplog: pytest.LogCaptureFixture
    ) -> None:
        bell = listener.bell("publish:default")
        listener.start()
        until(lambda: listener.hears_since is not None)
        since = listener.hears_since
        bell.reset()

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            assert cursor.fetchall() == [(True,)]

        until(lambda: listener.hears_since not in (since, None))
        assert "Not listening for notifications (OperationalError): looking" in caplog.text
        bell.reset()
        notify("default", "publish:default")
        until(bell._rung.is_set)

    def test_where_none_arrives_it_says_so_once_and_tries_again(
        self, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As behind a pooler: what listens is another session of the server."""
        tests = []
        monkeypatch.setattr(notifications, "notify", lambda _alias, word: tests.append(word))
        monkeypatch.setattr(notifications, "TEST_SECONDS", 0.0)
        listener.start()
        until(lambda: len(tests) >= 3)
        assert listener.hears_since is None
        assert [record.message for record in caplog.records] == [
            "PostgreSQL's notifications do not reach this worker, as behind PgBouncer in transaction mode: "
            "it looks for due events every second instead."
        ]

        monkeypatch.setattr(notifications, "notify", notify)
        monkeypatch.setattr(notifications, "TEST_SECONDS", 30.0)
        until(lambda: listener.hears_since is not None)

    def test_where_none_arrives_it_leaves_no_session_that_listens(
        self, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pooler keeps the session of the server, and would give what it hears to another client."""
        kept = connection.copy()
        kept.ensure_connection()
        listens = []

        @contextmanager
        def pooled(self: Listener) -> Iterator[Any]:
            with kept.connection.cursor() as cursor:
                cursor.execute(f"LISTEN {notifications.CHANNEL}")
                yield kept.connection
                cursor.execute("SELECT pg_listening_channels()")
                listens.append(cursor.fetchall())

        monkeypatch.setattr(Listener, "_connection", pooled)
        monkeypatch.setattr(notifications, "notify", lambda _alias, word: None)
        monkeypatch.setattr(notifications, "TEST_SECONDS", 0.0)
        listener.start()

        until(lambda: bool(listens))
        listener._stop_event.set()
        listener.join(30)
        kept.close()
        assert listens[0] == []

    def test_a_database_that_is_down_is_tried_again(
        self, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        listen, tries = Listener._listen, []
        caplog.set_level("INFO", "genesys_eventbridge")

        def fail_twice(self: Listener) -> None:
            tries.append(1)
            if len(tries) <= 2:
                raise OperationalError("canary")
            listen(self)

        monkeypatch.setattr(Listener, "_listen", fail_twice)
        listener.start()

        until(lambda: listener.hears_since is not None)
        assert [record.message for record in caplog.records] == [
            "Not listening for notifications (OperationalError): looking for due events every second "
            "instead. Next attempt in 0 s."
        ] * 2 + ["Commits notify this worker."]

    def test_its_connection_is_not_one_of_the_pool(
        self, listener: Listener, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("psycopg_pool", reason="psycopg-pool is not installed")
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1, "max_size": 1})

        with listener._connection() as raw:
            assert type(raw).__module__.startswith("psycopg")
            assert getattr(raw, "_pool", None) is None

    def test_when_the_process_stops_the_waits_end_and_the_connection_is_closed(
        self, listener: Listener, stop: threading.Event
    ) -> None:
        bell = listener.bell("publish:default")
        listener.start()
        until(lambda: listener.hears_since is not None)
        bell.reset()

        stop.set()
        bell.wait(3600)
        listener.join(30)

        def connections() -> int:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
                return int(cursor.fetchone()[0])

        until(lambda: connections() == 0)  # the server notices the end of a connection a moment later


@pytest.mark.skipif(connection.vendor == "postgresql", reason="about the other databases")
def test_other_databases_say_that_they_notify_no_one() -> None:
    assert notifications.why_not("default") == (
        f"the outbox's database is {connection.display_name}, not PostgreSQL"
    )
