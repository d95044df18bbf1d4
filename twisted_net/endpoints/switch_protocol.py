"""A transport that changes from one protocol to another, as if the second had always been there."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ILoggingContext, IProtocol, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.addresses import format_address

_log = Logger()


def switch_protocol(transport: Any, protocol: IProtocol, rest: bytes, clock: IReactorTime) -> None:
    """Connect ``protocol`` with a transport that another protocol has had so far.

    Nothing stands between the two afterwards, so everything costs what it costs without it.

    :param transport: one of a reactor's, which delivers to its attribute ``protocol``; Twisted's
        ``startTLS`` wants the same of it.
    :param rest: bytes that were read already, and that are for the new protocol.
    :param clock: the reactor's.
    """
    _rename(transport, protocol)
    transport.protocol = protocol
    if rest:
        _PendingBytes(transport, rest, clock).connect(protocol)
    else:
        protocol.makeConnection(transport)


def log_prefix(thing: object) -> str:
    """Give the name that a factory or a protocol has in Twisted's log."""
    if ILoggingContext.providedBy(thing):
        return str(thing.logPrefix())
    return type(thing).__name__


def _rename(transport: Any, protocol: IProtocol) -> None:
    """Let a TCP transport log with the name and the address of now, as it does by itself."""
    if hasattr(transport, "logstr") and hasattr(transport, "sessionno"):
        peer = transport.getPeer()
        where = getattr(peer, "host", None) or format_address(peer)
        transport.logstr = f"{log_prefix(protocol)},{transport.sessionno},{where}"


class _PendingBytes:
    """Bytes that were read before a protocol was there, until it takes them.

    A transport delivers nothing to a protocol that has paused or closed it when the connection was
    made. While there is a rest, four of the transport's methods are this object's, so that the
    same is true of the rest.
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
        """Make the connection, and deliver the rest unless it is not wanted just now."""
        try:
            protocol.makeConnection(self._transport)
        except BaseException:
            self._take()
            raise
        self._making = False
        if not self._paused:
            self._deliver()

    # The transport's methods.

    def pauseProducing(self) -> None:
        self._paused = True
        type(self._transport).pauseProducing(self._transport)

    def resumeProducing(self) -> None:
        self._paused = False
        if self._making:
            type(self._transport).resumeProducing(self._transport)
        else:
            # In a turn of its own, as anything that is received. The transport itself stays paused
            # until then: what it would read comes after the rest.
            self._clock.callLater(0, self._deliver_late)

    def loseConnection(self) -> None:
        self._take()
        self._transport.loseConnection()

    def abortConnection(self) -> None:
        self._take()
        self._transport.abortConnection()

    # The rest.

    def _take(self) -> bytes:
        """Give the rest, once, and the transport its own methods back."""
        data, self._data = self._data, b""
        if data:
            for name in self._METHODS:
                delattr(self._transport, name)
        return data

    def _deliver(self) -> None:
        data = self._take()
        if data:
            # Whichever protocol it has now: connectionMade may have started TLS.
            self._transport.protocol.dataReceived(data)

    def _deliver_late(self) -> None:
        transport = self._transport
        if self._paused or not self._data:  # paused again since; or taken, by an earlier call
            return
        if not transport.connected:
            self._take()
            return
        type(transport).resumeProducing(transport)
        try:
            self._deliver()
        except Exception:
            # A reactor does as much where a protocol fails that it has called itself.
            _log.failure("Connection from {peer} failed", peer=format_address(transport.getPeer()))
            transport.abortConnection()
