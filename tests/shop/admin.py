"""A separate admin site for the shop, so that the default site stays as the package defines it."""

from django.contrib import admin

from tests.shop.models import LineItem, Order

shop_admin = admin.AdminSite(name="shop")


class LineItemInline(admin.TabularInline):
    model = LineItem


@admin.register(Order, site=shop_admin)
class OrderAdmin(admin.ModelAdmin):
    inlines = [LineItemInline]
