"""A store in memory that several processes share: each can be cut off, heal, and die."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from twisted_net.store.interface import (
    LEASE_SECONDS,
    LeaseWatcher,
    LossWatcher,
    NotificationListener,
    StoreError,
    Subscriber,
)
from twisted_net.store.log import Appended, Message, Page, Position, StoredMessage
from twisted_net.store.memory import MemoryStore

AWAY = "the hub cannot be reached"


class Hub:
    """What all processes share.

    :ivar delay: seconds until an answer, or what others are told, arrives.
    :ivar leases: the value and the process, by kind and key.
    :ivar notices: the notifications for all: each the topic, the data and the sender.
    :ivar calls: how often each method was called.
    :ivar order: the calls: each the process and the method.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.delay = 0.0
        epochs = itertools.count(1)
        self.log = MemoryStore(clock.seconds, lambda: f"epoch-{next(epochs)}")
        self.leases: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        self.notices: list[tuple[str, bytes, str]] = []
        self.stores: list[HubStore] = []
        self.calls: dict[str, int] = defaultdict(int)
        self.order: list[tuple[str, str]] = []
        self.numbers = itertools.count(1)

    def store(self) -> HubStore:
        """Return the store of a new process."""
        store = HubStore(self)
        self.stores.append(store)
        return store

    def reached(self) -> list[HubStore]:
        return [store for store in self.stores if store.is_reached]

    def set_lease(self, kind: str, key: str, value: str | None, process: str) -> None:
        """Take or end a lease, and tell the other processes."""
        if value is None:
            del self.leases[kind][key]
        else:
            self.leases[kind][key] = value, process
        for store in self.reached():
            if store.process != process:
                self.clock.callLater(self.delay, store.lease_changed, kind, key, value, process)

    def expire(self, process: str) -> None:
        """End all leases of a process."""
        for kind, leases in self.leases.items():
            for key in [key for key, (_, holder) in leases.items() if holder == process]:
                self.set_lease(kind, key, None, process)


class HubStore:
    """The store of one process. Every answer comes in a later turn.

    :ivar is_alive: whether the process lives.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.process = ""
        self.trouble = ""
        self.is_alive = True
        self._started = self._suspended = False
        self._subscribed: list[tuple[str, Subscriber, list[int]]] = []
        self._watchers: dict[str, list[LeaseWatcher]] = defaultdict(list)
        self._known: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        self._listeners: list[tuple[str, NotificationListener]] = []
        self._noticed = 0  # the number of the last notification for all
        self._is_moved = False
        self._troubled: list[Callable[[str], None]] = []
        self._loss_watchers: list[LossWatcher] = []
        self._expiry: IDelayedCall | None = None

    @property
    def is_reached(self) -> bool:
        return self.is_alive and self._started and not self.trouble

    # Faults.

    def cut(self) -> None:
        """Cut the process off from the hub."""
        self._lose()
        self.trouble = AWAY
        for changed in self._troubled:
            changed(AWAY)

    def heal(self) -> None:
        """Let the process reach the hub again, and tell it what it has missed."""
        if self._expiry is not None and self._expiry.active():
            self._expiry.cancel()
        self.trouble = ""
        for kind, watchers in self._watchers.items():
            if watchers:
                self._tell_differences(kind)
        self._tell_notices()
        for room, deliver, seen in self._subscribed:
            self._catch_up(room, deliver, seen)
        for changed in self._troubled:
            changed("")

    def die(self) -> None:
        """Let the process die: it does nothing any more."""
        self._lose()
        self.is_alive = False

    def _lose(self) -> None:
        self._expiry = self._hub.clock.callLater(LEASE_SECONDS, self._hub.expire, self.process)

    def _later(self, name: str, work: Callable[[], Any]) -> Deferred[Any]:
        self._hub.calls[name] += 1
        self._hub.order.append((self.process, name))
        done: Deferred[Any] = Deferred()

        def do() -> None:
            if not self.is_alive:
                return
            if not self.is_reached:
                done.errback(StoreError(self.trouble or "stopped"))
            else:
                done.callback(work())

        self._hub.clock.callLater(self._hub.delay, do)
        return done

    # Messages.

    def start(self) -> None:
        self._started = True
        if self._suspended:
            self._suspended = False
            self._hub.clock.callLater(0, self.heal)
        else:
            self.process = f"process{next(self._hub.numbers)}"

    def stop(self) -> Deferred[None]:
        done = self._later("stop", lambda: self._hub.expire(self.process))

        def stopped(result: Any) -> None:
            self._started = False

        return done.addBoth(stopped)

    def suspend(self) -> Deferred[None]:
        def suspended(result: Any) -> None:
            self._started, self._suspended = False, True

        return self._later("suspend", lambda: None).addBoth(suspended)

    def export_state(self) -> dict[str, Any]:
        return {"process": self.process, "known": self._known, "noticed": self._noticed}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        self.process = state["process"]
        self._noticed, self._is_moved = state["noticed"], True
        for kind, known in state["known"].items():
            self._known[kind] = {key: (value, owner) for key, (value, owner) in known.items()}

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        def work() -> Appended:
            appended: Appended = _now(self._hub.log.append(room, messages))
            for store in self._hub.reached():
                if store is self:
                    store.deliver(room, appended.epoch, appended.fresh)
                else:
                    self._hub.clock.callLater(
                        *(0, store.deliver, room, appended.epoch, appended.fresh)
                    )
            return appended

        return self._later("append", work)

    def deliver(self, room: str, epoch: str, fresh: Sequence[StoredMessage]) -> None:
        for name, deliver, seen in list(self._subscribed):
            new = [each for each in fresh if each.offset > seen[0]]
            if name == room and new and self.is_reached:
                seen[0] = new[-1].offset
                deliver(epoch, new)

    def _catch_up(self, room: str, deliver: Subscriber, seen: list[int]) -> None:
        page: Page = _now(self._hub.log.before(room, None, 1000))
        new = [each for each in page.stored if each.offset > seen[0]]
        if new:
            seen[0] = new[-1].offset
            deliver(page.epoch, new)

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        return self._later("since", lambda: _now(self._hub.log.since(room, epoch, offset, limit)))

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        return self._later("before", lambda: _now(self._hub.log.before(room, offset, limit)))

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        def work() -> Position:
            at: Position = _now(self._hub.log.subscribe(room, _ignore))
            self._subscribed.append((room, deliver, [at.offset]))
            return at

        return self._later("subscribe", work)

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        self._subscribed = [
            each for each in self._subscribed if (each[0], each[1]) != (room, deliver)
        ]

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        return self._later("put", lambda: _now(self._hub.log.put(kind, key, value)))

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        return self._later("values", lambda: _now(self._hub.log.values(kind)))

    # Leases.

    def lease(self, kind: str, keys: Sequence[str], value: str) -> Deferred[str | None]:
        def work() -> str | None:
            leases = self._hub.leases[kind]
            for key in keys:
                held, process = leases.get(key, ("", self.process))
                if process != self.process:
                    return held
            for key in keys:
                if leases.get(key) != (value, self.process):
                    self._hub.set_lease(kind, key, value, self.process)
            return None

        return self._later("lease", work)

    def release(self, kind: str, keys: Sequence[str]) -> Deferred[None]:
        def work() -> None:
            for key in keys:
                if self._hub.leases[kind].get(key, ("", ""))[1] == self.process:
                    self._hub.set_lease(kind, key, None, self.process)

        return self._later("release", work)

    def leases(self, kind: str) -> Deferred[dict[str, tuple[str, str]]]:
        return self._later("leases", lambda: dict(self._hub.leases[kind]))

    def watch_leases(self, kind: str, changed: LeaseWatcher) -> Deferred[None]:
        for key, (value, process) in self._known[kind].items():  # of another process
            changed(key, value, process)

        def work() -> None:
            self._watchers[kind].append(changed)
            self._tell_differences(kind)

        return self._later("watch_leases", work)

    def unwatch_leases(self, kind: str, changed: LeaseWatcher) -> None:
        if changed in self._watchers[kind]:
            self._watchers[kind].remove(changed)
            self._known[kind] = {}

    def lease_changed(self, kind: str, key: str, value: str | None, process: str) -> None:
        if not self.is_reached or not self._watchers[kind]:
            return
        known = self._known[kind]
        if value is None:
            if known.pop(key, None) is None:
                return
        elif known.get(key) == (value, process):
            return
        else:
            known[key] = value, process
        for changed in list(self._watchers[kind]):
            changed(key, value, process)

    def _tell_differences(self, kind: str) -> None:
        found = self._hub.leases[kind]
        others = {key: each for key, each in found.items() if each[1] != self.process}
        for key, (_, process) in list(self._known[kind].items()):
            if key not in others:
                self.lease_changed(kind, key, None, process)
        for key, (value, process) in others.items():
            self.lease_changed(kind, key, value, process)

    # Notifications and trouble.

    def notify(self, topic: str, data: bytes, process: str = "") -> Deferred[int]:
        def work() -> int:
            number = 0
            if not process:
                self._hub.notices.append((topic, data, self.process))
                number = len(self._hub.notices)
            reached = 0
            for store in self._hub.reached():
                if store is not self and process in ("", store.process):
                    reached += store.notice(topic, data, self.process, number)
            return reached

        return self._later("notify", work)

    def notice(self, topic: str, data: bytes, sender: str, number: int) -> bool:
        found = [received for name, received in self._listeners if name == topic]
        for received in found:
            self._hub.clock.callLater(
                self._hub.delay, self._receive, received, data, sender, number
            )
        return bool(found)

    def _receive(
        self, received: NotificationListener, data: bytes, sender: str, number: int
    ) -> None:
        if self.is_reached and (not number or number > self._noticed):
            self._noticed = number or self._noticed
            received(data, sender)

    def _tell_notices(self) -> None:
        """Tell the notifications for all that were missed."""
        missed = self._hub.notices[self._noticed :]
        self._noticed = len(self._hub.notices)
        for topic, data, sender in missed:
            for name, received in self._listeners:
                if name == topic and sender != self.process:
                    received(data, sender)

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        def work() -> None:
            self._listeners.append((topic, received))
            if self._is_moved:
                self._is_moved = False
                self._tell_notices()
            else:
                self._noticed = len(self._hub.notices)

        return self._later("listen", work)

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        if (topic, received) in self._listeners:
            self._listeners.remove((topic, received))

    def watch_trouble(self, changed: Callable[[str], None]) -> None:
        self._troubled.append(changed)

    def watch_losses(self, lost: LossWatcher) -> None:
        self._loss_watchers.append(lost)

    def lose(self, room: str, position: Position) -> None:
        """Tell that messages were lost."""
        for lost in self._loss_watchers:
            lost(room, position)


def _ignore(epoch: str, fresh: Sequence[StoredMessage]) -> None:
    """Keep the log of a room that somebody has subscribed to."""


def _now(done: Deferred[Any]) -> Any:
    found: list[Any] = []
    done.addCallback(found.append)
    return found[0]
