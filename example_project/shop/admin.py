"""The shop's admin, to place orders by hand and watch their events."""

from django.contrib import admin

from shop.models import Customer, Order


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "email"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["number", "customer", "amount", "currency", "status"]
    list_filter = ["status"]
    search_fields = ["number"]
