"""Rows with columns and relations of every kind."""

import uuid
from decimal import Decimal
from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F


class CommaSeparated(models.CharField):
    """A third-party field: text in the database, a list in Python."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return self.to_python(value)

    def to_python(self, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return ",".join(value) if isinstance(value, list) else value


class ShortCode(models.CharField):
    """A third-party field that only changes its own settings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 4, **kwargs})


class Region(models.Model):
    """A text key, used as foreign keys in other models."""

    code = models.CharField(max_length=2, primary_key=True, help_text="ISO 3166 code")
    tax = models.DecimalField(max_digits=3, decimal_places=2, default=0)

    def __str__(self) -> str:
        return self.code


class Label(models.Model):
    name = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.name


class Owner(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=10)
    email = models.EmailField(blank=True)
    region = models.ForeignKey(Region, null=True, on_delete=models.CASCADE, related_name="owners")
    mentor = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="pupils")
    labels = models.ManyToManyField(Label, related_name="owners")

    def __str__(self) -> str:
        return self.name


class Passport(models.Model):
    owner = models.OneToOneField(Owner, primary_key=True, on_delete=models.CASCADE, related_name="passport")
    number = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.number


class Visible(models.Manager):
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(hidden=False)


class Cover(models.Model):
    """Rows that its own base manager hides."""

    color = models.CharField(max_length=10)
    hidden = models.BooleanField(default=False)

    objects = models.Manager()
    visible = Visible()

    class Meta:
        base_manager_name = "visible"

    def __str__(self) -> str:
        return self.color


class Remark(models.Model):
    """Refers to any row through a generic foreign key."""

    words = models.TextField()
    # Tables without migrations are made before those of content types.
    content_type = models.ForeignKey(ContentType, null=True, on_delete=models.CASCADE, db_constraint=False)
    object_id = models.PositiveBigIntegerField(null=True)
    about = GenericForeignKey()

    def __str__(self) -> str:
        return self.words


class Item(models.Model):
    """A column of every kind."""

    class Size(models.TextChoices):
        SMALL = "s"
        LARGE = "l"

    text = models.CharField(max_length=20)
    long = models.TextField(max_length=5, blank=True)
    nothing = models.CharField(max_length=3, null=True)  # noqa: DJ001
    slug = models.SlugField(blank=True)
    code = ShortCode(blank=True)
    amount = models.DecimalField(max_digits=7, decimal_places=2, default=0, help_text="With | tax,\nin EUR")
    rating = models.DecimalField(max_digits=3, decimal_places=2, default=0)
    share = models.DecimalField(max_digits=2, decimal_places=2, default=0)
    ratio = models.FloatField(default=0)
    count = models.IntegerField(default=0)
    small = models.PositiveSmallIntegerField(null=True)
    big = models.BigIntegerField(default=0)
    flag = models.BooleanField(default=False)
    maybe = models.BooleanField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField()
    at = models.TimeField()
    span = models.DurationField()
    key = models.UUIDField(default=uuid.uuid4)
    address = models.GenericIPAddressField(null=True)
    mail = models.EmailField(blank=True)
    site = models.URLField()
    file = models.FileField(upload_to="files")
    path = models.FilePathField(blank=True)
    details = models.JSONField(null=True)
    json = models.JSONField()
    size = models.CharField(max_length=10, choices=Size, blank=True)
    shade = models.CharField(  # noqa: DJ001
        max_length=10,
        null=True,
        choices=[("Dark", [("black", "Black")]), ("Light", [("white", "White")]), (None, "?")],
    )
    stage = models.CharField(max_length=10, choices=[("a", "A"), ("b", "B")], default="")
    level = models.IntegerField(null=True, choices=[(0, "None"), (1, "One")])
    step = models.DecimalField(
        max_digits=3, decimal_places=2, choices=[(Decimal("0.5"), "Half"), (1, "Whole")]
    )
    blob = models.BinaryField(null=True)
    bytes = models.BinaryField(default=b"")
    parts = CommaSeparated(max_length=20)
    double = models.GeneratedField(
        expression=F("count") * 2, output_field=models.BigIntegerField(), db_persist=True
    )
    less = models.GeneratedField(
        expression=F("small") + 1, output_field=models.BigIntegerField(), db_persist=True
    )
    owner = models.ForeignKey(Owner, null=True, on_delete=models.CASCADE, related_name="items")
    maker = models.ForeignKey(Owner, on_delete=models.CASCADE, related_name="made")
    region = models.ForeignKey(Region, null=True, on_delete=models.CASCADE, related_name="items")
    loose = models.ForeignKey(
        Label, db_constraint=False, on_delete=models.DO_NOTHING, related_name="loose_items"
    )
    cover = models.ForeignKey(Cover, on_delete=models.CASCADE)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    labels = models.ManyToManyField(Label, related_name="items")
    remarks = GenericRelation(Remark)

    def __str__(self) -> str:
        return self.text

    @property
    def shout(self) -> str:
        return self.text.upper()

    @property
    def keeper(self) -> Owner | None:
        return self.owner

    def counted(self) -> list[int]:
        return [self.count]


class BoxedItem(Item):
    """A multi-table child."""

    weight = models.FloatField(default=0)


class LentItem(Item):
    """A proxy."""

    class Meta:
        proxy = True
