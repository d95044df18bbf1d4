"""The rooms' logs in memory: bounded, and gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail, succeed

from twisted_net.store.interface import StoreError, Subscriber
from twisted_net.store.local import LocalSubscribers
from twisted_net.store.log import Appended, Bounds, Message, Page, Position, Ring


class MemoryStore(LocalSubscribers):
    """See :class:`~twisted_net.store.interface.Store`. Every result is there at once.

    :param now: gives the time, in seconds since 1970.
    :param token: gives a random text, never the same: a room's epoch.
    :param bounds: how much is kept.
    """

    def __init__(
        self, now: Callable[[], float], token: Callable[[], str], bounds: Bounds | None = None
    ) -> None:
        super().__init__()
        self._now = now
        self._token = token
        self._bounds = bounds or Bounds()
        self._rings: dict[str, Ring] = {}  # the one that was quiet for longest first

    def start(self) -> None:
        """Nothing is to be opened."""

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        try:
            ring = self._used(room)
        except StoreError as error:
            return fail(error)
        appended = ring.append(messages, self._now())
        self._tell(room, appended.epoch, appended.fresh)
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
        self._subscribers.setdefault(room, []).append(deliver)
        return succeed(Position(ring.epoch, ring.top))

    def _used(self, room: str) -> Ring:
        """Give the room's ring, which is then the last that was used."""
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
            if name not in self._subscribers:
                del self._rings[name]
                return
        raise StoreError(f"there are {self._bounds.rooms} rooms already")
