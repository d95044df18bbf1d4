"""A room's log: what stands in it, what bounds it, and a log that is kept in memory.

Within an *epoch*, the offset of a message is one more than that of the message before it. A log
that cannot go on counting, because it was lost, begins anew under another epoch. Pure: times,
seconds since 1970, and epochs are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

_MESSAGE_OVERHEAD = 64
"""Bytes counted for an entry beside its texts: about what a file's row or an object takes."""


class Message(NamedTuple):
    """One message, as it is given to a store.

    :ivar time: seconds since 1970.
    :ivar action: whether it tells what the sender does (``/me``).
    :ivar origin: whose it is, for this server alone; no two sessions have the same.
    :ivar id: what the sender calls it; with one, the same entry is stored once.
    """

    sender: str
    text: str
    time: float
    action: bool = False
    origin: str = ""
    id: str = ""

    @property
    def size(self) -> int:
        """Bytes that it is counted with."""
        text = self.text
        length = len(text) if text.isascii() else len(text.encode())
        return _MESSAGE_OVERHEAD + length + len(self.sender)


class StoredMessage(NamedTuple):
    """An entry in the log."""

    offset: int
    message: Message


class Position(NamedTuple):
    """How far a log has come: the offset of its last entry, 0 before the first."""

    epoch: str
    offset: int


class Appended(NamedTuple):
    """What became of entries.

    :ivar offsets: one for each entry; of one that was there already, the offset that it has.
    :ivar fresh: what was added, in order.
    """

    epoch: str
    offsets: list[int]
    fresh: list[StoredMessage]


class Page(NamedTuple):
    """A part of a log.

    :ivar top: the offset of the log's last entry, when it was read.
    :ivar stored: the entries, in order and without a gap.
    :ivar first: the offset of the oldest entry that the log still has.
    """

    epoch: str
    top: int
    stored: list[StoredMessage]
    first: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept. What is over goes, the oldest first.

    :ivar count: entries in a room. A thousand lines are what IRC bouncers replay.
    :ivar bytes: in a room, as :attr:`Message.size` counts them.
    :ivar age: seconds; 0 is any age.
    :ivar rooms: rooms in all. A room too many replaces the one that was quiet for longest, of
        those in which nobody is.
    :raises ValueError: a value that makes no sense, named.
    """

    count: int = 1000
    bytes: int = 1 << 18
    age: float = 0.0
    rooms: int = 1000

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("bytes", 1), ("age", 0), ("rooms", 1)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: at least {least}, not {getattr(self, name)!r}")


class Ring:
    """The log of one room, in memory.

    :ivar top: the offset of the last entry; 0 before the first.
    :ivar size: bytes, as :attr:`Message.size` counts them.
    """

    __slots__ = ("_bounds", "_ids", "_stored", "epoch", "size", "top")

    def __init__(self, epoch: str, bounds: Bounds) -> None:
        self.epoch = epoch
        self.top = 0
        self.size = 0
        self._bounds = bounds
        self._stored: deque[StoredMessage] = deque()
        self._ids: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._stored)

    @property
    def first(self) -> int:
        """The offset of the oldest entry; one more than ``top`` where there is none."""
        return self.top - len(self._stored) + 1

    def append(self, messages: Sequence[Message], now: float) -> Appended:
        """Add entries, but those that are there already; then trim."""
        offsets = []
        fresh = []
        top = self.top
        for message in messages:
            if message.id:
                mark = message.origin, message.id
                known = self._ids.get(mark)
                if known is not None:
                    offsets.append(known)
                    continue
                self._ids[mark] = top + 1
            top += 1
            self.size += message.size
            offsets.append(top)
            fresh.append(StoredMessage(top, message))
        self.top = top
        self._stored += fresh
        self.trim(now)
        return Appended(self.epoch, offsets, fresh)

    def since(self, epoch: str, offset: int, limit: int, now: float) -> Page | None:
        """Give what came after ``offset``, all of it; None where that cannot be done.

        It cannot where the epoch is another, the offset is none that there was, some of it is
        gone, or it is more than ``limit`` entries.
        """
        self.trim(now)
        count = self.top - offset
        if epoch != self.epoch or not 0 <= count <= min(limit, len(self._stored)):
            return None
        return self._page(islice(reversed(self._stored), count))

    def before(self, offset: int | None, limit: int, now: float) -> Page:
        """Give the last entries, at most ``limit``, before ``offset``, or of all."""
        self.trim(now)
        skip = 0 if offset is None else max(0, self.top - offset + 1)
        return self._page(islice(reversed(self._stored), skip, skip + limit))

    def trim(self, now: float) -> None:
        """Let go what is over the bounds."""
        bounds, stored = self._bounds, self._stored
        oldest = now - bounds.age if bounds.age else 0.0
        while stored and (
            len(stored) > bounds.count
            or self.size > bounds.bytes
            or stored[0].message.time < oldest
        ):
            message = stored.popleft().message
            self.size -= message.size
            if message.id:
                del self._ids[message.origin, message.id]

    def _page(self, backwards: islice[StoredMessage]) -> Page:
        return Page(self.epoch, self.top, list(backwards)[::-1], self.first)
