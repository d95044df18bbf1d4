"""Eager transports for TCP and Unix sockets, and the ports and connectors that make them."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import lru_cache
from time import perf_counter
from typing import Any, Self

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.python import log
from twisted.python.failure import Failure

from twisted_net.eager.key_sharing import LazyAttribute, share_keys
from twisted_net.eager.transports import Eager, EagerUNIX
from twisted_net.eager.write_batch import batch_of

ACCEPTS, ACCEPTING_SECONDS = 16, 0.0005
"""The most connections that a port accepts in a turn, and the seconds after which it accepts no
more. Twisted's ports accept 100 and more, so a burst of new connections delays all others. Netty
accepts 16, nginx one."""


_WILDCARDS = ("0.0.0.0", "::")


@lru_cache(maxsize=256)
def _shared(host: str) -> str:
    """Return one string for all clients with the same address, such as those behind a proxy."""
    return host


def _client(transport: EagerServer) -> tuple[Any, ...]:
    host, numbers = transport.hostname, transport.numbers
    return (host, *numbers) if isinstance(numbers, tuple) else (host, numbers)


def _address_type(transport: EagerServer) -> type[IPv4Address | IPv6Address]:
    return IPv6Address if isinstance(transport.numbers, tuple) else IPv4Address


def _logstr(transport: EagerServer) -> str:
    return f"{transport.prefix},{transport.sessionno},{transport.hostname}"


def _repstr(transport: EagerServer) -> str:
    return f"<{transport.kind.__name__} #{transport.sessionno} on {transport.server.number}>"


class EagerServer(Eager, tcp.Server):
    """An accepted or adopted TCP connection.

    :ivar prefix: the log prefix of the protocol that the transport was made for.
    :ivar kind: the class of that protocol.
    :ivar numbers: what follows the host in the client's address. That is the port, which is kept
        without a tuple to save memory; or for IPv6, a tuple of the port and two more numbers.
    :ivar is_shared: whether a fork of this process may have the socket as well. If not, closing it
        ends the connection, without ``shutdown``.
    """

    is_shared = False

    server: Any  # an EagerPort; None for an adopted connection
    prefix: Any = LazyAttribute(lambda transport: transport.kind.__name__)
    client: Any = LazyAttribute(_client)
    _addressType: Any = LazyAttribute(_address_type)
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
        sock.setblocking(False)
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.socket = sock
        self.protocol = protocol
        self._batch = batch = batch_of(reactor)
        self.server = server
        self.hostname = client[0]
        self.numbers = client[1] if len(client) == 2 else client[1:]
        self.sessionno = sessionno
        self.kind = kind = type(protocol)
        if getattr(kind, "logPrefix", None) is not Protocol.logPrefix:  # which has the class's name
            self.prefix = self._getLogPrefix(protocol)
        self.connected = 1
        if batch.always_open:
            reactor.watch(self, sock.fileno())
            return
        self.startReading()
        if server is None:  # otherwise it is inherited from the port
            self.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected or not self._batch.always_open:
            super().connectionLost(reason)
            return
        # As Twisted's, which asks the reactor four times whether it waits for this transport.
        self._is_plain = self._in_batch = False
        self._no_room()
        self.connected = 0
        self.disconnected = 1
        producer = self.producer
        if producer is not None:
            producer.stopProducing()
            self.producer = None
        reactor: Any = self.reactor
        reactor.forget(self)
        if self.is_shared or isinstance(reason.value, ConnectionAborted):
            self._closeSocket(not isinstance(reason.value, ConnectionAborted))
        else:
            with suppress(OSError):
                self.socket.close()
        protocol = self.protocol
        del self.protocol
        del self.socket
        protocol.connectionLost(reason)

    def getHost(self) -> Any:
        """Return the local address, from the port if it listens on a single one."""
        host = None if self.server is None else self.server.host
        return super().getHost() if host is None else host


SHARED_KEYS = (
    *("reactor", "_tempDataBuffer", "_tempDataLen", "socket", "protocol", "_batch", "server"),
    *("hostname", "numbers", "sessionno", "prefix", "kind", "connected", "producer"),
    *(
        "streamingProducer",
        "_in_batch",
        "_room",
        "_is_plain",
        "dataBuffer",
        "offset",
        "producerPaused",
        "disconnected",
    ),
    *("closer", "is_shared"),
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
        """Connections that Twisted's code accepts in a turn: see :meth:`doRead`."""
        return 1

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        """Ignore it: Twisted raises it while more are waiting."""

    def doRead(self) -> None:
        """Accept connections, as many as arrived in the last turn, or twice as many.

        As Twisted's, without an object of its own for each turn. Twisted's code handles errors.
        """
        wanted, started = self._wanted, perf_counter()
        accepted = 0
        try:
            for accepted in range(1, wanted + 1):
                try:
                    sock, address = self.socket.accept()
                except BlockingIOError:
                    accepted -= 1
                    break
                except OSError:
                    accepted -= 1
                    super().doRead()
                    break
                self._begin(sock, address)
                if perf_counter() - started > ACCEPTING_SECONDS:
                    break
        except BaseException:
            log.deferr()
        self._wanted = min(2 * wanted, ACCEPTS) if accepted == wanted else max(1, accepted)

    def _begin(self, sock: socket.socket, address: Any) -> None:
        """Make the protocol and the transport of an accepted connection."""
        # IPv6 with a scope, which is part of the host. (A Unix socket has a name.)
        if type(address) is tuple and len(address) == 4 and address[3]:
            names = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            address = (names[0], *address[1:])
        elif type(address) is tuple:
            address = (_shared(address[0]), *address[1:])
        factory: Any = self.factory
        protocol: Any = None
        try:
            protocol = factory.buildProtocol(self._buildAddr(address))
        finally:
            if protocol is None:  # or it has failed: the log would keep the socket open
                sock.close()
        if protocol is None:
            return
        number = self.sessionno
        self.sessionno = number + 1
        make: Any = self.transport
        protocol.makeConnection(make(sock, protocol, address, self, number, self.reactor))


class _ListeningSocket(socket.socket):
    """A listening socket that does not make an enumeration's members for each connection."""

    __slots__ = ("family", "type")

    @classmethod
    def instead_of(cls, listening: socket.socket) -> Self:
        """Return one with the same descriptor, which ``listening`` then no longer has."""
        family, kind = int(listening.family), int(listening.type)
        made = cls(family, kind, listening.proto, listening.detach())
        made.family, made.type = family, kind  # type: ignore[assignment, misc]
        made.setblocking(False)
        return made


class EagerPort(_PatientPort):
    """A TCP port that makes eager transports. Takes the same arguments as Twisted's.

    :ivar number: the port number, which stays after the port has stopped.
    :ivar host: the local address of all its connections; None if each may have another one.
    """

    transport = EagerServer
    number = 0
    host: IPv4Address | IPv6Address | None = None

    def startListening(self) -> None:
        is_adopted = self.port is None  # it may take connections to other addresses (tproxy)
        super().startListening()
        self.socket = _ListeningSocket.instead_of(self.socket)
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        host = self.getHost()
        self.number = host.port
        if not is_adopted:
            self.share_host()
        if not batch_of(self.reactor).always_open:  # accepted sockets inherit it
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def share_host(self) -> None:
        """Give all connections one object for their local address, if they all have the same."""
        host = self.getHost()
        if host.host not in _WILDCARDS:
            self.host = host


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
