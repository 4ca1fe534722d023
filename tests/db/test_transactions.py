"""An event shares the transaction of its change, whatever the database or other code does to it."""

import logging
import threading
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.db.models.signals import post_save
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path

from genesys_eventbridge import conf, relay, tasks
from genesys_eventbridge.db import transactions
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.errors import IdempotencyConflict, NotInTransaction
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue, enqueue_many
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.states import Reason, State
from tests.isolation import LEVELS, SNAPSHOT, isolated
from tests.outbox_rows import ended, event, fresh, in_threads
from tests.publishing import Boom, Publish, rolled_back, types
from tests.scripted import ScriptedPlatform
from tests.shop.models import Customer, Order, Tag

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "11111111-2222-4333-8444-555555555555"


# -------------------------------------------------------------------------- how a database ends a transaction


@pytest.fixture
def lose():
    """End the open transaction as this database does it, and catch the error as careless code does."""
    if connection.vendor == "mysql":
        yield from _real_deadlock()
    elif connection.vendor == "sqlite":
        yield from _raise_rollback()
    else:
        yield _aborted


def _lock(tag):
    Tag.objects.select_for_update().get(pk=tag.pk)


def _real_deadlock(lock=_lock):
    """The other transaction has changed more rows, so that InnoDB chooses ours as the victim.

    ``lock`` is the statement that meets it.
    """
    ours, theirs = Tag.objects.create(name="ours"), Tag.objects.create(name="theirs")
    many = Tag.objects.bulk_create([Tag(name=f"n{number}") for number in range(200)])
    threads = []

    def lose():
        Tag.objects.select_for_update().get(pk=ours.pk)
        locked = threading.Event()

        def other():
            with closing(connection), transaction.atomic():
                Tag.objects.filter(pk__in=[tag.pk for tag in many]).update(name=Concat("name", Value("x")))
                Tag.objects.select_for_update().get(pk=theirs.pk)
                locked.set()
                Tag.objects.select_for_update().get(pk=ours.pk)

        thread = threading.Thread(target=other)
        threads.append(thread)
        thread.start()
        assert locked.wait(30)
        with pytest.raises(OperationalError) as found:
            lock(theirs)
        assert found.value.args[0] == 1213
        thread.join(30)

    yield lose
    for thread in threads:
        thread.join(30)


def _raise_rollback():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON shop_tag WHEN NEW.name = 'refused' "
            "BEGIN SELECT RAISE(ROLLBACK, 'refused'); END"
        )

    def lose():
        # Not by the ORM: Django marks the block for rollback where its own save() fails.
        with pytest.raises(IntegrityError, match="refused"), connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_tag (name) VALUES ('refused')")

    yield lose
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")


def _aborted():
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def not_on(*vendors: str, because: str) -> None:
    if connection.vendor in vendors:
        pytest.skip(because)


@contextmanager
def refused(words: str = "The event is not enqueued: ", using: AbstractContextManager[object] | None = None):
    """A transaction that raises; ``using`` instead of atomic()."""
    with pytest.raises(TransactionManagementError, match=words), using or transaction.atomic():
        yield


WRITE = {
    "enqueue": lambda: enqueue("order.created", {"n": 1}),
    "enqueue with a key": lambda: enqueue("order.created", {"n": 1}, idempotency_key=KEY),
    "enqueue_many": lambda: enqueue_many([{"type": "order.created", "data": {"n": 1}}]),
    "standalone": lambda: enqueue("order.created", {"n": 1}, standalone=True),
}
every_way_to_write = pytest.mark.parametrize("write", WRITE.values(), ids=WRITE)


@every_way_to_write
def test_an_event_is_not_written_into_a_transaction_that_the_database_has_ended(lose, write):
    with refused():
        Customer.objects.create(name="Ana")
        lose()
        write()

    assert not OutboxEvent.objects.exists()
    assert not Customer.objects.exists()


def test_the_error_names_what_happened_and_the_remedy(lose):
    words = {
        "mysql": r"after OperationalError 1213, and other code caught the error\. Let such errors reach",
        "sqlite": r"after IntegrityError, and other code caught the error\. Let such errors reach",
        "postgresql": r"other code caught a database error.*inside the try",
    }

    with refused(words[connection.vendor]):
        lose()
        enqueue("order.created", {})


@every_way_to_write
def test_a_caller_who_catches_the_refusal_commits_nothing_later(lose, write):
    with transaction.atomic():
        lose()
        with suppress(TransactionManagementError):
            write()
        with pytest.raises(TransactionManagementError):
            Customer.objects.create(name="Ana")

    assert not OutboxEvent.objects.exists()
    assert not Customer.objects.exists()


@every_way_to_write
def test_a_transaction_that_ends_while_the_event_is_written_is_refused_too(lose, write):
    """A wrapper of the statement, such as an instrumentation or a retry, may meet the error."""

    def careless(execute, sql, *rest):
        result = execute(sql, *rest)
        if sql.startswith("INSERT INTO genesys_eventbridge_outboxevent"):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            lose()
        return result

    with (
        pytest.raises((TransactionManagementError, DatabaseError)),
        transaction.atomic(),
        connection.execute_wrapper(careless),
    ):
        write()

    assert not OutboxEvent.objects.exists()


def test_a_savepoint_taken_after_the_loss_does_not_repair_it(lose):
    not_on("postgresql", because="PostgreSQL refuses the savepoint itself")

    with refused():
        lose()
        with transaction.atomic():
            list(Customer.objects.all())
        with transaction.atomic():
            enqueue("order.created", {})

    assert not OutboxEvent.objects.exists()


def test_a_savepoint_rolled_back_after_the_loss_does_not_repair_it(lose):
    not_on("postgresql", because="PostgreSQL refuses the savepoint itself")

    with refused():
        lose()
        with rolled_back():
            Customer.objects.create(name="Ana")
        enqueue("order.created", {})

    assert not OutboxEvent.objects.exists()


def test_an_error_in_a_savepoint_of_its_own_costs_nothing():
    Customer.objects.create(pk=1, name="Ana")

    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            Customer.objects.create(pk=1, name="Ben")
        enqueue("order.created", {})

    assert types() == ["order.created"]


def test_an_error_of_one_statement_costs_nothing_where_the_transaction_survives_it():
    not_on("postgresql", because="PostgreSQL ends the transaction at every error")
    Customer.objects.create(pk=1, name="Ana")

    with transaction.atomic():
        Customer.objects.create(pk=2, name="Cy")
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("SELECT no_such_column FROM shop_customer")
        enqueue("order.created", {})

    assert Customer.objects.count() == 2
    assert types() == ["order.created"]


# ------------------------------------------------------------------------------------- how long it is refused


def test_the_next_transaction_is_not_refused_also_by_the_same_decorator(lose):
    @transaction.atomic
    def work(*, careless: bool) -> None:
        if careless:
            lose()
        enqueue("order.created", {"careless": careless})

    with pytest.raises(TransactionManagementError):
        work(careless=True)
    work(careless=False)

    assert [row.data for row in OutboxEvent.objects.all()] == [{"careless": False}]


def test_an_error_of_the_next_transaction_does_not_revive_the_old_one(lose):
    Customer.objects.create(pk=1, name="Ana")
    with rolled_back():
        lose()

    with transaction.atomic():
        with suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM shop_customer")
        enqueue("order.created", {})

    assert types() == ["order.created"]


def test_an_error_outside_every_transaction_is_not_held_against_the_next_one(lose):
    not_on("mysql", because="a deadlock needs a transaction")
    lose()

    with transaction.atomic():
        enqueue("order.created", {})

    assert types() == ["order.created"]


@pytest.fixture
def by_hand():
    """Autocommit switched off, as with ``transaction.set_autocommit(False)`` in a script."""
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def test_without_atomic_a_lost_transaction_is_refused_until_it_is_rolled_back(lose, by_hand):
    Customer.objects.create(name="Ana")
    lose()

    for _ in range(2):
        with pytest.raises(TransactionManagementError, match="not enqueued"):
            enqueue("order.created", {})
    transaction.rollback()
    enqueue("order.created", {})
    transaction.commit()

    assert types() == ["order.created"]
    assert not Customer.objects.exists()


def test_without_atomic_a_commit_ends_the_refusal_too(lose, by_hand):
    Customer.objects.create(name="Ana")
    lose()
    with pytest.raises(TransactionManagementError, match="not enqueued"):
        enqueue("order.created", {})

    transaction.commit()
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM shop_customer")
    if connection.vendor == "postgresql":
        transaction.rollback()
    enqueue("order.created", {})
    transaction.commit()

    assert types() == ["order.created"]


def test_without_atomic_an_event_is_written_before_any_other_statement(by_hand):
    """SQLite opens no transaction before the first write, and has not lost one."""
    enqueue("order.created", {})
    with transaction.atomic(savepoint=False):
        enqueue("order.paid", {})
    transaction.commit()

    assert types() == ["order.created", "order.paid"]


# ---------------------------------------------------------------------------------------- MySQL and MariaDB


def mysql_error(number: int) -> None:
    """The error without its consequence, where a test cannot bring it about."""

    def fail(*_):
        raise OperationalError(number, "scripted")

    with pytest.raises(OperationalError), connection.execute_wrapper(fail), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.fixture
def mysql():
    not_on("sqlite", "postgresql", because="only MySQL and MariaDB cannot be asked")
    return mysql_error


def _by_callproc(tag):
    with connection.cursor() as cursor:
        cursor.callproc("lock_a_tag", [tag.pk])


def _by_a_later_result(tag):
    with connection.cursor() as cursor:
        cursor.execute("CALL lock_a_tag_later(%s)", [tag.pk])
        cursor.nextset()


@pytest.fixture(params=[_by_callproc, _by_a_later_result])
def lose_in_a_procedure(request, mysql):
    """A deadlock that no execute wrapper sees."""
    lock = "SELECT id FROM shop_tag WHERE id = wanted FOR UPDATE;"
    procedures = {"lock_a_tag": lock, "lock_a_tag_later": f"SELECT 1; {lock}"}
    with connection.cursor() as cursor:
        for name, body in procedures.items():
            cursor.execute(f"CREATE PROCEDURE {name} (IN wanted BIGINT) BEGIN {body} END")
    yield from _real_deadlock(request.param)
    with connection.cursor() as cursor:
        for name in procedures:
            cursor.execute(f"DROP PROCEDURE {name}")


def test_a_transaction_that_was_lost_in_a_procedure_is_refused(lose_in_a_procedure):
    with refused("after OperationalError 1213,"):
        Customer.objects.create(name="Ana")
        lose_in_a_procedure()
        enqueue("order.created", {})

    assert not OutboxEvent.objects.exists()
    assert not Customer.objects.exists()


def test_an_error_in_a_later_procedure_does_not_revive_an_old_note(lose_in_a_procedure):
    with rolled_back():
        lose_in_a_procedure()

    with transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.callproc("no_such_procedure", [])
        enqueue("order.created", {})

    assert types() == ["order.created"]


@pytest.mark.parametrize("number", [1020, 1206, 1213, 1927, 2006, 2013, 2055, 4031])
def test_each_error_after_which_innodb_has_rolled_back_is_noted(mysql, number):
    with refused(f"Error {number},"):
        mysql(number)
        enqueue("order.created", {})


def test_a_lock_that_was_not_free_in_time_ends_the_statement_alone(mysql):
    with transaction.atomic():
        Customer.objects.create(name="Ana")
        mysql(1205)
        enqueue("order.created", {})

    assert Customer.objects.exists()
    assert types() == ["order.created"]


def test_a_server_is_asked_once_whether_a_lock_timeout_rolls_back_everything(mysql, monkeypatch):
    watch = transactions.watch(connections["default"])
    assert watch is not None
    monkeypatch.setattr(watch, "_rolls_back_on_timeout", None)

    with transaction.atomic():
        mysql(1205)

    assert watch._rolls_back_on_timeout is False


def test_a_server_that_rolls_back_on_a_lock_timeout_is_believed(mysql, monkeypatch):
    """innodb_rollback_on_timeout is set at the start of a server only: its answer is a script here."""
    monkeypatch.setattr(transactions.watch(connections["default"]), "_rolls_back_on_timeout", True)

    with refused("OperationalError 1205"):
        mysql(1205)
        enqueue("order.created", {})


def test_a_connection_is_watched_once_however_often_it_is_opened(lose):
    for _ in range(2):
        connection.close()
        connection.ensure_connection()
        transactions.install()
    watching = [one for one in connection.execute_wrappers if isinstance(one, transactions.Watch)]

    assert len(watching) == (0 if connection.vendor == "postgresql" else 1)


def test_a_connection_that_was_open_before_the_app_was_loaded_is_watched(monkeypatch):
    not_on("postgresql", because="PostgreSQL can be asked")
    connection.ensure_connection()
    monkeypatch.setattr(connections["default"], "execute_wrappers", [])

    transactions.install()

    assert [type(one) for one in connection.execute_wrappers] == [transactions.Watch]


def test_a_new_thread_has_a_connection_that_is_watched():
    not_on("postgresql", because="PostgreSQL can be asked")

    def watching():
        connection.ensure_connection()
        return [type(one) for one in connection.execute_wrappers]

    assert in_threads(1, watching) == [[transactions.Watch]]


# --------------------------------------------------------------------------------------------- kept and saves


def test_a_kept_transaction_raises_rather_than_ends_without_its_rows(lose):
    with refused("Ana is not saved: ", transactions.kept("default", "Ana is not saved")):
        Customer.objects.create(name="Ana")
        lose()

    assert not Customer.objects.exists()


def test_a_kept_transaction_raises_if_it_can_only_be_rolled_back():
    with refused(
        r"Ana is not saved: other code caught.*inside the try",
        transactions.kept("default", "Ana is not saved"),
    ):
        Customer.objects.create(name="Ana")
        with suppress(Boom), transaction.atomic(savepoint=False):
            raise Boom

    assert not Customer.objects.exists()


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_save_whose_receiver_lost_the_transaction_raises(publish: Publish, lose, order):
    publish(Order, created="order.created", fields=["number"])

    def careless(**_) -> None:
        lose()

    post_save.connect(careless, sender=Order)
    if order == "before":
        post_save.receivers.insert(0, post_save.receivers.pop())
        post_save.sender_receivers_cache.clear()
    try:
        with pytest.raises(TransactionManagementError, match="is not"):
            Order.objects.create(number="A-1")
    finally:
        post_save.disconnect(careless, sender=Order)

    assert not Order.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_a_save_whose_receiver_met_a_snapshot_conflict_raises(publish: Publish):
    not_on("sqlite", "postgresql", because="the conflict is MariaDB's")
    publish(Order, created="order.created", fields=["number"])
    Customer.objects.create(pk=1, name="Ana")

    def careless(**_) -> None:
        list(Customer.objects.all())
        in_threads(1, lambda: Customer.objects.update(name="Ben"))
        with pytest.raises(OperationalError) as found:
            Customer.objects.update(name="Cy")
        assert found.value.args[0] == 1020

    post_save.connect(careless, sender=Order)
    try:
        with isolated(SNAPSHOT), pytest.raises(TransactionManagementError, match="is not saved"):
            Order.objects.create(number="A-1")
    finally:
        post_save.disconnect(careless, sender=Order)

    assert not Order.objects.exists()
    assert not OutboxEvent.objects.exists()


# ---------------------------------------------------------------------------------- conflicts about one key


with_key = pytest.mark.parametrize(
    "write",
    [
        lambda: enqueue("order.created", {"n": 1}, idempotency_key=KEY),
        lambda: enqueue_many([{"type": "order.created", "data": {"n": 1}, "idempotency_key": KEY}]),
    ],
    ids=["enqueue", "enqueue_many"],
)


@pytest.fixture(params=[level for level in LEVELS if level in {SNAPSHOT, "REPEATABLE READ", "SERIALIZABLE"}])
def snapshot(request):
    """Levels under which a transaction cannot read or lock what others committed after its first read."""
    with isolated(request.param):
        yield request.param


@with_key
def test_a_key_that_was_written_after_the_snapshot_is_a_conflict_to_be_tried_again(snapshot, write):
    @transaction.atomic
    def lose_the_race() -> None:
        list(OutboxEvent.objects.all())
        in_threads(1, lambda: event(data={"n": 1}, idempotency_key=KEY))
        write()

    with pytest.raises(IdempotencyConflict, match="in a new") as found:
        lose_the_race()

    assert found.value.retryable
    with transaction.atomic():
        write()
    assert types() == ["order.created"]


def test_a_worker_that_changes_the_row_of_a_key_disturbs_no_caller(snapshot):
    """Also after the snapshot, where a locking read would fail with error 1020 or SQLSTATE 40001."""
    row = event(data={"n": 1}, idempotency_key=KEY)

    def work_on_it() -> None:
        OutboxEvent.objects.filter(pk=row.pk).update(attempts=1)

    with transaction.atomic():
        list(OutboxEvent.objects.all())
        in_threads(1, work_on_it)
        known = enqueue("order.created", {"n": 1}, idempotency_key=KEY)

    assert known == row


@pytest.mark.parametrize("around", [nullcontext, transaction.atomic], ids=["plain", "in a savepoint"])
def test_two_transactions_that_write_two_keys_crosswise_are_told_to_try_again(around):
    """A real deadlock between keys; each database chooses its own victim. Nothing later of it commits."""
    not_on("sqlite", because="SQLite has one writer at a time")
    if around is not nullcontext:
        not_on("postgresql", because="PostgreSQL rolls back to the savepoint, and nothing is lost")
    both_wrote_one = threading.Barrier(2)
    one, two = uuid4(), uuid4()  # new ones: InnoDB may still lock the index entries of keys that were deleted

    def cross(first: UUID, second: UUID) -> str:
        with transaction.atomic():
            enqueue("order.created", {}, idempotency_key=first)
            both_wrote_one.wait(30)
            try:
                with around():
                    enqueue("order.created", {}, idempotency_key=second)
            except IdempotencyConflict as conflict:
                with pytest.raises(TransactionManagementError):
                    Customer.objects.create(name="Ben")
                return "retry" if conflict.retryable else "wrong"
        return "done"

    orders = iter([(one, two), (two, one)])

    assert sorted(in_threads(2, lambda: cross(*next(orders)))) == ["done", "retry"]
    assert not Customer.objects.exists()
    assert OutboxEvent.objects.count() == 2


def test_without_a_key_the_errors_of_the_database_reach_the_caller():
    not_on("sqlite", "postgresql", because="only MySQL has SIGNAL")

    def fail(execute, sql, *rest):
        if sql.startswith("INSERT INTO genesys_eventbridge_outboxevent"):
            sql, rest = (
                "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'scripted'",
                (None, *rest[1:]),
            )
        return execute(sql, *rest)

    with (
        pytest.raises(OperationalError, match="1213"),
        transaction.atomic(),
        connection.execute_wrapper(fail),
    ):
        enqueue("order.created", {})


# ------------------------------------------------------------------------ the transaction of another database


class OutboxElsewhere:
    """A router that keeps the outbox in a database of its own."""

    def db_for_write(self, model, **_):
        return "outbox" if model is OutboxEvent else None


@pytest.fixture
def outbox_elsewhere(monkeypatch, settings):
    """The alias ``outbox``, another connection to the same database."""
    monkeypatch.setitem(connections.settings, "outbox", connections.settings["default"])
    connection = connections.create_connection("default")
    connection.ensure_connection()  # before it has its name: Django's TestCase allows the known ones only
    connection.alias = "outbox"
    connection.close_at = None
    connections["outbox"] = connection
    settings.DATABASE_ROUTERS = ["tests.db.test_transactions.OutboxElsewhere"]
    yield "outbox"
    connections["outbox"].close()
    del connections["outbox"]


def test_where_another_database_has_the_transaction_the_error_names_the_one_to_open(outbox_elsewhere):
    with (
        pytest.raises(NotInTransaction, match=r"using='outbox'\).*") as found,
        transaction.atomic(),
    ):
        enqueue("order.created", {})

    assert str(found.value) == (
        "enqueue() needs a transaction on database 'outbox', where the outbox lives; the open one is on "
        "'default'. Wrap both in `with transaction.atomic(using='outbox'):`, or pass standalone=True if the "
        "event belongs to no other write."
    )


def test_without_any_transaction_the_error_names_the_outboxs_database(outbox_elsewhere):
    with pytest.raises(NotInTransaction, match=r"'outbox', where the outbox lives\. Wrap .*using='outbox'"):
        enqueue("order.created", {})


def test_an_event_joins_the_transaction_of_the_outboxs_database(outbox_elsewhere):
    with transaction.atomic(using=outbox_elsewhere):
        enqueue("order.created", {})

    assert OutboxEvent.objects.using(outbox_elsewhere).count() == 1


def test_a_transaction_of_another_database_does_not_keep_events_from_being_published(outbox_elsewhere):
    not_on("sqlite", because="the two connections of this test share a file, which has one writer")
    event()
    platform = ScriptedPlatform()

    with transaction.atomic():
        relay.publish_due(transport=platform.transport)

    assert len(platform.published) == 1


# ------------------------------------------------------------------------------ publishing in a transaction


PUBLISHING = {
    "publish_due": relay.publish_due,
    "check_accepted": relay.check_accepted,
    "serve": lambda: relay.serve("default", {}, senders=Senders(conf.destination(), 1)),
    "eventbridge_publish": lambda: call_command("eventbridge_publish"),
    "eventbridge_poll": lambda: call_command("eventbridge_poll"),
    "eventbridge_poll --older-than": lambda: call_command("eventbridge_poll", "--older-than", "0"),
    "eventbridge_retry": lambda: call_command("eventbridge_retry", "--state", "dead"),
    "eventbridge_enqueue --wait": lambda: call_command(
        "eventbridge_enqueue", "order.paid", "--data", "1", "--wait", "1"
    ),
    # The last one: without the refusal it has no end.
    "eventbridge_publish --loop": lambda: call_command("eventbridge_publish", "--loop"),
}
every_way_to_publish = pytest.mark.parametrize("publish_now", PUBLISHING.values(), ids=PUBLISHING)


def state_of_the_outbox():
    columns = ("pk", "state", "attempts", "checks", "due_at", "claim_token", "acts__act")
    return sorted(OutboxEvent.objects.values_list(*columns))


@every_way_to_publish
def test_publishing_is_refused_in_a_transaction_before_anything_is_changed(publish_now):
    event()
    event(row=ended(State.DEAD, Reason.REJECTED))
    before = state_of_the_outbox()

    with transaction.atomic():
        with pytest.raises(
            (TransactionManagementError, CommandError), match="a transaction is open on"
        ) as found:
            publish_now()
        assert getattr(found.value, "returncode", 1) == 1
        assert state_of_the_outbox() == before


def test_publishing_is_refused_with_autocommit_switched_off(by_hand):
    event()

    with pytest.raises(
        TransactionManagementError, match="publish_due\\(\\) publishes nothing: a transaction"
    ):
        relay.publish_due()
    assert connection.connection is not None


@pytest.mark.parametrize("task", [tasks.publish, tasks.publish_backlog, tasks.poll, tasks.retry])
def test_a_task_called_in_a_transaction_logs_an_error_and_sends_nothing(task, caplog):
    row = event()

    with caplog.at_level(logging.ERROR, logger="genesys_eventbridge"), transaction.atomic():
        assert task("default") == 0

    assert fresh(row).attempts == 0
    ours = [record.levelname for record in caplog.records if record.name == "genesys_eventbridge"]
    assert ours == ["ERROR"]
    assert "nothing is sent: a transaction is open on database 'default'" in caplog.text


def publishing_view(request):
    enqueue("order.created", {})
    relay.publish_due(transport=PLATFORM.transport)
    return HttpResponse("sent")


PLATFORM = ScriptedPlatform()
urlpatterns = [path("publish", publishing_view)]


@override_settings(ROOT_URLCONF="tests.db.test_transactions")
def test_a_view_under_atomic_requests_cannot_publish(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    PLATFORM.published.clear()

    assert Client(raise_request_exception=False).get("/publish").status_code == 500

    assert not PLATFORM.published
    assert not OutboxEvent.objects.exists()


def test_an_error_in_what_follows_a_commit_reaches_the_log_and_not_the_caller(caplog):
    def fail(word):
        raise RuntimeError(word)

    with transaction.atomic():
        row = enqueue("order.created", {})
        after_commit("default", fail, "the broker is gone")

    assert OutboxEvent.objects.filter(pk=row.pk).exists()
    assert "the broker is gone" in caplog.text


def test_nothing_else_follows_a_commit():
    """Every other callback would have to be one that Django can name in its log."""
    package = Path(transactions.__file__).parent.parent
    found = [path.name for path in package.rglob("*.py") if ".on_commit(" in path.read_text("utf-8")]

    assert found == ["transactions.py"]


def test_publishing_after_the_commit_is_fine():
    platform = ScriptedPlatform()

    with transaction.atomic():
        enqueue("order.created", {})
        transaction.on_commit(lambda: relay.publish_due(transport=platform.transport))

    assert len(platform.published) == 1


@pytest.mark.django_db(transaction=False)
def test_the_block_of_a_test_case_does_not_count():
    event()
    platform = ScriptedPlatform()

    relay.publish_due(transport=platform.transport)

    assert len(platform.published) == 1


def test_a_retry_that_leaves_the_sending_to_workers_may_share_a_transaction():
    row = event(row=ended(State.DEAD, Reason.REJECTED))

    with transaction.atomic():
        call_command("eventbridge_retry", str(row.pk), "--no-publish", "--because", "fixed")

    assert fresh(row).state == State.PENDING
