"""An idle limit for any factory, and a service that discards its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_net.connection.addresses import format_peer
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.interfaces import (
    AnyInterface,
    ProtocolFactory,
    application_protocols,
    negotiating_factory,
)
from twisted_net.policy.close_reasons import IDLE, CloseReason
from twisted_net.policy.limits import DEFAULT_LIMITS, Limits
from twisted_net.wire.framing import Raw

_log = Logger()


class DiscardProtocol(Connection):
    """Read and discard everything (RFC 863)."""

    framing = Raw

    def save_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        """Do nothing: there is nothing besides the connection."""


class DiscardFactory(ConnectionFactory):
    """Make connections that discard their input and never answer."""

    protocol = DiscardProtocol


@implementer(IHandshakeListener)
class IdleTimeoutProtocol(ProtocolWrapper):
    """Stand between a transport and any protocol, and close a peer that is silent for too long.

    Each read costs one attribute assignment.

    :ivar reason: ``idle`` once the limit has passed, else None.
    """

    factory: IdleTimeoutFactory
    transport: Any
    wrappedProtocol: Any
    reason: CloseReason | None = None

    _watch: Timeout[Callable[[], None]] | None = None

    def makeConnection(self, transport: Any) -> None:
        factory = self.factory
        self._wheel = factory.timers.wheel
        if factory.limits.idle_timeout:
            self._watch = factory.timers.start(self._silent, factory.limits.idle_timeout)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        if self.reason is None and self._watch is not None:  # more data does not extend the grace
            self._watch.heard = self._wheel.now
        self.wrappedProtocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._watch is not None:
            self.factory.timers.cancel(self._watch)
            self._watch = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def handshakeCompleted(self) -> None:
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()

    def _silent(self) -> None:
        timers, limits = self.factory.timers, self.factory.limits
        if self.reason is None:
            self.reason = IDLE
            _log.info(
                "Connection from {peer} ended: {reason}",
                peer=format_peer(self.transport),
                reason=IDLE.code,
            )
            self._watch = timers.start(self._silent, limits.close_grace)
            self.disconnecting = 1
            self.transport.loseConnection()
        else:  # the peer does not read the rest, or does not answer TLS's close alert
            self._watch = None
            self.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _HalfCloseable(IdleTimeoutProtocol):
    """The same for a protocol that handles half-closes."""

    def readConnectionLost(self) -> None:
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self.wrappedProtocol.writeConnectionLost()


class IdleTimeoutFactory(WrappingFactory[IdleTimeoutProtocol], AnyInterface):
    """Add an idle limit to any Twisted factory, without changing it.

    A peer that has sent nothing for ``seconds`` is closed, at most a second late. If it does not
    read the rest of what it is sent, or does not close, it is aborted after ``close_grace``.

    :param wrapped: the factory to protect; by default, one that discards its input. It may reject a
        connection by returning None.
    :param seconds: the idle limit in seconds; 0 means no limit.
    :param clock: the source of time. The default is the reactor, looked up when it is first needed.
    :param close_grace: the seconds that a peer has to close its side, before it is aborted.
    :raises ValueError: if a limit is invalid; the message names it.
    """

    noisy = False

    def __init__(
        self,
        wrapped: ProtocolFactory | None = None,
        seconds: float = 60.0,
        *,
        clock: IReactorTime | None = None,
        close_grace: float = DEFAULT_LIMITS.close_grace,
    ) -> None:
        wrapped = DiscardFactory(clock=clock) if wrapped is None else wrapped
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.limits = Limits(idle_timeout=seconds, close_grace=close_grace)
        self._clock = clock
        if negotiating_factory(wrapped) is not None:
            alsoProvides(self, IProtocolNegotiationFactory)

    def acceptableProtocols(self) -> list[bytes]:
        """Return the application protocols of the wrapped factory; TLS negotiates one of them."""
        return application_protocols(self.wrappedFactory)

    @cached_property
    def timers(self) -> Timers:
        """The timeouts of this factory's connections."""
        self._clock = reactor_clock(self._clock)
        return Timers(self._clock)

    def buildProtocol(  # type: ignore[override]  # Twisted's own never returns None
        self, addr: IAddress | None
    ) -> IdleTimeoutProtocol | None:
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None:
            return None
        if IHalfCloseableProtocol.providedBy(wrapped):
            return _HalfCloseable(self, wrapped)
        return IdleTimeoutProtocol(self, wrapped)
