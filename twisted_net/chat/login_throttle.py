"""Delays attempts to log in, so that passwords cannot be guessed quickly."""

from __future__ import annotations

FIRST_DELAY = 1.0
"""Seconds to wait after the first attempt. Each further attempt doubles the delay."""

LONGEST_WAIT = 30.0
"""The longest delay between two attempts, in seconds."""

FORGET_AFTER = 600.0
"""Seconds after which an address's attempts are forgotten."""

_MOST = 10_000  # addresses in the table; the one whose last attempt is oldest is dropped


class LoginThrottle:
    """Counts attempts to log in, by address. Times are seconds of any clock.

    :ivar failed: the total number of failed attempts.
    """

    __slots__ = ("_table", "failed")

    def __init__(self) -> None:
        self.failed = 0
        self._table: dict[str, tuple[int, float]] = {}  # attempts, and the time of the next one

    def attempt(self, host: str, now: float) -> float:
        """Count an attempt.

        :return: seconds to wait before checking the password. Several attempts at once are checked
            one after another, so they gain nothing.
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
        """Forget the attempts of an address, because the password was right."""
        self._table.pop(host, None)
