"""Broadcast: the same bytes to many connections, with one write a member and a turn.

How a message reaches the members:

1. :meth:`Broadcast.publish` puts it behind those that are pending, and asks the
   :class:`WriteScheduler` for a turn. A broadcast that was busy waits a few milliseconds first, so
   that one round carries more.
2. In its turn, a broadcast writes to at most :data:`MEMBERS_PER_TURN` members, and goes on in the
   next turn. Each member is given everything that was published since it was last given something,
   in one write.
3. When the round is over, the messages that every member has are dropped.
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
"""Members that are written to before the reactor looks for what has arrived: a millisecond of
sending or a little more. More in one go would hold up everybody else; fewer cost more turns."""

MOST_BEHIND = 1 << 18
"""Bytes that a broadcast keeps for the members that are not yet written to in this round. Past that
it writes to all of them at once: then the bytes wait in each member's own queue, which has a limit
and an overflow policy."""

SHORTEST_DELAY, LONGEST_DELAY = 0.001, 0.010
"""Seconds; see :class:`AdaptiveCoalescer`. A round for a hundred members takes a millisecond, which
is also what the reactor's timers can tell apart."""

ENOUGH = 3
"""Pending messages that are not held back any longer: with more in a round, each costs hardly
less."""


class AdaptiveCoalescer:
    """When the next round may begin, of work that costs much a round and little more for more.

    A round for one message costs almost as much as a round for several. So a round is followed by
    a delay as long as the round took, in which messages gather. A broadcast that is busy for less
    than half of the time is hardly delayed. After the adaptive interrupt coalescing of network
    cards.

    Times are seconds of any clock.

    :param shortest: a round that took less is followed by no delay.
    :param longest: no delay is longer.
    """

    __slots__ = ("_began", "_longest", "_shortest", "_until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._began = 0.0
        self._until = -math.inf

    def begin(self, now: float) -> None:
        """A round begins."""
        self._began = now

    def end(self, now: float) -> None:
        """The round is over."""
        took = now - self._began
        self._until = now + min(took, self._longest) if took >= self._shortest else now

    def left(self, now: float) -> float:
        """Give the seconds until the next round may begin; 0.0 is now."""
        if self._until - now > self._longest:  # the clock was set back
            self._until = now
        return max(0.0, self._until - now)


class WriteScheduler:
    """Shares the turns of a reactor between broadcasts: so many writes a turn, whoever has them.

    :param clock: the reactor.
    :param size: members that are written to in a turn.
    """

    __slots__ = ("_broadcasts", "_clock", "_is_due", "_size", "_work")

    def __init__(self, clock: IReactorTime, size: int = MEMBERS_PER_TURN) -> None:
        self._clock = clock
        self._size = size
        self._broadcasts: deque[Broadcast] = deque()
        self._work: list[Callable[[], None]] = []
        self._is_due = False  # or it is going on

    def before_next(self, work: Callable[[], None]) -> None:
        """Call ``work`` at the beginning of the next turn, before members are written to."""
        self._work.append(work)
        if not self._is_due:
            self._call_soon()

    def add(self, broadcast: Broadcast) -> None:
        """Write to a broadcast's members from the next turn on.

        What the work before a turn adds belongs to that turn.
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
        for _ in range(len(broadcasts)):  # each once: what they publish now is for another turn
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
    """Connections that are sent the same.

    What is published is sent from the beginning of the reactor's next turn on: to some of the
    members in each turn, round after round, and to each one all that was published since it was
    last sent something. So nothing that arrives waits until the last of many members was written
    to, and however much is published meanwhile, it is one write a member and round; one also for a
    member of several broadcasts that share a scheduler.

    A busy broadcast waits up to 10 ms between rounds, so that fewer rounds carry more.

    A member is sent what was published after it was added and before it was discarded, in order,
    and nothing of its own.

    :param clock: the reactor.
    :param scheduler: what shares the reactor's turns with other broadcasts.
    :ivar members: how far each member is: the number of the next message for it, or more where it
        is not sent just what the others are.
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
        self._alone = (self,)  # the broadcasts of a member of no other
        # Messages have numbers: that of the first that is pending, and how far each member is.
        self._pending: list[bytes] = []
        self._first = 0
        self._size = 0  # bytes in them
        self.members: dict[Connection, int | _Diverged] = {}
        self.is_writing = False  # it has a turn to come: somebody is still to be written to
        self._coalescer = AdaptiveCoalescer(SHORTEST_DELAY, LONGEST_DELAY)
        self._delayed: IDelayedCall | None = None
        self._round: list[Connection] = []  # those still to be written to, the next one last
        self._round_head = 0  # everybody is so far when the round is over

    def __len__(self) -> int:
        """How many members there are."""
        return len(self.members)

    def __contains__(self, member: Connection) -> bool:
        return member in self.members

    def add(self, member: Connection) -> None:
        """Send ``member`` what is published from now on."""
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
        """Send ``member`` no more; it is sent now what was published before."""
        if member not in self.members:
            return
        # First out, then sent: what it is sent can end it, and its end discards it.
        pieces = self._take(member)
        del self.members[member]
        others = tuple(each for each in member.broadcasts if each is not self)
        member.broadcasts = others[0]._alone if len(others) == 1 else others
        if pieces:
            member.send_encoded(b"".join(pieces), len(pieces))

    def publish(self, data: bytes, sender: Connection | None = None) -> None:
        """Send one encoded message to every member but ``sender``.

        :raises TypeError: it is not bytes.
        """
        self.enqueue(data, sender)

    def enqueue(self, data: bytes, sender: Connection | None = None, instead: bytes = b"") -> None:
        """Send one encoded message to every member, and another one to ``sender``.

        :param instead: what ``sender`` is sent in its place; may be empty.
        :raises TypeError: it is not bytes.
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
        """Send one encoded message to one member, in order with those to all."""
        self.enqueue(b"", member, data)

    def skip(self, member: Connection) -> None:
        """Do not send ``member`` what was published last."""
        if member in self.members:
            self._diverge(member).own[self._head - 1] = b""

    # When to write.

    def _schedule(self) -> None:
        """Ask for a turn, now or after a delay."""
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

    # For the scheduler.

    def write_some(self, most: int) -> int:
        """Send the next members what they have not been sent.

        :param most: so many members, unless too much waits for them.
        :return: how many it was.
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
            if self._pending:  # what was published meanwhile
                self._schedule()
        return len(now)

    def _write_at_once(self, members: list[Connection]) -> list[Connection]:
        """Write to those that keep up, and are sent what most are: nearly everybody.

        Nothing can happen meanwhile: it is one ``send`` after the other.

        :return: the others.
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
        """Give the messages from one on, and before another, as one; and how many they are."""
        pieces = self._pending[start - self._first : end - self._first]
        return b"".join(pieces), len(pieces) - pieces.count(b"")

    def _write_each(self, members: list[Connection]) -> None:
        # What a write ends, adds, discards or publishes from here on is for a later turn.
        positions, head = self.members, self._head
        start, data, count = -1, b"", 0
        for member in members:
            position = positions.get(member)
            try:
                if position != start:
                    if position is None:  # an earlier one's end has taken it along
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
        """Give what a member has not been sent yet; from now on it has."""
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
        """Drop the messages before this one: everybody has them."""
        count = number - self._first
        self._size -= sum(map(len, self._pending[:count]))
        del self._pending[:count]
        self._first = number


class _Diverged:
    """How far a member is that is not sent just what the others are.

    It has spoken, or it is in other broadcasts as well and is sent all of theirs in one write.

    :ivar own: by number, what it is sent in a message's place.
    """

    __slots__ = ("own", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.own: dict[int, bytes] = {}


def _write_all(member: Connection) -> None:
    """Send a member what it has not been sent in any of its broadcasts."""
    pieces = [piece for each in member.broadcasts for piece in each._take(member)]
    if pieces:
        member.send_at_once(b"".join(pieces), len(pieces))
