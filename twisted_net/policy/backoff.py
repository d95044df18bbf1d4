"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Delays(Protocol):
    """What chooses the delays between attempts; :class:`Backoff` does."""

    def delay(self, attempt: int, jitter: float) -> float:
        """Return the seconds to wait before attempt ``attempt`` (the first is 1)."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing delays with jitter, so that many clients do not reconnect at the same time.

    The delay before attempt ``n`` is random, between ``first`` and ``first * factor ** n``, but at
    most ``longest``. This is "full jitter"
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) with a minimum.

    :param first: the shortest delay, in seconds.
    :param longest: the longest delay, in seconds.
    :param factor: the growth of the range with each attempt.
    :raises ValueError: if a value is invalid; the message names it.
    """

    first: float = 0.2
    longest: float = 30.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.first < math.inf:
            raise ValueError(f"first: must be more than 0 seconds, not {self.first!r}")
        if not self.first <= self.longest < math.inf:
            raise ValueError(
                f"longest: must be at least first ({self.first!r}), not {self.longest!r}"
            )
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor: must be at least 1, not {self.factor!r}")

    def delay(self, attempt: int, jitter: float) -> float:
        """Return the seconds to wait before attempt ``attempt`` (the first is 1).

        :param jitter: a random number from 0 to 1.
        """
        try:
            widest = min(self.longest, self.first * float(self.factor) ** attempt)
        except OverflowError:  # larger than any ``longest``
            widest = self.longest
        return self.first + jitter * (widest - self.first)
