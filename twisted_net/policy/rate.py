"""How fast something may go: a token bucket, with the time as an argument."""

from __future__ import annotations

import math


class TokenBucket:
    """So many a second on average, and so many at once after a pause.

    Nothing is ever refused here: who takes more than there is has to wait for it. So a reader that
    has already read what it takes loses nothing; it pauses for as long as :meth:`take` says and
    then goes on, without asking again.

    The level is always worked out from the moment at which the bucket was last full and the count
    taken since, never by adding up small steps: it does not drift, however long it runs.

    Times are seconds of any clock. Where a clock is set back, the level stays what it was.

    :param rate: tokens a second that flow in.
    :param burst: tokens that the bucket holds; it begins full.
    :raises ValueError: a value that makes no sense, named.
    """

    __slots__ = ("_burst", "_full_at", "_now", "_rate", "_taken")

    def __init__(self, rate: float, burst: int) -> None:
        if not rate > 0 or math.isinf(rate):
            raise ValueError(f"rate: more than 0 a second, not {rate!r}")
        if burst < 1:
            raise ValueError(f"burst: at least 1, not {burst!r}")
        self._rate = rate
        self._burst = burst
        self._full_at = -math.inf  # when it was last full
        self._now = -math.inf  # the last time that was heard of
        self._taken = 0  # since it was full

    def take(self, count: int, now: float) -> float:
        """Take ``count`` tokens, more than there are if need be.

        :return: seconds to wait before going on; 0.0 is go on now.
        """
        wait = self.wait(count, now)
        self._taken += count
        return wait

    def wait(self, count: int, now: float) -> float:
        """Give the seconds that :meth:`take` would give, and take nothing."""
        if now < self._now:
            self._full_at -= self._now - now
        self._now = now
        # What has flowed in since covers what was taken: it is full again.
        if self._taken <= (now - self._full_at) * self._rate:
            self._full_at = now
            self._taken = 0
        short = self._taken + count - self._burst
        if short <= 0:
            return 0.0
        return max(0.0, short / self._rate - (now - self._full_at))
