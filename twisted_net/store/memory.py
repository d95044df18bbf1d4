"""A store in memory. It is bounded, and its messages are lost when the process ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from twisted_net.store.interface import StoreError, Subscriber
from twisted_net.store.local import LocalSubscribers
from twisted_net.store.log import Appended, Bounds, Message, Page, Position, StoredMessage


class Ring:
    """The log of one room, in memory.

    :ivar top: the offset of the last message; 0 before the first.
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
        """Return the number of stored messages."""
        return len(self._stored)

    @property
    def first(self) -> int:
        """The offset of the oldest message; one more than ``top`` if there is none."""
        return self.top - len(self._stored) + 1

    def append(self, messages: Sequence[Message], now: float) -> Appended:
        """Append messages, except those that are stored already; then trim."""
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

    def export_state(self) -> list[Any]:
        """Return the log, for :meth:`restore_state`."""
        return [self.epoch, self.top, *(stored.message for stored in self._stored)]

    @classmethod
    def from_state(cls, state: Sequence[Any], bounds: Bounds) -> Ring:
        """Return a log from :meth:`export_state`."""
        epoch, top, *messages = state
        ring = cls(epoch, bounds)
        ring.top = top - len(messages)
        for fields in messages:
            message = Message(*fields)
            ring.top += 1
            ring.size += message.size
            ring._stored.append(StoredMessage(ring.top, message))
            if message.id:
                ring._ids[message.origin, message.id] = ring.top
        return ring

    def since(self, epoch: str, offset: int, limit: int, now: float) -> Page | None:
        """Return all messages after ``offset``, or None.

        It is None if the epoch is another, the offset never existed, some of the messages are
        deleted, or there are more than ``limit``.
        """
        self.trim(now)
        count = self.top - offset
        if epoch != self.epoch or not 0 <= count <= min(limit, len(self._stored)):
            return None
        return self._page(islice(reversed(self._stored), count))

    def before(self, offset: int | None, limit: int, now: float) -> Page:
        """Return the last ``limit`` messages before ``offset``; of the whole log if it is None."""
        self.trim(now)
        skip = 0 if offset is None else max(0, self.top - offset + 1)
        return self._page(islice(reversed(self._stored), skip, skip + limit))

    def trim(self, now: float) -> None:
        """Delete messages beyond the bounds."""
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


class MemoryStore(LocalSubscribers):
    """A :class:`~twisted_net.store.interface.Store` in memory. Every result is available at once.

    :param now: returns the time, in seconds since 1970.
    :param token: returns a random text for a room's epoch, different each time.
    :param bounds: the bounds of the store.
    """

    def __init__(
        self, now: Callable[[], float], token: Callable[[], str], bounds: Bounds | None = None
    ) -> None:
        super().__init__()
        self._now = now
        self._token = token
        self._bounds = bounds or Bounds()
        self._rings: dict[str, Ring] = {}  # the least recently used first
        self._values: dict[str, dict[str, str]] = {}

    def start(self) -> None:
        """Do nothing: there is nothing to open."""

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def export_state(self) -> dict[str, Any]:
        rings = {name: ring.export_state() for name, ring in self._rings.items()}
        return {"rings": rings, "values": self._values}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        for name, ring in state["rings"].items():
            self._rings[name] = Ring.from_state(ring, self._bounds)
        self._values = {kind: dict(values) for kind, values in state["values"].items()}

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        try:
            ring = self._used(room)
        except StoreError as error:
            return fail(error)
        appended = ring.append(messages, self._now())
        self.publish(room, appended.epoch, appended.fresh)
        return succeed(appended)

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        ring = self._rings.get(room)
        return succeed(None if ring is None else ring.since(epoch, offset, limit, self._now()))

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        ring = self._rings.get(room)
        if ring is None:
            return succeed(Page("", 0, [], 1))
        return succeed(ring.before(offset, limit, self._now()))

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        try:
            ring = self._used(room)
        except StoreError as error:
            return fail(error)
        self.subscribers.setdefault(room, []).append(deliver)
        return succeed(Position(ring.epoch, ring.top))

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        super().unsubscribe(room, deliver)
        ring = self._rings.get(room)
        if ring is not None and not ring.top and room not in self.subscribers:
            del self._rings[room]  # nothing was said: it must not take the place of another

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        values = self._values.setdefault(kind, {})
        values.pop(key, None)
        if value is not None:
            values[key] = value
        return succeed(None)

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        return succeed(dict(self._values.get(kind, {})))

    def _used(self, room: str) -> Ring:
        """Return the room's ring, and mark it as the last one used."""
        ring = self._rings.pop(room, None)
        if ring is None:
            self._make_room()
            ring = Ring(self._token(), self._bounds)
        self._rings[room] = ring
        return ring

    def _make_room(self) -> None:
        if len(self._rings) < self._bounds.rooms:
            return
        for name in self._rings:
            if name not in self.subscribers:
                del self._rings[name]
                return
        raise StoreError(f"there are {self._bounds.rooms} rooms already")
