"""E-mail, by Django's default mail backend."""

from __future__ import annotations

import smtplib
from typing import Any

from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage
from django.utils import translation

from genesys_eventbridge.alerts.channels.attempts import Attempt, NotSent
from genesys_eventbridge.conf.alerts import ADMINS
from genesys_eventbridge.text import clean


def send(attempt: Attempt) -> None:
    """Send one e-mail to all recipients. A backend without a timeout of its own gets the attempt's."""
    alerts, notice = attempt.alerts, attempt.notice
    recipients = admins() if alerts.email == ADMINS else list(alerts.email or ())
    if not recipients:
        raise NotSent("ADMINS is empty", 'set ADMINS, or list addresses: "email": ["ops@example.com"]')
    with translation.override(settings.LANGUAGE_CODE):
        text = notice.as_text()
    message = EmailMessage(
        clean(f"{settings.EMAIL_SUBJECT_PREFIX}{notice.title}", 200),
        text,
        settings.SERVER_EMAIL if alerts.email == ADMINS else settings.DEFAULT_FROM_EMAIL,
        recipients,
        # The same for each attempt, so that a mailbox can recognise a repetition.
        headers={"Message-ID": f"<{notice.id}@genesys-eventbridge.invalid>"},
    )
    backend = _backend()
    if getattr(backend, "timeout", attempt.seconds) is None:
        backend.timeout = attempt.seconds
    try:
        sent = backend.send_messages([message])
    except (smtplib.SMTPException, OSError) as error:
        reason = f"{type(error).__name__}: {clean(error, 200)}"
        raise NotSent(reason, "check the settings of Django's mail backend (EMAIL_HOST ...)") from None
    if sent == 0:
        raise NotSent("the mail backend sent nothing", "check EMAIL_BACKEND")


def admins() -> list[str]:
    """The addresses in ADMINS: texts, or pairs of a name and an address as before Django 6.0."""
    return [str(entry if isinstance(entry, str) else entry[1]) for entry in settings.ADMINS]


def _backend() -> Any:
    """Django's default mail backend; Django 6.1 replaced ``get_connection()``."""
    mailers = getattr(mail, "mailers", None)
    return mail.get_connection() if mailers is None else mailers.default
