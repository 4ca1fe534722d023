"""Plain models without events: each test registers what it needs."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge.model_events import EventManager


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(blank=True)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        PAID = "paid"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    number = models.CharField(max_length=40, unique=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    currency = models.CharField(max_length=3, default="EUR")
    customer = models.ForeignKey(
        Customer, null=True, blank=True, on_delete=models.CASCADE, related_name="orders"
    )
    status = models.CharField(max_length=20, choices=Status, default=Status.NEW)
    note = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.number


class LineItem(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField(default=1)
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.sku}"


class Tag(models.Model):
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Country(models.Model):
    """A natural key."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.code,)


class Product(models.Model):
    """One column of every kind that a payload may contain."""

    class Kind(models.IntegerChoices):
        GOODS = 1, _("Goods")
        SERVICE = 2, _("Service")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    stock = models.IntegerField(default=0)
    kind = models.IntegerField(choices=Kind, default=Kind.GOODS)
    released = models.DateField(null=True, blank=True)
    launched = models.DateTimeField(null=True, blank=True)
    manual = models.FileField(upload_to="manuals", blank=True)
    details = models.JSONField(default=dict, blank=True)
    origin = models.ForeignKey(Country, null=True, blank=True, on_delete=models.SET_NULL)
    supplier = models.ForeignKey(
        Customer, null=True, blank=True, on_delete=models.CASCADE, related_name="products"
    )
    tags = models.ManyToManyField(Tag, blank=True, related_name="products")
    similar = models.ManyToManyField("self", blank=True)

    objects = EventManager()

    def __str__(self) -> str:
        return self.name

    @property
    def headline(self) -> str:
        return f"{self.name} for {self.price}"

    def label(self) -> str:
        return self.name.upper()


class Bundle(Product):
    """A multi-table child."""

    size = models.PositiveIntegerField(default=1)


class Bargain(Product):
    """A proxy."""

    class Meta:
        proxy = True
