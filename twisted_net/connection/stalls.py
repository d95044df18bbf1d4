"""Abort peers that have stopped reading while data waits for them.

For most peers no data waits, and checking each of them would be a waste. The reactor already knows
which transports have unsent bytes: it waits until their sockets are writable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime

from twisted_net.connection.connection import Connection
from twisted_net.connection.progress import SendProgress, bytes_waiting, send_progress
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers
from twisted_net.eager.privates import inner_protocol
from twisted_net.policy.close_reasons import SLOW

_LOOKS = 3  # checks per stall timeout, to see whether a peer makes progress

LOOKS_PER_TURN, PAUSE = 256, 0.02
"""The connections checked in one turn of the reactor, and the seconds until the next batch. A check
takes a microsecond; ten thousand checks in one turn would delay all connections noticeably."""


class _Progress:
    """How far a peer had come at the last check that saw progress.

    :ivar sent: how far that was.
    :ivar looks: the checks without progress since then.
    """

    __slots__ = ("looks", "sent")

    def __init__(self, sent: SendProgress) -> None:
        self.sent = sent
        self.looks = 0


class StallCheck:
    """Check the connections that are behind, several times per stall timeout.

    :param clock: the reactor or another clock. If it is a reactor with file descriptors, it is
        asked which transports have data to write. With any other clock, every connection is
        checked.
    :param connections: the open connections, by number.
    :param full: the open connections whose transports are full, whatever kind of transport they
        have.
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
        self._round: Timeout[Callable[[], None]] | None = None  # the next round
        self._behind: list[Connection] = []  # connections that were behind in this round
        self._left: Iterator[Connection] = iter(())  # connections still to be checked
        self._call: IDelayedCall | None = None
        self._progress: dict[Connection, _Progress] = {}

    def begin(self) -> None:
        """Start checking; called for each new connection. Do nothing if the checks already run."""
        if self._round is None:
            self._round = self._timers.start(self._begin_round, self._every)

    def end(self) -> None:
        """Stop checking: no connection is open."""
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
        if self._call is None:  # with many connections, the last round may not be over
            # Also check those that were behind last time, to notice that they have caught up.
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
            if connection is None:  # it may belong to any connection
                return list(self._connections.values())
            behind.append(connection)
        return behind

    def _look(self) -> None:
        now = list(islice(self._left, LOOKS_PER_TURN))
        # Schedule first: a check can end the last connection, which cancels the call.
        more = len(now) == LOOKS_PER_TURN
        self._call = self._clock.callLater(PAUSE, self._look) if more else None
        for connection in now:
            if self._connections.get(connection.id) is connection:
                self.look_at(connection)
            else:
                self._progress.pop(connection, None)

    def look_at(self, connection: Connection) -> None:
        """Abort the peer if data waits for it and several checks in a row saw no progress."""
        waiting = bytes_waiting(connection)
        if not waiting:
            self._progress.pop(connection, None)
            return
        now = send_progress(connection)
        before = self._progress.get(connection)
        if before is None or now.is_after(before.sent):
            self._progress[connection] = _Progress(now)
            return
        before.looks += 1
        if before.looks >= _LOOKS:
            del self._progress[connection]
            connection.abort(SLOW, f"it took nothing of {waiting} bytes")


def _connection_of(transport: Any) -> Connection | None:
    """Return the connection above a transport, also through TLS. None if not found."""
    protocol = getattr(transport, "protocol", None)
    while protocol is not None and not isinstance(protocol, Connection):
        protocol = inner_protocol(protocol)
    return protocol
