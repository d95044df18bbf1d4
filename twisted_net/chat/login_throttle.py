"""How long somebody has to wait who tries passwords."""

from __future__ import annotations

FIRST_DELAY = 1.0
"""Seconds to wait after a first attempt; each further one doubles it."""

LONGEST_WAIT = 30.0
"""Seconds; no wait between two attempts is longer."""

FORGET_AFTER = 600.0
"""Seconds after which attempts are forgotten."""

_MOST = 10_000  # addresses that are remembered; the one that tried longest ago goes


class LoginThrottle:
    """Attempts to log in, by address. Times are seconds of any clock.

    :ivar failed: how many have failed in all.
    """

    __slots__ = ("_table", "failed")

    def __init__(self) -> None:
        self.failed = 0
        self._table: dict[str, tuple[int, float]] = {}  # how many, and when the next may be

    def attempt(self, host: str, now: float) -> float:
        """Count an attempt.

        :return: seconds to wait before it is made, so that many at once are no way around it.
        """
        count, free = self._table.pop(host, (0, now))
        if now - free > FORGET_AFTER:
            count, free = 0, now
        start = max(now, free)
        delay = min(LONGEST_WAIT, FIRST_DELAY * 2.0**count)
        self._table[host] = (min(count + 1, 16), start + delay)
        if len(self._table) > _MOST:
            del self._table[next(iter(self._table))]
        return start - now

    def succeeded(self, host: str) -> None:
        """The password was right: forget that it was guessed."""
        self._table.pop(host, None)
