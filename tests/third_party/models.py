"""Models as in the documentation of each library; each test registers its events."""

import reversion
from dirtyfields import DirtyFieldsMixin
from django.db import models
from django_fsm import FSMField, FSMModelMixin, transition
from djmoney.models.fields import MoneyField
from model_utils import FieldTracker
from model_utils.fields import AutoLastModifiedField, MonitorField, SplitField
from model_utils.models import SoftDeletableModel
from mptt.models import MPTTModel, TreeForeignKey
from phonenumber_field.modelfields import PhoneNumberField
from polymorphic.models import PolymorphicModel
from safedelete.config import SOFT_DELETE_CASCADE
from safedelete.models import SafeDeleteModel
from simple_history.models import HistoricalRecords
from taggit.managers import TaggableManager
from treebeard.al_tree import AL_Node
from treebeard.mp_tree import MP_Node
from treebeard.ns_tree import NS_Node


class Poll(models.Model):
    """simple-history."""

    question = models.CharField(max_length=200)
    status = models.CharField(max_length=20, default="draft")
    history = HistoricalRecords()


class Genre(MPTTModel):
    """mptt."""

    name = models.CharField(max_length=50)
    parent = TreeForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")

    class MPTTMeta:
        order_insertion_by = ["name"]


class PathCategory(MP_Node):
    """treebeard: materialized path."""

    name = models.CharField(max_length=50)


class NestedCategory(NS_Node):
    """treebeard: nested sets."""

    name = models.CharField(max_length=50)


class ListedCategory(AL_Node):
    """treebeard: adjacency list."""

    name = models.CharField(max_length=50)
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, db_index=True, related_name="children_set"
    )
    sib_order = models.PositiveIntegerField()


class Project(PolymorphicModel):
    """polymorphic."""

    topic = models.CharField(max_length=30)


class ArtProject(Project):
    artist = models.CharField(max_length=30)


class ResearchProject(Project):
    supervisor = models.CharField(max_length=30)


class Vehicle(PolymorphicModel):
    """The same for one test, in which the child is registered first."""

    wheels = models.IntegerField(default=4)


class Car(Vehicle):
    brand = models.CharField(max_length=30)


class Article(models.Model):
    """model-utils: a tracker, and fields whose ``pre_save`` sets more than was assigned."""

    title = models.CharField(max_length=50)
    status = models.CharField(max_length=20, default="draft")
    status_changed = MonitorField(monitor="status")
    body = SplitField()
    modified = AutoLastModifiedField()

    tracker = FieldTracker(fields=["title", "status"])


class Note(SoftDeletableModel):
    """model-utils: a flag instead of a delete."""

    text = models.CharField(max_length=50)


class Client(SafeDeleteModel):
    """safedelete: a timestamp instead of a delete, also for related rows."""

    _safedelete_policy = SOFT_DELETE_CASCADE

    name = models.CharField(max_length=50)


class Contact(SafeDeleteModel):
    client = models.ForeignKey(Client, on_delete=models.CASCADE)
    email = models.CharField(max_length=50)


class Invoice(FSMModelMixin, models.Model):
    """django-fsm: the state changes by transitions only."""

    number = models.CharField(max_length=20)
    state = FSMField(default="new", protected=True)

    @transition(field=state, source="new", target="sent")
    def send(self):
        """The invoice is sent to the customer."""

    @transition(field=state, source="sent", target="paid")
    def pay(self):
        """The money has arrived."""


class Payment(models.Model):
    """django-money: one attribute, two columns."""

    reference = models.CharField(max_length=20)
    price = MoneyField(max_digits=14, decimal_places=2, default_currency="EUR")


class Caller(models.Model):
    """django-phonenumber-field: text in the row, an object in Python."""

    name = models.CharField(max_length=50)
    phone = PhoneNumberField(blank=True)


class Profile(DirtyFieldsMixin, models.Model):
    """django-dirtyfields."""

    name = models.CharField(max_length=50)
    city = models.CharField(max_length=50, blank=True)


class Recipe(models.Model):
    """taggit."""

    name = models.CharField(max_length=50)
    tags = TaggableManager()


@reversion.register()
class Contract(models.Model):
    """django-reversion."""

    number = models.CharField(max_length=20)
    status = models.CharField(max_length=20, default="draft")
