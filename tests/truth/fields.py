"""Fields and descriptors such as libraries define: the row differs from the assigned value."""

from typing import Any

from django.db import models


class ShoutingField(models.CharField):
    """``pre_save`` returns a different value and leaves the attribute unchanged."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return str(super().pre_save(model_instance, add)).upper()


class RevisionField(models.IntegerField):
    """``pre_save`` sets the attribute, too: it counts the saves that write the column."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = 1 if add else (getattr(model_instance, self.attname) or 0) + 1
        setattr(model_instance, self.attname, value)
        return value


class MarkupField(models.TextField):
    """``pre_save`` sets another column: the rendered text in ``<name>_html``."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        setattr(model_instance, f"{self.name}_html", f"<p>{value}</p>")
        return value


class FoldedField(models.CharField):
    """``get_prep_value`` changes the written value: lower case, stripped."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return None if value is None else str(value).strip().lower()


class PairDescriptor:
    """One attribute that reads and writes two columns."""

    def __init__(self, first: str, second: str) -> None:
        self.names = (first, second)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return " ".join(getattr(instance, name) for name in self.names)

    def __set__(self, instance: Any, value: str) -> None:
        for name, part in zip(self.names, value.split(" ", 1), strict=True):
            setattr(instance, name, part)
