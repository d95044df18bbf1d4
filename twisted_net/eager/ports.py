"""Eager transports of each kind, and the ports and connectors that make them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import IProtocol

from twisted_net.eager.key_sharing import LazyAttribute, share_keys
from twisted_net.eager.transports import Eager, EagerUNIX
from twisted_net.eager.write_batch import batch_of

ACCEPTS = 1
"""Connections that a port accepts in a turn. Stock's has 100 and more, in which a crowd that comes
at once keeps the others waiting; nginx has one, Netty 16."""


def _logstr(transport: EagerServer) -> str:
    return f"{transport.prefix},{transport.sessionno},{transport.hostname}"


def _repstr(transport: EagerServer) -> str:
    return f"<{transport.kind.__name__} #{transport.sessionno} on {transport.server.number}>"


class EagerServer(Eager, tcp.Server):
    """An accepted or adopted TCP connection.

    :ivar prefix: the log prefix of the protocol that it was made for; :attr:`kind`: its class.
    """

    server: Any  # an EagerPort, or None where the connection was adopted
    hostname: Any = LazyAttribute(lambda transport: transport.client[0])
    logstr: Any = LazyAttribute(_logstr)
    repstr: Any = LazyAttribute(_repstr)

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: Any,  # the port; None where it is adopted
        sessionno: int,
        reactor: Any,
    ) -> None:
        # Not stock's, which makes three texts that hardly anybody reads.
        tcp.Connection.__init__(self, sock, protocol, reactor)
        self._batch = batch = batch_of(reactor)
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.prefix = self._getLogPrefix(protocol)
        self.kind = type(protocol)
        if server is not None:
            server.number = server._realPortNumber
        self.startReading()
        self.connected = 1
        if server is None and not batch.always_open:  # others have it from their port
            self.setTcpNoDelay(True)


SHARED_KEYS = (
    *("reactor", "_tempDataBuffer", "_tempDataLen", "socket", "protocol", "_batch", "server"),
    *("client", "sessionno", "prefix", "kind", "connected", "producer", "streamingProducer"),
    *("_in_batch", "_room", "_is_plain", "dataBuffer", "offset", "producerPaused", "disconnected"),
)
"""What an accepted connection has sooner or later; see :func:`share_keys`."""

share_keys(EagerServer, SHARED_KEYS)


class EagerClient(Eager, tcp.Client):
    """A TCP connection that this side has opened."""

    def __init__(
        self, host: str, port: int, bindAddress: Any, connector: Any, reactor: Any
    ) -> None:
        self._batch = batch_of(reactor)
        super().__init__(host, port, bindAddress, connector, reactor)

    def _connectDone(self) -> None:
        if not self._batch.always_open:
            self.setTcpNoDelay(True)
        super()._connectDone()


class EagerUNIXServer(EagerUNIX, unix.Server):
    """An accepted or adopted Unix connection."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        self._batch = batch_of(reactor)
        super().__init__(sock, protocol, client, server, sessionno, reactor)


class EagerUNIXClient(EagerUNIX, unix.Client):
    """A Unix connection that this side has opened."""

    def __init__(self, filename: Any, connector: Any, reactor: Any, checkPID: Any = 0) -> None:
        self._batch = batch_of(reactor)
        super().__init__(filename, connector, reactor, checkPID)


class _PatientPort(tcp.Port):
    """A port that lets the others have their turn while a crowd arrives."""

    _wanted = 1

    @property
    def numberAccepts(self) -> int:
        """How many may be accepted in a turn. Stock's raises it as long as there are more."""
        return min(self._wanted, ACCEPTS)

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        self._wanted = number


class EagerPort(_PatientPort):
    """A TCP port whose connections are eager. Takes what stock's does.

    :ivar number: its number, also after its end.
    """

    transport = EagerServer
    number = 0

    def startListening(self) -> None:
        super().startListening()
        if not batch_of(self.reactor).always_open:  # accepted sockets inherit it, once for all
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class EagerUNIXPort(_PatientPort, unix.Port):
    """A Unix port whose connections are eager. Takes what stock's does."""

    transport = EagerUNIXServer


class EagerConnector(tcp.Connector):
    """Connects by :class:`EagerClient`."""

    def _makeTransport(self) -> EagerClient:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)


class EagerUNIXConnector(unix.Connector):
    """Connects by :class:`EagerUNIXClient`."""

    def _makeTransport(self) -> Any:
        return EagerUNIXClient(self.address, self, self.reactor, self.checkPID)
