"""Limit the bytes that wait for all peers of a process, and choose which peers to abort."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class MemoryBudget(Generic[Key]):
    """Count the queued bytes of each peer, and limit their sum.

    Each peer with queued bytes costs a dictionary entry. Only :meth:`shed` looks at all of them,
    and it has work to do only after ``relief`` more bytes were queued than the last time.

    :param limit: the most bytes that may wait in total.
    :param relief: how many bytes below the limit to go once it is exceeded; by default, an eighth
        of the limit. With a relief of 0, every write would search for the worst peer again.
    :raises ValueError: if a value is invalid; the message names it.
    :ivar total: the bytes that wait now.
    """

    __slots__ = ("_accounts", "_limit", "_low", "total")

    def __init__(self, limit: int, relief: int | None = None) -> None:
        if limit < 1:
            raise ValueError(f"limit: must be at least 1 byte, not {limit!r}")
        relief = limit // 8 if relief is None else relief
        if not 0 <= relief <= limit:
            raise ValueError(f"relief: must be from 0 to the limit ({limit} bytes), not {relief!r}")
        self._limit = limit
        self._low = limit - relief
        self._accounts: dict[Key, int] = {}
        self.total = 0

    def __len__(self) -> int:
        """Return the number of peers with bytes waiting."""
        return len(self._accounts)

    def charge(self, key: Key, delta: int) -> bool:
        """Add ``delta`` bytes to a peer's count; a negative number subtracts.

        :return: True if the total is now over the limit. Then call :meth:`shed`.
        :raises ValueError: if more would be subtracted than was added; nothing is changed.
        """
        size = self._accounts.get(key, 0) + delta
        if size < 0:
            raise ValueError(f"{key!r} has {size - delta} bytes waiting, not {-delta}")
        if size:
            self._accounts[key] = size
        else:
            self._accounts.pop(key, None)
        self.total += delta
        return self.total > self._limit

    def forget(self, key: Key) -> None:
        """Remove a peer's count, if it has one."""
        self.total -= self._accounts.pop(key, 0)

    def shed(self) -> list[Key]:
        """Return the peers to abort, those with the most bytes first; none within the limit.

        Of two peers with equal bytes, the one whose bytes have waited longer comes first. The
        counts do not change: call :meth:`forget` for each peer when you abort it.
        """
        if self.total <= self._limit:
            return []
        # A dictionary is ordered by insertion, so the position shows which peer has waited longer.
        worst = [(-size, age, key) for age, (key, size) in enumerate(self._accounts.items())]
        heapq.heapify(worst)  # cheaper than sorting, since only a few are taken
        left = self.total
        chosen = []
        while left > self._low:
            size, _, key = heapq.heappop(worst)
            left += size
            chosen.append(key)
        return chosen
