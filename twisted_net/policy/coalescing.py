"""How long a busy broadcast waits for more messages, before it sends them all together."""

from __future__ import annotations

import math

SHORTEST_DELAY, LONGEST_DELAY = 0.001, 0.010
"""In seconds; see :class:`AdaptiveCoalescer`. A round for a hundred members takes about a
millisecond, which is also the resolution of the reactor's timers."""

ROUNDS_LONG = 2
"""The delay after a round, as a multiple of the time that the round took. With a shorter delay, a
faster processor would only make more and smaller batches. A longer one saves a little CPU time, and
every message waits for it."""

ENOUGH = 3
"""The number of pending messages that ends the delay early. Beyond this number, a larger batch
hardly makes a message cheaper."""


class AdaptiveCoalescer:
    """Decide when the next round may begin, so that busy broadcasts batch their messages.

    A round for one message costs almost as much as a round for several. So each round is followed
    by a delay of :data:`ROUNDS_LONG` times as long, and messages collect during the delay. A
    broadcast that is busy less than a third of the time is hardly delayed. Network cards use the
    same method, as adaptive interrupt coalescing.

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
        delay = min(ROUNDS_LONG * took, self._longest)
        self._until = now + delay if took >= self._shortest else now

    def left(self, now: float) -> float:
        """Return the seconds until the next round may begin; 0.0 means now."""
        if self._until - now > self._longest:  # the clock was set back
            self._until = now
        return max(0.0, self._until - now)
