"""What a person is asked before an act: always why, and what the act needs besides."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge import conf
from genesys_eventbridge.operations import Resolution
from genesys_eventbridge.operations.audit import MAX_REASON

DAY = 86400


class ActForm(forms.Form):
    """The reason; nobody acts without one."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text=_("Kept with each event, with your name and the time."),
    )


class SpreadForm(ActForm):
    """For acts that make many events due at once."""

    spread = forms.IntegerField(
        label=_("Spread over seconds"),
        min_value=0,
        max_value=DAY,
        required=False,
        help_text=_("For many events: send them bit by bit, to avoid a new wave."),
    )


class ResolveForm(ActForm):
    """What the person found out; a possible duplicate must be accepted in so many words."""

    OUTCOMES = [
        (Resolution.DELIVERED.value, _("It was delivered")),
        (Resolution.NOT_DELIVERED.value, _("It was not delivered: send it again")),
        (Resolution.GIVE_UP.value, _("Give up: nobody needs it any more")),
    ]
    outcome = forms.ChoiceField(label=_("What happened"), choices=OUTCOMES, widget=forms.RadioSelect)
    accept_duplicates = forms.BooleanField(
        label=_("Send also those that may have been delivered already"),
        required=False,
        help_text=_(
            "Only for “not delivered”: they go out under a new key, so the platform may take them twice."
        ),
    )
    field_order = ("outcome", "accept_duplicates", "reason")


class MoveForm(ActForm):
    """Where to, and what the person knows about the organisations behind the two names."""

    to = forms.ChoiceField(label=_("To"), choices=lambda: [(alias, alias) for alias in conf.aliases()])
    same_organisation = forms.BooleanField(
        label=_("It is the same organisation under another name"),
        required=False,
        help_text=_("Keys and ids hold there: what may have been delivered already can be moved, too."),
    )
    accept_duplicates = forms.BooleanField(
        label=_("Send also those that may have been delivered already"),
        required=False,
        help_text=_("They go out under a new key, so they may be delivered twice."),
    )
    field_order = ("to", "same_organisation", "accept_duplicates", "reason")


class ResendForm(ActForm):
    """``once`` makes a form that is sent twice one new event."""

    once = forms.CharField(max_length=64, widget=forms.HiddenInput)


class PauseForm(ActForm):
    """For how long a destination is held."""

    minutes = forms.IntegerField(
        label=_("For how many minutes"),
        min_value=1,
        max_value=365 * 1440,
        required=False,
        help_text=_("Empty: until somebody resumes it."),
    )
    field_order = ("minutes", "reason")

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fields["reason"].help_text = _("Shown to everybody, with your name.")

    def seconds(self) -> float | None:
        minutes: Any = self.cleaned_data["minutes"]
        return None if minutes is None else minutes * 60.0


class ResumeForm(forms.Form):
    """A reason is welcome, not needed: going on is the normal state."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
    )
    also_trouble = forms.BooleanField(
        label=_("Try at once also where trouble paused it"),
        required=False,
        help_text=_("One event is sent as a probe; where it fails, the destination pauses again."),
    )
