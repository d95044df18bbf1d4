"""One connection: framing, backpressure, idle timeout, counters, and one reason for its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, Unpack, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
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
from zope.interface import implementer

from twisted_net.policy.closing import (
    CLOSED,
    HANDSHAKE,
    PEER_CLOSED,
    PEER_RESET,
    SLOW,
    Reason,
)
from twisted_net.policy.limits import LimitChanges, Limits
from twisted_net.policy.outbox import Outbox
from twisted_net.transport.addresses import shown, unmapped
from twisted_net.transport.inbound import BY_FULL_OUTPUT, BY_HOOK, Inbound
from twisted_net.transport.ticker import Ticker

_log = Logger()

_REFILL = 65536  # bytes given to a transport at a time: as many as Twisted's transports buffer


@implementer(IProtocol, IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Connection(Inbound):
    """One peer. Subclass it, set :attr:`framing`, and override the three hooks.

    Messages come one at a time and in order: where :meth:`message_received` is ``async``, the
    next message waits until it has finished, and the peer is not read meanwhile. A hook that
    raises closes this connection alone (``failed``); the log has its number and the traceback.

    :cvar framing: makes the connection's framing: a class of :mod:`twisted_net.wire.framing`, or
        any callable that takes ``max_size``, such as ``partial(LengthPrefixed, 2)``.
    :cvar reads_while_full: whether a peer is read although it does not read what it is sent.
        Where a message causes an answer, leave it False: then such a peer costs bounded memory.
    :ivar id: the connection's number within its factory, from 1.
    :ivar peer: the other side's address; kept after the end, as is :attr:`host`, this side's.
    :ivar bytes_received: bytes read from the peer; likewise :attr:`messages_received`,
        :attr:`bytes_sent` and :attr:`messages_sent` (given to the transport).
    :ivar reason: why the connection ends or has ended; None while it is open.
    :ivar detail: more about the reason, for the log; may be empty.
    """

    factory: ConnectionFactory
    host: IAddress
    bytes_sent = 0
    messages_sent = 0
    detail = ""

    # As in the other half, defaults stand on the class.
    _full = False  # the transport's buffer is full
    _finishing = False  # nothing more will be sent, but the peer is still read
    _outbox: Outbox | None = None
    _waiting: list[Deferred[None]] | None = None

    # What a subclass calls.

    def send(self, message: Any) -> bool:
        """Send a message.

        :return: whether more can be sent at once. False: what was sent waits in memory, so wait
            for :meth:`drained`; or the connection is ending, and nothing was sent.
        :raises LocalProtocolError: the framing cannot carry the message.
        """
        return self.send_encoded(self._framing.encode(message))

    def send_encoded(self, data: bytes, messages: int = 1) -> bool:
        """Send bytes that already are as the framing wants them; otherwise as :meth:`send`.

        :param messages: how many messages they carry.
        """
        if self.reason is not None or self._finishing or not self._open:
            return False
        if not data:
            return not self._full
        if not self._full:
            self.bytes_sent += len(data)
            self.messages_sent += messages
            self.transport.write(data)
            return not self._full
        if self._outbox is None:
            limits = self.factory.limits
            self._outbox = Outbox(limits.queue_limit, limits.slow_rule)
        if not self._outbox.put(data, messages):
            self.close(SLOW)
        return False

    def established(self) -> Deferred[None]:
        """Wait until :meth:`connected` was called: over TLS, until the handshake is done.

        :return: fires then; fails with what Twisted gives for the end if that comes first.
        """
        waiting: Deferred[None] = Deferred()
        if self._begun:
            waiting.callback(None)
        else:
            self._unestablished = waiting
        return waiting

    def drained(self) -> Deferred[None]:
        """Wait until the peer has taken what it was sent, so far that more can be sent.

        :return: fires then; fails with :exc:`CancelledError` if the connection ends before.
        """
        if self._full and self._open:
            waiting: Deferred[None] = Deferred()
            if self._waiting is None:
                self._waiting = []
            self._waiting.append(waiting)
            return waiting
        return succeed(None)

    def close(self, reason: Reason = CLOSED, detail: str = "") -> None:
        """End the connection once everything has been sent. The first call's reason stands.

        The peer then has ``close_grace`` seconds to read it and to close its side; what it still
        sends is read and forgotten, since unread bytes would make the kernel reset the connection
        and take the last words away. After that it is aborted.
        """
        if self._gone:
            self._end_gone(reason, detail)
        if self.reason is not None or not self._open:
            return
        self.reason = reason
        self.detail = detail
        if not self._delivering:
            self._inbox = None
        self._rewatch(self._give_up, self.factory.limits.close_grace)
        if not self._full and not self._outbox:
            self._let_go()

    def abort(self, reason: Reason = CLOSED, detail: str = "") -> None:
        """End the connection at once; what has not been sent is lost."""
        if self._gone:
            self._end_gone(reason, detail)
        if not self._open:
            return
        if self.reason is None:
            self.reason = reason
            self.detail = detail
        if self._outbox is not None:
            self._outbox.clear()
        self.transport.abortConnection()

    def finish(self) -> None:
        """Send no more, but go on reading (half-close). Over TLS, which has none, close."""
        if self._finishing or self.reason is not None or not self._open:
            return
        if self._peer_done or not self._can_half_close():
            self.close(PEER_CLOSED if self._peer_done else CLOSED)
            return
        self._finishing = True
        if not self._full and not self._outbox:
            self.transport.loseWriteConnection()

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer, besides what its transport buffers."""
        return 0 if self._outbox is None else self._outbox.size

    # Twisted's protocol.

    def makeConnection(self, transport: Any) -> None:
        # Twisted's own would set an attribute ``connected``, where this class has a hook.
        self.transport = transport
        self._open = True
        self.connectionMade()

    def connectionMade(self) -> None:
        transport = self.transport
        self.peer = unmapped(transport.getPeer())
        self.host = unmapped(transport.getHost())
        self.id = self.factory.opened(self)
        limits = self.factory.limits
        # Looked up on the class: a function there shall not become a method.
        self._framing = type(self).framing(max_size=limits.max_message)
        if limits.idle_timeout:
            self._watch = self.factory.ticker.watch(self._silent, limits.idle_timeout)
        transport.registerProducer(self, True)
        if not _awaits_handshake(transport):
            self._begin()

    def handshakeCompleted(self) -> None:
        if not self._begun and self.reason is None:
            self._begin()

    def readConnectionLost(self) -> None:
        """The peer has sent its last byte: answer what it has sent, then close."""
        self._peer_done = True
        if self.reason is not None:
            if not self._full and not self._outbox:  # it has the last words: nothing to wait for
                self.transport.loseConnection()
        elif self._inbox is None and not self._held & BY_HOOK:
            self._after_last_message()

    def writeConnectionLost(self) -> None:
        """The last byte is on its way. Nothing to do: the peer ends it, or the grace does."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        waiting, self._unestablished = self._unestablished, None
        if waiting is not None:
            waiting.errback(reason)
        clean = isinstance(reason.value, ConnectionDone)
        if clean and self.reason is None and self._has_work() and not self._held & ~BY_HOOK:
            # TLS has no half-close: this is how a peer ends that has just sent its last words.
            self._gone = True
            return
        if self.reason is None:
            if not self._begun and _awaits_handshake(self.transport) and not clean:
                self.reason, self.detail = HANDSHAKE, reason.getErrorMessage()
            else:
                self.reason = PEER_CLOSED if clean else PEER_RESET
        self._end()

    # The transport is a consumer and this is its producer: it says when its buffer is full.

    def pauseProducing(self) -> None:
        self._full = True
        if self._begun and not self.reads_while_full:  # a handshake cannot go on unread
            self._hold(BY_FULL_OUTPUT)

    def resumeProducing(self) -> None:
        self._full = False
        if self._watch is not None and (self.reason is not None or self._held & BY_FULL_OUTPUT):
            # It reads. What it may have said nobody heard; while closing, its grace begins anew.
            self._watch.heard = self.factory.ticker.wheel.now
        outbox = self._outbox
        while outbox and not self._full:
            data, messages = outbox.take(_REFILL)
            self.bytes_sent += len(data)
            self.messages_sent += messages
            self.transport.write(data)
        if self._full:
            return
        if self.reason is not None:
            self._let_go()
            return
        if not self._can_half_close():
            # Where the peer has ended TLS meanwhile, the transport waits for its producer to go,
            # and nothing else would wake it.
            self.transport.unregisterProducer()
            self.transport.registerProducer(self, True)
        if self._finishing:
            self.transport.loseWriteConnection()
        self._release(BY_FULL_OUTPUT)
        # One at least, or whoever answers the peer would keep the others waiting for ever.
        waiting = self._waiting
        while waiting:
            waiting.pop(0).callback(None)
            if self._full:
                break

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so too."""

    # The end.

    def _can_half_close(self) -> bool:
        # Behind TLS, the descriptor's half-close would cut the TLS stream itself.
        transport = self.transport
        return IHalfCloseableDescriptor.providedBy(transport) and not INegotiated.providedBy(
            transport
        )

    def _let_go(self) -> None:
        """Everything is with the transport: begin the end."""
        transport = self.transport
        transport.unregisterProducer()
        if self._peer_done:
            transport.loseConnection()
            return
        transport.resumeProducing()  # it may be paused, and the peer's farewell is to be read
        if self._can_half_close():
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _give_up(self) -> None:
        """The grace is over. What the kernel has of the last words shall still reach the peer."""
        self._rewatch(self.abort, 0)  # within a second
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):  # TLS itself would wait for the peer's
            transport = transport.transport
        transport.loseConnection()

    def _end_gone(self, reason: Reason, detail: str) -> None:
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
            self.factory.ticker.forget(self._watch)
            self._watch = None
        self._inbox = None
        self._outbox = None
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
                    peer=shown(self.peer),
                )
        self.factory.ended(self)


class ConnectionFactory(Factory[Connection]):
    """Makes the connections of one service, and knows those that are open.

    ``ConnectionFactory.forProtocol(Shout, idle_timeout=60)`` is the short form. It works with
    any listening call of Twisted's, any number of times.

    :param clock: the time; without it, the reactor's, once it is needed.
    :param limits: how much is allowed.
    :param changes: single limits, by name; see :class:`~twisted_net.policy.limits.Limits`.
    :raises ValueError: a limit that makes no sense; the message names it.
    :raises TypeError: no such limit.
    :ivar connections: the open connections by their number.
    :ivar accepts: set it to False to refuse every further connection.
    """

    noisy = False  # a factory that starts is no news; its port is, and has its own line

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        limits: Limits | None = None,
        **changes: Unpack[LimitChanges],
    ) -> None:
        self.limits = replace(limits or Limits(), **changes)
        self.connections: dict[int, Connection] = {}
        self.accepts = True
        self._clock = clock
        self._last_id = 0
        self._emptied: list[Deferred[None]] = []

    @classmethod
    def forProtocol(cls, protocol: Callable[[], Connection], *args: Any, **kwargs: Any) -> Self:
        factory = cls(*args, **kwargs)
        factory.protocol = protocol
        return factory

    @property
    def clock(self) -> IReactorTime:
        """The time by which this factory's connections live."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        return self._clock

    @cached_property
    def ticker(self) -> Ticker:
        """The timeouts of this factory's connections."""
        return Ticker(self.clock)

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self.connections)

    def __bool__(self) -> bool:
        """A factory without connections is a factory all the same."""
        return True

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        return super().buildProtocol(addr) if self.accepts else None

    def tell(self, message: Any) -> None:
        """Send ``message`` to every open connection; over TLS, not before the handshake is done.

        :raises LocalProtocolError: the framing cannot carry it.
        """
        for connection in list(self.connections.values()):
            if connection._begun:
                connection.send(message)

    def close(self, reason: Reason = CLOSED) -> None:
        """Close every open connection; see :meth:`Connection.close`."""
        for connection in list(self.connections.values()):
            connection.close(reason)

    def abort(self, reason: Reason = CLOSED) -> None:
        """Abort every open connection; see :meth:`Connection.abort`."""
        for connection in list(self.connections.values()):
            connection.abort(reason)

    def emptied(self) -> Deferred[None]:
        """Wait until no connection is open.

        :return: fires then; at once where none is.
        """
        if not self.connections:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._emptied.append(waiting)
        return waiting

    def opened(self, connection: Connection) -> int:
        """Count a connection in, and give it its number."""
        self._last_id += 1
        self.connections[self._last_id] = connection
        return self._last_id

    def ended(self, connection: Connection) -> None:
        """Count a connection out, which has its ``reason``."""
        del self.connections[connection.id]
        reason = connection.reason
        assert reason is not None
        _log.emit(
            LogLevel.info if reason.notable else LogLevel.debug,
            "Connection {id} from {peer} ended: {reason}{detail}",
            id=connection.id,
            peer=shown(connection.peer),
            reason=reason.code,
            detail=connection.detail and f" ({connection.detail})",
        )
        if not self.connections:
            waiting, self._emptied = self._emptied, []
            for each in waiting:
                each.callback(None)


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
