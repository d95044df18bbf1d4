"""Guard any Twisted factory: add limits, admission and a graceful stop.

The wrapped protocol sees the same kind of transport as without the guard.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Unpack

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolNegotiationFactory,
    IPullProducer,
    IPushProducer,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import alsoProvides, directlyProvides, implementer, providedBy

from twisted_net.connection.connection import Connection, State
from twisted_net.connection.factory import ConnectionFactory, FactorySettings
from twisted_net.connection.progress import SendProgress, bytes_waiting, send_progress
from twisted_net.connection.rejection import RejectingProtocol
from twisted_net.interfaces import ProtocolFactory, application_protocols, negotiating_factory
from twisted_net.policy.close_reasons import CLOSED, HANDSHAKE, CloseReason
from twisted_net.policy.limits import Limits
from twisted_net.wire.framing import Raw

_log = Logger()

GUARD_LIMITS = Limits(queue_limit=sys.maxsize)
"""The default limits of a guard. Most Twisted protocols write what they have at once, however much
it is. So no size is too much for a peer that reads; ``stall_timeout`` closes one that does not."""


class GuardTransport:
    """The transport that a guarded protocol sees.

    Calls that send, close, or register producers go to the guard; all others go to the real
    transport.
    """

    def __init__(self, guard: GuardProtocol) -> None:
        self._guard = guard
        directlyProvides(self, providedBy(guard.transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard.transport, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # Libraries ask isinstance(transport, TLSMemoryBIOProtocol) to learn whether they are
        # protected, as autobahn does; Twisted has no other class for TLS.
        secure = isinstance(self._guard.transport, TLSMemoryBIOProtocol)
        return TLSMemoryBIOProtocol if secure else GuardTransport

    @property
    def guard(self) -> GuardProtocol:
        """The guard, for wrapped protocols that know about it."""
        return self._guard

    @property
    def protocol(self) -> Any:
        """The wrapped protocol. An upgrade, such as to WebSocket, replaces it by another."""
        return self._guard.wrapped

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._guard.wrapped = protocol

    @property
    def wrappedProtocol(self) -> Any:
        """The same, as transports that are wrappers call it; others do not have it."""
        self._guard.transport.wrappedProtocol  # noqa: B018  # raises if it is not there
        return self._guard.wrapped

    @wrappedProtocol.setter
    def wrappedProtocol(self, protocol: IProtocol) -> None:
        self._guard.wrapped = protocol

    @property
    def disconnecting(self) -> bool:
        """Whether the connection is closing, no matter which side began."""
        return self._guard.closes_without_producer or self._guard.reason is not None

    def startTLS(self, *arguments: Any, **named: Any) -> None:
        """Start TLS on the real transport; the guard does as :meth:`Connection.start_tls`."""
        guard = self._guard
        guard.transport.startTLS(*arguments, **named)
        directlyProvides(self, providedBy(guard.transport))

    def write(self, data: bytes) -> None:
        """:raises TypeError: if ``data`` is text; encode it first."""
        if isinstance(data, str):  # otherwise it would fail only when the queue is joined
            raise TypeError("a transport takes bytes, not str")
        guard = self._guard
        if guard.send_encoded(data):
            guard.touch()  # who takes what it is sent is not idle
        if guard.closes_without_producer:
            guard.producer_wrote()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        guard = self._guard
        if guard.producer is None or guard.state is State.DRAINING_INPUT:
            guard.close()
        elif not guard.closes_without_producer:
            # As in Twisted's transports: the producer may still write what it has. Over TCP, one
            # that pushes and is not paused has written everything; TLS waits for it in any case,
            # and reads meanwhile.
            guard.closes_without_producer = True
            if guard.can_write_eof():
                guard.pause()
                if not isinstance(guard.producer, _Pulled):
                    guard.close_when_sent()

    def abortConnection(self) -> None:
        self._guard.abort()

    def loseWriteConnection(self) -> None:
        self._guard.write_eof()

    def pauseProducing(self) -> None:
        self._guard.pause()

    def resumeProducing(self) -> None:
        if not self._guard.closes_without_producer:
            self._guard.resume()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """:raises RuntimeError: if a producer is registered already."""
        guard = self._guard
        if guard.producer is not None:
            raise RuntimeError(f"{guard.producer!r} is registered already, so not {producer!r}")
        if guard.reason is not None:
            producer.stopProducing()
        elif streaming:
            guard.producer = producer
            if guard.is_full:
                producer.pauseProducing()
        else:
            guard.producer = pulled = _Pulled(producer, guard)
            if not guard.is_full:
                pulled.resumeProducing()

    def unregisterProducer(self) -> None:
        producer, self._guard.producer = self._guard.producer, None
        if isinstance(producer, _Pulled):
            producer.pauseProducing()
        if self._guard.closes_without_producer:
            self._guard.close()


@implementer(IPushProducer)
class _Pulled:
    """Adapt a pull producer to push: ask it for data once per reactor turn, while it may write."""

    def __init__(self, producer: IPullProducer, guard: GuardProtocol) -> None:
        self._producer = producer
        self._guard = guard
        self._next: IDelayedCall | None = None

    def resumeProducing(self) -> None:
        if self._next is None and self._guard.reason is None:
            self._next = self._guard.factory.clock.callLater(0, self._pull)

    def pauseProducing(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._producer.stopProducing()

    def _pull(self) -> None:
        self._next = None
        if self._guard.reason is not None:  # what it writes would not be sent
            return
        self.resumeProducing()  # the write below may fill the transport, which cancels this
        try:
            self._producer.resumeProducing()
        except Exception:
            self.pauseProducing()
            self._guard.fail(Failure())  # type: ignore[no-untyped-call]


class GuardProtocol(Connection):
    """Stand between the transport and a protocol that does not know about the guard.

    :ivar producer: the producer that the wrapped protocol has registered.
    :ivar closes_without_producer: whether the wrapped protocol has closed while a producer still
        wrote; the connection closes when the producer has finished.
    """

    framing = Raw
    reads_while_full = True  # the wrapped protocol decides when to read
    waits_for_handshake = False  # without the guard, the wrapped protocol does not wait either

    factory: GuardFactory
    producer: Any = None
    closes_without_producer = False
    _closes_when_sent = False  # the producer is not asked to unregister first
    _close_call: IDelayedCall | None = None
    _progress: SendProgress | None = None  # at the last idle check with bytes waiting

    def __init__(self, wrapped: IProtocol) -> None:
        self.wrapped = wrapped
        self._lost: Failure = connectionDone

    def connected(self) -> None:
        transport: Any = GuardTransport(self)
        self.wrapped.makeConnection(transport)

    def handshakeCompleted(self) -> None:
        self.stop_handshake_timeout()
        super().handshakeCompleted()
        if self.reason is None and IHandshakeListener.providedBy(self.wrapped):
            self.call_hook(self.wrapped.handshakeCompleted)

    def message_received(self, message: bytes) -> None:
        self.wrapped.dataReceived(message)

    def disconnected(self, reason: CloseReason) -> None:
        producer, self.producer = self.producer, None
        if self._close_call is not None:
            self._close_call.cancel()
            self._close_call = None
        try:
            if producer is not None:
                producer.stopProducing()
        finally:
            self.wrapped.connectionLost(self._lost)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason
        super().connectionLost(reason)
        if self.closes_without_producer:
            self.close()  # what was received is not for anyone

    def writeConnectionLost(self) -> None:
        if self.reason is None and IHalfCloseableProtocol.providedBy(self.wrapped):
            self.call_hook(self.wrapped.writeConnectionLost)

    def pauseProducing(self) -> None:
        was_full = self.is_full
        super().pauseProducing()
        if self.producer is not None and not was_full:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.touch()  # the peer has read
        if self.producer is not None and not self.is_full and self.reason is None:
            if self._closes_when_sent:  # unless it writes, it has nothing left
                self._close_in(self.factory.limits.close_grace)
            self.producer.resumeProducing()

    def close_when_sent(self) -> None:
        """Close once the producer is not paused and what it wrote is on its way."""
        self._closes_when_sent = True
        self._close_in(0)

    def producer_wrote(self) -> None:
        """Called for each write after the wrapped protocol has closed."""
        if self._closes_when_sent:
            self._close_in(0)

    def _close_in(self, seconds: float) -> None:
        if self.reason is not None:
            return
        if self._close_call is not None:
            self._close_call.cancel()
        self._close_call = self.factory.clock.callLater(seconds, self._close_if_sent)

    def _close_if_sent(self) -> None:
        self._close_call = None
        if not self.is_full:  # otherwise the producer is paused, and has more
            self.close()

    def idle_expired(self) -> bool:
        return self._is_reading()  # a peer may be silent while it receives an answer

    def waits_for_reader(self) -> bool:
        # A protocol that writes a large answer and closes expects, as without the guard, that a
        # slow peer gets all of it.
        return self.reason is CLOSED and self._is_reading()

    def _is_reading(self) -> bool:
        """Return whether bytes wait for the peer and it may be reading them.

        The stall timeout checks whether it does; without one, it must have read something since the
        last time that this was asked.
        """
        if not bytes_waiting(self):
            return False
        if self.factory.limits.stall_timeout:
            return True
        before, self._progress = self._progress, send_progress(self)
        return before is None or self._progress.is_after(before)

    def eof_received(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.wrapped):
            self.call_hook(self.wrapped.readConnectionLost)
        else:
            super().eof_received()


class GuardFactory(ConnectionFactory):
    """Add limits to any Twisted factory, without changing it.

    The guard treats incoming data as raw bytes: ``rate`` counts reads, ``max_message`` and
    ``message_timeout`` do not apply, and the only overflow policy is ``close``. A peer that reads
    what it is sent is not idle.

    :param wrapped: the factory to protect. It may reject a connection by returning None.
    :param settings: the same arguments as for :class:`ConnectionFactory`. If neither ``limits`` nor
        ``queue_limit`` is given, the send queue has no limit: a peer that reads nothing is closed
        after ``stall_timeout``. After the wrapped protocol has closed, ``close_grace`` begins only
        when all that it wrote is sent.
    :cvar guard: makes the connections.
    """

    guard: Callable[[IProtocol], GuardProtocol] = GuardProtocol

    def __init__(
        self,
        wrapped: ProtocolFactory,
        **settings: Unpack[FactorySettings],
    ) -> None:
        if settings.get("limits") is None:
            settings["limits"] = GUARD_LIMITS
        super().__init__(**settings)
        self.wrapped = wrapped
        if negotiating_factory(wrapped) is not None:
            alsoProvides(self, IProtocolNegotiationFactory)

    def acceptableProtocols(self) -> list[bytes]:
        """Return the application protocols of the wrapped factory; TLS negotiates one of them."""
        return application_protocols(self.wrapped)

    def refused(self, address: IAddress | None, reason: CloseReason) -> None:
        """Tell the wrapped factory too, if it is one of ours. It sees handshakes fail itself."""
        super().refused(address, reason)
        if reason is not HANDSHAKE and isinstance(self.wrapped, ConnectionFactory):
            self.wrapped.refused(address, reason)

    def doStart(self) -> None:
        super().doStart()  # type: ignore[no-untyped-call]
        self.wrapped.doStart()

    def doStop(self) -> None:
        self.wrapped.doStop()
        super().doStop()  # type: ignore[no-untyped-call]

    def logPrefix(self) -> str:
        prefix = getattr(self.wrapped, "logPrefix", None)
        return str(prefix()) if prefix is not None else type(self.wrapped).__name__

    def make(self, addr: Any) -> GuardProtocol | None:
        wrapped = self.wrapped.buildProtocol(addr)
        if wrapped is None or isinstance(wrapped, RejectingProtocol):
            return wrapped  # type: ignore[return-value]  # it sends the rejection itself
        guard = self.guard(wrapped)
        guard.factory = self
        return guard
