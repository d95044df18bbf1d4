"""How the closings of a stop are spread, so that the clients do not all come back at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

CLOSING_SPREAD = 0.75
"""The part of the window in which peers are closed. The rest of it is for those closed last, to
read their last words and to leave."""

LEAST_PACE = 100.0
"""Closings a second, at least: so few clients that come back at once are no herd, and a service
with a handful of them should not take its whole window to stop."""


@dataclass(frozen=True, slots=True)
class DrainSchedule:
    """A plan: so many connections, closed one after another at even distances.

    The first is due at once and the last before three quarters of the window have passed. A peer
    that leaves by itself counts as closed.

    :ivar total: connections that are open as it begins; none is accepted after that.
    :ivar window: seconds in which all must be gone; 0 is at once.
    :ivar began: the time at which it began, in seconds of any clock.
    :raises ValueError: a value that makes no sense, named.
    """

    total: int
    window: float
    began: float

    def __post_init__(self) -> None:
        if self.total < 0:
            raise ValueError(f"total: must be at least 0, not {self.total!r}")
        if not self.window >= 0 or math.isinf(self.window):
            raise ValueError(f"window: must be a number of at least 0 seconds, not {self.window!r}")

    def wait(self, gone: int, now: float) -> float | None:
        """Seconds until the next closing is due, where ``gone`` are closed already.

        :return: 0.0 where it is overdue; None where none is left.
        """
        if gone >= self.total:
            return None
        return max(0.0, self.began + gone * self._gap() - now)

    def _gap(self) -> float:
        """Seconds between two closings."""
        return min(self.window * CLOSING_SPREAD / max(1, self.total), 1 / LEAST_PACE)
