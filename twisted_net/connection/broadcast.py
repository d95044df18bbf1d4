"""Broadcast the same bytes to many connections, with one write per member and round.

How a message reaches the members:

1. :meth:`Broadcast.publish` adds it to the pending messages and asks the :class:`WriteScheduler`
   for a turn. A busy broadcast waits a few milliseconds first, so that one round carries more
   messages.
2. The broadcast writes to at most :data:`MEMBERS_PER_TURN` members, and continues in the next turn,
   or in the same one if nothing else is waiting. Each member gets everything published since its
   last write, in a single write. Nearly all members are in lanes, and are sent to a lane at a time:
   see :mod:`twisted_net.connection.lanes`.
3. When the round is over, the messages that all members have are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.connection import Connection
from twisted_net.connection.lanes import NOWHERE, Lane, Membership
from twisted_net.eager.transports import Eager
from twisted_net.policy.close_reasons import FAILED
from twisted_net.policy.coalescing import (
    ENOUGH,
    LONGEST_DELAY,
    SHORTEST_DELAY,
    AdaptiveCoalescer,
)

_log = Logger()

MEMBERS_PER_TURN = 128
"""The members written to before the reactor handles other events. Writing to this many takes about
a millisecond. A larger number delays all other connections; a smaller number costs more turns."""

SLICES_PER_TURN = 8
"""How many times one turn writes to :data:`MEMBERS_PER_TURN` members while nothing else waits."""

MANY = 64
"""Members in no lane that are remembered in any broadcast. If they are more, and a quarter of all,
they are looked for when they are needed. Meanwhile, that takes no memory."""

MOST_BEHIND = 1 << 18
"""The bytes that a broadcast keeps for members not yet written to in this round. Past this limit it
writes to all of them at once. The bytes then wait in each member's own send queue, which has a
limit and an overflow policy."""


class WriteScheduler:
    """Share the reactor's turns between broadcasts: limit the writes per turn over all of them.

    If the reactor can say that nothing else is waiting, as the ``eager`` one can, a turn goes on
    with the next members. A turn for each would run the reactor's code each time, which has left
    the processor's caches during the writes.

    :param clock: the reactor.
    :param size: the number of members written to before the reactor handles what is waiting.
    :ivar size: the same.
    """

    __slots__ = ("_broadcasts", "_call_soon", "_is_awaited", "_is_due", "_work", "size")

    def __init__(self, clock: IReactorTime, size: int = MEMBERS_PER_TURN) -> None:
        self._call_soon: Callable[[Callable[[], None]], object]
        self._call_soon = getattr(clock, "call_soon", None) or partial(clock.callLater, 0)
        self._is_awaited: Callable[[], bool] = getattr(clock, "is_awaited", _always)
        self.size = size
        self._broadcasts: deque[Broadcast] = deque()
        self._work: list[Callable[[], None]] = []
        self._is_due = False  # a turn is scheduled or running

    def before_next(self, work: Callable[[], None]) -> None:
        """Call ``work`` at the start of the next turn, before any member is written to."""
        self._work.append(work)
        if not self._is_due:
            self._ask_for_turn()

    def add(self, broadcast: Broadcast) -> None:
        """Write to the members of a broadcast from the next turn on.

        Broadcasts that :meth:`before_next` work adds are written to in the same turn.
        """
        self._broadcasts.append(broadcast)
        if not self._is_due:
            self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        self._is_due = True
        self._call_soon(self._turn)

    def _turn(self) -> None:
        work, self._work = self._work, []
        for each in work:
            try:
                each()
            except Exception:
                _log.failure("What was to be broadcast failed")
        for _ in range(SLICES_PER_TURN):
            self._write_slice()
            if not self._broadcasts or self._work or self._is_awaited():
                break
        self._is_due = False
        if self._broadcasts or self._work:
            self._ask_for_turn()

    def _write_slice(self) -> None:
        broadcasts, left = self._broadcasts, self.size
        for _ in range(len(broadcasts)):  # each once; what they publish now is for a later turn
            broadcast = broadcasts.popleft()
            written = broadcast.write_some(left)
            left -= written
            if broadcast.is_in_round:
                if not written:  # a lane is too long for what is left of this turn: first next time
                    broadcasts.appendleft(broadcast)
                    break
                broadcasts.append(broadcast)
            if left <= 0:
                break


def _always() -> bool:
    """Stand for ``is_awaited`` of reactors that do not have it: something may be waiting."""
    return True


class Broadcast:
    """A set of connections that receive the same messages.

    Writing starts in the reactor's next turn. Each turn writes to some of the members, round after
    round, and a member gets everything published since its last write. So incoming data never waits
    until all of many members are written to. However many messages are published meanwhile, each
    member costs one write per round. This also holds for a member of several broadcasts that share
    a scheduler.

    A busy broadcast waits up to 10 ms between rounds, so that fewer rounds carry more messages.

    A member receives, in order, what was published after it was added and before it was discarded,
    except the messages it sent itself.

    :param clock: the reactor.
    :param scheduler: shares the reactor's turns with other broadcasts.
    :ivar members: the position of each member: the number of the next message to send it, or a
        :class:`_Diverged` if it does not receive exactly what the others do, or its lane, which has
        the position of all its members.
    """

    __slots__ = (
        "_alone",
        "_clock",
        "_coalescer",
        "_delayed",
        "_first",
        "_lanes",
        "_others",
        "_pending",
        "_round",
        "_round_head",
        "_round_lanes",
        "_scheduler",
        "_size",
        "is_writing",
        "members",
    )

    def __init__(self, clock: IReactorTime, scheduler: WriteScheduler | None = None) -> None:
        self._clock = clock
        self._scheduler = scheduler or WriteScheduler(clock)
        self._alone = Membership((self,))  # of a member that is in no other, and in no lane
        # Messages are numbered. _first is the number of the first pending message; members holds
        # the number that each member has reached.
        self._pending: list[bytes] = []
        self._first = 0
        self._size = 0  # total bytes of the pending messages
        self.members: dict[Connection, int | _Diverged | Lane] = {}
        self._lanes: list[Lane] = []
        # The members that are in no lane; None if they are many, and have to be looked for.
        self._others: dict[Connection, None] | None = {}
        self.is_writing = False  # a turn is scheduled: some members are still to be written to
        self._coalescer = AdaptiveCoalescer(SHORTEST_DELAY, LONGEST_DELAY)
        self._delayed: IDelayedCall | None = None
        # What is still to be written to in this round, both in reverse order.
        self._round_lanes: list[Lane] = []
        self._round: list[Connection] = []
        self._round_head = 0  # the number that every member has reached when the round is over

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.members)

    def __contains__(self, member: Connection) -> bool:
        return member in self.members

    def add(self, member: Connection) -> None:
        """Send ``member`` everything published from now on."""
        if member in self.members:
            return
        self.members[member] = self._head
        self._note_other(member)
        if not member.broadcasts:
            member.membership = self._alone
            return
        member.leave_lane()
        member.membership = Membership((*member.broadcasts, self))
        for broadcast in member.broadcasts:
            broadcast._diverge(member)

    def discard(self, member: Connection) -> None:
        """Stop sending to ``member``, after sending it what was published before."""
        if member not in self.members:
            return
        # Remove the member before sending: the write may close the connection, which discards it
        # again.
        member.leave_lane()
        pieces = self._take(member)
        del self.members[member]
        if self._others is not None:
            del self._others[member]
        others = tuple(each for each in member.broadcasts if each is not self)
        if len(others) > 1:
            member.membership = Membership(others)
        else:
            member.membership = others[0]._alone if others else NOWHERE
        if pieces:
            member.send_encoded(b"".join(pieces), len(pieces))

    def publish(self, data: bytes, sender: Connection | None = None) -> None:
        """Send one encoded message to every member except ``sender``.

        :raises TypeError: if ``data`` is not bytes.
        """
        self.enqueue(data, sender)

    def enqueue(self, data: bytes, sender: Connection | None = None, instead: bytes = b"") -> None:
        """Send one encoded message to every member, and a different one to ``sender``.

        :param instead: the bytes sent to ``sender`` in its place; may be empty.
        :raises TypeError: if ``data`` is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a broadcast takes bytes, not {type(data).__name__}")
        if sender is not None and sender in self.members:
            self._diverge(sender).own[self._head] = instead
        self._pending.append(data)
        self._size += len(data)
        if not self.is_writing:
            self._schedule()

    def enqueue_for(self, member: Connection, data: bytes) -> None:
        """Send one encoded message to a single member, in order with the broadcast messages."""
        self.enqueue(b"", member, data)

    def flush(self) -> None:
        """Write to all members now, in this turn, everything that was published."""
        self._round.clear()
        self._round_lanes.clear()
        for lane in list(self._lanes):
            self._write_lane(lane)
        self._write_each(self._list_others())
        self._drop_before(self._head)

    def skip(self, member: Connection) -> None:
        """Do not send ``member`` the message that was published last."""
        if member in self.members:
            self._diverge(member).own[self._head - 1] = b""

    # When to write.

    def _schedule(self) -> None:
        """Ask the scheduler for a turn, now or after a delay."""
        if len(self._pending) < ENOUGH:
            delay = self._coalescer.left(self._clock.seconds())
            if delay:
                if self._delayed is None:
                    self._delayed = self._clock.callLater(delay, self._delay_is_over)
                return
        if self._delayed is not None:
            self._delayed.cancel()
            self._delayed = None
        self.is_writing = True
        self._scheduler.add(self)

    def _delay_is_over(self) -> None:
        self._delayed = None
        self.is_writing = True
        self._scheduler.add(self)

    # Called by the scheduler.

    @property
    def is_in_round(self) -> bool:
        """Whether some members are still to be written to in this round."""
        return bool(self._round or self._round_lanes)

    def write_some(self, most: int) -> int:
        """Send the next members of this round what they have not been sent.

        :param most: the most members to write to. All are written to if too many bytes are pending.
        :return: the number of members written to.
        """
        if not (self._round_lanes or self._round):
            self._begin_round()
        if self._size > MOST_BEHIND:
            most = len(self.members)
        written, lanes = 0, self._round_lanes
        while lanes and written + len(lanes[-1].members) <= most:
            lane = lanes.pop()
            written += len(lane.members)
            self._write_lane(lane)
        if not lanes and self._round and written < most:
            now = self._round[written - most :]
            del self._round[written - most :]
            now.reverse()
            self._write_each(now)
            written += len(now)
        if not (lanes or self._round):
            self._end_round()
        return written

    def _begin_round(self) -> None:
        self._coalescer.begin(self._clock.seconds())
        self._round_head = self._head
        self._fill_lanes()
        self._round_lanes = self._lanes[::-1]
        self._round = self._list_others()[::-1]

    def _end_round(self) -> None:
        self._drop_before(self._round_head)
        self._coalescer.end(self._clock.seconds())
        self.is_writing = False
        if self._pending:  # published during the round
            self._schedule()

    def _write_lane(self, lane: Lane) -> None:
        head = self._head
        data, count = self._between(lane.position, head)
        lane.position = head
        if data:
            lane.send(data, count)

    def _between(self, start: int, end: int) -> tuple[bytes, int]:
        """Return the messages from ``start`` up to ``end``, joined, and their number."""
        pieces = self._pending[start - self._first : end - self._first]
        return b"".join(pieces), len(pieces) - pieces.count(b"")

    def _write_each(self, members: list[Connection]) -> None:
        # Writes may close, add or discard members, or publish. All of this takes effect in a later
        # turn.
        positions, head = self.members, self._head
        start, data, count = -1, b"", 0
        for member in members:
            position = positions.get(member)
            try:
                if position != start:
                    if position is None:  # an earlier member's end discarded this one
                        continue
                    if isinstance(position, _Diverged):
                        _write_all(member)
                        continue
                    if isinstance(position, Lane):
                        continue
                    start = position
                    data, count = self._between(start, head)
                positions[member] = head
                if count:
                    member.send_encoded(data, count)
            except Exception:
                _log.failure("Connection {id}: a broadcast to it failed", id=member.id)
                member.abort(FAILED)

    # Lanes.

    def _fill_lanes(self) -> None:
        """Let the members into lanes of which nothing is known that the others do not have."""
        size, members = self._scheduler.size, self.members
        self._lanes = [lane for lane in self._lanes if lane.members]
        before, self._others = self._list_others(), {}
        for member in before:
            place = members[member]
            if isinstance(place, int) and _join_lane(member.transport):
                lane = members[member] = self._lane_at(place, size)
                lane.add(member)
            else:
                self._note_other(member)
        lengths = [len(lane.members) for lane in self._lanes]
        if len(lengths) * size >= sum(lengths) + size:  # fewer would do
            self._join_lanes(size)

    def _note_other(self, member: Connection) -> None:
        """Note that a member is in no lane."""
        if self._others is not None:
            self._others[member] = None
            if len(self._others) > MANY + len(self.members) // 4:
                self._others = None  # they would only take memory, such as in a room of silence

    def _list_others(self) -> list[Connection]:
        if self._others is not None:
            return list(self._others)
        return [member for member, place in self.members.items() if not isinstance(place, Lane)]

    def _lane_at(self, position: int, size: int) -> Lane:
        """Return a lane in this position that has room for a member."""
        for lane in reversed(self._lanes):
            if lane.position == position and len(lane.members) < size:
                return lane
        self._lanes.append(Lane(self, position))
        return self._lanes[-1]

    def _join_lanes(self, size: int) -> None:
        """Make as few lanes as possible of those in the same position."""
        by_position: dict[int, list[Lane]] = {}
        for lane in self._lanes:
            by_position.setdefault(lane.position, []).append(lane)
        for lanes in by_position.values():
            lanes.sort(key=len)
            spare = size * len(lanes) - sum(map(len, lanes))
            for number in range(spare // size):  # the shortest go into the others
                for lane in lanes[:number:-1]:
                    moved = lane.take(lanes[number], size - len(lane.members))
                    self.members.update(dict.fromkeys(moved, lane))
        self._lanes = [lane for lane in self._lanes if lane.members]

    def left_lane(self, member: Connection, position: int) -> None:
        """Called by a lane: a member in this position has left it."""
        self.members[member] = position
        self._note_other(member)
        member.membership = self._alone
        if position < self._round_head:  # its lane has not been written to in this round
            self._round.append(member)

    # What each member has been sent.

    @property
    def _head(self) -> int:
        """The number of the message that will be published next."""
        return self._first + len(self._pending)

    def _diverge(self, member: Connection) -> _Diverged:
        member.leave_lane()
        place = self.members[member]
        if not isinstance(place, _Diverged):
            assert isinstance(place, int)
            self.members[member] = place = _Diverged(place)
        return place

    def _take(self, member: Connection) -> list[bytes]:
        """Return what a member has not been sent yet, and mark it as sent."""
        place = self.members[member]
        assert not isinstance(place, Lane)
        own = place.own if isinstance(place, _Diverged) else {}
        position = place.position if isinstance(place, _Diverged) else place
        head = self._head
        self.members[member] = head if member.membership is self._alone else _Diverged(head)
        pieces = self._pending[position - self._first :]
        for number, data in own.items():
            if number >= position:
                pieces[number - position] = data
        return [piece for piece in pieces if piece]

    def _drop_before(self, number: int) -> None:
        """Drop the messages before this number: every member has them."""
        count = number - self._first
        self._size -= sum(map(len, self._pending[:count]))
        del self._pending[:count]
        self._first = number


def _join_lane(transport: Any) -> bool:
    # Wrappers such as TLS proxy the attributes of the wrapped transport, but are not Eager.
    return isinstance(transport, Eager) and transport.join_lane()


class _Diverged:
    """The position of a member that does not receive exactly what the others do.

    The member has sent a message itself, or it is in other broadcasts as well and receives the
    messages of all of them in one write.

    :ivar own: what this member is sent in place of a message, by message number.
    """

    __slots__ = ("own", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.own: dict[int, bytes] = {}


def _write_all(member: Connection) -> None:
    """Send a member everything pending in all of its broadcasts, in one write."""
    pieces = [piece for each in member.broadcasts for piece in each._take(member)]
    if pieces:
        member.send_at_once(b"".join(pieces), len(pieces))
