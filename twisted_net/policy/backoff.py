"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow, with jitter, so that many clients do not come back all at once.

    The delay before attempt ``n`` lies anywhere between ``first`` and ``first * factor ** n``, at
    most ``longest`` ("full jitter",
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, with a floor).

    :param first: seconds; the shortest delay.
    :param longest: seconds; no delay is longer.
    :param factor: by how much the range grows with each attempt.
    :raises ValueError: a value that makes no sense, named.
    """

    first: float = 0.2
    longest: float = 30.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.first < math.inf:
            raise ValueError(f"first: more than 0 seconds, not {self.first!r}")
        if not self.first <= self.longest < math.inf:
            raise ValueError(f"longest: at least first ({self.first!r}), not {self.longest!r}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor: at least 1, not {self.factor!r}")

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds to wait before attempt ``attempt`` (the first is 1).

        :param jitter: a random number, 0 to 1.
        """
        try:
            widest = min(self.longest, self.first * float(self.factor) ** attempt)
        except OverflowError:  # it is past every ``longest``
            widest = self.longest
        return self.first + jitter * (widest - self.first)
