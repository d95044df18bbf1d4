"""What waits for all peers of a process together, and who goes first when it is too much."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class MemoryBudget(Generic[Key]):
    """An account of queued bytes per peer, and a limit for their sum.

    Keeping the accounts costs a dictionary entry each; only :meth:`shed` looks at all of them,
    and it has something to do only after ``relief`` more bytes were queued than the last time.

    :param limit: bytes that may wait in all.
    :param relief: how many bytes below the limit to come down to once it is passed; without it,
        an eighth of the limit. Relief of 0 would look for the worst again with every write.
    :raises ValueError: a value that makes no sense, named.
    :ivar total: bytes that wait now.
    """

    __slots__ = ("_accounts", "_limit", "_low", "total")

    def __init__(self, limit: int, relief: int | None = None) -> None:
        if limit < 1:
            raise ValueError(f"limit: at least 1 byte, not {limit!r}")
        relief = limit // 8 if relief is None else relief
        if not 0 <= relief <= limit:
            raise ValueError(f"relief: from 0 to the limit ({limit} bytes), not {relief!r}")
        self._limit = limit
        self._low = limit - relief
        self._accounts: dict[Key, int] = {}
        self.total = 0

    def __len__(self) -> int:
        """How many peers have something waiting."""
        return len(self._accounts)

    def charge(self, key: Key, delta: int) -> bool:
        """Put ``delta`` bytes on a peer's account; less than 0 takes them off.

        :return: whether the total is over the limit now: then ask :meth:`shed`.
        :raises ValueError: more would be taken off than is on it; nothing is changed.
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
        """Close a peer's account. Nothing happens where it has none."""
        self.total -= self._accounts.pop(key, 0)

    def shed(self) -> list[Key]:
        """Give the peers to abort, those with the most bytes first; none while within the limit.

        Of two with as many bytes, the one whose bytes have waited longer goes first. The accounts
        stay as they are: :meth:`forget` each peer as it is aborted.
        """
        if self.total <= self._limit:
            return []
        # The order of a dictionary is that in which the accounts were opened.
        worst = [(-size, age, key) for age, (key, size) in enumerate(self._accounts.items())]
        heapq.heapify(worst)  # few are taken of many: cheaper than to sort them all
        left = self.total
        chosen = []
        while left > self._low:
            size, _, key = heapq.heappop(worst)
            left += size
            chosen.append(key)
        return chosen
