"""The forms of the confirmation pages: always a reason, and what else the action needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import LONGEST_WAIT
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Person, Resolution, corrections
from genesys_eventbridge.operations.audit import MAX_REASON
from genesys_eventbridge.operations.erasure import mention
from genesys_eventbridge.reporting.exports import Format
from genesys_eventbridge.reporting.payloads import redact_keys
from genesys_eventbridge.text import REDACTED, strict_json
from genesys_eventbridge.text.differences import Difference, HiddenValue, restored

MINUTE, HOUR = 60, 3600
UNITS = ((1, _("seconds")), (MINUTE, _("minutes")), (HOUR, _("hours")))


def _reason(help_text: Any = "", *, required: bool = True) -> forms.CharField:
    return forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        required=required,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text=help_text,
    )


class ActForm(forms.Form):
    """The reason, required for every action; ``once`` makes a form that is submitted twice act once."""

    once = forms.UUIDField(widget=forms.HiddenInput, required=False)
    reason = _reason(_("Stored with your name and the time, for the audit."))


class ExportForm(ActForm):
    """The format of the file."""

    format = forms.ChoiceField(
        label=_("Format"),
        choices=Format.choices,
        initial=Format.JSON_LINES,
        required=False,
        widget=forms.RadioSelect,
    )
    field_order = ("format", "reason")

    def clean_format(self) -> str:
        return str(self.cleaned_data["format"] or Format.JSON_LINES)


class DurationWidget(forms.MultiWidget):
    """A number and its unit."""

    template_name = "admin/genesys_eventbridge/duration.html"
    use_fieldset = True

    def __init__(self) -> None:
        number = forms.NumberInput(attrs={"min": 0, "step": "any", "aria-label": _("Number")})
        unit = forms.Select(choices=UNITS, attrs={"aria-label": _("Unit")})
        super().__init__({"number": number, "unit": unit})

    def decompress(self, value: Any) -> list[Any]:
        """Seconds in the largest unit of which they are a whole number."""
        if not value:
            return [None, MINUTE]
        unit = next(seconds for seconds, _name in reversed(UNITS) if value % seconds == 0 or seconds == 1)
        return [value / unit, unit]


class DurationField(forms.MultiValueField):
    """A duration in seconds, given in the unit that suits; 0 if nothing was given."""

    widget = DurationWidget

    def __init__(self, **options: Any) -> None:
        number = forms.FloatField(min_value=0, required=False)
        unit = forms.TypedChoiceField(choices=UNITS, coerce=int, required=False)
        super().__init__(fields=(number, unit), require_all_fields=False, required=False, **options)

    def compress(self, values: list[Any]) -> float:
        seconds = (values[0] or 0.0) * (values[1] or MINUTE) if values else 0.0
        if seconds > LONGEST_WAIT:
            raise forms.ValidationError(_("At most 10 years."))
        return float(seconds)


class SpreadForm(ActForm):
    """For actions that make many events due at once: when the first is due, and over what time the rest."""

    delay = DurationField(label=_("Start in"), help_text=_("Leave empty to start now."))
    spread = DurationField(
        label=_("Spread over"), help_text=_("Sends the events gradually, to avoid a burst.")
    )
    field_order: Sequence[str] = ("reason", "delay", "spread")


class RequeueForm(SpreadForm):
    """For dead events; ``tail`` also takes the later dead ones of their ordering keys."""

    tail = forms.BooleanField(
        label=_("Also requeue the later dead events of the same ordering keys"),
        required=False,
        help_text=_("They are sent in their order, each after the one before it."),
    )
    field_order = ("reason", "tail", "delay", "spread")


class ReplayForm(SpreadForm):
    """When the new events become due: at a rate, or over a time."""

    rate = forms.FloatField(
        label=_("Events per minute"),
        min_value=0.001,
        max_value=1_000_000,
        required=False,
        widget=forms.NumberInput(attrs={"min": 0, "step": "any"}),
        help_text=_("At most this many; leave empty for no limit."),
    )
    field_order = ("reason", "delay", "rate", "spread")

    def clean_rate(self) -> float:
        rate: float | None = self.cleaned_data["rate"]
        return rate or 0.0


class CorrectForm(ActForm):
    """The data of one event as JSON, in which hidden values may stay hidden.

    ``seen`` is the digest of the data whose difference was shown; only that is sent.
    """

    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    corrected = forms.CharField(
        label=_("Data (JSON)"),
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 20, "cols": 80, "spellcheck": "false", "autocomplete": "off", "dir": "ltr"}
        ),
    )
    field_order = ("corrected", "reason")

    def __init__(self, event: OutboxEvent, **options: Any) -> None:
        super().__init__(**options)
        self.event = event
        self.changes: list[Difference] = []
        self.fields["corrected"].help_text = _(
            "“%(mask)s” stands for a hidden value. Leave it, and the value stays; or write a new one."
        ) % {"mask": REDACTED}

    @sensitive_variables()
    def clean_corrected(self) -> Any:
        keys = redact_keys(self.event.destination)
        try:
            given = strict_json.loads(self.cleaned_data["corrected"])
            data = restored(given, self.event.data, keys)
            self.changes = corrections.changed(self.event, data)
        except HiddenValue as error:
            raise forms.ValidationError(
                _("%(path)s: it is not clear which hidden value this stands for; write the value.")
                % {"path": error.path}
            ) from None
        except strict_json.NotJson as error:
            raise forms.ValidationError(_not_json(error)) from None
        except RecursionError:
            raise forms.ValidationError(_not_json(strict_json.TooDeep())) from None
        except EventBridgeError as error:
            raise forms.ValidationError(str(error)) from None
        return data

    @property
    def digest(self) -> str:
        """Of the data that was given."""
        return hashlib.sha256(self["corrected"].data.encode()).hexdigest()


def _not_json(error: strict_json.NotJson) -> Any:
    """The error in the reader's language."""
    why: Any = error
    match error:
        case strict_json.Malformed():
            return _("Not JSON: %(why)s in line %(line)s, column %(column)s.") % vars(error)
        case strict_json.NotAValue():
            why = _("%(name)s is not a JSON value") % vars(error)
        case strict_json.RepeatedName():
            why = _("an object has two members of the same name")
        case strict_json.TooDeep():
            why = _("it is nested too deeply")
    return _("Not JSON: %(why)s.") % {"why": why}


class EraseForm(ActForm):
    """What identifies the person. ``seen`` is the digest of what the page counted; only that is erased."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    by = forms.ChoiceField(
        label=_("Find their events by"),
        choices=[
            ("subject", _("Subject")),
            ("ordering_key", _("Ordering key")),
            ("about", _("Object, as shop.Customer:42")),
            ("value", _("A value in the data")),
        ],
        widget=forms.RadioSelect,
        initial="subject",
    )
    sought = forms.CharField(
        label=_("Exactly this"),
        strip=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 60}),
        help_text=_("Compared exactly, also upper and lower case. It is stored nowhere."),
    )
    path = forms.CharField(
        label=_("Path of the value"),
        required=False,
        widget=forms.TextInput(attrs={"size": 60}),
        help_text=_("Only for a value in the data: customer.email, or items.0.email; lists count from 0."),
    )
    cancel = forms.BooleanField(
        label=_("Also cancel and erase unfinished events"),
        required=False,
        help_text=_("Pending, dead and unresolved events. Without this they are skipped."),
    )
    field_order = ("by", "sought", "path", "cancel", "reason")

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not {"by", "sought"} <= given.keys():
            return given
        by = given["by"]
        path = {"path": given.get("path", "")} if by == "value" else {}
        try:
            person = Person(**{by: given["sought"]}, **path)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if mention([person.data]).search(given.get("reason", "")):
            self.add_error("reason", _("The reason is kept, so it must not contain the data to erase."))
        return {**given, "person": person}

    @property
    def digest(self) -> str:
        """Of everything that decides what is erased."""
        parts = [str(self[name].data) for name in ("by", "sought", "path", "cancel")]
        return salted_hmac("genesys_eventbridge.erase", json.dumps(parts), algorithm="sha256").hexdigest()


class ResolveForm(ActForm):
    """What the operator found out. A possible duplicate must be accepted explicitly."""

    outcome = forms.TypedChoiceField(
        label=_("What happened"),
        choices=[
            (Resolution.DELIVERED.value, _("It was delivered")),
            (Resolution.NOT_DELIVERED.value, _("It was not delivered: send it again")),
            (Resolution.GIVE_UP.value, _("Give up: it is no longer needed")),
        ],
        coerce=Resolution,
        widget=forms.RadioSelect,
    )
    accept_duplicates = forms.BooleanField(
        label=_("Also send events that may already have been delivered"),
        required=False,
        help_text=_(
            "Only for “not delivered”: to the platform they are other events, so it may accept them twice."
        ),
    )
    field_order = ("outcome", "accept_duplicates", "reason")


class MoveForm(ActForm):
    """The new destination, and whether both names stand for the same organisation."""

    to = forms.ChoiceField(label=_("To"), choices=lambda: [(alias, alias) for alias in conf.aliases()])
    same_organisation = forms.BooleanField(
        label=_("Same organisation under another name"),
        required=False,
        help_text=_("Keys and ids stay valid: events that may already have been delivered can be moved too."),
    )
    accept_duplicates = forms.BooleanField(
        label=_("Also send events that may already have been delivered"),
        required=False,
        help_text=_("To the platform they are other events, so they may be delivered twice."),
    )
    field_order = ("to", "same_organisation", "accept_duplicates", "reason")


class PauseForm(forms.Form):
    """How long to pause a destination, and why."""

    minutes = forms.IntegerField(
        label=_("Duration (minutes)"),
        min_value=1,
        max_value=365 * 1440,
        required=False,
        help_text=_("Leave empty to pause until resumed."),
    )
    reason = _reason(_("Shown to all users, with your name."))

    def seconds(self) -> float | None:
        minutes: Any = self.cleaned_data["minutes"]
        return None if minutes is None else minutes * 60.0


class ResumeForm(forms.Form):
    """The reason is optional here: running is the normal state."""

    reason = _reason(required=False)
    also_trouble = forms.BooleanField(
        label=_("Also end automatic pauses"),
        required=False,
        help_text=_("One event is sent as a probe; if it fails, the destination pauses again."),
    )
