"""The seam between a chat and where its messages are kept: one process here, many there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from twisted.internet.defer import Deferred

from twisted_net import TwistedNetError
from twisted_net.store.log import Appended, Message, Page, Position, StoredMessage

Subscriber: TypeAlias = Callable[[str, Sequence[StoredMessage]], None]
"""Called with an epoch and what was added under it, in the order of the offsets."""


class StoreError(TwistedNetError):
    """The store cannot do what it was asked for; the text says why, for people."""


class Store(Protocol):
    """Keeps the logs of rooms, and tells who subscribes what is added to them.

    Results come in the order of the calls for a room: a read sees every append before it.
    """

    def start(self) -> None:
        """Open it. Called once, before anything else.

        :raises StoreError: it cannot be opened.
        """

    def stop(self) -> Deferred[None]:
        """Finish what was asked for, and close it."""

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        """Add entries to a room's log: all that one turn of the reactor has brought.

        :return: fires once they are durable, after every subscriber was told; fails with
            :exc:`StoreError`, and then none of them was added.
        """

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        """Read everything that came after ``offset``.

        :return: fires with None where that cannot be done completely: another epoch, an offset
            that there never was, entries that are gone, or more than ``limit``.
        """

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        """Read the last ``limit`` entries before ``offset``, or of all where it is None."""

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        """Have ``deliver`` called with everything that is added after the position given."""

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        """End it. A room without subscribers may be forgotten where there are too many."""
