"""Spreads the closing of connections over time, so that clients do not all reconnect at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

CLOSING_SPREAD = 0.75
"""The part of the window in which connections are closed. In the rest, those closed last can read
their last messages and leave."""

LEAST_PACE = 100.0
"""Closings per second, at least. So few clients that reconnect at once do no harm, and a service
with a handful of them should not need its whole window to stop."""


@dataclass(frozen=True, slots=True)
class DrainSchedule:
    """A schedule that closes connections one after another, at equal intervals.

    The first is due at once, the last before three quarters of the window have passed. A peer that
    leaves by itself counts as closed.

    :ivar total: connections that are open at the start; no more are accepted.
    :ivar window: seconds in which all must be closed; 0 closes all at once.
    :ivar began: the start, in seconds of any clock.
    :raises ValueError: an invalid value; the message names it.
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
        """Return the seconds until the next closing is due, after ``gone`` closings.

        :return: 0.0 if it is overdue; None if no connection is left.
        """
        if gone >= self.total:
            return None
        return max(0.0, self.began + gone * self._gap() - now)

    def _gap(self) -> float:
        """Return the seconds between two closings."""
        return min(self.window * CLOSING_SPREAD / max(1, self.total), 1 / LEAST_PACE)
