"""The interface between a chat and its store. A store may serve one process or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from twisted.internet.defer import Deferred

from twisted_net import TwistedNetError
from twisted_net.store.log import Appended, Message, Page, Position, StoredMessage

Subscriber: TypeAlias = Callable[[str, Sequence[StoredMessage]], None]
"""Called with an epoch and the messages that were added in it, in the order of their offsets."""


Lessee: TypeAlias = str
"""The id of a process that uses a shared store: random, and new with each start of the store."""

LeaseWatcher: TypeAlias = Callable[[str, str | None, Lessee], None]
"""Called with a key, its value (None: it ended), and the process that holds it or held it last."""

NotificationListener: TypeAlias = Callable[[bytes, Lessee], None]
"""Called with the data of a notification, and the process that sent it."""

LossWatcher: TypeAlias = Callable[[str, Position], None]
"""Called with a room and the position after which its messages go on."""

LEASE_SECONDS = 15.0
"""Seconds after which the leases of a process end that has died, or that has lost the store."""


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
class CheckedStore(Protocol):
    """A store that knows whether it works. A store may do without: it is taken to work.

    A service whose store is in trouble is not ready for clients, and so may hear no messages that
    would show that the store works again. The store has to find that out by itself.
    """

    @property
    def trouble(self) -> str:
        """Why the store cannot be used now, in one sentence for operators; empty if it can."""


@runtime_checkable
class SharedStore(KeyValueStore, CheckedStore, Protocol):
    """A store that several processes share. It also carries what they have to know of each other.

    A *lease* is a text under a key of some kind, and belongs to the process that took it. It ends
    when that process releases it or stops the store, and by itself :data:`LEASE_SECONDS` after the
    process died or lost the store. While the process lives and has the store, the store renews the
    leases: the process does not have to.

    A process that loses the store for so long loses its leases, too. When the store is back, it
    takes them again with :meth:`lease`, and learns in that way what others have taken meanwhile.
    """

    @property
    def process(self) -> Lessee:
        """The id of this process; new with each start of the store.

        A store that goes on for another process, which has suspended its own, has that one's id.
        """

    def suspend(self) -> Deferred[None]:
        """Close the store, but keep the leases: another process is about to go on with them.

        That one gets the state (:class:`MovableStore`), and hears what was sent to all meanwhile.
        If nothing comes of it, :meth:`Store.start` opens the store again, as after an interruption.
        From the moment on at which this process hears nothing any more, :meth:`notify` of others
        says that it is not reached.
        """

    def lease(self, kind: str, keys: Sequence[str], value: str) -> Deferred[str | None]:
        """Take all of the keys of a kind, or none of them.

        Those that this process holds already are renewed, with the new value. The calls of a
        process take effect in their order.

        :return: fires with None if all are this process's now; otherwise with the value of one that
            another process holds. Fails with :exc:`StoreError`: it is not known whether they are.
        """

    def release(self, kind: str, keys: Sequence[str]) -> Deferred[None]:
        """Give keys up. Keys of other processes are left alone.

        :return: fails with :exc:`StoreError`.
        """

    def leases(self, kind: str) -> Deferred[dict[str, tuple[str, Lessee]]]:
        """Read all leases of a kind: the value and the process, by key.

        :return: fails with :exc:`StoreError`.
        """

    def watch_leases(self, kind: str, changed: LeaseWatcher) -> Deferred[None]:
        """Call ``changed`` for each lease of a kind that *another* process takes or changes, gives
        up, or loses by dying.

        Those that exist already are told as changes, too. After an interruption of the store, all
        differences are told as changes.

        :return: fires once nothing is missed any more: all existing leases were told. Fails with
            :exc:`StoreError`: nothing is told then.
        """

    def unwatch_leases(self, kind: str, changed: LeaseWatcher) -> None:
        """Undo :meth:`watch_leases`."""

    def notify(self, topic: str, data: bytes, process: Lessee = "") -> Deferred[int]:
        """Send something to all other processes that listen to a topic, or to one of them.

        It arrives at most once. What is sent to one process while that is away is lost. What is
        sent to all is told to those that were away when they are back, unless that takes a minute.
        What one process sends arrives in the order of the calls.

        :param process: the only process to send it to; empty for all others.
        :return: fires with the number of processes that were reached; fails with
            :exc:`StoreError`.
        """

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        """Call ``received`` with each notification of a topic that another process sends.

        :return: fires once nothing is missed any more; fails with :exc:`StoreError`.
        """

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        """Undo :meth:`listen`."""

    def watch_trouble(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with :attr:`trouble` each time it begins, changes, or ends ("")."""

    def watch_losses(self, lost: LossWatcher) -> None:
        """Call ``lost`` when the log of a room that is subscribed to has lost messages.

        Subscribers may have seen messages that the log does not have any more, or have missed some
        that it had. It is called between the messages before and those after the loss.
        """


@runtime_checkable
class MovableStore(Protocol):
    """A store whose messages another process needs, because they are in this process alone.

    A store may do without.
    """

    def export_state(self) -> dict[str, Any] | None:
        """Return everything that is stored, as JSON; None if it is elsewhere."""

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take everything that another process has stored. The store is new."""


def store_trouble(store: Store) -> str:
    """Return why a store cannot be used now; empty if it can, or if it does not say."""
    return store.trouble if isinstance(store, CheckedStore) else ""


def export_store(store: Store) -> dict[str, Any] | None:
    """Return what another process needs of a store; None for nothing."""
    return store.export_state() if isinstance(store, MovableStore) else None


def restore_store(store: Store, state: Mapping[str, Any] | None) -> None:
    """Give a new store what :func:`export_store` has returned in another process."""
    if state is not None and isinstance(store, MovableStore):
        store.restore_state(state)
