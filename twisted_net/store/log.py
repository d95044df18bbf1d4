"""A room's log: what stands in it, and what bounds it.

Within an *epoch*, the offset of a message is one more than that of the message before it. A log
that cannot go on counting, because it was lost, begins anew under another epoch. Pure: times,
seconds since 1970, and epochs are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
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
