"""safedelete and model-utils: deletes that are saves."""

import pytest
from safedelete.config import HARD_DELETE

from tests.publishing import Publish, data, types
from tests.third_party.models import Client, Contact, Note
from tests.third_party.rows import assert_tells_its_row

pytestmark = pytest.mark.django_db(transaction=True)

CLIENT = {
    "created": "client.created",
    "updated": "client.updated",
    "deleted": "client.deleted",
    "fields": ["name", "deleted"],
}
CONTACT = {
    "updated": "contact.updated",
    "deleted": "contact.deleted",
    "fields": ["email", "deleted", "deleted_by_cascade"],
}
NOTE = {"updated": "note.updated", "deleted": "note.deleted", "fields": ["text", "is_removed"]}


def test_safedelete_hides_cascades_and_restores_as_before(maybe_publish: Publish):
    maybe_publish(Client, **CLIENT, changed=["deleted"])
    maybe_publish(Contact, **CONTACT, changed=["deleted"])

    client = Client.objects.create(name="Ada")
    Contact.objects.create(client=client, email="ada@example.com")
    client.delete()
    assert (Client.objects.count(), Client.deleted_objects.count()) == (0, 1)
    assert Contact.deleted_objects.get().deleted_by_cascade
    Client.deleted_objects.get().undelete()
    assert (Client.objects.count(), Contact.objects.count()) == (1, 1)
    Client.objects.all().delete()
    assert (Client.objects.count(), Contact.objects.count()) == (0, 0)
    Client.deleted_objects.all().undelete()
    assert (Client.objects.count(), Contact.objects.count()) == (1, 1)


def test_a_soft_delete_and_an_undelete_arrive_as_updated_for_each_row(publish: Publish):
    publish(Client, **CLIENT, changed=["deleted"])
    publish(Contact, **CONTACT, changed=["deleted"])
    client = Client.objects.create(name="Ada")
    contact = Contact.objects.create(client=client, email="ada@example.com")

    client.delete()

    assert types() == ["client.created", "contact.updated", "client.updated"]
    assert assert_tells_its_row("client.updated", Client, client.pk, "name", "deleted")["deleted"]
    assert data()[1]["deleted_by_cascade"] is True
    Client.deleted_objects.get().undelete()
    assert types()[3:] == ["client.updated", "contact.updated"]
    held = assert_tells_its_row(
        "contact.updated", Contact, contact.pk, "email", "deleted", "deleted_by_cascade"
    )
    assert held == {"email": "ada@example.com", "deleted": None, "deleted_by_cascade": False}


def test_a_queryset_that_deletes_softly_saves_each_row_and_publishes_it(publish: Publish):
    publish(Client, **CLIENT)
    client = Client.objects.create(name="Ada")

    Client.objects.all().delete()

    assert types() == ["client.created", "client.updated"]
    assert_tells_its_row("client.updated", Client, client.pk, "name", "deleted")


def test_a_save_of_a_softly_deleted_row_publishes_that_it_is_back(publish: Publish):
    publish(Client, **CLIENT, changed=["deleted"])
    client = Client.objects.create(name="Ada")
    client.delete()

    client.save()

    assert types() == ["client.created", "client.updated", "client.updated"]
    assert assert_tells_its_row("client.updated", Client, client.pk, "name", "deleted")["deleted"] is None


def test_a_hard_delete_publishes_a_delete(publish: Publish):
    publish(Client, **CLIENT)
    publish(Contact, **CONTACT)
    client = Client.objects.create(name="Ada")
    Contact.objects.create(client=client, email="ada@example.com")

    client.delete(force_policy=HARD_DELETE)

    assert types() == ["client.created", "contact.deleted", "client.deleted"]


def test_the_flag_of_model_utils_arrives_as_updated_and_a_real_delete_as_deleted(publish: Publish):
    publish(Note, **NOTE, changed=["is_removed"])
    note = Note.all_objects.create(text="Buy tea")

    note.delete()

    assert Note.available_objects.count() == 0
    assert assert_tells_its_row("note.updated", Note, note.pk, "text", "is_removed")["is_removed"] is True
    note.is_removed = False
    note.save()
    assert assert_tells_its_row("note.updated", Note, note.pk, "text", "is_removed")["is_removed"] is False
    note.delete(soft=False)
    assert types() == ["note.updated", "note.updated", "note.deleted"]
    assert data()[-1] == {"text": "Buy tea", "is_removed": False}


def test_the_flag_of_model_utils_hides_rows_as_before(maybe_publish: Publish):
    maybe_publish(Note, **NOTE, changed=["is_removed"])

    note = Note.all_objects.create(text="Buy tea")
    Note.available_objects.all().delete()

    assert (Note.available_objects.count(), Note.all_objects.count()) == (0, 1)
    note.refresh_from_db()
    assert note.is_removed
