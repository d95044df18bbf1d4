"""One connection: framing, backpressure, idle timeout, counters, and one reason for its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ParamSpec, TypeVar, Unpack

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
    IProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_net.connection.addresses import format_address, normalize_mapped
from twisted_net.connection.inbound import BY_HOOK, BY_ITSELF
from twisted_net.connection.outbound import Outbound
from twisted_net.connection.rejection import RejectingProtocol, RejectionLog
from twisted_net.connection.stalls import StallCheck
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.interfaces import AnyInterface
from twisted_net.policy.admission import Admission
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import (
    CLOSED,
    HANDSHAKE,
    PEER_CLOSED,
    PEER_RESET,
    CloseReason,
)
from twisted_net.policy.keywords import check_keywords
from twisted_net.policy.limits import LIMIT_NAMES, LimitChanges, Limits
from twisted_net.policy.rate import TokenBucket

_log = Logger()


@implementer(IProtocol, IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Connection(Outbound):
    """One peer. Subclass it, set :attr:`framing`, and override the three hooks.

    Messages come one at a time and in order: where :meth:`message_received` is ``async``, the
    next message waits until it has finished, and the peer is not read meanwhile. A hook that
    raises closes this connection alone (``failed``); the log has its number and the traceback.

    :cvar framing: makes the connection's framing: a class of :mod:`twisted_net.wire.framing`, or
        any callable that takes ``max_size``, such as ``partial(LengthPrefixed, 2)``.
    :cvar reads_while_full: whether a peer is read although it does not read what it is sent.
        Where a message causes an answer, leave it False: then such a peer costs bounded memory.
    :ivar id: the connection's number within its factory, from 1.
    :ivar host: this side's address; kept after the end, as is :attr:`peer`, the other side's.
    :ivar bytes_received: bytes read from the peer; likewise :attr:`messages_received`,
        :attr:`bytes_sent` and :attr:`messages_sent` (given to the transport).
    :ivar reason: why the connection ends or has ended; None while it is open.
    :ivar detail: more about the reason, for the log; may be empty.
    """

    host: IAddress
    _peer: IAddress | None = None  # once the transport is gone
    place: str | None = None  # the address that admission has counted it under; "": a Unix socket

    @property
    def peer(self) -> IAddress:
        """The other side's address."""
        # The transport has what it is made of.
        return self._peer or normalize_mapped(self.transport.getPeer())

    # What a subclass calls.

    def wait_ready(self) -> Deferred[None]:
        """Wait until :meth:`connected` was called: over TLS, until the handshake is done.

        :return: fires then; fails with what Twisted gives for the end if that comes first.
        """
        if self._begun:
            return succeed(None)
        if not self._open:
            return fail(ConnectionLost())
        if self._waiting_ready is None:
            self._waiting_ready = []
        waiting: Deferred[None] = Deferred()
        self._waiting_ready.append(waiting)
        return waiting

    # Twisted's protocol.

    def makeConnection(self, transport: Any) -> None:
        # Twisted's own would set an attribute ``connected``, where this class has a hook.
        self.transport = transport
        self._open = True
        # An instance's own are found in a third of the time, and have their places anyway.
        self.reason = self._deadline = self._inbox = self._watch = None
        self._delivering = self._full = self._eof_written = False
        self._held = 0
        self.bytes_received = self.messages_received = self.bytes_sent = self.messages_sent = 0
        self.connectionMade()

    def connectionMade(self) -> None:
        transport = self.transport
        # Twisted's client endpoints put a protocol of theirs before this one, which then passes on
        # only the last of the interfaces that it looks for.
        before = getattr(transport, "protocol", None)
        if before is not self and getattr(before, "_wrappedProtocol", None) is self:
            alsoProvides(before, IHalfCloseableProtocol, IHandshakeListener)
        self.host = self.factory.host(normalize_mapped(transport.getHost()))
        self.id = self.factory.opened(self)
        limits = self.factory.limits
        # Looked up on the class: a function there shall not become a method.
        self._framing = type(self).framing(max_size=limits.max_message)
        if limits.idle_timeout:
            self._watch = self.factory.timers.start(self._silent, limits.idle_timeout)
        if limits.rate:
            self._bucket = TokenBucket(limits.rate, limits.burst)
        transport.registerProducer(self, True)
        if not _awaits_handshake(transport):
            self._begin()
        elif limits.handshake_timeout:
            self._deadline = self.factory.timers.start(
                self._handshake_is_late, limits.handshake_timeout
            )

    def handshakeCompleted(self) -> None:
        if not self._begun and self.reason is None:
            self._begin()

    def _handshake_is_late(self) -> None:
        self._deadline = None
        self.abort(HANDSHAKE, "it took too long")

    def readConnectionLost(self) -> None:
        """The peer has sent its last byte: answer what it has sent, then close."""
        self._peer_done = True
        self._whole = False
        if self.reason is not None:
            if (
                not self._full and not self._send_queue
            ):  # it has the last words: nothing to wait for
                self.transport.loseConnection()
        elif self._inbox is None and not self._held & BY_HOOK:
            self._after_last_message()

    def writeConnectionLost(self) -> None:
        """The last byte is on its way. Nothing to do: the peer ends it, or the grace does."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = self._whole = False
        self._peer = self.peer
        waiting, self._waiting_ready = self._waiting_ready, None
        for each in waiting or ():
            each.errback(reason)
        clean = isinstance(reason.value, ConnectionDone)
        if clean and self.reason is None and self._has_work() and not self._held & ~BY_ITSELF:
            # TLS has no half-close: this is how a peer ends that has just sent its last words.
            self._gone = True
            return
        if self.reason is None:
            if not self._begun and _awaits_handshake(self.transport) and not clean:
                self.reason, self.detail = HANDSHAKE, reason.getErrorMessage()
            else:
                self.reason = PEER_CLOSED if clean else PEER_RESET
        self._end()

    # The end.

    def _end_gone(self, reason: CloseReason, detail: str) -> None:
        """The transport is gone already: only messages and hooks are to be ended."""

        def end() -> None:
            if self._gone:
                self._gone = False
                self._end()

        if self.reason is None:
            self.reason, self.detail = reason, detail
        self.factory.clock.callLater(0, end)  # it may be the hook itself that calls

    def _end(self) -> None:
        assert self.reason is not None
        if self._watch is not None:
            self.factory.timers.cancel(self._watch)
            self._watch = None
        self._cancel_deadline()
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None
        self._inbox = None
        self._clear_send_queue()
        self._send_queue = None
        waiting, self._waiting = self._waiting, None
        for each in waiting or ():
            each.cancel()
        if self._hook is not None:
            self._hook.cancel()
        if self._begun:
            try:
                self.disconnected(self.reason)
            except Exception:
                _log.failure(
                    "Connection {id} from {peer}: disconnected() failed",
                    id=self.id,
                    peer=format_address(self.peer),
                )
        self.factory.ended(self)


class FactorySettings(LimitChanges, total=False):
    """The keywords of :class:`ConnectionFactory`, for those who pass them on."""

    clock: IReactorTime | None
    limits: Limits | None
    admission: Admission | None
    budget: MemoryBudget[Outbound] | None
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
        budget: MemoryBudget[Outbound] | None = None,
        log_ends: bool = True,
        **changes: Unpack[LimitChanges],
    ) -> None:
        check_keywords(type(self), changes, LIMIT_NAMES)
        self.limits = replace(limits or Limits(), **changes)
        self.connections: dict[int, Connection] = {}
        self.full: set[Outbound] = set()
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
        self._clock = reactor_clock(self._clock)
        return self._clock

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
            if connection._begun and connection is not but:
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


def _awaits_handshake(transport: object) -> bool:
    """Whether the transport is TLS and will tell when the handshake is done.

    A wrapper between TLS and the connection that is no handshake listener cannot pass it on.
    """
    return INegotiated.providedBy(transport) and (
        not isinstance(transport, ProtocolWrapper)
        or _is_tls_wrapper(transport)
        or IHandshakeListener.providedBy(transport)
    )


def _is_tls_wrapper(transport: ProtocolWrapper) -> bool:
    # A class attribute, since every wrapper around TLS looks like TLS from outside.
    return hasattr(type(transport), "negotiatedProtocol")
