"""An idle limit before any factory, and a service that only listens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.interfaces import AnyInterface, ProtocolFactory
from twisted_net.policy.close_reasons import IDLE, CloseReason
from twisted_net.policy.limits import DEFAULT_LIMITS, Limits
from twisted_net.wire.framing import Raw

_log = Logger()


class DiscardProtocol(Connection):
    """Reads and forgets (RFC 863)."""

    framing = Raw


class DiscardFactory(ConnectionFactory):
    """Makes connections that are read and never answered."""

    protocol = DiscardProtocol


@implementer(IHandshakeListener)
class IdleTimeoutProtocol(ProtocolWrapper):
    """Stands between a transport and any protocol, and closes a peer that is silent too long.

    What a received byte costs is one attribute written.

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
        if self.reason is None and self._watch is not None:  # words do not put the grace off
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
                "Connection from {peer} ended: {reason}", peer=self.transport.getPeer(), reason=IDLE
            )
            self._watch = timers.start(self._silent, limits.close_grace)
            self.disconnecting = 1
            self.transport.loseConnection()
        else:  # it does not read what is still to be written, or does not answer TLS's farewell
            self._watch = None
            self.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _HalfCloseable(IdleTimeoutProtocol):
    """Before a protocol that wants to know of half-closes."""

    def readConnectionLost(self) -> None:
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self.wrappedProtocol.writeConnectionLost()


class IdleTimeoutFactory(WrappingFactory[IdleTimeoutProtocol], AnyInterface):
    """Puts an idle limit before any factory of Twisted's, without a change to it.

    A peer that has sent nothing for ``seconds`` is closed, at most a second late; if it does not
    take what is still to be written, or does not close, it is aborted after ``close_grace``.

    :param wrapped: the factory to protect; without one, what is sent is read and forgotten. It
        may refuse a connection by returning None.
    :param seconds: the limit; 0 is never.
    :param clock: the time; without it, the reactor's, once it is needed.
    :param close_grace: seconds.
    :raises ValueError: a limit that makes no sense; the message names it.
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

    @cached_property
    def timers(self) -> Timers:
        """The timeouts of this factory's connections."""
        self._clock = reactor_clock(self._clock)
        return Timers(self._clock)

    def buildProtocol(  # type: ignore[override]  # Twisted's own cannot refuse
        self, addr: IAddress | None
    ) -> IdleTimeoutProtocol | None:
        wrapped: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None:
            return None
        if IHalfCloseableProtocol.providedBy(wrapped):
            return _HalfCloseable(self, wrapped)
        return IdleTimeoutProtocol(self, wrapped)
