"""Alerts: report trouble by e-mail, webhook or function, once per destination, kind and window.

What is wrong is decided by ``reporting``; when to report it by ``decide``. A notice is stored with that
decision and sent afterwards (``delivery``), so that a killed process loses none.
"""

from genesys_eventbridge.alerts.notices import Example, Notice

__all__ = ["Example", "Notice"]
