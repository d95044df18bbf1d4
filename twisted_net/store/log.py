"""The log of a room: its messages and its bounds.

Within an *epoch*, the offset of each message is one more than that of the message before. A log
that was lost cannot continue its offsets, so it starts again in a new epoch. This module is pure:
times (seconds since 1970) and epochs are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_MESSAGE_OVERHEAD = 64
"""Bytes that each message counts in addition to its texts: about as many as a database row or an
object takes."""


class Message(NamedTuple):
    """A message, as it is passed to a store.

    :ivar sender: the sender's name.
    :ivar time: seconds since 1970.
    :ivar action: whether the text describes what the sender does (``/me``).
    :ivar origin: identifies the sender's session. It is unique, and never leaves the server.
    :ivar id: the sender's id for the message; may be empty. Messages with the same origin and id
        are stored once.
    """

    sender: str
    text: str
    time: float
    action: bool = False
    origin: str = ""
    id: str = ""

    @property
    def size(self) -> int:
        """The message's size in bytes, as :class:`Bounds` counts it."""
        text = self.text
        length = len(text) if text.isascii() else len(text.encode())
        return _MESSAGE_OVERHEAD + length + len(self.sender)


class StoredMessage(NamedTuple):
    """A message in a log, with its offset."""

    offset: int
    message: Message


class Position(NamedTuple):
    """A position in a log: the offset of its last message, or 0 if it has had none."""

    epoch: str
    offset: int


class Appended(NamedTuple):
    """The result of an append.

    :ivar offsets: the offset of each message; for a message that was stored before, its old offset.
    :ivar fresh: the messages that were added, in order.
    """

    epoch: str
    offsets: list[int]
    fresh: list[StoredMessage]


class Page(NamedTuple):
    """A part of a log.

    :ivar top: the offset of the log's last message at the time of reading.
    :ivar stored: the messages, in order and without gaps.
    :ivar first: the offset of the oldest message that the log still has.
    """

    epoch: str
    top: int
    stored: list[StoredMessage]
    first: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a store. Beyond them, the oldest messages are deleted first.

    :ivar count: messages per room. IRC bouncers replay a thousand lines.
    :ivar bytes: bytes per room, as :attr:`Message.size` counts them.
    :ivar age: seconds; 0 for no limit.
    :ivar rooms: rooms in total. Beyond that, the rooms that were unused for the longest time are
        deleted, except those with subscribers. A room in which nothing was said is deleted anyway
        when it has no subscribers.
    :raises ValueError: a value is invalid; the text names it.
    """

    count: int = 1000
    bytes: int = 1 << 18
    age: float = 0.0
    rooms: int = 1000

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("bytes", 1), ("age", 0), ("rooms", 1)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be at least {least}, not {getattr(self, name)!r}")
