"""Models whose rows contain more than what was assigned, for the truth tests."""

import uuid

from django.db import models
from django.db.models import F
from django.utils.functional import cached_property

from genesys_eventbridge.model_events import EventManager
from tests.truth.fields import FoldedField, MarkupField, PairDescriptor, RevisionField, ShoutingField


class Region(models.Model):
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Owner(models.Model):
    email = models.EmailField()
    region = models.ForeignKey(Region, null=True, blank=True, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return self.email


class Label(models.Model):
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Specimen(models.Model):
    """One column of every kind that a payload may contain."""

    class Status(models.TextChoices):
        NEW = "new"
        DONE = "done"

    name = models.CharField(max_length=60, default="specimen", blank=True)
    note = models.TextField(default="", blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    count = models.IntegerField(default=1)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=1)
    ratio = models.FloatField(default=0.5)
    active = models.BooleanField(default=True)
    day = models.DateField(null=True, blank=True)
    moment = models.DateTimeField(null=True, blank=True)
    hour = models.TimeField(null=True, blank=True)
    span = models.DurationField(null=True, blank=True)
    code = models.UUIDField(default=uuid.uuid4)
    details = models.JSONField(default=dict, blank=True)
    manual = models.FileField(upload_to="manuals", blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    level = models.IntegerField(db_default=7)
    total = models.GeneratedField(
        expression=F("count") * 2, output_field=models.IntegerField(), db_persist=True
    )
    shout = ShoutingField(max_length=40, default="QUIET")
    revision = RevisionField(default=0, editable=False)
    body = MarkupField(default="", blank=True)
    body_html = models.TextField(default="", editable=False)
    slug = FoldedField(max_length=40, default="slug")
    first = models.CharField(max_length=40, default="Ada")
    last = models.CharField(max_length=40, default="Byron")
    owner = models.ForeignKey(
        Owner, null=True, blank=True, on_delete=models.CASCADE, related_name="specimens"
    )
    tags = models.ManyToManyField(Label, blank=True, related_name="specimens")

    full_name = PairDescriptor("first", "last")

    objects = EventManager()

    def __str__(self) -> str:
        return self.name

    @property
    def headline(self) -> str:
        return f"{self.name}: {self.count} in {self.status}"

    @cached_property
    def summary(self) -> str:
        return f"{self.name} of {self.owner.email if self.owner else 'no owner'}"


class Part(models.Model):
    """A child, reached by a reverse to-many path."""

    specimen = models.ForeignKey(Specimen, on_delete=models.CASCADE, related_name="parts")
    text = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.text


class ShownManager(models.Manager):
    """Hides soft-deleted rows."""

    def get_queryset(self) -> models.QuerySet:
        return super().get_queryset().filter(hidden=False)


class Shy(models.Model):
    """Even Django reads and writes it through a manager that hides rows."""

    name = models.CharField(max_length=40)
    hidden = models.BooleanField(default=False)
    patron = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE)

    everything = models.Manager()
    objects = ShownManager()

    class Meta:
        base_manager_name = "objects"
        default_manager_name = "objects"

    def __str__(self) -> str:
        return self.name


class Seat(models.Model):
    """A composite primary key."""

    pk = models.CompositePrimaryKey("line", "number")
    line = models.CharField(max_length=4)
    number = models.IntegerField()
    guest = models.CharField(max_length=40, default="")

    def __str__(self) -> str:
        return f"{self.line}{self.number}"


class Wrapped(models.Model):
    """Overrides save, save_base and delete with other signatures, as some libraries do."""

    name = models.CharField(max_length=40)
    gone = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, keep_gone: bool = False, **kwargs: object) -> None:
        if not keep_gone:
            self.gone = False
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def save_base(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("raw", False)
        super().save_base(*args, **kwargs)  # type: ignore[arg-type]

    def delete(self, *args: object, hard: bool = False, **kwargs: object) -> tuple[int, dict[str, int]]:
        if hard:
            return super().delete(*args, **kwargs)  # type: ignore[arg-type]
        self.gone = True
        self.save(keep_gone=True, update_fields=["gone"])
        return 0, {}


class Badge(models.Model):
    """A second parent, whose key has another name."""

    badge_number = models.AutoField(primary_key=True)
    text = models.CharField(max_length=40, default="")
    labels = models.ManyToManyField(Label, related_name="badges")

    def __str__(self) -> str:
        return self.text


class Guard(Owner, Badge):
    """Two parents: this row's key is that of the first."""

    post = models.CharField(max_length=40, default="")


class Chief(Badge):
    """A multi-table child whose key is not its parent's."""

    code = models.CharField(max_length=10, primary_key=True)
    badge = models.OneToOneField(Badge, parent_link=True, on_delete=models.CASCADE)


class Land(models.Model):
    """A text key: MySQL ignores its case."""

    code = models.CharField(max_length=10, primary_key=True)
    name = models.CharField(max_length=40, default="")

    objects = EventManager()

    def __str__(self) -> str:
        return self.code


class Embassy(models.Model):
    """Its key is another row's text key."""

    land = models.OneToOneField(Land, primary_key=True, on_delete=models.CASCADE)
    street = models.CharField(max_length=40, default="")

    def __str__(self) -> str:
        return self.street


class Word(models.Model):
    text = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.text


class Phrase(models.Model):
    """Rows that others refer to by ``to_field``, also in a many-to-many table."""

    slug = models.CharField(max_length=40, unique=True)
    words = models.ManyToManyField(Word, through="PhraseWord", related_name="phrases")

    def __str__(self) -> str:
        return self.slug


class PhraseWord(models.Model):
    phrase = models.ForeignKey(Phrase, to_field="slug", on_delete=models.CASCADE)
    word = models.ForeignKey(Word, to_field="text", on_delete=models.CASCADE)

    def __str__(self) -> str:
        return f"{self.phrase_id} {self.word_id}"


class Translation(models.Model):
    phrase = models.ForeignKey(Phrase, to_field="slug", on_delete=models.CASCADE, related_name="translations")
    text = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.text


class Bill(models.Model):
    """Only Django's own fields, and one that the database computes from them."""

    price = models.IntegerField(default=1)
    count = models.IntegerField(default=1)
    total = models.GeneratedField(
        expression=F("price") * F("count"), output_field=models.IntegerField(), db_persist=True
    )

    def __str__(self) -> str:
        return str(self.pk)
