"""Ends peers that take nothing of what waits for them.

Of most peers nothing waits, and it is not worth a look to find that out of each: whose transport
has bytes left is among those for whose sockets the reactor waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime

from twisted_net.connection.connection import Connection
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers
from twisted_net.eager.privates import inner_protocol, send_position, unsent
from twisted_net.policy.close_reasons import SLOW

_LOOKS = 3  # at each connection within its stall timeout, to see whether its peer makes progress

LOOKS_PER_TURN, PAUSE = 256, 0.02
"""Connections that are looked at in one turn of the reactor, and the seconds until the next ones
are. Each takes a microsecond: of ten thousand in one turn, everybody would notice."""


class _Progress:
    """How far a peer had come at the last look that found it behind.

    :ivar taken: bytes that it had taken of what it was sent.
    :ivar position: which buffer its transport was sending, and from where on.
    :ivar looks: looks in vain, one after another.
    """

    __slots__ = ("looks", "position", "taken")

    def __init__(self, taken: int, position: tuple[int, int]) -> None:
        self.taken = taken
        self.position = position
        self.looks = 0


class StallCheck:
    """Looks at those of a factory's connections who are behind, several times within their limit.

    :param clock: the time; it is asked for the transports that it is to write to, if it is a
        reactor that knows them. Otherwise every connection is looked at.
    :param connections: the open ones, by their number.
    :param full: those of them whose transport takes no more, whatever it is made of.
    :param seconds: the stall timeout.
    """

    __slots__ = (
        "_behind",
        "_call",
        "_clock",
        "_connections",
        "_every",
        "_full",
        "_left",
        "_progress",
        "_round",
        "_timers",
    )

    def __init__(
        self,
        clock: IReactorTime,
        timers: Timers,
        connections: Mapping[int, Connection],
        full: Collection[Connection],
        seconds: float,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._connections = connections
        self._full = full
        self._every = seconds / _LOOKS
        self._round: Timeout[Callable[[], None]] | None = None  # the next one
        self._behind: list[Connection] = []  # who were so in this one
        self._left: Iterator[Connection] = iter(())  # who are still to be looked at
        self._call: IDelayedCall | None = None
        self._progress: dict[Connection, _Progress] = {}

    def begin(self) -> None:
        """There is a connection. Nothing happens where there was one already."""
        if self._round is None:
            self._round = self._timers.start(self._begin_round, self._every)

    def end(self) -> None:
        """There is none any more."""
        if self._round is not None:
            self._timers.cancel(self._round)
            self._round = None
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._behind.clear()
        self._progress.clear()

    def _begin_round(self) -> None:
        self._round = self._timers.start(self._begin_round, self._every)
        if self._call is None:  # there may be so many that the last round is not over
            # Who was behind and has caught up is to be seen so.
            before, self._behind = self._behind, self._find_behind()
            self._left = iter(dict.fromkeys((*before, *self._behind)))
            self._look()

    def _find_behind(self) -> list[Connection]:
        clock = self._clock
        if not IReactorFDSet.providedBy(clock):
            return list(self._connections.values())
        writers: list[Any] = clock.getWriters()
        behind = list(self._full)
        for writer in writers:
            connection = _connection_of(writer)
            if connection is None:  # it may be anybody's
                return list(self._connections.values())
            behind.append(connection)
        return behind

    def _look(self) -> None:
        now = list(islice(self._left, LOOKS_PER_TURN))
        # First this: a look can end the last connection.
        more = len(now) == LOOKS_PER_TURN
        self._call = self._clock.callLater(PAUSE, self._look) if more else None
        for connection in now:
            if self._connections.get(connection.id) is connection:
                self.look_at(connection)
            else:
                self._progress.pop(connection, None)

    def look_at(self, connection: Connection) -> None:
        """Abort a peer that has taken nothing of what waits for it, for so many looks."""
        transport = connection.transport
        held = unsent(transport)
        if not held and not connection.queued:
            self._progress.pop(connection, None)
            return
        # Over TLS the two numbers are not of the same bytes, and only the buffer itself tells.
        taken, position = connection.bytes_sent - held, send_position(transport)
        before = self._progress.get(connection)
        if before is None or taken > before.taken or position != before.position:
            self._progress[connection] = _Progress(taken, position)
            return
        before.looks += 1
        if before.looks >= _LOOKS:
            del self._progress[connection]
            connection.abort(SLOW, f"it took nothing of {held + connection.queued} bytes")


def _connection_of(transport: Any) -> Connection | None:
    """Give the connection that is above a transport, over TLS or not, if that can be seen."""
    protocol = getattr(transport, "protocol", None)
    while protocol is not None and not isinstance(protocol, Connection):
        protocol = inner_protocol(protocol)
    return protocol
