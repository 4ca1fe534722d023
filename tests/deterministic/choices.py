"""Every decision of a run. A seed and the set of choices that may differ from 0 determine the whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from random import Random

#: One choice: the name of its stream, and its number within the stream.
Choice = tuple[str, int]


def as_text(made: Iterable[Choice]) -> str:
    return ", ".join(f"{stream} {number}" for stream, number in made)


def from_text(text: str) -> list[Choice]:
    """Raises ValueError."""
    pairs = (each.strip().rpartition(" ") for each in text.split(",") if each.strip())
    return [(stream, int(number)) for stream, _space, number in pairs]


class Choices:
    """Each stream draws from its own generator, so that a choice in one moves none in another.

    0 is always the simplest: no fault, no switch, no wait. With ``kept``, only these may differ from 0.
    """

    def __init__(self, seed: int, kept: Collection[Choice] | None = None) -> None:
        self.seed = seed
        self._kept = None if kept is None else frozenset(kept)
        self._randoms: dict[str, Random] = {}
        self._numbers: Counter[str] = Counter()
        #: The choices that were not 0.
        self.made: dict[Choice, int] = {}

    def pick(self, stream: str, weights: Sequence[float]) -> int:
        """An index into ``weights``."""
        total, drawn = sum(weights), self._draw(stream)
        value, below = 0, weights[0] / total
        while drawn >= below and value < len(weights) - 1:
            value += 1
            below += weights[value] / total
        return self._taken(stream, value)

    def one_of(self, stream: str, number: int) -> int:
        """A number from 0 to below ``number``, all equally likely."""
        return self._taken(stream, min(number - 1, int(self._draw(stream) * number)))

    def chance(self, stream: str, likely: float) -> bool:
        return bool(self._taken(stream, int(self._draw(stream) < likely)))

    def _draw(self, stream: str) -> float:
        if stream not in self._randoms:
            self._randoms[stream] = Random(f"{self.seed} {stream}")
        self._numbers[stream] += 1
        return self._randoms[stream].random()

    def _taken(self, stream: str, value: int) -> int:
        choice = stream, self._numbers[stream]
        if not value or (self._kept is not None and choice not in self._kept):
            return 0
        self.made[choice] = value
        return value
