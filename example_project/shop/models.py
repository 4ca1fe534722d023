"""The shop's models. Saving an order publishes its events."""

from django.db import models

from genesys_eventbridge.model_events import publishes


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField()

    def __str__(self) -> str:
        return self.name


# A new order goes two ways: to the event bus, and to an Architect workflow.
@publishes(
    created="order.created",
    fields=["number", "amount", "currency", "customer.email"],
    subject="number",
    ordering_key="number",
)
@publishes(
    created="order.created",
    fields=["number", "amount", "currency"],
    subject="number",
    destination="workflow",
)
@publishes(
    updated="order.status_changed",
    changed=["status"],
    fields=["number", "status"],
    subject="number",
    ordering_key="number",
)
class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        PAID = "paid"
        SHIPPED = "shipped"

    number = models.CharField(max_length=40, unique=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="EUR")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    status = models.CharField(max_length=20, choices=Status, default=Status.NEW)

    def __str__(self) -> str:
        return self.number
