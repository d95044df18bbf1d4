"""The last messages of a room, in memory, so that reading them does not take Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from twisted_net.store.log import Bounds, Page, StoredMessage

RING = Bounds(count=1000, bytes=1 << 20)
"""The bounds of what is in memory, unless those of the store are narrower."""


class RoomRing:
    """The end of a room's log. It has no gaps.

    :param bounds: those of the store.
    :ivar top: the offset of the last message of the log.
    :ivar log_first: the offset of the first message that the whole log has, as far as it is known.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._count = min(bounds.count, RING.count)
        self._bytes = min(bounds.bytes, RING.bytes)
        self._bounds = bounds
        self._stored: deque[StoredMessage] = deque()
        self._size = 0
        self.epoch = ""
        self.top = 0
        self.log_first = 1

    @property
    def start(self) -> int:
        """The offset of the first message in memory; one more than ``top`` if there is none."""
        return self.top - len(self._stored) + 1

    @property
    def room_left(self) -> int:
        """How many older messages may be put before these."""
        return self._count - len(self._stored) if self._size < self._bytes else 0

    def begin(self, epoch: str, top: int, log_first: int) -> None:
        """Forget everything, and begin at a position."""
        self._stored.clear()
        self._size = 0
        self.epoch, self.top, self.log_first = epoch, top, log_first

    def append(self, stored: Sequence[StoredMessage], log_first: int) -> None:
        """Add the messages that follow."""
        self._stored += stored
        self._size += sum(each.message.size for each in stored)
        self.top += len(stored)
        self.log_first = max(self.log_first, log_first)
        while len(self._stored) > self._count or self._size > self._bytes:
            self._drop()

    def prepend(self, page: Page) -> None:
        """Add the messages before, as they were read; as many as fit."""
        if page.epoch != self.epoch:
            return
        self.log_first = max(self.log_first, page.first)
        for stored in reversed(page.stored):
            if stored.offset != self.start - 1 or not self.room_left:
                continue
            self._stored.appendleft(stored)
            self._size += stored.message.size

    def trim(self, now: float) -> None:
        """Forget what is too old, or what the log does not have any more."""
        age = self._bounds.age
        oldest = now - age if age else 0.0
        stored = self._stored
        while stored and (stored[0].offset < self.log_first or stored[0].message.time < oldest):
            self._drop()
            self.log_first = max(self.log_first, self.start)

    def since(self, offset: int, limit: int, now: float) -> Page | None:
        """Return all messages after ``offset``. It is None if they are not all here."""
        self.trim(now)
        count = self.top - offset
        if not 0 <= count <= min(limit, len(self._stored)):
            return None
        return self._page(islice(reversed(self._stored), count))

    def before(self, offset: int | None, limit: int, now: float) -> Page | None:
        """Return the last ``limit`` messages before ``offset``. It is None if some are not here."""
        self.trim(now)
        end = self.top if offset is None else min(self.top, offset - 1)
        if max(end - limit + 1, self.log_first) < self.start and end >= self.log_first:
            return None
        skip = self.top - end
        return self._page(islice(reversed(self._stored), skip, skip + limit))

    def _drop(self) -> None:
        self._size -= self._stored.popleft().message.size

    def _page(self, backwards: islice[StoredMessage]) -> Page:
        return Page(self.epoch, self.top, list(backwards)[::-1], self.log_first)
