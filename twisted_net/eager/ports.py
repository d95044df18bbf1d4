"""Eager transports for TCP and Unix sockets, and the ports and connectors that make them."""

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
"""Connections that a port accepts in a turn. Twisted's ports accept 100 and more, so a burst of
new connections delays all others. nginx accepts one, Netty 16."""


def _logstr(transport: EagerServer) -> str:
    return f"{transport.prefix},{transport.sessionno},{transport.hostname}"


def _repstr(transport: EagerServer) -> str:
    return f"<{transport.kind.__name__} #{transport.sessionno} on {transport.server.number}>"


class EagerServer(Eager, tcp.Server):
    """An accepted or adopted TCP connection.

    :ivar prefix: the log prefix of the protocol that the transport was made for.
    :ivar kind: the class of that protocol.
    """

    server: Any  # an EagerPort; None for an adopted connection
    hostname: Any = LazyAttribute(lambda transport: transport.client[0])
    logstr: Any = LazyAttribute(_logstr)
    repstr: Any = LazyAttribute(_repstr)

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: Any,  # the port; None for an adopted connection
        sessionno: int,
        reactor: Any,
    ) -> None:
        # Does not call Twisted's __init__, which formats three strings that are rarely read.
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
        if server is None and not batch.always_open:  # otherwise it is inherited from the port
            self.setTcpNoDelay(True)


SHARED_KEYS = (
    *("reactor", "_tempDataBuffer", "_tempDataLen", "socket", "protocol", "_batch", "server"),
    *("client", "sessionno", "prefix", "kind", "connected", "producer", "streamingProducer"),
    *("_in_batch", "_room", "_is_plain", "dataBuffer", "offset", "producerPaused", "disconnected"),
    "closer",
)
"""All attributes that an accepted connection may get; see :func:`share_keys`."""

share_keys(EagerServer, SHARED_KEYS)


class EagerClient(Eager, tcp.Client):
    """An outgoing TCP connection."""

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
    """An outgoing Unix connection."""

    def __init__(self, filename: Any, connector: Any, reactor: Any, checkPID: Any = 0) -> None:
        self._batch = batch_of(reactor)
        super().__init__(filename, connector, reactor, checkPID)


class _PatientPort(tcp.Port):
    """A port that serves existing connections while many new ones arrive."""

    _wanted = 1

    @property
    def numberAccepts(self) -> int:
        """Connections to accept in a turn. Twisted raises it while more are waiting."""
        return min(self._wanted, ACCEPTS)

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        self._wanted = number


class EagerPort(_PatientPort):
    """A TCP port that makes eager transports. Takes the same arguments as Twisted's.

    :ivar number: the port number, which stays after the port has stopped.
    """

    transport = EagerServer
    number = 0

    def startListening(self) -> None:
        super().startListening()
        if not batch_of(self.reactor).always_open:  # accepted sockets inherit it
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class EagerUNIXPort(_PatientPort, unix.Port):
    """A Unix port that makes eager transports. Takes the same arguments as Twisted's."""

    transport = EagerUNIXServer


class EagerConnector(tcp.Connector):
    """Connects with :class:`EagerClient`."""

    def _makeTransport(self) -> EagerClient:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)


class EagerUNIXConnector(unix.Connector):
    """Connects with :class:`EagerUNIXClient`."""

    def _makeTransport(self) -> Any:
        return EagerUNIXClient(self.address, self, self.reactor, self.checkPID)
