"""A clock that advances only when code waits, so that tests neither sleep nor depend on speed."""

from unittest import mock

from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.outbox import due


class Clock:
    """A stop event and a monotonic clock in one; it advances the database's clock, too.

    ``waits`` lists the requested waits in seconds. After ``stop_after`` seconds in total the event is set.
    """

    def __init__(self):
        self.now = 1000.0
        self.passed = 0.0
        self.waits = []
        self.then = {}
        self.stopped = False
        self.stop_after = float("inf")
        self._shift = None

    def __enter__(self):
        # By this clock no scan is dear: on a busy machine a worker would wait for the next whole one.
        self._pace = mock.patch.object(due.Pace.__init__, "__defaults__", (self,))
        self._pace.start()
        return self

    def __exit__(self, *exc_info):
        self._pace.stop()
        if self._shift is not None:
            self._shift.__exit__(*exc_info)

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        self.passed += seconds
        if self._shift is not None:
            self._shift.__exit__(None, None, None)
        self._shift = shifted(self.passed)
        self._shift.__enter__()
        for at in [at for at in self.then if at <= self.passed]:
            self.then.pop(at)()
        self.stopped = self.stopped or self.passed >= self.stop_after
        return self.stopped

    def is_set(self):
        return self.stopped

    def at(self, seconds, do):
        """Call ``do()`` once ``seconds`` have passed."""
        self.then[seconds] = do
