"""Connect a transport to another protocol, as if that one had always been there."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import ILoggingContext, IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper

from twisted_net.connection.addresses import format_address, format_peer
from twisted_net.eager.ports import EagerServer

_log = Logger()


def switch_protocol(
    transport: Any,
    protocol: IProtocol,
    rest: bytes,
    clock: IReactorTime,
    *,
    keeps_bytes: bool = False,
) -> None:
    """Connect ``protocol`` with a transport that another protocol has used so far.

    Nothing remains between the two, so there is no extra cost.

    :param transport: a reactor's transport, which delivers to its attribute ``protocol``; Twisted's
        ``startTLS`` requires the same. Or one of TLS above it, which delivers to
        ``wrappedProtocol``.
    :param rest: bytes for the new protocol that were already read.
    :param clock: the reactor's.
    :param keeps_bytes: whether ``protocol`` itself keeps what comes while it has paused, and
        ignores what comes after it has closed. Then no attribute of the transport has to be
        replaced, after which it would need more memory for as long as it lives.
    """
    _rename(transport, protocol)
    setattr(transport, _receiver(transport), protocol)
    if rest and keeps_bytes:
        protocol.makeConnection(transport)
        getattr(transport, _receiver(transport)).dataReceived(rest)
    elif rest:
        _PendingBytes(transport, rest, clock).connect(protocol)
    else:
        protocol.makeConnection(transport)


def _receiver(transport: Any) -> str:
    """Return the name of the attribute of a transport that has its protocol."""
    return "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else "protocol"


def log_prefix(thing: object) -> str:
    """Return the name of a factory or a protocol in Twisted's log."""
    if ILoggingContext.providedBy(thing):
        return str(thing.logPrefix())
    return type(thing).__name__


def _rename(transport: Any, protocol: IProtocol) -> None:
    """Update a TCP transport's log prefix to the new protocol and address, as TCP itself does."""
    if hasattr(transport, "logstr") and hasattr(transport, "sessionno"):
        peer = transport.getPeer()
        where = getattr(peer, "host", None) or format_address(peer)
        if isinstance(transport, EagerServer) and where == transport.hostname:
            transport.prefix = log_prefix(protocol)  # its log prefix is made of this when needed
            with suppress(AttributeError):
                del transport.logstr
            return
        transport.logstr = f"{log_prefix(protocol)},{transport.sessionno},{where}"


class _PendingBytes:
    """Bytes that were read before the protocol was there, until it takes them.

    A transport delivers nothing to a protocol that pauses or closes it when the connection is made.
    Until the bytes are delivered, this object replaces four of the transport's methods, so that the
    same is true of these bytes.
    """

    __slots__ = ("_clock", "_data", "_making", "_paused", "_transport")

    _METHODS = ("pauseProducing", "resumeProducing", "loseConnection", "abortConnection")

    def __init__(self, transport: Any, data: bytes, clock: IReactorTime) -> None:
        self._transport = transport
        self._data = data
        self._clock = clock
        self._making = True
        self._paused = False
        for name in self._METHODS:
            setattr(transport, name, getattr(self, name))

    def connect(self, protocol: IProtocol) -> None:
        """Make the connection, and deliver the bytes unless the protocol has paused."""
        try:
            protocol.makeConnection(self._transport)
        except BaseException:
            self._take()
            raise
        self._making = False
        if not self._paused:
            self._deliver()

    # Replacements for methods of the transport.

    def pauseProducing(self) -> None:
        self._paused = True
        type(self._transport).pauseProducing(self._transport)

    def resumeProducing(self) -> None:
        self._paused = False
        if self._making:
            type(self._transport).resumeProducing(self._transport)
        else:
            # Deliver in a later turn, as received data. The transport stays paused until then,
            # because the bytes that it would read come after these.
            self._clock.callLater(0, self._deliver_late)

    def loseConnection(self) -> None:
        self._take()
        type(self._transport).loseConnection(self._transport)

    def abortConnection(self) -> None:
        self._take()
        type(self._transport).abortConnection(self._transport)

    # The bytes.

    def _take(self) -> bytes:
        """Return the bytes, once, and restore the transport's methods.

        A method that the protocol has replaced in turn is left as it is.
        """
        data, self._data = self._data, b""
        if data:
            own = vars(self._transport)
            for name in self._METHODS:
                if own.get(name) == getattr(self, name):
                    delattr(self._transport, name)
        return data

    def _deliver(self) -> None:
        data = self._take()
        if data:
            # Use the current protocol: connectionMade may have started TLS.
            getattr(self._transport, _receiver(self._transport)).dataReceived(data)

    def _deliver_late(self) -> None:
        transport = self._transport
        if self._paused or not self._data:  # paused again since, or already delivered
            return
        if not transport.connected:
            self._take()
            return
        type(transport).resumeProducing(transport)
        try:
            self._deliver()
        except Exception:
            # A reactor does the same if a protocol that it calls raises.
            _log.failure("Connection from {peer} failed", peer=format_peer(transport))
            transport.abortConnection()
