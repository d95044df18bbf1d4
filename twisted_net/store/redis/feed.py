"""Follows one room: delivers its messages in order, and closes gaps.

New messages come in two ways: those of other processes are published, and those of this one come
with the reply to the append. Both are on one connection, so usually they begin where the last ones
have ended. If not, something was missed, and is read from the log.

While the feed reads, what comes is held. So it is while it waits for an append of its own, which
may fill the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds, Page, Position, StoredMessage
from twisted_net.store.redis.records import NewMessages
from twisted_net.store.redis.ring import RoomRing
from twisted_net.store.redis.rooms import KnownRoom, Opened, RoomCommands

PAGE = 500
"""Messages that are read at once to close a gap."""

MOST_HELD = 2000
"""Batches that are held. If there are more, they are dropped, and read from the log later."""

_log = Logger()


class RoomFeed:
    """Follows a room.

    :param deliver: called with an epoch and the messages that follow, in order.
    :param broken: called if a gap cannot be closed now. Call :meth:`resume` later.
    :param lost: called with the position after which it goes on, if messages were lost.
    :ivar live: whether nothing is missed. If not, :meth:`resume` has to be called.
    :ivar appends: this process's appends that wait for their results.
    """

    def __init__(
        self,
        commands: RoomCommands,
        room: KnownRoom,
        bounds: Bounds,
        deliver: Callable[[str, Sequence[StoredMessage]], None],
        broken: Callable[[], None],
        lost: Callable[[Position], None] = lambda position: None,
    ) -> None:
        self._commands = commands
        self._room = room
        self._deliver = deliver
        self._broken = broken
        self._lost = lost
        self._held: list[NewMessages] = []
        self._reading = False
        self._wait_settled: list[Deferred[None]] = []
        self._wait_filled: list[Deferred[None]] = []
        self.ring = RoomRing(bounds)
        self.live = False
        self.appends = 0

    @property
    def room(self) -> KnownRoom:
        """The room, and what is known of it."""
        return self._room._replace(epoch=self.ring.epoch, top=self.ring.top)

    @property
    def position(self) -> Position:
        """The position after the last message that was delivered."""
        return Position(self.ring.epoch, self.ring.top)

    def lose(self) -> None:
        """The connection was lost: from now on, messages are missed."""
        self.live = False
        self._held.clear()
        if not self._reading:
            self._settle()

    def settled(self) -> Deferred[None]:
        """Wait until nothing is held; or until it cannot be delivered now."""
        if self.live and not self._held and not self._reading:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._wait_settled.append(waiting)
        return waiting

    def resume(self) -> Deferred[None]:
        """Read and deliver what was missed.

        :return: fails with :exc:`StoreError`.
        """
        return Deferred.fromCoroutine(self._catch_up())

    def take(self, batch: NewMessages) -> bool:
        """Deliver new messages, or hold them until they can be.

        :return: whether they were delivered, or had been delivered before.
        """
        if self.live and not self._held and not self._reading and self._accept(batch):
            return True
        self._held.append(batch)
        if len(self._held) > MOST_HELD:
            self._held.clear()
        if self.live and not self._reading:
            self._close_gap()
        return False

    def appended(self) -> None:
        """One of this process's appends has got its result."""
        self.appends -= 1
        if self._held and self.live and not self._reading:
            self._close_gap()

    def _accept(self, batch: NewMessages) -> bool:
        """Deliver what of a batch is new, unless something is missing before it."""
        ring = self.ring
        if batch.epoch != ring.epoch or batch.base > ring.top:
            return False
        known = ring.top - batch.base
        fresh = batch.stored[known:] if known else batch.stored
        if fresh:
            ring.append(fresh, batch.first)
            self._deliver(ring.epoch, fresh)
        return True

    def _take_held(self) -> bool:
        """Deliver what was held.

        :return: whether nothing is held any more.
        """
        held = sorted(self._held, key=lambda batch: batch.base)
        self._held = []
        while held and self._accept(held[0]):
            del held[0]
        self._held[:0] = held
        return not self._held

    def _close_gap(self) -> None:
        if self._take_held():
            self._settle()
        elif not self.appends:
            self.resume().addErrback(
                lambda failure: _log.warn("A gap stays: {why}", why=failure.getErrorMessage())
            )

    async def _catch_up(self) -> None:
        if self._reading:
            await self.settled()
            return
        self._reading = True
        try:
            while True:
                opened = await self._commands.open(self.room)
                held, self._held = self._held, []  # all of it is in the log
                self._adopt(opened, held)
                while self.ring.top < opened.top and await self._read_on():
                    pass
                if self.ring.top >= opened.top and self._take_held():
                    break
            self.live = True
        except StoreError:
            self.live = False
            self._held.clear()
            self._broken()
            raise
        finally:
            self._reading = False
            self._settle()

    def _adopt(self, opened: Opened, held: Sequence[NewMessages]) -> None:
        """Take over the epoch of the log.

        If the log has lost messages, those that follow have offsets that were used before, in the
        old epoch. If it cannot be told how the epochs are connected, go on with the first message
        that is known to be new, or at the end.
        """
        ring = self.ring
        if opened.epoch == ring.epoch:
            return
        bases = [batch.base for batch in held if batch.epoch == opened.epoch]
        top, goes_on = min([opened.top, *bases]), not ring.epoch
        if ring.epoch and opened.old == ring.epoch:
            top = min(ring.top, opened.cut)
            goes_on = top == ring.top
        self._begin(opened.epoch, top, opened.first, goes_on)

    async def _read_on(self) -> bool:
        ring = self.ring
        page = await self._commands.after(self.room, ring.top, PAGE)
        if page is None or page.epoch != ring.epoch:
            return False  # another epoch has begun meanwhile: look again
        if not page.stored:  # all of it was too old, or the last record that was read is damaged
            end = page.first - 1 if page.first - 1 > ring.top else page.top
            self._begin(ring.epoch, end, page.first, end == ring.top)
            return False
        base = page.stored[0].offset - 1
        if base > ring.top:  # the log has dropped what is missing
            self._begin(ring.epoch, base, page.first, False)
        self._accept(NewMessages(page.epoch, base, page.first, page.stored))
        return True

    def _begin(self, epoch: str, top: int, first: int, goes_on: bool) -> None:
        """Go on at a position. If it is not the one before, subscribers have to know."""
        self.ring.begin(epoch, top, first)
        if not goes_on:
            self._lost(self.position)

    def _settle(self) -> None:
        waiting, self._wait_settled = self._wait_settled, []
        for each in waiting:
            each.callback(None)

    # Reading.

    def since(self, epoch: str, offset: int, limit: int, now: float) -> Deferred[Page | None]:
        """Read from the ring if possible; see :meth:`Store.since`."""
        ring = self.ring
        if not self.appends and not self._reading:
            page = ring.since(offset, limit, now) if epoch == ring.epoch else None
            if page is not None:
                return succeed(page)
            if self.live and (epoch != ring.epoch or ring.top - offset > limit):
                return succeed(None)
            if self.live and 0 <= offset <= ring.top:
                return (
                    self._filled()
                    .addCallback(
                        lambda _: ring.since(offset, limit, now) if epoch == ring.epoch else None
                    )
                    .addCallback(
                        lambda page: page or self._commands.since(self.room, epoch, offset, limit)
                    )
                )
        return self._commands.since(self.room, epoch, offset, limit)

    def before(self, offset: int | None, limit: int, now: float) -> Deferred[Page]:
        """Read from the ring if possible; see :meth:`Store.before`."""
        ring = self.ring
        if not self.appends and not self._reading:
            page = ring.before(offset, limit, now)
            if page is not None:
                return succeed(page)
            if self.live:
                return self._filled().addCallback(
                    lambda _: (
                        ring.before(offset, limit, now)
                        or self._commands.before(self.room, offset, limit)
                    )
                )
        return self._commands.before(self.room, offset, limit)

    def _filled(self) -> Deferred[None]:
        """Read older messages into the ring, if there is room for them.

        Those who ask meanwhile wait for the same reading.
        """
        ring = self.ring
        if not ring.room_left or ring.start <= ring.log_first:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._wait_filled.append(waiting)
        if len(self._wait_filled) == 1:
            reading = self._commands.before(self.room, ring.start, ring.room_left)
            reading.addCallback(ring.prepend).addBoth(self._fill_ended)
        return waiting

    def _fill_ended(self, result: object) -> None:
        waiting, self._wait_filled = self._wait_filled, []
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(None)
