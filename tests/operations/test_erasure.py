"""Erase one person: everything about them goes, nothing about anybody else does, and the audit stays."""

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core import serializers

from genesys_eventbridge import operations
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, Person, Skip, correct, jobs, persons, resend
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import Act, AttemptKind, JobState, Reason, State
from tests.outbox_rows import claim, ended, event, fresh, skipped

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ops")
EMAIL = "zoe@example.com"
DATA = {"customer": {"email": EMAIL, "name": "Zoë"}, "items": [{"n": 1}, {"to": EMAIL}], "n": 4711}


def delivered(data=DATA, *, row=None, **keywords) -> OutboxEvent:
    columns = {**ended(State.DELIVERED, finished_at=DatabaseNow()), **(row or {})}
    return event("order.created", data, row=columns, **keywords)


def dead(data=DATA, **keywords) -> OutboxEvent:
    return event("order.created", data, row=ended(State.DEAD, Reason.REJECTED), **keywords)


def in_flight(data=DATA, **keywords) -> OutboxEvent:
    claimed = {"claim_token": "0" * 32, "in_doubt_since": DatabaseNow(), "due_at": DatabaseNow(60)}
    return event("order.created", data, row=claimed, **keywords)


def accepted(**keywords) -> OutboxEvent:
    columns = {"state": State.ACCEPTED, "accepted_at": DatabaseNow(), "due_at": DatabaseNow(60)}
    return event("order.created", DATA, row=columns, **keywords)


def erase(**keywords):
    return operations.erase(ANA, "request 17", **keywords)


def is_blank(row) -> bool:
    now = fresh(row)
    return (now.body, now.subject, now.ordering_key, now.object_id, now.last_error) == ("",) * 5


def whole_database() -> str:
    """Everything that the app and Django's history hold, as text."""
    tables: list[Any] = [OutboxEvent, DeliveryAttempt, EventAct, Job, JobItem, Destination, LogEntry]
    rows = [row for table in tables for row in table._default_manager.all()]
    return str(serializers.serialize("json", rows))


class TestWhatIsBlanked:
    def test_a_finished_event_keeps_its_ids_times_and_hashes_only(self):
        row = delivered(
            subject=EMAIL, ordering_key="CUST-9", row={"object_type": "shop.customer", "object_id": "9"}
        )
        DeliveryAttempt.objects.create(
            event=row,
            number=1,
            kind=AttemptKind.PUBLISH,
            started_at=row.created_at,
            duration=1.0,
            verdict="rejected",
            error=f"no such address: {EMAIL}",
            response_excerpt=f'{{"message": "{EMAIL}"}}',
            correlation_id="c-1",
        )
        OutboxEvent.objects.update(last_error=f"no {EMAIL}", remote_id="evt-1", correlation_id="c-1")

        done = erase(subject=EMAIL)

        now, attempt = fresh(row), DeliveryAttempt.objects.get()
        assert is_blank(row)
        assert (attempt.error, attempt.response_excerpt, attempt.correlation_id) == ("", "", "c-1")
        kept = ("event_id", "type", "state", "body_sha256", "content_sha256", "idempotency_key", "time")
        assert [getattr(now, name) for name in kept] == [getattr(row, name) for name in kept]
        assert (now.remote_id, done.ids) == ("evt-1", [row.pk])

    def test_nothing_that_is_left_anywhere_holds_the_data(self, caplog):
        user = get_user_model().objects.create_user("staff", is_staff=True)
        staff = Actor("admin", user=user)
        first = dead(subject=EMAIL)
        correct(first.pk, {"customer": {"email": EMAIL}}, staff, f"Wrong data of {EMAIL.upper()}.")
        second = dead(subject=EMAIL)
        operations.requeue([second.pk], staff, reason=f"asked by {EMAIL}")
        OutboxEvent.objects.filter(pk=second.pk).update(**ended(State.DEAD, Reason.REJECTED))
        jobs.freeze(Order(Act.RETRY, staff, "", about=f"subject {EMAIL}"), OutboxEvent.objects.none())
        assert whole_database().count(EMAIL) > 4

        caplog.clear()
        erase(subject=EMAIL, cancel=True)

        assert EMAIL not in whole_database().lower()
        assert EMAIL not in caplog.text
        assert "Wrong data of [erased]." in whole_database()
        assert LogEntry.objects.filter(change_message__contains="[erased]").exists()

    def test_the_audit_says_who_erased_what_and_why(self):
        row = delivered(subject=EMAIL)

        erase(subject=EMAIL)

        act, job = EventAct.objects.get(), Job.objects.get()
        assert (act.event, act.act, act.cloudevent_id, act.reason) == (
            row,
            Act.ERASE,
            row.event_id,
            "request 17",
        )
        assert (job.act, job.about, job.username, job.done) == (Act.ERASE, "one person, by subject", "ops", 1)

    def test_copies_are_found_like_any_other_event(self):
        origin = delivered(subject=EMAIL)
        copy = resend(origin.pk, ANA, "again")
        operations.replay(persons_filter(), ANA, "again")

        erase(path="customer.email", value=EMAIL, cancel=True)

        assert fresh(copy).state == State.CANCELLED
        assert OutboxEvent.objects.count() == 3
        assert all(is_blank(row) for row in OutboxEvent.objects.all())

    def test_the_difference_of_a_correction_goes_with_the_corrected_event(self):
        """The old one did not hold the address yet."""
        origin = dead({"email": ""})
        new = correct(origin.pk, {"email": EMAIL}, ANA, "it was missing")

        erase(path="email", value=EMAIL, cancel=True)

        assert is_blank(new)
        assert fresh(origin).body
        assert EventAct.objects.get(act=Act.CORRECT).details is None

    def test_a_body_that_was_blanked_before_loses_its_subject(self):
        row = delivered(subject=EMAIL, row={"body": ""})

        erase(subject=EMAIL)

        assert is_blank(row)


def persons_filter():
    from genesys_eventbridge.selection import EventFilter

    return EventFilter(subject=EMAIL)


class TestWhoseEvents:
    @pytest.mark.parametrize("other", ["ORD-70", "ORD-", "ord-7", " ORD-7", "ORD-7 ", "ORD_7", "ORD%"])
    @pytest.mark.parametrize("name", ["subject", "ordering_key"])
    def test_others_are_untouched_however_similar(self, name, other):
        ours, theirs = delivered(**{name: "ORD-7"}), delivered(**{name: other})

        done = erase(**{name: "ORD-7"})

        assert done.ids == [ours.pk]
        assert fresh(theirs).body == theirs.body
        assert getattr(fresh(theirs), name) == other

    def test_by_object(self):
        ours = delivered(row={"object_type": "shop.customer", "object_id": "9"})
        others = [
            delivered(row={"object_type": "shop.customer", "object_id": "99"}),
            delivered(row={"object_type": "shop.order", "object_id": "9"}),
            delivered(),
        ]

        assert erase(about="shop.Customer:9").ids == [ours.pk]
        assert all(fresh(row).body for row in others)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("customer.email", EMAIL),
            ("data.customer.email", EMAIL),
            ("customer.name", "Zoë"),
            ("items.1.to", EMAIL),
            ("n", "4711"),
            ("dotted.name", "x"),
            ("a.dotted.name.b", 'quoted " \\ \n text %_'),
            ("flag", "true"),
            ("nothing", "null"),
            ("float", "0.5"),
            ("text", "7"),
            ("smile", "😀"),
        ],
    )
    def test_by_a_value_in_the_data(self, path, value):
        ours = delivered(
            {
                **DATA,
                "dotted.name": "x",
                "a": {"dotted.name": {"b": 'quoted " \\ \n text %_'}},
                "flag": True,
                "nothing": None,
                "float": 0.5,
                "text": "7",
                "smile": "😀",
            }
        )
        delivered({"other": "data"})

        assert erase(path=path, value=value).ids == [ours.pk]
        assert is_blank(ours)

    @pytest.mark.parametrize(
        "data",
        [
            {"customer": {"email": EMAIL.upper()}},
            {"customer": {"email": f"{EMAIL}.de"}},
            {"customer": {"email": f" {EMAIL}"}},
            {"customer": {"email": [EMAIL]}},
            {"customer": {"email": {"to": EMAIL}}},
            {"customer": {"mail": EMAIL}},
            {"email": EMAIL},
            {"note": EMAIL, "customer": None},
            {"customer": [{"email": EMAIL}]},
            {"data": {"customer": {}}, "customer.mail": EMAIL},
            [EMAIL],
            EMAIL,
            EMAIL.encode(),
        ],
        ids=str,
    )
    def test_a_value_elsewhere_or_a_similar_one_is_somebody_elses(self, data):
        keywords = {"datacontenttype": "application/octet-stream"} if isinstance(data, bytes) else {}
        row = delivered(data, **keywords)

        done = erase(path="customer.email", value=EMAIL)

        assert (done.count, done.left) == (0, 0)
        assert fresh(row).body == row.body

    @pytest.mark.parametrize(
        ("value", "data"), [("1", True), ("7", 7.0), ("7", "07"), ("null", ""), ("7", [7])]
    )
    def test_numbers_and_words_of_json_are_compared_as_written(self, value, data):
        delivered({"n": data})

        assert erase(path="n", value=value).count == 0

    def test_a_number_and_the_same_text_are_both_meant(self):
        rows = [delivered({"n": 7}), delivered({"n": "7"})]

        assert erase(path="n", value="7").ids == [row.pk for row in rows]

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_model_that_is_neither_installed_nor_that_of_an_event_is_named(self, dry_run):
        with pytest.raises(ValueError, match=r"no installed app has the model shop\.custmer, and no event"):
            erase(about="shop.Custmer:9", dry_run=dry_run)

    def test_a_removed_model_may_still_have_events(self):
        row = delivered(row={"object_type": "old.customer", "object_id": "9"})

        assert erase(about="old.Customer:9").ids == [row.pk]

    def test_an_installed_model_may_have_none(self):
        assert erase(about="auth.User:9").ids == []

    def test_a_proxy_counts_as_its_model(self):
        row = delivered(row={"object_type": "shop.product", "object_id": "9"})

        assert erase(about="shop.Bargain:9").ids == [row.pk]

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"subject": "a", "ordering_key": "b"},
            {"subject": "a", "path": "b", "value": "c"},
            {"path": "a"},
            {"value": "a"},
            {"path": "a", "value": ""},
            {"about": "shop.Customer"},
            {"about": "shop.Customer:"},
            {"about": "Customer:9"},
            {"subject": "a\0"},
        ],
        ids=str,
    )
    def test_what_would_match_nobody_or_everybody_is_refused(self, given):
        row = delivered()

        with pytest.raises(ValueError, match=r"^[^\0]*$"):
            erase(**given)

        assert fresh(row).body

    def test_the_repr_of_a_person_does_not_show_the_data(self):
        assert EMAIL not in repr(Person(path="a", value=EMAIL))
        assert EMAIL not in repr(Person(subject=EMAIL))


class TestStates:
    def test_unfinished_events_are_listed_and_skipped(self):
        rows = [
            event("order.created", DATA, subject=EMAIL),
            dead(subject=EMAIL),
            event("order.created", DATA, subject=EMAIL, row=ended(State.UNRESOLVED, Reason.CONFLICT)),
        ]

        done = erase(subject=EMAIL)

        assert skipped(done) == {"not finished: it has to be cancelled first": [row.pk for row in rows]}
        assert all(fresh(row).body == row.body and fresh(row).state == row.state for row in rows)

    def test_with_cancel_they_are_cancelled_and_erased_at_once(self):
        rows = [
            event("order.created", DATA, subject=EMAIL),
            dead(subject=EMAIL),
            event("order.created", DATA, subject=EMAIL, row=ended(State.UNRESOLVED, Reason.CONFLICT)),
        ]

        done = erase(subject=EMAIL, cancel=True)

        assert done.ids == [row.pk for row in rows]
        assert all(is_blank(row) and fresh(row).state == State.CANCELLED for row in rows)
        assert [(act.from_state, act.to_state) for act in EventAct.objects.order_by("id")] == [
            (row.state, State.CANCELLED) for row in rows
        ]

    def test_what_waited_behind_a_cancelled_event_of_its_key_goes_on(self):
        head = dead(ordering_key="k")
        follower = event("order.created", {"other": 1}, ordering_key="k")
        assert claim().rows == []

        erase(path="customer.email", value=EMAIL, cancel=True)

        assert is_blank(head)
        assert [row.id for row in claim().rows] == [follower.pk]

    @pytest.mark.parametrize("cancel", [False, True])
    def test_accepted_events_and_those_in_flight_are_erased_once_they_are_finished(self, cancel):
        sent, flying, done = in_flight(subject=EMAIL), accepted(subject=EMAIL), delivered(subject=EMAIL)

        result = erase(subject=EMAIL, cancel=cancel)

        assert (result.ids, result.waits.ids, result.left) == ([done.pk], [sent.pk, flying.pk], 0)
        assert fresh(sent).body == sent.body
        job = Job.objects.get()
        assert job.state == JobState.QUEUED
        OutboxEvent.objects.filter(pk__in=[sent.pk, flying.pk]).update(
            **ended(State.DELIVERED, finished_at=DatabaseNow())
        )
        with shifted(jobs.LOOK_AGAIN + 1):
            jobs.work()
        job.refresh_from_db()
        assert is_blank(sent)
        assert is_blank(flying)
        assert (job.state, job.done) == (JobState.FINISHED, 3)

    def test_what_is_dead_in_the_end_is_skipped_without_cancel(self):
        row = accepted(subject=EMAIL)
        erase(subject=EMAIL)
        OutboxEvent.objects.filter(pk=row.pk).update(**ended(State.DEAD, Reason.DELIVERY_FAILED))

        with shifted(jobs.LOOK_AGAIN + 1):
            jobs.work()

        assert fresh(row).body
        assert (Job.objects.get().state, Job.objects.get().skipped) == (JobState.FINISHED, 1)

    def test_a_dry_run_says_the_same_and_writes_nothing(self):
        rows = [delivered(subject=EMAIL), dead(subject=EMAIL), accepted(subject=EMAIL)]

        foreseen = erase(subject=EMAIL, dry_run=True)

        assert not Job.objects.exists()
        assert all(fresh(row).body == row.body for row in rows)
        done = erase(subject=EMAIL)
        assert (foreseen.ids, skipped(foreseen), foreseen.waits.ids) == (
            done.ids,
            skipped(done),
            done.waits.ids,
        )

    def test_events_that_are_enqueued_later_never_join(self):
        delivered(subject=EMAIL)
        erase(subject=EMAIL)
        later = delivered(subject=EMAIL)

        jobs.work()

        assert fresh(later).subject == EMAIL


class TestReason:
    def test_a_reason_is_wanted(self):
        with pytest.raises(ValueError, match="reason"):
            operations.erase(ANA, " ", subject=EMAIL)

    def test_a_reason_that_holds_the_data_is_refused(self):
        row = delivered(subject=EMAIL)

        with pytest.raises(ValueError, match="must not contain") as caught:
            operations.erase(ANA, f"{EMAIL.upper()} asked for it", subject=EMAIL)

        assert EMAIL not in str(caught.value).lower()
        assert fresh(row).body
        assert not Job.objects.exists()

    def test_a_reason_may_hold_a_longer_word(self):
        delivered(subject="7")

        assert operations.erase(ANA, "request 17", subject="7").count == 1


class TestSurvey:
    def test_it_counts_by_state_and_looks_at_so_many_at_most(self, monkeypatch):
        monkeypatch.setattr(persons, "PAGE", 2)
        for _ in range(3):
            delivered(subject=EMAIL)
        dead(subject=EMAIL)

        whole = persons.survey(Person(subject=EMAIL), cancel=True)
        part = persons.survey(Person(subject=EMAIL), cancel=True, most=2)

        assert (whole.states, whole.complete) == ({State.DELIVERED: 3, State.DEAD: 1}, True)
        assert (part.states, part.complete) == ({State.DELIVERED: 2}, False)

    def test_a_value_is_found_page_by_page(self, monkeypatch):
        monkeypatch.setattr(persons, "PAGE", 2)
        monkeypatch.setattr(jobs, "BODIES", 2)
        rows = [delivered({"n": n % 2, "other": 1}) for n in range(7)]

        assert erase(path="n", value="1").ids == [row.pk for row in rows[1::2]]
        assert json.loads(fresh(rows[0]).body)["data"] == {"n": 0, "other": 1}


class TestCopiesMadeMeanwhile:
    def test_an_event_that_a_replay_made_after_the_listing_is_erased_with_its_origin(self):
        row = delivered(subject=EMAIL)
        job = persons.freeze(Person(subject=EMAIL), ANA, "request 17", cancel=True)
        new = resend(row.pk, ANA, "they lost it")

        jobs.work()

        job.refresh_from_db()
        assert (job.state, job.total, job.done) == (JobState.FINISHED, 2, 2)
        assert is_blank(row)
        assert is_blank(new)
        assert EMAIL not in whole_database()

    def test_a_replay_of_an_event_that_waits_for_its_erasure_is_erased_with_it(self):
        row = accepted(subject=EMAIL)
        erase(subject=EMAIL, cancel=True)
        operations.replay(EventFilter(), ANA, "again")
        OutboxEvent.objects.filter(pk=row.pk).update(**ended(State.DELIVERED, finished_at=DatabaseNow()))
        Job.objects.filter(act=Act.ERASE).update(due_at=DatabaseNow(-1))

        jobs.work()

        assert OutboxEvent.objects.exclude(body="").count() == 0
        assert EMAIL not in whole_database()

    def test_without_cancel_such_a_copy_is_skipped_and_counted(self):
        row = delivered(subject=EMAIL)
        job = persons.freeze(Person(subject=EMAIL), ANA, "request 17")
        new = resend(row.pk, ANA, "they lost it")

        jobs.work()

        job.refresh_from_db()
        assert jobs.total(job).skipped[Skip.UNFINISHED].count == 1
        assert fresh(new).body

    def test_what_became_another_persons_by_a_correction_stays(self):
        row = dead()
        person = Person(path="customer.email", value=EMAIL)
        persons.freeze(person, ANA, "request 17", cancel=True)
        new = correct(row.pk, {"customer": {"email": "ben@example.com"}}, ANA, "wrong customer")

        jobs.work()

        assert is_blank(row)
        assert fresh(new).state == State.PENDING
        assert fresh(new).body
