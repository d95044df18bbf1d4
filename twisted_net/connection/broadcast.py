"""Broadcast the same bytes to many connections, with one write per member and round.

How a message reaches the members:

1. :meth:`Broadcast.publish` adds it to the pending messages and asks the :class:`WriteScheduler`
   for a turn. A busy broadcast waits a few milliseconds first, so that one round carries more
   messages.
2. In each turn, the broadcast writes to at most :data:`MEMBERS_PER_TURN` members, and continues in
   the next turn. Each member gets everything published since its last write, in a single write.
3. When the round is over, the messages that all members have are dropped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.connection import Connection
from twisted_net.eager.transports import are_free, send_to_all
from twisted_net.policy.close_reasons import FAILED

_log = Logger()

MEMBERS_PER_TURN = 128
"""The members written to before the reactor handles other events. Writing to this many takes about
a millisecond. A larger number delays all other connections; a smaller number costs more turns."""

MOST_BEHIND = 1 << 18
"""The bytes that a broadcast keeps for members not yet written to in this round. Past this limit it
writes to all of them at once. The bytes then wait in each member's own send queue, which has a
limit and an overflow policy."""

SHORTEST_DELAY, LONGEST_DELAY = 0.001, 0.010
"""In seconds; see :class:`AdaptiveCoalescer`. A round for a hundred members takes about a
millisecond, which is also the resolution of the reactor's timers."""

ENOUGH = 3
"""The number of pending messages that ends the delay early. Beyond this number, a larger batch
hardly makes a message cheaper."""


class AdaptiveCoalescer:
    """Decide when the next round may begin, so that busy broadcasts batch their messages.

    A round for one message costs almost as much as a round for several. So each round is followed
    by a delay as long as the round took, and messages collect during the delay. A broadcast that is
    busy less than half of the time is hardly delayed. Network cards use the same method, as
    adaptive interrupt coalescing.

    Times are in seconds, from any clock.

    :param shortest: a round that took less time is followed by no delay.
    :param longest: the longest delay.
    """

    __slots__ = ("_began", "_longest", "_shortest", "_until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._began = 0.0
        self._until = -math.inf

    def begin(self, now: float) -> None:
        """Note that a round begins."""
        self._began = now

    def end(self, now: float) -> None:
        """Note that the round is over, and set the delay that follows it."""
        took = now - self._began
        self._until = now + min(took, self._longest) if took >= self._shortest else now

    def left(self, now: float) -> float:
        """Return the seconds until the next round may begin; 0.0 means now."""
        if self._until - now > self._longest:  # the clock was set back
            self._until = now
        return max(0.0, self._until - now)


class WriteScheduler:
    """Share the reactor's turns between broadcasts: limit the writes per turn over all of them.

    :param clock: the reactor.
    :param size: the number of members written to in one turn.
    """

    __slots__ = ("_broadcasts", "_clock", "_is_due", "_size", "_work")

    def __init__(self, clock: IReactorTime, size: int = MEMBERS_PER_TURN) -> None:
        self._clock = clock
        self._size = size
        self._broadcasts: deque[Broadcast] = deque()
        self._work: list[Callable[[], None]] = []
        self._is_due = False  # a turn is scheduled or running

    def before_next(self, work: Callable[[], None]) -> None:
        """Call ``work`` at the start of the next turn, before any member is written to."""
        self._work.append(work)
        if not self._is_due:
            self._call_soon()

    def add(self, broadcast: Broadcast) -> None:
        """Write to the members of a broadcast from the next turn on.

        Broadcasts that :meth:`before_next` work adds are written to in the same turn.
        """
        self._broadcasts.append(broadcast)
        if not self._is_due:
            self._call_soon()

    def _call_soon(self) -> None:
        self._is_due = True
        self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        work, self._work = self._work, []
        for each in work:
            try:
                each()
            except Exception:
                _log.failure("What was to be broadcast failed")
        broadcasts, left = self._broadcasts, self._size
        for _ in range(len(broadcasts)):  # each once; what they publish now is for a later turn
            broadcast = broadcasts.popleft()
            left -= broadcast.write_some(left)
            if broadcast._round:
                broadcasts.append(broadcast)
            if left <= 0:
                break
        self._is_due = False
        if broadcasts or self._work:
            self._call_soon()


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
        :class:`_Diverged` if it does not receive exactly what the others do.
    """

    __slots__ = (
        "_alone",
        "_clock",
        "_coalescer",
        "_delayed",
        "_first",
        "_pending",
        "_round",
        "_round_head",
        "_scheduler",
        "_size",
        "is_writing",
        "members",
    )

    def __init__(self, clock: IReactorTime, scheduler: WriteScheduler | None = None) -> None:
        self._clock = clock
        self._scheduler = scheduler or WriteScheduler(clock)
        self._alone = (self,)  # the broadcasts of a member that is in no other
        # Messages are numbered. _first is the number of the first pending message; members holds
        # the number that each member has reached.
        self._pending: list[bytes] = []
        self._first = 0
        self._size = 0  # total bytes of the pending messages
        self.members: dict[Connection, int | _Diverged] = {}
        self.is_writing = False  # a turn is scheduled: some members are still to be written to
        self._coalescer = AdaptiveCoalescer(SHORTEST_DELAY, LONGEST_DELAY)
        self._delayed: IDelayedCall | None = None
        self._round: list[Connection] = []  # members still to be written to, in reverse order
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
        if not member.broadcasts:
            member.broadcasts = self._alone
            return
        member.broadcasts = (*member.broadcasts, self)
        for broadcast in member.broadcasts:
            broadcast._diverge(member)

    def discard(self, member: Connection) -> None:
        """Stop sending to ``member``, after sending it what was published before."""
        if member not in self.members:
            return
        # Remove the member before sending: the write may close the connection, which discards it
        # again.
        pieces = self._take(member)
        del self.members[member]
        others = tuple(each for each in member.broadcasts if each is not self)
        member.broadcasts = others[0]._alone if len(others) == 1 else others
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
        members = list(self.members)
        self._write_each(self._write_at_once(members))
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

    def write_some(self, most: int) -> int:
        """Send the next members of this round what they have not been sent.

        :param most: the most members to write to. All are written to if too many bytes are pending.
        :return: the number of members written to.
        """
        if not self._round:
            self._coalescer.begin(self._clock.seconds())
            self._round = list(reversed(self.members))
            self._round_head = self._head
        if self._size > MOST_BEHIND:
            most = len(self._round)
        now = self._round[-most:]
        del self._round[-most:]
        now.reverse()
        self._write_each(self._write_at_once(now))
        if not self._round:
            self._drop_before(self._round_head)
            self._coalescer.end(self._clock.seconds())
            self.is_writing = False
            if self._pending:  # published during the round
                self._schedule()
        return len(now)

    def _write_at_once(self, members: list[Connection]) -> list[Connection]:
        """Write to members that keep up and receive the same as most others.

        These are nearly all members: their transports are free. No other code runs in between: it
        is one ``send`` after another.

        :return: the other members.
        """
        positions, head = self.members, self._head
        places = map(positions.get, members)
        start = next((place for place in places if isinstance(place, int)), head)
        data, count = self._between(start, head)
        if not data:
            return members
        even: list[Connection] = []
        others: list[Connection] = []
        for member in members:
            (even if positions.get(member) == start else others).append(member)
        size = len(data)
        transports = []
        free = are_free([member.transport for member in even])
        for member, is_free in zip(even, free, strict=True):
            if is_free:
                positions[member] = head
                member.bytes_sent += size
                member.messages_sent += count
                transports.append(member.transport)
            else:
                others.append(member)
        send_to_all(transports, data)
        return others

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
                    start = position
                    data, count = self._between(start, head)
                positions[member] = head
                if count:
                    member.send_encoded(data, count)
            except Exception:
                _log.failure("Connection {id}: a broadcast to it failed", id=member.id)
                member.abort(FAILED)

    # What each member has been sent.

    @property
    def _head(self) -> int:
        """The number of the message that will be published next."""
        return self._first + len(self._pending)

    def _diverge(self, member: Connection) -> _Diverged:
        place = self.members[member]
        if not isinstance(place, _Diverged):
            self.members[member] = place = _Diverged(place)
        return place

    def _take(self, member: Connection) -> list[bytes]:
        """Return what a member has not been sent yet, and mark it as sent."""
        place = self.members[member]
        own = place.own if isinstance(place, _Diverged) else {}
        position = place.position if isinstance(place, _Diverged) else place
        head = self._head
        self.members[member] = head if member.broadcasts is self._alone else _Diverged(head)
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
