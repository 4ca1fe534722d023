"""model-utils and dirtyfields: libraries that remember what an instance was, or set more than one column."""

import pytest
from django.db.models.signals import post_save

from tests.publishing import Publish, rolled_back, types
from tests.third_party.models import Article, Profile
from tests.third_party.rows import assert_tells_its_row, row

pytestmark = pytest.mark.django_db(transaction=True)

COLUMNS = ["title", "status", "status_changed", "body", "_body_excerpt", "modified"]
ARTICLE = {
    "created": "article.created",
    "updated": "article.updated",
    "deleted": "article.deleted",
    "fields": {name: name for name in COLUMNS},
}
PROFILE = {"created": "profile.created", "updated": "profile.updated", "fields": ["name", "city"]}
BODY = "First\n<!-- split -->\nSecond"


def test_the_tracker_knows_what_changed_as_before(maybe_publish: Publish):
    maybe_publish(Article, **ARTICLE, changed=["status"])

    article = Article(title="Tides", body=BODY)
    assert article.tracker.has_changed("title")
    article.save()
    assert article.tracker.changed() == {}
    article.status = "published"
    assert article.tracker.changed() == {"status": "draft"}
    article.title = "Ebb"
    article.save(update_fields=["status"])
    assert article.tracker.changed() == {"title": "Tides"}
    article.refresh_from_db()
    assert article.tracker.changed() == {}
    lazy = Article.objects.only("title").get(pk=article.pk)
    assert not lazy.tracker.has_changed("status")
    lazy.status = "draft"
    assert lazy.tracker.previous("status") == "published"
    assert lazy.status == "draft"


def test_receivers_of_a_save_see_in_the_tracker_what_changed_as_before(maybe_publish: Publish):
    maybe_publish(Article, **ARTICLE, changed=["status"])
    seen = []

    def look(instance: Article, **_: object) -> None:
        seen.append(instance.tracker.changed())

    article = Article.objects.create(title="Tides", body=BODY)
    article.status = "published"
    post_save.connect(look, sender=Article)
    try:
        article.save()
    finally:
        post_save.disconnect(look, sender=Article)

    assert seen == [{"status": "draft"}]


def test_the_monitor_and_the_excerpt_work_as_before(maybe_publish: Publish):
    maybe_publish(Article, **ARTICLE, changed=["status"])

    article = Article.objects.create(title="Tides", body=BODY)
    first = article.status_changed
    article.title = "Ebb"
    article.save()
    assert article.status_changed == first
    article.status = "published"
    article.save()

    assert article.status_changed > first
    assert article.body.excerpt == "First"
    assert article.body.has_more


def test_columns_that_pre_save_sets_are_told_as_they_were_written(publish: Publish):
    publish(Article, **ARTICLE)

    article = Article.objects.create(title="Tides", body=BODY)
    held = assert_tells_its_row("article.created", Article, article.pk, *COLUMNS)
    assert held["_body_excerpt"] == "First"
    article.status = "published"
    article.body = "One\n<!-- split -->\nTwo"
    article.save()
    held = assert_tells_its_row("article.updated", Article, article.pk, *COLUMNS)

    assert held["_body_excerpt"] == "One"


def test_what_pre_save_set_and_update_fields_left_out_is_not_told(publish: Publish):
    publish(Article, **ARTICLE)
    article = Article.objects.create(title="Tides", body=BODY)
    before = row(Article, article.pk, *COLUMNS)

    article.status = "published"
    article.body = "Never saved"
    article.save(update_fields=["status"])

    held = assert_tells_its_row("article.updated", Article, article.pk, *COLUMNS)
    assert held == {**before, "status": "published"}


@pytest.mark.parametrize("watched", ["status_changed", "_body_excerpt"])
def test_a_column_that_only_pre_save_sets_counts_as_changed(publish: Publish, watched: str):
    publish(Article, **ARTICLE, changed=[watched])
    article = Article.objects.create(title="Tides", body=BODY)

    article.title = "Ebb"
    article.save()
    assert types() == ["article.created"]
    article.status = "published"
    article.body = "One\n<!-- split -->\nTwo"
    article.save()

    assert_tells_its_row("article.updated", Article, article.pk, *COLUMNS)
    assert types() == ["article.created", "article.updated"]


def test_a_tracked_save_that_was_rolled_back_leaves_nothing_in_the_next_event(publish: Publish):
    publish(Article, **ARTICLE)
    article = Article.objects.create(title="Tides", body=BODY)
    with rolled_back():
        article.status = "published"
        article.save()

    article.title = "Ebb"
    article.save(update_fields=["title"])

    assert assert_tells_its_row("article.updated", Article, article.pk, *COLUMNS)["status"] == "draft"


def test_dirty_fields_are_known_as_before(maybe_publish: Publish):
    maybe_publish(Profile, **PROFILE, changed=["city"])

    profile = Profile.objects.create(name="Ada", city="London")
    assert not profile.is_dirty()
    profile.city = "Paris"
    assert profile.get_dirty_fields() == {"city": "London"}
    profile.name = "Lovelace"
    profile.save(update_fields=["city"])
    assert profile.get_dirty_fields() == {"name": "Ada"}
    profile.save_dirty_fields()
    assert not profile.is_dirty()
    assert row(Profile, profile.pk, "name", "city") == {"name": "Lovelace", "city": "Paris"}


def test_saving_only_dirty_fields_publishes_the_whole_row(publish: Publish):
    publish(Profile, **PROFILE, changed=["city"])
    profile = Profile.objects.create(name="Ada", city="London")
    stale = Profile.objects.get(pk=profile.pk)
    profile.name = "Lovelace"
    profile.save_dirty_fields()
    assert types() == ["profile.created"]

    stale.city = "Paris"
    stale.save_dirty_fields()

    held = assert_tells_its_row("profile.updated", Profile, profile.pk, "name", "city")
    assert held == {"name": "Lovelace", "city": "Paris"}
    assert types() == ["profile.created", "profile.updated"]
