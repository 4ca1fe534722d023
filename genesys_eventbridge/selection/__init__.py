"""Which events: one filter for lists, commands, exports and bulk actions, and the search by text."""

from genesys_eventbridge.selection.filters import Attention, EventFilter, Progress
from genesys_eventbridge.selection.status_codes import StatusClass, StatusCode

__all__ = ["Attention", "EventFilter", "Progress", "StatusClass", "StatusCode"]
