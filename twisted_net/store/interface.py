"""The interface between a chat and its store. A store may serve one process or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from twisted.internet.defer import Deferred

from twisted_net import TwistedNetError
from twisted_net.store.log import Appended, Message, Page, Position, StoredMessage

Subscriber: TypeAlias = Callable[[str, Sequence[StoredMessage]], None]
"""Called with an epoch and the messages that were added in it, in the order of their offsets."""


class StoreError(TwistedNetError):
    """The store failed. The text says why, for users."""


class Store(Protocol):
    """Stores the logs of rooms, and delivers new messages to subscribers.

    The results for a room come in the order of the calls, so a read sees all earlier appends.
    """

    def start(self) -> None:
        """Open the store. It is called once, before any other method.

        :raises StoreError: the store cannot be opened.
        """

    def stop(self) -> Deferred[None]:
        """Complete all pending calls and close the store."""

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        """Append messages to a room's log: all messages of one turn of the reactor.

        :return: fires once they are durable, after the calls of all subscribers; fails with
            :exc:`StoreError` if none of them was stored.
        """

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        """Read all messages after ``offset``.

        :return: fires with None if the store cannot return all of them: the epoch is another, the
            offset never existed, some messages are deleted, or there are more than ``limit``.
        """

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        """Read the last ``limit`` messages before ``offset``; of the whole log if it is None."""

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        """Call ``deliver`` with each message that is added to a room from now on.

        :return: fires with the log's position; all later messages are delivered.
        """

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        """End a subscription. A room without subscribers may be deleted if there are too many."""


@runtime_checkable
class KeyValueStore(Protocol):
    """Keeps small texts besides the messages. A store may do without.

    A chat keeps its bans there. A later :meth:`put` of a key replaces an earlier one.
    """

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        """Keep a text under a key; None deletes it.

        :return: fires once it is durable; fails with :exc:`StoreError`.
        """

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        """Read all texts of a kind, by their keys: the one that was kept first comes first."""


@runtime_checkable
class MovableStore(Protocol):
    """A store whose messages another process needs, because they are in this process alone.

    A store may do without.
    """

    def export_state(self) -> dict[str, Any] | None:
        """Return everything that is stored, as JSON; None if it is elsewhere."""

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take everything that another process has stored. The store is new."""


def export_store(store: Store) -> dict[str, Any] | None:
    """Return what another process needs of a store; None for nothing."""
    return store.export_state() if isinstance(store, MovableStore) else None


def restore_store(store: Store, state: Mapping[str, Any] | None) -> None:
    """Give a new store what :func:`export_store` has returned in another process."""
    if state is not None and isinstance(store, MovableStore):
        store.restore_state(state)
