"""Broadcast: the same bytes to many connections, with one write a member and a turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.coalescing import AdaptiveCoalescer
from twisted_net.connection.connection import Connection
from twisted_net.eager.transports import Eager, send_to_all
from twisted_net.policy.close_reasons import FAILED

_log = Logger()

MEMBERS_PER_TURN = 128
"""Members that are written to before the reactor looks for what has arrived: a millisecond of
sending or a little more. More in one go would hold up everybody else; fewer cost more turns."""

MOST_BEHIND = 1 << 18
"""Bytes that a group keeps for the members whose turn is still to come. Past that all of them are
given it in one go: then it waits in each one's own queue, which has a limit and a rule."""

SHORTEST_DELAY, LONGEST_DELAY = 0.001, 0.010
"""Seconds for which a group gathers after a round that took as long; see
:class:`AdaptiveCoalescer`. One to a hundred members takes a millisecond, which is also what the
reactor's timers can tell apart."""

ENOUGH = 3
"""Messages that are gathered: with more of them in a round, each costs hardly less."""


class WriteScheduler:
    """The turns of a reactor, shared by groups: so many writes in each, whoever has them.

    :param clock: the reactor whose turns count.
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
        self._call_soon()

    def serve(self, broadcast: Broadcast) -> None:
        """Give a group's members what they have not been given, from the next turn on.

        What is asked for by the work before a turn belongs to that turn.
        """
        self._broadcasts.append(broadcast)
        self._call_soon()

    def _call_soon(self) -> None:
        if not self._is_due:
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
        for _ in range(
            len(broadcasts)
        ):  # each once: what they publish meanwhile is for another turn
            broadcast = broadcasts.popleft()
            left -= broadcast.serve(left)
            if broadcast.is_behind:
                broadcasts.append(broadcast)
            else:
                broadcast.flush()  # what came meanwhile
            if left <= 0:
                break
        self._is_due = False
        if broadcasts or self._work:
            self._call_soon()


class Broadcast:
    """Connections that hear the same.

    What is published is gathered, joined, and given to the members from the beginning of the next
    turn of the reactor on: to some of them in each turn, round after round, and to each one all
    that was published since it was last given something. So nothing that arrives waits until the
    last of many members was written to, and however much is published meanwhile, it is one write
    a member and round; one also for a member of several groups that share their turns.

    A group that is busy takes a rest after each round, so that fewer rounds carry more.

    A member hears what was published after it came and before it left, in order, and nothing of
    its own.

    :param clock: the reactor whose turns count.
    :param scheduler: what shares them with other groups.
    """

    __slots__ = (
        "_alone",
        "_clock",
        "_coalescer",
        "_delayed",
        "_first",
        "_is_waiting",
        "_members",
        "_pending",
        "_round",
        "_round_head",
        "_scheduler",
        "_size",
    )

    def __init__(self, clock: IReactorTime, scheduler: WriteScheduler | None = None) -> None:
        self._clock = clock
        self._scheduler = scheduler or WriteScheduler(clock)
        self._alone = (self,)  # the groups of a member of no other
        # Messages have numbers: that of the first that is pending, and how far each member is.
        self._pending: list[bytes] = []
        self._first = 0
        self._size = 0  # bytes in them
        self._members: dict[Connection, int | _Diverged] = {}
        self._is_waiting = False  # for its turn
        self._coalescer = AdaptiveCoalescer(SHORTEST_DELAY, LONGEST_DELAY)
        self._delayed: IDelayedCall | None = None
        self._round: list[Connection] = []  # whose turn is still to come, the next one last
        self._round_head = 0  # everybody is so far when the round is over

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._members)

    def __contains__(self, member: Connection) -> bool:
        return member in self._members

    def add(self, member: Connection) -> None:
        """Let ``member`` hear what is published from now on."""
        if member in self._members:
            return
        self._members[member] = self._head
        if not member.broadcasts:
            member.broadcasts = self._alone
            return
        member.broadcasts = (*member.broadcasts, self)
        for broadcast in member.broadcasts:
            broadcast._set_apart(member)

    def discard(self, member: Connection) -> None:
        """Let ``member`` hear no more; what was published before this is given to it now."""
        if member not in self._members:
            return
        # First out, then given: what it is given can end it, and its end discards it.
        pieces = self._take(member)
        del self._members[member]
        others = tuple(broadcast for broadcast in member.broadcasts if broadcast is not self)
        member.broadcasts = others[0]._alone if len(others) == 1 else others
        if pieces:
            member.send_encoded(b"".join(pieces), len(pieces))

    def publish(self, data: bytes, sender: Connection | None = None) -> None:
        """Send one encoded message to every member but ``sender``."""
        self.enqueue(data, sender)
        self.flush()

    def enqueue(self, data: bytes, sender: Connection | None = None, instead: bytes = b"") -> None:
        """As :meth:`publish`, for those who call :meth:`flush` themselves.

        :param instead: what ``sender`` is sent in its place among the others; may be empty.
        :raises TypeError: it is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a broadcast takes bytes, not {type(data).__name__}")
        if sender is not None and sender in self._members:
            self._set_apart(sender).own[self._head] = instead
        self._pending.append(data)
        self._size += len(data)

    def enqueue_for(self, member: Connection, data: bytes) -> None:
        """As :meth:`enqueue`, for one member alone."""
        self.enqueue(b"", member, data)

    def skip(self, member: Connection) -> None:
        """Do not give ``member`` what was put last."""
        if member in self._members:
            self._set_apart(member).own[self._head - 1] = b""

    def flush(self) -> None:
        """Let the members be given what was gathered, from the next turn on or after a rest."""
        if not self._pending or self._is_waiting:
            return
        rest = self._coalescer.left(self._clock.seconds()) if len(self._pending) < ENOUGH else 0.0
        if not rest:
            self._begin()
        elif self._delayed is None:
            self._delayed = self._clock.callLater(rest, self._delay_is_over)

    def _delay_is_over(self) -> None:
        self._delayed = None
        self._begin()

    def _begin(self) -> None:
        if self._delayed is not None:
            self._delayed.cancel()
            self._delayed = None
        self._is_waiting = True
        self._scheduler.serve(self)

    # For the turns.

    @property
    def is_behind(self) -> bool:
        """Whether its turn is not over: somebody is still to be given something."""
        return self._is_waiting

    def serve(self, most: int) -> int:
        """Give the next members what they have not been given.

        :param most: so many members, unless too much waits for them.
        :return: how many it was.
        """
        if not self._round:
            self._coalescer.begin(self._clock.seconds())
            self._round = list(reversed(self._members))
            self._round_head = self._head
        if self._size > MOST_BEHIND:
            most = len(self._round)
        now = self._round[-most:]
        del self._round[-most:]
        now.reverse()
        self._give(self._give_at_once(now))
        if not self._round:
            self._forget(self._round_head)
            self._coalescer.end(self._clock.seconds())
            self._is_waiting = False
        return len(now)

    def _give_at_once(self, members: list[Connection]) -> list[Connection]:
        """Give those what is theirs who keep up, and hear what most do: nearly everybody.

        Nothing can happen meanwhile: it is one ``send`` after the other.

        :return: the others.
        """
        positions, head = self._members, self._head
        places = map(positions.get, members)
        start = next((place for place in places if isinstance(place, int)), head)
        data, count = self._between(start, head)
        if not data:
            return members
        size = len(data)
        transports, others = [], []
        for member in members:
            transport = member.transport
            # Wrappers, such as TLS, show what they wrap as if it were theirs: they are no Eager.
            if positions.get(member) == start and isinstance(transport, Eager) and transport.free():
                positions[member] = head
                member.bytes_sent += size
                member.messages_sent += count
                transports.append(transport)
            else:
                others.append(member)
        send_to_all(transports, data)
        return others

    def _between(self, start: int, end: int) -> tuple[bytes, int]:
        """Give the messages from one on, and before another, as one; and how many they are."""
        pieces = self._pending[start - self._first : end - self._first]
        return b"".join(pieces), len(pieces) - pieces.count(b"")

    def _give(self, members: list[Connection]) -> None:
        # What a write ends, adds, discards or publishes from here on is for a later turn.
        positions, head = self._members, self._head
        start, data, count = -1, b"", 0
        for member in members:
            position = positions.get(member)
            try:
                if position != start:
                    if position is None:  # an earlier one's end has taken it along
                        continue
                    if isinstance(position, _Diverged):
                        _give_all(member)
                        continue
                    start = position
                    data, count = self._between(start, head)
                positions[member] = head
                if count:
                    member.send_encoded(data, count)
            except Exception:
                _log.failure("Connection {id}: a broadcast to it failed", id=member.id)
                member.abort(FAILED)

    @property
    def _head(self) -> int:
        """The number of the message that will be put next."""
        return self._first + len(self._pending)

    def _set_apart(self, member: Connection) -> _Diverged:
        place = self._members[member]
        if not isinstance(place, _Diverged):
            self._members[member] = place = _Diverged(place)
        return place

    def _take(self, member: Connection) -> list[bytes]:
        """Give what a member has not been given yet; from now on it has."""
        place = self._members[member]
        own = place.own if isinstance(place, _Diverged) else {}
        position = place.position if isinstance(place, _Diverged) else place
        head = self._head
        self._members[member] = head if member.broadcasts is self._alone else _Diverged(head)
        pieces = self._pending[position - self._first :]
        for number, data in own.items():
            if number >= position:
                pieces[number - position] = data
        return [piece for piece in pieces if piece]

    def _forget(self, number: int) -> None:
        """Forget the messages before this one: everybody has them."""
        count = number - self._first
        self._size -= sum(map(len, self._pending[:count]))
        del self._pending[:count]
        self._first = number


class _Diverged:
    """How far a member is that is not given just what the others are.

    It has spoken, or it is in other groups as well and is given all of theirs in one write.

    :ivar own: by number, what it is sent in a message's place.
    """

    __slots__ = ("own", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.own: dict[int, bytes] = {}


def _give_all(member: Connection) -> None:
    """Give a member what it has not been given in any of its groups."""
    pieces = [piece for broadcast in member.broadcasts for piece in broadcast._take(member)]
    if pieces:
        member.send_at_once(b"".join(pieces), len(pieces))
