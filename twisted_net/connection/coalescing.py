"""When the next round of broadcasting may begin. Pure: the time is an argument."""

from __future__ import annotations

import math


class AdaptiveCoalescer:
    """When the next round may begin, of work that costs much a round and little more for more.

    A round that begins with the first thing that has come costs as much as one for several. So a
    round is followed by a rest as long as it was, in which things gather. What is busy for less
    than half of its time hardly notices: its rest is over when something comes. After the adaptive
    coalescing of network cards' interrupts.

    Times are seconds of any clock.

    :param least: a round that took less needs no rest.
    :param most: no rest is longer.
    """

    __slots__ = ("_began", "_least", "_most", "_until")

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._began = 0.0
        self._until = -math.inf

    def begin(self, now: float) -> None:
        """A round begins."""
        self._began = now

    def end(self, now: float) -> None:
        """It is over."""
        took = now - self._began
        self._until = now + min(took, self._most) if took >= self._least else now

    def left(self, now: float) -> float:
        """Give the seconds until the next round may begin; 0.0 is now."""
        if self._until - now > self._most:  # the clock was set back
            self._until = now
        return max(0.0, self._until - now)
