"""How long a busy broadcast waits for more messages, before it sends them all together."""

from __future__ import annotations

import math

SHORTEST_DELAY, LONGEST_DELAY = 0.001, 0.010
"""In seconds; see :class:`AdaptiveCoalescer`. A round for a hundred members takes about a
millisecond, which is also the resolution of the reactor's timers."""

ENOUGH = 3
"""The number of pending messages that ends the delay early. Beyond this number, a larger batch
hardly makes a message cheaper."""


class AdaptiveCoalescer:
    """Decide when the next round may begin, so that busy broadcasts batch their messages.

    A round for one message costs almost as much as a round for several. So each round is followed
    by a delay as long as the round took, and messages collect during the delay. A broadcast that is
    busy less than half of the time is hardly delayed. Network cards use the same method, as
    adaptive interrupt coalescing.

    Times are in seconds, from any clock.

    :param shortest: a round that took less time is followed by no delay.
    :param longest: the longest delay.
    """

    __slots__ = ("_began", "_longest", "_shortest", "_until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._began = 0.0
        self._until = -math.inf

    def begin(self, now: float) -> None:
        """Note that a round begins."""
        self._began = now

    def end(self, now: float) -> None:
        """Note that the round is over, and set the delay that follows it."""
        took = now - self._began
        self._until = now + min(took, self._longest) if took >= self._shortest else now

    def left(self, now: float) -> float:
        """Return the seconds until the next round may begin; 0.0 means now."""
        if self._until - now > self._longest:  # the clock was set back
            self._until = now
        return max(0.0, self._until - now)
