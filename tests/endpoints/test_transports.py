"""Which transports our listeners and clients get on each reactor."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from pathlib import Path
from typing import Any

from OpenSSL import crypto
from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import Certificate
from twisted.protocols.tls import BufferingTLSTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.eager.reactor_turns import Recorder
from tests.eager.tls_turns import Peer
from tests.endpoints.proxying import HEADERS
from twisted_net.connection.connection import Connection
from twisted_net.connection.guard import GuardTransport
from twisted_net.eager import reactor_interfaces
from twisted_net.eager.ports import EagerClient, EagerServer, EagerUNIXServer
from twisted_net.eager.privates import Group
from twisted_net.eager.reactor import EagerReactor
from twisted_net.eager.reactor_interfaces import eager, plain
from twisted_net.eager.tls import EagerTLS
from twisted_net.eager.tls_sockets import EagerTLSClient, EagerTLSServer
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.client import connect
from twisted_net.endpoints.socket_options import SocketOptions, TunedServerEndpoint
from twisted_net.endpoints.strings import tcp_endpoint
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.forward import ForwardFactory
from twisted_net.services import idle
from twisted_net.services.echo import Options
from twisted_net.services.tls_flags import certificates_of
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import self_signed_pair
from twisted_net.wire.framing import Raw

SHOWN_ANY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SHOWN_ANY.check_hostname = False
SHOWN_ANY.verify_mode = ssl.CERT_NONE


class Hearing(Connection):
    framing = Raw
    heard = b""
    ended: Any = None

    def message_received(self, message: bytes) -> None:
        self.heard += message

    def disconnected(self, reason: Any) -> None:
        self.ended = reason


@implementer(IHostnameResolver)
class Knowing:
    """Resolves at once, without a thread."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *more: Any, **others: Any
    ) -> Any:
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()


class ForeignReactor(EPollReactor):
    """A reactor with its own methods to listen and connect."""

    def listenTCP(self, *arguments: Any, **more: Any) -> Any:
        return super().listenTCP(*arguments, **more)


class TransportsCase(SynchronousTestCase):
    """Our listeners on one kind of reactor.

    :cvar make_reactor: makes the reactor.
    :cvar eagerly: whether it supports eager transports.
    :cvar tls_eagerly: whether TLS can also run on the socket.
    """

    make_reactor: Any = EPollReactor
    eagerly = True
    tls_eagerly = True

    def setUp(self) -> None:
        self.reactor: Any = type(self).make_reactor()
        self.reactor.installNameResolver(Knowing())
        self.addCleanup(self._close)
        self.factory = EchoFactory(clock=self.reactor)
        self.peers: list[Any] = []  # as the connection formats its address

    def _close(self) -> None:
        reactor = self.reactor
        reactor.iterate(0)  # ports close in a later turn
        reactor.disconnectAll()
        reactor.iterate(0)
        for reader in list(reactor._internalReaders):
            reactor.removeReader(reader)
            reader.connectionLost(None)
        reactor._internalReaders.clear()
        reactor._uninstallHandler()
        loop = getattr(reactor, "_asyncioEventloop", None)
        if loop is not None:
            loop.close()
        if isinstance(reactor, EPollReactor):
            reactor._poller.close()

    def until(self, done: Any, *peers: Peer) -> None:
        for _ in range(1000):
            for peer in peers:
                peer.go_on()
            if done():
                return
            self.reactor.iterate(0.005)
        self.fail("It never happened")

    def options(self, *flags: str) -> Options:
        options = Options()
        options.parseOptions(["--interface", "127.0.0.1", *flags])
        return options

    def listening(self, *flags: str) -> Any:
        """Listen with the flags of a service, and return the address."""
        (listener,) = self.options(*flags).listeners(self.reactor)
        port = self.successResultOf(listener.endpoint.listen(self.factory))
        self.addCleanup(port.stopListening)
        return port.getHost()

    def dial(self, where: Any) -> socket.socket:
        path = getattr(where, "name", None)
        peer = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self.addCleanup(peer.close)
        peer.connect((where.host, where.port) if path is None else path)
        return peer

    def accepted(self, *flags: str) -> Any:
        """Return the transport of a connection accepted with these flags."""
        peer = self.dial(self.listening(*flags))
        self.until(lambda: self.factory.connections)
        peer.sendall(b"hello")
        peer.settimeout(0)
        got = bytearray()

        def answered() -> bool:
            with contextlib.suppress(BlockingIOError):
                got.extend(peer.recv(100))
            return bytes(got) == b"hello"

        self.until(answered)
        (connection,) = self.factory.connections.values()
        transport: Any = connection.transport
        if isinstance(transport, GuardTransport):
            transport = transport._guard.transport
        return transport

    def accepted_tls(self, before: bytes = b"", with_hello: bool = False, *flags: str) -> Any:
        """As :meth:`accepted`, over TLS; see :meth:`talk_tls`."""
        where = self.listening("--tls-port", "0", "--self-signed", *flags)
        transport = self.talk_tls(where, before, with_hello)
        self.assertEqual(self.peers[0].host, "192.0.2.77" if before else "127.0.0.1")
        return transport

    def talk_tls(self, where: Any, before: bytes = b"", with_hello: bool = False) -> Any:
        """Complete a handshake, check an echo, close, and return the transport.

        :param before: bytes before the ClientHello.
        :param with_hello: whether they are sent together with the ClientHello.
        """
        peer = Peer(self.dial(where), SHOWN_ANY, server_hostname="localhost")
        peer.outgoing.write(before)
        if before and not with_hello:
            peer.flush()
            for _ in range(10):
                self.reactor.iterate(0.005)
        self.until(lambda: peer.shaken, peer)
        peer.send(b"hello")
        self.until(lambda: peer.got == b"hello", peer)
        (connection,) = self.factory.connections.values()
        transport = connection.transport
        self.peers = [connection.peer]
        connection.close()  # with close_notify both ways
        self.until(lambda: peer.over, peer)
        self.assertEqual(peer.over, "farewell")
        peer.say_farewell()
        self.until(lambda: not self.factory.connections, peer)
        return transport

    def is_tls(self, transport: Any) -> None:
        """Check that TLS is of the kind expected on this reactor."""
        self.assertIs(type(transport), self.tls_kind())
        self.is_tcp(transport.transport, EagerTLSServer)

    def tls_kind(self) -> Any:
        return EagerTLS if self.eagerly and self.tls_eagerly else BufferingTLSTransport

    def is_tcp(self, transport: Any, kind: Any = EagerServer) -> None:
        self.assertIs(type(transport), kind if self.eagerly else tcp.Server)


class Anywhere:
    """What holds on every reactor."""

    def test_tcp(self) -> None:
        """``--port`` and ``--listen`` work, with Twisted's strings and with ours."""
        for flags in (
            ("--port", "0"),
            ("--listen", "tcp:0:interface=127.0.0.1"),
            ("--listen", "net:0:interface=127.0.0.1"),
        ):
            self.factory = EchoFactory(clock=self.reactor)
            self.is_tcp(self.accepted(*flags))

    def test_unix(self) -> None:
        transport = self.accepted("--listen", f"unix:{Path(self.mktemp()).name}")
        self.assertIs(type(transport), EagerUNIXServer if self.eagerly else unix.Server)

    def test_strings_in_other_programs(self) -> None:
        """``twistd web --listen net:...`` uses its reactor, and the guard uses that clock."""
        endpoint: Any = serverFromString(self.reactor, "net:0:interface=127.0.0.1")
        port = self.successResultOf(endpoint.listen(Factory.forProtocol(Recorder)))
        self.addCleanup(port.stopListening)
        self.assertIs(port.factory.clock, self.reactor)
        self.dial(port.getHost())
        self.until(lambda: port.factory.connections)
        self.is_tcp(port.factory.connections[1].transport)

    def test_the_time_is_the_reactors(self) -> None:
        """The guard's clock is the reactor, even if the string is parsed for a service."""
        endpoint: Any = serverFromString(eager(self.reactor), "net:0:interface=127.0.0.1")
        port = self.successResultOf(endpoint.listen(Factory.forProtocol(Recorder)))
        self.addCleanup(port.stopListening)
        self.assertIs(port.factory.clock, self.reactor)
        self.assertIs(plain(self.reactor), self.reactor)

    def test_tls(self) -> None:
        """``--tls-port`` runs TLS on the socket."""
        self.is_tls(self.accepted_tls())

    def test_tls_behind_a_header(self) -> None:
        """The ClientHello may arrive with the PROXY header, or later."""
        for header in HEADERS.values():
            for with_hello in (False, True):
                self.factory = EchoFactory(clock=self.reactor)
                flags = ("--proxy-protocol", "127.0.0.0/8")
                self.is_tls(self.accepted_tls(header, with_hello, *flags))

    def test_tls_over_something_else(self) -> None:
        """TLS over wrappers and over anything but TCP is Twisted's own."""
        for where in (
            "haproxy:tcp:0:interface=127.0.0.1",
            f"unix:{Path(self.mktemp()).name}",
        ):
            self.factory = EchoFactory(clock=self.reactor)
            options = self.options("--tls-port", "0", "--self-signed")
            below: Any = serverFromString(eager(self.reactor), where)
            endpoint = TLSServerEndpoint(below, certificates_of("netecho", options), self.reactor)
            port = self.successResultOf(endpoint.listen(self.factory))
            self.addCleanup(port.stopListening)
            header = HEADERS["v1"] if "haproxy" in where else b""
            transport = self.talk_tls(port.getHost(), header)
            self.assertIs(type(transport), BufferingTLSTransport)

    def test_outgoing(self) -> None:
        """``netidle --upstream`` and clients use these transports."""
        upstream = self.listening("--port", "0")
        options = idle.Options()
        text = f"tcp:127.0.0.1:{upstream.port}"
        options.parseOptions(["--upstream", text])
        endpoint = idle.upstream_endpoint(self.reactor, options)
        forward = ForwardFactory(endpoint, clock=self.reactor)
        made = endpoint.connect(forward.upstream_factory)
        self.until(lambda: made.called)
        kind = EagerClient if self.eagerly else tcp.Client
        transport = self.successResultOf(made).transport
        self.assertIs(type(transport), kind)
        transport.abortConnection()  # it does not read, so the reactor forgets it
        for where in (text, ("127.0.0.1", upstream.port)):
            connected: Any = connect(self.reactor, where, Connection)
            self.until(lambda connected=connected: connected.called)
            self.assertIs(type(self.successResultOf(connected).transport), kind)

    def test_outgoing_tls(self) -> None:
        """Our clients run TLS on the socket."""
        server = Certificates.from_pair(self_signed_pair(datetime.datetime.now(datetime.UTC)), "")
        (root,) = (
            Certificate(crypto.X509.from_cryptography(p.chain[0])) for p in server.pairs.values()
        )
        listening = TLSServerEndpoint(
            tcp_endpoint(self.reactor, 0, "127.0.0.1"), server, self.reactor
        )
        port = self.successResultOf(listening.listen(self.factory))
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        for where in (f"tcp:127.0.0.1:{number}", ("127.0.0.1", number)):
            connected: Any = connect(
                self.reactor, where, Hearing, tls=True, trust=root, server_name="localhost"
            )
            self.until(lambda connected=connected: connected.called)
            client = self.successResultOf(connected)
            client.send(b"hello")
            self.until(lambda client=client: client.heard == b"hello")
            self.assertIs(type(client.transport), self.tls_kind())
            kind = EagerTLSClient if self.eagerly else tcp.Client
            self.assertIs(type(client.transport.transport), kind)
            client.close()
            self.until(lambda client=client: client.ended is not None)
            self.assertEqual(client.ended.code, "closed")

    def test_no_delay(self) -> None:
        """TCP_NODELAY is as the endpoint sets it, whatever the transport's default."""
        for nodelay in (False, True):
            self.factory = EchoFactory(clock=self.reactor)
            below = tcp_endpoint(self.reactor, 0, "127.0.0.1")
            endpoint = TunedServerEndpoint(below, SocketOptions(nodelay=nodelay))
            port: Any = self.successResultOf(endpoint.listen(self.factory))
            self.addCleanup(port.stopListening)
            self.dial(port.getHost())
            self.until(lambda: self.factory.connections)
            (connection,) = self.factory.connections.values()
            self.assertEqual(bool(connection.transport.getTcpNoDelay()), nodelay)


class EPollTests(Anywhere, TransportsCase):
    """Twisted's default reactor on Linux."""


class PollTests(Anywhere, TransportsCase):
    make_reactor = PollReactor


class SelectTests(Anywhere, TransportsCase):
    make_reactor = SelectReactor


class AsyncioTests(Anywhere, TransportsCase):
    make_reactor = AsyncioSelectorReactor


class EagerTests(Anywhere, TransportsCase):
    """The ``eager`` reactor."""

    make_reactor = EagerReactor


class ForeignTests(Anywhere, TransportsCase):
    """A reactor with its own methods keeps its own transports."""

    make_reactor = ForeignReactor
    eagerly = False


class UnknownTwistedTests(Anywhere, TransportsCase):
    """With an unknown Twisted, everything is Twisted's own."""

    eagerly = False

    def setUp(self) -> None:
        super().setUp()
        self.patch(reactor_interfaces, "usable", lambda group: False)


class UnknownOpenSSLTests(Anywhere, TransportsCase):
    """With an unknown pyOpenSSL, only TLS is Twisted's own."""

    tls_eagerly = False

    def setUp(self) -> None:
        super().setUp()
        self.patch(reactor_interfaces, "usable", lambda group: group is not Group.TLS)


class UnknownOpenSSLOnEagerTests(UnknownOpenSSLTests):
    """On the ``eager`` reactor as well."""

    make_reactor = EagerReactor
