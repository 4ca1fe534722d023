"""eventbridge_replay, _resend and _erase: what they say before they act, and what they leave for a person."""

import datetime as dt
import json

import pytest
from django.utils import timezone

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import EventAct, Job, OutboxEvent
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import claim, ended, event, fresh
from tests.prompt import run, run_json

pytestmark = pytest.mark.django_db

BECAUSE = ("--because", "request 17")
EMAIL = "zoe@example.com"


def delivered(kind="order.created", data=None, *, ago=0, **keywords) -> OutboxEvent:
    columns = ended(State.DELIVERED, finished_at=DatabaseNow(), accepted_at=DatabaseNow(-ago))
    return event(kind, data, row=columns, **keywords)


def dead(data, **keywords) -> OutboxEvent:
    return event("order.created", data, row=ended(State.DEAD, Reason.REJECTED), **keywords)


class TestReplay:
    def test_a_time_range_of_one_type_is_sent_again(self):
        now = timezone.now()
        wanted = delivered(ago=3600)
        for other in (delivered("order.paid", ago=3600), delivered(ago=0), delivered(ago=9000)):
            assert other.pk
        since, until = (now - dt.timedelta(minutes=ago) for ago in (90, 30))
        span = ("--since", since.isoformat(), "--until", until.isoformat())

        ran = run("replay", "--type", "order.created", *span, *BECAUSE)

        new = OutboxEvent.objects.get(origin__isnull=False)
        assert new.origin == wanted
        assert "Replayed 1 event (type order.created, accepted since" in ran.out
        assert "  Consumers get each of them a second time: 1 duplicate.\n" in ran.out
        assert f"-> manage.py eventbridge_replay --stop {Job.objects.get().pk} --because TEXT" in ran.out
        assert ran.code == 0
        assert EventAct.objects.get().reason == "request 17"

    def test_a_dry_run_counts_types_duplicates_and_what_is_skipped(self):
        delivered()
        delivered("order.paid")
        blanked = delivered()
        OutboxEvent.objects.filter(pk=blanked.pk).update(body="")

        ran = run("replay", "--since", "1h", "--rate", "60", "--dry-run")

        assert "Would replay 2 events of 3 (" in ran.out
        assert "  order.created 2 · order.paid 1\n" in ran.out
        assert "  Consumers would get each of them a second time: 2 duplicates.\n" in ran.out
        assert f"  Skipped: 1 (its body was blanked: there is nothing to send): {blanked.pk}" in ran.out
        assert "They become due over 2 s; workers send them." in ran.out
        assert "Nothing was changed (dry run)." in ran.out
        assert (ran.code, OutboxEvent.objects.count(), Job.objects.count()) == (0, 3, 0)

    def test_skipped_events_need_a_person(self):
        delivered()
        pending = event()

        ran = run_json("replay", "--type", "order.created", *BECAUSE)

        assert ran.code == 3
        assert ran.data["count"] == 1
        assert ran.data["skipped"] == [
            {"reason": "already waiting to be sent", "count": 1, "ids": [pending.pk]}
        ]

    def test_it_can_be_stopped_afterwards(self):
        for _ in range(3):
            delivered()
        job = run_json("replay", "--since", "1h", "--rate", "1", *BECAUSE).data["jobs"][0]
        [sent] = claim().rows

        ran = run("replay", "--stop", str(job), "--because", "wrong hour")

        assert f"Stopped replay {job}: 2 new events cancelled." in ran.out
        assert f"  Skipped: 1 (an attempt was made to send it): {sent.id}" in ran.out
        assert OutboxEvent.objects.filter(state=State.CANCELLED).count() == 2
        assert set(EventAct.objects.filter(act=Act.CANCEL).values_list("reason", flat=True)) == {"wrong hour"}
        assert "was stopped before" in run("replay", "--stop", str(job), *BECAUSE).error

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ((), "give filters"),
            (("--type", "t", "--rate", "0"), "--rate"),
            (("--type", "t", "--spread", "-1"), "--spread"),
            (("--state", "dead"), "--state"),
            (("--stop", "1", "--dry-run"), "--stop"),
        ],
    )
    def test_wrong_flags_are_usage_errors(self, flags, named):
        ran = run("replay", *flags, *BECAUSE)

        assert (ran.code > 0, named in ran.error) == (True, True)
        assert not Job.objects.exists()

    def test_a_reason_is_wanted(self):
        assert (ran := run("replay", "--since", "1h")).code == 2
        assert "--because" in ran.error

    def test_there_is_no_such_replay(self):
        ran = run("replay", "--stop", "77", *BECAUSE)

        assert (ran.code, "no replay 77" in ran.error) == (1, True)


class TestResend:
    def test_several_events_are_resent_as_new(self):
        first, second, pending = delivered(), delivered(), event()

        ran = run("resend", str(first.pk), second.event_id, str(pending.pk), *BECAUSE)

        new = list(OutboxEvent.objects.filter(origin__isnull=False).order_by("id"))
        assert [row.origin_id for row in new] == [first.pk, second.pk]
        assert "Resent 2 events as new." in ran.out
        assert f"  {first.pk} is sent again as {new[0].pk}\n" in ran.out
        assert f"(only a delivered event can be resent as new): {pending.pk}" in ran.out
        assert ran.code == 3

    def test_a_dead_event_is_corrected(self):
        origin = dead({"amount": "12,50", "password": "s3cret"}, ordering_key="k")
        event(ordering_key="k")
        data = {"amount": 12.5, "password": "new"}

        ran = run("resend", str(origin.pk), "--data", json.dumps(data), *BECAUSE)

        new = OutboxEvent.objects.get(origin=origin)
        assert new.data == data
        assert fresh(origin).state == State.CANCELLED
        assert (
            f"Sent event {origin.pk} with corrected data as {new.pk}; the old one is cancelled.\n"
            '  data.amount: "12,50" -> 12.5\n'
            '  data.password: "[redacted]" -> "[redacted]"\n'
            "  It goes to the end of its ordering key, behind 1 event.\n"
        ) in ran.out
        assert ran.code == 0

    def test_a_dry_run_shows_the_difference_and_the_schema_is_checked(self, settings):
        origin = dead({"amount": "12,50"})
        schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.created": schema}}
        }

        ran = run_json("resend", str(origin.pk), "--data", '{"amount": 12.5}', "--dry-run")
        wrong = run("resend", str(origin.pk), "--data", '{"amount": "twelve"}', "--dry-run")

        assert (ran.code, ran.data["changes"]) == (
            0,
            [{"path": "data.amount", "before": "12,50", "after": 12.5}],
        )
        assert ran.data["new"] == []
        assert (wrong.code, "data.amount" in wrong.error) == (1, True)
        assert "twelve" not in wrong.error
        assert fresh(origin).state == State.DEAD
        assert OutboxEvent.objects.count() == 1

    def test_a_hidden_value_that_is_left_stays_as_it_is(self):
        """Data that was edited from ``eventbridge_show --payload`` contains masks."""
        origin = dead({"amount": "12,50", "password": "s3cret"})

        run("resend", str(origin.pk), "--data", '{"amount": 12.5, "password": "[redacted]"}', *BECAUSE)

        assert OutboxEvent.objects.get(origin=origin).data == {"amount": 12.5, "password": "s3cret"}

    def test_a_mask_that_stands_for_nothing_is_refused(self):
        origin = dead({"amount": "12,50", "password": "s3cret"})

        ran = run("resend", str(origin.pk), "--data", '{"amount": "[redacted]"}', *BECAUSE)

        assert (ran.code, fresh(origin).state) == (2, State.DEAD)
        assert "data.amount: it is not clear which hidden value" in ran.error

    def test_two_members_of_one_name_are_refused(self):
        origin = dead({"amount": "12,50"})

        ran = run("resend", str(origin.pk), "--data", '{"amount": 1, "amount": 2}', *BECAUSE)

        assert (ran.code, fresh(origin).state) == (2, State.DEAD)
        assert "two members of the same name" in ran.error

    def test_only_one_event_is_corrected_at_a_time(self):
        ran = run("resend", str(dead(1).pk), str(dead(2).pk), "--data", "3", *BECAUSE)

        assert (ran.code, "--data" in ran.error) == (2, True)


class TestErase:
    def test_a_dry_run_shows_the_counts(self):
        delivered(subject=EMAIL)
        waiting = event(subject=EMAIL)

        ran = run("erase", "--subject", EMAIL, "--dry-run")

        assert "Would erase 1 event (one person, by subject).\n  By state: delivered 1\n" in ran.out
        assert f"  Skipped: 1 (not finished: it has to be cancelled first): {waiting.pk}\n" in ran.out
        assert "  To cancel and erase those, too, add --cancel.\n" in ran.out
        assert OutboxEvent.objects.filter(subject=EMAIL).count() == 2

    def test_it_erases_and_names_what_is_left(self):
        delivered(subject=EMAIL)
        row = event(subject=EMAIL)
        flight = {"claim_token": "0" * 32, "in_doubt_since": DatabaseNow(), "due_at": DatabaseNow(60)}
        sent = event(subject=EMAIL, row=flight)

        ran = run("erase", "--subject", EMAIL, *BECAUSE)

        assert "Erased 1 event (one person, by subject)." in ran.out
        assert "  Later: 1 event accepted or being sent. A worker erases them" in ran.out
        assert f"once they are finished: {sent.pk}" in ran.out
        assert ran.code == 3
        assert set(OutboxEvent.objects.filter(subject=EMAIL)) == {row, sent}
        assert EMAIL not in ran.out

    def test_cancel_takes_the_others_along(self):
        rows = [event("order.created", {"a": [{"mail": EMAIL}]}) for _ in range(2)]
        rows.append(delivered("order.created", {"a": [{"mail": EMAIL}]}))

        ran = run_json("erase", "--path", "a.0.mail", "--value", EMAIL, "--cancel", *BECAUSE)

        assert (ran.code, ran.data["count"], ran.data["done"]) == (0, 3, [row.pk for row in rows])
        assert ran.data["states"] == {"pending": 2, "delivered": 1}
        assert not OutboxEvent.objects.exclude(body="").exists()

    @pytest.mark.parametrize(
        "flags",
        [
            (),
            ("--subject", "a", "--about", "a.B:1"),
            ("--path", "a"),
            ("--value", "a"),
            ("--about", "customer"),
        ],
    )
    def test_wrong_flags_are_usage_errors(self, flags):
        ran = run("erase", *flags, *BECAUSE)

        assert (ran.code, "--subject, --ordering-key" in ran.error) == (2, True)

    def test_a_misspelt_model_is_a_usage_error(self):
        ran = run("erase", "--about", "shop.Custmer:1", "--dry-run")

        assert (ran.code, "--about: object: no installed app has the model shop.custmer" in ran.error) == (
            2,
            True,
        )

    def test_the_reason_must_not_hold_the_data(self):
        delivered(subject=EMAIL)

        ran = run("erase", "--subject", EMAIL, "--because", f"{EMAIL} asked")

        assert (ran.code, "--because" in ran.error, EMAIL in ran.error) == (2, True, False)
        assert OutboxEvent.objects.filter(subject=EMAIL).exists()
