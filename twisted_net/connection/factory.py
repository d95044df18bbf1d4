"""The factory of connections: their limits, their numbers, and who may connect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ParamSpec, TypeVar, Unpack

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel

from twisted_net.connection.addresses import format_address
from twisted_net.connection.connection import Connection
from twisted_net.connection.rejection import RejectingProtocol, RejectionLog
from twisted_net.connection.stalls import StallCheck
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.interfaces import AnyInterface
from twisted_net.policy.admission import Admission
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import CLOSED, CloseReason
from twisted_net.policy.keywords import check_keywords
from twisted_net.policy.limits import LIMIT_NAMES, LimitChanges, Limits

_log = Logger()


class FactorySettings(LimitChanges, total=False):
    """The keywords of :class:`ConnectionFactory`, for those who pass them on."""

    clock: IReactorTime | None
    limits: Limits | None
    admission: Admission | None
    budget: MemoryBudget[Connection] | None
    log_ends: bool


_Parameters = ParamSpec("_Parameters")
_Made = TypeVar("_Made", bound="ConnectionFactory")


class ConnectionFactory(Factory[Connection], AnyInterface):
    """Makes the connections of one service, and knows those that are open.

    ``ConnectionFactory.forProtocol(Shout, idle_timeout=60)`` is the short form. It works with
    any listening call of Twisted's, any number of times.

    :param clock: the time; without it, the reactor's, once it is needed.
    :param limits: how much is allowed.
    :param admission: who may connect; without it, everybody. One may serve several factories.
    :param budget: what may wait for slow peers in all; one should serve the whole process.
    :param log_ends: whether the log has a line, at debug level, for ends that are not notable as
        well. Written to a file, that line costs as much as half of all else of a short connection.
    :param changes: single limits, by name; see :class:`~twisted_net.policy.limits.Limits`.
    :raises ValueError: a limit that makes no sense; the message names it.
    :raises TypeError: no such limit.
    :ivar connections: the open connections by their number.
    :ivar full: those of them whose transport takes no more just now: their peers are behind.
    :ivar endings: how many connections have ended, by the code of the reason.
    :ivar accepts: set it to False to refuse every further connection.
    """

    noisy = False  # a factory that starts is no news; its port is, and has its own line

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        limits: Limits | None = None,
        admission: Admission | None = None,
        budget: MemoryBudget[Connection] | None = None,
        log_ends: bool = True,
        **changes: Unpack[LimitChanges],
    ) -> None:
        check_keywords(type(self), changes, LIMIT_NAMES)
        self.limits = replace(limits or Limits(), **changes)
        self.connections: dict[int, Connection] = {}
        self.full: set[Connection] = set()
        self.endings: Counter[str] = Counter()
        self.accepts = True
        self.admission = admission
        self.budget = budget
        self.log_ends = log_ends
        self._rejections = RejectionLog()
        self._clock = clock
        self._last_id = 0
        self._host: IAddress | None = None
        self._wait_closed: list[Deferred[None]] = []

    # As Twisted's own is declared: so a type checker knows what the class itself takes.
    @classmethod
    def forProtocol(
        cls: Callable[_Parameters, _Made],
        protocol: Callable[[], Connection],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Made:
        """Make a factory of ``protocol``; all else is for the class.

        :param protocol: a :class:`Connection` class, or what makes connections.
        """
        factory = cls(*args, **kwargs)
        factory.protocol = protocol
        return factory

    @property
    def clock(self) -> IReactorTime:
        """The time by which this factory's connections live."""
        if self._clock is None:
            self._clock = reactor_clock(None)
        return self._clock

    @clock.setter
    def clock(self, clock: IReactorTime) -> None:
        self._clock = clock

    @property
    def has_clock(self) -> bool:
        """Whether it was given a clock, or has looked for the reactor's already."""
        return self._clock is not None

    @cached_property
    def timers(self) -> Timers:
        """The timeouts of this factory's connections."""
        return Timers(self.clock)

    @cached_property
    def _stalls(self) -> StallCheck:
        seconds = self.limits.stall_timeout
        return StallCheck(self.clock, self.timers, self.connections, self.full, seconds)

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self.connections)

    def __bool__(self) -> bool:
        """A factory without connections is a factory all the same."""
        return True

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Give a connection; or, if ``addr`` may not connect, what says so and closes.

        It is never None, which Twisted's TLS takes for a protocol.
        """
        made = self._admitted(addr) if self.accepts else None
        return RejectingProtocol() if made is None else made

    def _admitted(self, addr: IAddress | None) -> Any:
        admission = self.admission
        if admission is None:
            return self.make(addr)
        host, now = _host_of(addr), self.clock.seconds()
        reason = admission.admit(host, now)
        if reason is not None:
            self._rejections.count(reason.code, now)
            return RejectingProtocol(self.rejection_message(reason))
        made = None
        try:
            made = self.make(addr)
        finally:
            if isinstance(made, Connection):
                made.place = host or ""
            else:
                admission.leave(host)
        return made

    def make(self, addr: IAddress | None) -> Connection | None:
        """Make the connection for a peer that may connect; None refuses it all the same."""
        return super().buildProtocol(addr)

    def rejection_message(self, reason: CloseReason) -> bytes:
        """Give what a peer is told that may not connect. Empty: it is closed without a word."""
        return b""

    def tell(self, message: Any, but: Connection | None = None) -> None:
        """Send ``message`` to every open connection; over TLS, not before the handshake is done.

        :raises LocalProtocolError: the framing cannot carry it.
        """
        for connection in list(self.connections.values()):
            if connection.ready and connection is not but:
                connection.send(message)

    def close(self, reason: CloseReason = CLOSED) -> None:
        """Close every open connection; see :meth:`Connection.close`."""
        for connection in list(self.connections.values()):
            connection.close(reason)

    def abort(self, reason: CloseReason = CLOSED) -> None:
        """Abort every open connection; see :meth:`Connection.abort`."""
        for connection in list(self.connections.values()):
            connection.abort(reason)

    def wait_closed(self) -> Deferred[None]:
        """Wait until no connection is open.

        :return: fires then; at once where none is.
        """
        if not self.connections:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._wait_closed.append(waiting)
        return waiting

    def host(self, address: IAddress) -> IAddress:
        """Give one object for the address that one connection after another was made to."""
        if address != self._host:
            self._host = address
        return self._host

    def opened(self, connection: Connection) -> int:
        """Count a connection in, and give it its number."""
        self._last_id += 1
        self.connections[self._last_id] = connection
        if self.limits.stall_timeout:
            self._stalls.begin()
        return self._last_id

    def ended(self, connection: Connection) -> None:
        """Count a connection out, which has its ``reason``."""
        del self.connections[connection.id]
        self.full.discard(connection)
        place, connection.place = connection.place, None
        if self.admission is not None and place is not None:
            self.admission.leave(place or None)
        reason = connection.reason
        assert reason is not None
        self.endings[reason.code] += 1
        if reason.notable or self.log_ends:
            _log.emit(
                LogLevel.info if reason.notable else LogLevel.debug,
                "Connection {id} from {peer} ended: {reason}{detail}",
                id=connection.id,
                peer=format_address(connection.peer),
                reason=reason.code,
                detail=connection.detail and f" ({connection.detail})",
            )
        if not self.connections:
            self._stalls.end()
            waiting, self._wait_closed = self._wait_closed, []
            for each in waiting:
                each.callback(None)


def _host_of(address: IAddress | None) -> str | None:
    """Give an IP address as text; None for a Unix socket, which has none."""
    return getattr(address, "host", None)
