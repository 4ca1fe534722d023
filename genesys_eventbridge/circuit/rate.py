"""The rate limit shared by all workers, as a token bucket: one token is one request. Pure values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

#: The share of the rate reserved for checks.
CHECK_SHARE = 0.2
#: The bucket holds the tokens of CAPACITY_SECONDS, and for checks those of RESERVE_OF_CAPACITY of it, so that
#: a request one second late does not lose its token.
CAPACITY_SECONDS = 1.0
RESERVE_OF_CAPACITY = 0.4
#: Seconds. If tokens come faster, a worker waits for several.
SHORTEST_WAIT = 0.05
#: A bucket further ahead of the clock than this, in seconds, was filled before the clock was set back.
SET_BACK_SECONDS = 10.0
#: Float rounding error allowed when a token is due.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bucket:
    """Common tokens, tokens reserved for checks, and the time up to which refills are counted.

    It refills evenly: a fifth goes to the reserve; what the reserve cannot hold goes to the common part.
    Together they hold one second's worth, but each at least one token.
    """

    tokens: float = 0.0
    reserve: float = 0.0
    at: dt.datetime | None = None

    def refilled(self, now: dt.datetime, per_minute: float) -> Bucket:
        """The bucket at ``now``; a new one is full.

        A time before ``at`` changes nothing, because refills up to ``at`` are counted already. A time long
        before it means that the database's clock was set back, and the refill starts there.
        """
        common_cap, reserve_cap = capacity(per_minute)
        if self.at is None:
            return Bucket(common_cap, reserve_cap, now)
        if (self.at - now).total_seconds() > SET_BACK_SECONDS:
            return replace(self, at=now)
        at = max(self.at, now)
        refill = (at - self.at).total_seconds() * per_minute / 60
        reserve = self.reserve + refill * CHECK_SHARE
        spilt = max(0.0, reserve - reserve_cap)
        common = self.tokens + refill * (1 - CHECK_SHARE) + spilt
        return Bucket(min(common, common_cap), reserve - spilt, at)

    def available(self, *, checking: bool, publishing_is_due: bool = False) -> int:
        """Number of requests allowed now. Checks get what publishing leaves of the common part."""
        if not checking:
            return _whole(self.tokens)
        return _whole(self.reserve) + (0 if publishing_is_due else _whole(self.tokens))

    def without(self, number: int, *, checking: bool) -> Bucket:
        """The bucket after ``number`` requests; checks use the reserve first."""
        kept = min(number, _whole(self.reserve)) if checking else 0
        return replace(
            self,
            tokens=max(0.0, self.tokens - (number - kept)),
            reserve=max(0.0, self.reserve - kept),
        )

    def wait(self, per_minute: float, *, checking: bool, publishing_is_due: bool = False) -> float:
        """Seconds after ``at`` until one more request is allowed; 0 if one is allowed now."""
        if self.available(checking=checking, publishing_is_due=publishing_is_due):
            return 0.0
        per_second = per_minute / 60
        for_reserve = (1 - self.reserve) / (per_second * CHECK_SHARE)
        if checking and publishing_is_due:
            return for_reserve
        for_common = (1 - self.tokens) / (per_second * (1 - CHECK_SHARE))
        _common_cap, reserve_cap = capacity(per_minute)
        until_spill = max(0.0, reserve_cap - self.reserve) / (per_second * CHECK_SHARE)
        if for_common > until_spill:  # from then on the whole refill goes to the common part
            got = until_spill * per_second * (1 - CHECK_SHARE)
            for_common = until_spill + (1 - self.tokens - got) / per_second
        return min(for_common, for_reserve) if checking else for_common


def patience(per_minute: float, *, checking: bool) -> float:
    """Seconds that a worker may be late for its token without losing one: the width of its jitter.

    About the time of one token, so that workers do not all come at once; less if the bucket would overflow.
    """
    per_second = per_minute / 60 * (CHECK_SHARE if checking else 1 - CHECK_SHARE)
    common_cap, reserve_cap = capacity(per_minute)
    until_full = ((reserve_cap if checking else common_cap) - 1) / per_second
    return max(0.05 / per_second, min(until_full / 2, max(1 / per_second, SHORTEST_WAIT)))


def capacity(per_minute: float) -> tuple[float, float]:
    """Capacity of the common part and of the reserve, in tokens."""
    most = per_minute / 60 * CAPACITY_SECONDS
    return max(1.0, most * (1 - RESERVE_OF_CAPACITY)), max(1.0, most * RESERVE_OF_CAPACITY)


def _whole(tokens: float) -> int:
    return int(tokens + _ROUNDING)
