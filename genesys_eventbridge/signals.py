"""Signals we send, always after the commit and with ``send_robust``: no receiver can change an outcome.

Each event signal carries ``event`` (an OutboxEvent read after the commit) as keyword; the two of a
destination carry ``alias`` and ``reason``.
"""

from django.dispatch import Signal

event_enqueued = Signal()
event_accepted = Signal()
event_delivered = Signal()
event_retried = Signal()
event_dead = Signal()
event_unresolved = Signal()
destination_paused = Signal()
destination_resumed = Signal()
