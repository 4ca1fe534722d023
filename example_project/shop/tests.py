"""The shop's own tests: `manage.py test` in this folder. They need no platform and no credentials."""

from django.test import TestCase

from genesys_eventbridge.testing import EventBridgeTestMixin
from shop.models import Customer, Order


class OrderTests(EventBridgeTestMixin, TestCase):
    def setUp(self) -> None:
        super().setUp()
        ana = Customer.objects.create(name="Ana", email="ana@example.com")
        self.order = Order.objects.create(number="ORD-1", amount="19.90", customer=ana)

    def test_a_new_order_goes_both_ways_and_survives_an_outage(self) -> None:
        self.eventbridge_sandbox.fail_next(503, times=2)
        self.eventbridge_sandbox.fail_next(503, on="webhook")

        report = self.eventbridge_drain()

        self.assertTrue(report.idle, report)
        received = self.eventbridge_sandbox.received
        self.assertEqual([event["type"] for event in received], ["order.created"] * 2)

    def test_a_payment_is_announced_after_the_order(self) -> None:
        self.order.status = Order.Status.PAID
        self.order.save()

        self.eventbridge_outbox.assert_enqueued("order.created", subject="ORD-1", count=2)
        self.eventbridge_outbox.assert_enqueued("order.status_changed", data={"status": "paid"})
