"""A PROXY header on real sockets: afterwards, the protocol works as without one."""

from __future__ import annotations

from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from zope.interface import implementer

from tests.live.harness import LOCALHOST, Client, LiveTestCase, Watched
from tests.wire.proxy_headers import encode_v2
from twisted_net.endpoints.proxied import ProxiedEndpoint, proxy_header
from twisted_net.policy.ranges import Ranges, parse_range
from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader

HEADER = ProxyHeader(Family.IPV4, Endpoint("192.0.2.77", 1), Endpoint("198.51.100.2", 2))
ANN = IPv4Address("TCP", "192.0.2.77", 1)
TRUSTED = Ranges([parse_range("trusted", "127.0.0.0/8")])


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Noting(Watched, Protocol):
    """Records what happens to it."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def __repr__(self) -> str:
        return f"a protocol with {self.events!r}"

    def note(self, event: Any) -> None:
        self.events.append(event)
        self.changed()

    @property
    def received(self) -> bytes:
        return b"".join(event for event in self.events if isinstance(event, bytes))

    def connectionMade(self) -> None:
        self.note(self.transport.getPeer())

    def handshakeCompleted(self) -> None:
        self.note("handshake")

    def dataReceived(self, data: bytes) -> None:
        self.note(data)

    def readConnectionLost(self) -> None:
        self.note("read lost")

    def writeConnectionLost(self) -> None:
        self.note("write lost")

    def connectionLost(self, reason: Any = None) -> None:
        self.note(reason.type)

    async def has(self, event: Any) -> None:
        await self.until(lambda: event in self.events, repr(event))

    async def heard(self, data: bytes) -> None:
        await self.until(lambda: self.received == data, repr(data))


class Serving(Watched, Factory):  # type: ignore[type-arg]
    """Returns the protocols that it has made."""

    noisy = False

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.protocol = kind
        self.made: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        self.made = super().buildProtocol(addr)
        self.changed()
        return self.made


class Greeting(Client):
    """Sends the header and other data in the same segment."""

    def connectionMade(self) -> None:
        self.send(encode_v2(HEADER) + b"hello")


class ProxiedTestCase(LiveTestCase):
    """A test with a listening port in this process."""

    def setUp(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        context = SSL.Context(SSL.TLS_METHOD)
        issued.configure_cert(context)
        self.server_tls: Any = CertificateOptions()
        self.server_tls._context = context
        root: Any = Certificate.loadPEM(authority.cert_pem.bytes())
        self.client_tls = optionsForClientTLS("localhost", root)

    async def serve_proxied(self, kind: Any = Noting, tls: bool = False) -> tuple[Serving, int]:
        """Listen, for clients behind a proxy."""
        from twisted.internet import reactor

        plain = TCP4ServerEndpoint(reactor, 0, interface=LOCALHOST)
        endpoint: Any = ProxiedEndpoint(plain, TRUSTED)
        if tls:
            endpoint = wrapServerTLS(self.server_tls, endpoint)
        factory = Serving(kind)
        port: Any = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        return factory, port.getHost().port

    async def both(self, kind: Any = Noting, client: type[Client] = Greeting) -> tuple[Any, Any]:
        """Return both ends of a connection."""
        factory, port = await self.serve_proxied(kind)
        near = await self.connect(port, client)
        far = await factory.until(lambda: factory.made, "the header")
        # It may not notice the end of the other if it does not read.
        self.addCleanup(lambda: far.transport.abortConnection())
        return far, near


class PlainTests(ProxiedTestCase):
    """Without TLS."""

    async def test_the_transport_is_the_plain_one(self) -> None:
        """No wrapper remains, and Twisted's log has the client's address."""
        far, near = await self.both()
        await far.heard(b"hello")
        transport = far.transport
        self.assertIs(transport.protocol, far)
        self.assertTrue(ITCPTransport.providedBy(transport))
        self.assertFalse(INegotiated.providedBy(transport))
        self.assertEqual(transport.logPrefix(), "Noting,0,192.0.2.77")
        self.assertEqual(far.events[0], ANN)
        self.assertEqual(proxy_header(transport), HEADER)
        transport.write(b"hi")
        await near.has(b"hi")

    async def test_half_close(self) -> None:
        """Each side can half-close."""

        class Ending(Greeting):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.loseWriteConnection()  # type: ignore[union-attr]

        far, near = await self.both(client=Ending)
        await far.has("read lost")
        self.assertEqual(far.received, b"hello")
        far.transport.write(b"bye")
        far.transport.loseWriteConnection()
        await near.has(b"bye")
        await far.has("write lost")

    async def test_paused_when_made(self) -> None:
        """A paused protocol receives nothing, not even data that came with the header."""

        class Pausing(Noting):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()

        far, near = await self.both(Pausing)
        near.send(b" again")
        probe = await self.connect(int(near.transport.getPeer().port))
        probe.send(b"PRO")  # one or two turns of the reactor
        probe.transport.loseConnection()
        await probe.closed()
        self.assertEqual(far.events, [ANN])
        far.transport.resumeProducing()
        self.assertEqual(far.events, [ANN])
        await far.heard(b"hello again")

    async def test_aborted_when_made(self) -> None:
        """The protocol is only told of its end, and the peer's connection is reset."""

        class Aborting(Noting):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.abortConnection()

        far, near = await self.both(Aborting)
        await far.has(ConnectionAborted)
        self.assertEqual(far.events, [ANN, ConnectionAborted])
        await near.closed()

    async def test_a_producer(self) -> None:
        """The producer is paused when the socket is full, and resumed later."""

        class Producing(Noting):
            def connectionMade(self) -> None:
                self.transport.registerProducer(self, True)
                self.transport.write(b"x" * 10_000_000)

            def pauseProducing(self) -> None:
                self.note("paused")

            def resumeProducing(self) -> None:
                self.note("resumed")
                self.transport.unregisterProducer()

            def stopProducing(self) -> None:
                self.note("stopped")

        far, _ = await self.both(Producing)
        await far.has("resumed")
        self.assertEqual(next(each for each in far.events if each != b"hello"), "paused")


class TLSTests(ProxiedTestCase):
    """TLS after the header, whose segment also has the first bytes of TLS."""

    def client(self) -> type[Client]:
        """Return a client that sends the header, and begins the handshake at once."""
        tls = self.client_tls

        class Securing(Client):
            def connectionMade(self) -> None:
                self.send(encode_v2(HEADER))
                self.transport.startTLS(tls)  # type: ignore[union-attr]
                self.send(b"hello")

        return Securing

    async def talk(self, factory: Serving, port: int) -> Any:
        near = await self.connect(port, self.client())
        far = await factory.until(lambda: factory.made, "the header")
        await far.heard(b"hello")
        far.transport.write(b"hi")
        await near.has(b"hi")
        self.assertEqual(far.events[0], ANN)
        self.assertEqual(far.transport.getPeer(), ANN)
        self.assertEqual(proxy_header(far.transport), HEADER)
        near.transport.loseConnection()
        await near.closed()
        return far

    async def test_a_listener_with_tls(self) -> None:
        """The protocol is told of the handshake, and TLS does not half-close the socket."""
        far = await self.talk(*await self.serve_proxied(tls=True))
        self.assertEqual(far.events[1], "handshake")
        self.assertTrue(INegotiated.providedBy(far.transport))
        self.assertTrue(ISSLTransport.providedBy(far.transport))

    async def test_start_tls(self) -> None:
        """A protocol that starts TLS itself gets the ClientHello, whenever it arrived."""
        tls = self.server_tls

        class Starting(Noting):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.startTLS(tls)

        far = await self.talk(*await self.serve_proxied(Starting))
        self.assertTrue(ISSLTransport.providedBy(far.transport))
