"""Measures how long a store takes, without the store or the chat knowing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from twisted_net.store.interface import (
    KeyValueStore,
    LeaseWatcher,
    Lessee,
    LossWatcher,
    NotificationListener,
    SharedStore,
    Store,
    Subscriber,
    export_store,
    restore_store,
    store_trouble,
)
from twisted_net.store.log import Appended, Message, Page, Position
from twisted_net.web.admin.histogram import Histogram


class TimedStore:
    """Passes everything on, and measures appends.

    :param store: does the work.
    :param appends: gets the seconds of each append.
    :param seconds: a clock.
    """

    def __init__(self, store: Store, appends: Histogram, seconds: Callable[[], float]) -> None:
        self._store = store
        self._appends = appends
        self._seconds = seconds

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        began, seconds = self._seconds(), self._seconds
        stored = self._store.append(room, messages)
        if stored.called:  # at once, as in memory
            self._appends.observe(seconds() - began)
            return stored

        def measured(result: Appended) -> Appended:
            self._appends.observe(seconds() - began)
            return result

        return stored.addBoth(measured)

    def start(self) -> None:
        self._store.start()

    @property
    def trouble(self) -> str:
        return store_trouble(self._store)

    def export_state(self) -> dict[str, Any] | None:
        return export_store(self._store)

    def restore_state(self, state: Mapping[str, Any]) -> None:
        restore_store(self._store, state)

    def stop(self) -> Deferred[None]:
        return self._store.stop()

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        return self._store.since(room, epoch, offset, limit)

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        return self._store.before(room, offset, limit)

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        return self._store.subscribe(room, deliver)

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        self._store.unsubscribe(room, deliver)


class TimedKeyValueStore(TimedStore):
    """The same for a store that keeps small texts as well."""

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        assert isinstance(self._store, KeyValueStore)
        return self._store.put(kind, key, value)

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        assert isinstance(self._store, KeyValueStore)
        return self._store.values(kind)


class TimedSharedStore(TimedKeyValueStore):
    """The same for a store that several processes share."""

    def __init__(self, store: Store, appends: Histogram, seconds: Callable[[], float]) -> None:
        super().__init__(store, appends, seconds)
        assert isinstance(store, SharedStore)
        self._shared: SharedStore = store

    @property
    def process(self) -> Lessee:
        return self._shared.process

    def suspend(self) -> Deferred[None]:
        return self._shared.suspend()

    def lease(self, kind: str, keys: Sequence[str], value: str) -> Deferred[str | None]:
        return self._shared.lease(kind, keys, value)

    def release(self, kind: str, keys: Sequence[str]) -> Deferred[None]:
        return self._shared.release(kind, keys)

    def leases(self, kind: str) -> Deferred[dict[str, tuple[str, Lessee]]]:
        return self._shared.leases(kind)

    def watch_leases(self, kind: str, changed: LeaseWatcher) -> Deferred[None]:
        return self._shared.watch_leases(kind, changed)

    def unwatch_leases(self, kind: str, changed: LeaseWatcher) -> None:
        self._shared.unwatch_leases(kind, changed)

    def notify(self, topic: str, data: bytes, process: Lessee = "") -> Deferred[int]:
        return self._shared.notify(topic, data, process)

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        return self._shared.listen(topic, received)

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        self._shared.unlisten(topic, received)

    def watch_trouble(self, changed: Callable[[str], None]) -> None:
        self._shared.watch_trouble(changed)

    def watch_losses(self, lost: LossWatcher) -> None:
        self._shared.watch_losses(lost)


def time_appends(store: Store, appends: Histogram, seconds: Callable[[], float]) -> Store:
    """Return a store that does what ``store`` does, and measures its appends."""
    kind: type[TimedStore] = TimedStore
    if isinstance(store, SharedStore):
        kind = TimedSharedStore
    elif isinstance(store, KeyValueStore):
        kind = TimedKeyValueStore
    return kind(store, appends, seconds)
