"""An admin site of the shop's own: the site of the tests' other pages stays as the package makes it."""

from django.contrib import admin

from tests.shop.models import LineItem, Order

shop_admin = admin.AdminSite(name="shop")


class LineItemInline(admin.TabularInline):
    model = LineItem


@admin.register(Order, site=shop_admin)
class OrderAdmin(admin.ModelAdmin):
    inlines = [LineItemInline]
