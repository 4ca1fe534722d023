"""simple-history and reversion: libraries that keep what a row was."""

import pytest
import reversion
from django.db import transaction
from reversion.models import Version

from genesys_eventbridge.model_events import enqueue_for
from tests.publishing import Publish, types
from tests.third_party.models import Contract, Poll
from tests.third_party.rows import assert_tells_its_row, row

pytestmark = pytest.mark.django_db(transaction=True)

POLL = {
    "created": "poll.created",
    "updated": "poll.updated",
    "deleted": "poll.deleted",
    "fields": ["question", "status"],
}
CONTRACT = {
    "created": "contract.created",
    "updated": "contract.updated",
    "fields": ["number", "status"],
}


def test_history_rows_are_written_as_before(maybe_publish: Publish):
    maybe_publish(Poll, **POLL, changed=["status"])

    poll = Poll.objects.create(question="Tea?")
    poll.status = "open"
    poll.save()
    poll.skip_history_when_saving = True
    poll.save()
    del poll.skip_history_when_saving
    pk = poll.pk
    poll.delete()

    kept = Poll.history.filter(id=pk).order_by("history_id")
    assert list(kept.values_list("history_type", "status")) == [
        ("+", "draft"),
        ("~", "open"),
        ("-", "open"),
    ]


def test_each_save_and_delete_of_a_model_with_history_publishes_its_row(publish: Publish):
    publish(Poll, **POLL)

    poll = Poll.objects.create(question="Tea?")
    assert_tells_its_row("poll.created", Poll, poll.pk, "question", "status")
    poll.status = "open"
    poll.question = "Coffee?"
    poll.save(update_fields=["status"])
    held = assert_tells_its_row("poll.updated", Poll, poll.pk, "question", "status")
    poll.skip_history_when_saving = True
    poll.save()
    assert_tells_its_row("poll.updated", Poll, poll.pk, "question", "status")
    poll.delete()

    assert held["question"] == "Tea?"
    assert types() == ["poll.created", "poll.updated", "poll.updated", "poll.deleted"]


def test_an_older_version_saved_from_the_history_publishes_what_changed(publish: Publish):
    publish(Poll, **POLL, changed=["status"])
    poll = Poll.objects.create(question="Tea?")
    poll.status = "open"
    poll.save()

    poll.history.earliest().instance.save()

    assert assert_tells_its_row("poll.updated", Poll, poll.pk, "question", "status")["status"] == "draft"
    assert types() == ["poll.created", "poll.updated", "poll.updated"]


def test_a_published_history_model_tells_of_each_row_of_the_history(publish: Publish):
    publish(Poll.history.model, created="poll.recorded", fields=["id", "status", "history_type"])

    poll = Poll.objects.create(question="Tea?")
    poll.status = "open"
    poll.save()

    newest = Poll.history.latest()
    assert types() == ["poll.recorded", "poll.recorded"]
    assert_tells_its_row("poll.recorded", Poll.history.model, newest.pk, "id", "status", "history_type")


def test_versions_are_kept_and_restored_as_before(maybe_publish: Publish):
    maybe_publish(Contract, **CONTRACT, changed=["status"])

    with reversion.create_revision():
        contract = Contract.objects.create(number="C-1")
    with reversion.create_revision():
        contract.status = "signed"
        contract.save()
    Version.objects.get_for_object(contract).last().revision.revert()

    assert Version.objects.get_for_object(contract).count() == 2
    assert row(Contract, contract.pk, "status") == {"status": "draft"}


def test_saves_in_a_revision_publish_and_a_revert_which_saves_raw_publishes_nothing(publish: Publish):
    publish(Contract, **CONTRACT)
    with reversion.create_revision():
        contract = Contract.objects.create(number="C-1")
    with reversion.create_revision():
        contract.status = "signed"
        contract.save()
    assert_tells_its_row("contract.updated", Contract, contract.pk, "number", "status")

    Version.objects.get_for_object(contract).last().revision.revert()

    assert types() == ["contract.created", "contract.updated"]
    with transaction.atomic():
        enqueue_for(Contract.objects.filter(pk=contract.pk), "updated")
    held = assert_tells_its_row("contract.updated", Contract, contract.pk, "number", "status")
    assert held["status"] == "draft"
