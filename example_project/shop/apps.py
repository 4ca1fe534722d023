"""The shop as Django loads it."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
