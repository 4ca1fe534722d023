"""Signals, sent after the commit with ``send_robust``: no receiver can change an outcome.

Event signals carry ``event``, an OutboxEvent read after the commit. The two destination signals carry
``alias`` and ``reason``.
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
