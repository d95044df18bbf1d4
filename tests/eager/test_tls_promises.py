"""Promises of Twisted's TLS, tested on it and on :mod:`twisted_net.eager.tls`."""

from __future__ import annotations

import ssl

import trustme
from OpenSSL import SSL
from twisted.internet import task
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOProtocol

from tests.buffers import MANY
from tests.eager.reactor_turns import OnStock, OnStockEagerly
from tests.eager.tls_turns import (
    ISSUED,
    ROOT,
    AsClient,
    AsServer,
    TLSRecorder,
    TLSTestCase,
    client_options,
    server_options,
)

LOST = ("lost", ConnectionLost)
DONE = ("lost", ConnectionDone)


class Promises:
    """What Twisted's TLS promises."""

    def test_handshake(self):
        """The protocol is told once of the handshake, after connectionMade."""
        protocol, _ = self.connect_tls()
        self.assertEqual(protocol.events, [("handshake",)])

    def test_both_ways(self):
        """Bytes go both ways, in order."""
        protocol, peer = self.connect_tls()
        peer.send(b"a" * 100_000)
        self.until(lambda: sum(len(e[1]) for e in protocol.events[1:]) == 100_000, peer)
        protocol.transport.write(b"b")
        protocol.transport.writeSequence([b"c", b"d"])
        protocol.transport.write(b"e" * MANY)
        self.until(lambda: len(peer.got) == MANY + 3, peer)
        self.assertEqual(bytes(peer.got), b"bcd" + b"e" * MANY)

    def test_many_sizes(self):
        """Data of every size arrives, below, at and above the size of a record."""
        protocol, peer = self.connect_tls()
        for size in (0, 1, 100, 16383, 16384, 16385, 32768, 65535, 65537, 200_001):
            del peer.got[:]
            del protocol.events[:]
            protocol.transport.write(b"x" * size)
            peer.send(b"y" * size)
            self.until(
                lambda size=size: (
                    len(peer.got) == size
                    and sum(len(event[1]) for event in protocol.events) == size
                ),
                peer,
            )
            self.assertEqual(bytes(peer.got), b"x" * size)

    def test_slow_peer(self):
        """Nothing is lost or duplicated when the socket takes only parts of records."""
        protocol, peer = self.connect_tls()
        sent = b"".join(b"%08d" % number for number in range(MANY // 8))
        for start in range(0, len(sent), 50_000):
            protocol.transport.write(sent[start : start + 50_000])
            if start % 150_000 == 0:
                self.turn()
        self.until(lambda: len(peer.got) == len(sent) or peer.go_on(3000), peer)
        self.assertEqual(bytes(peer.got), sent)

    def test_before_the_handshake(self):
        """Data written before the end of the handshake is sent after it, in order."""
        protocol, peer = self.connect_tls(shake=False)
        protocol.transport.write(b"early ")
        protocol.transport.writeSequence([b"b", b"i", b"rd"])
        self.until(lambda: len(peer.got) == 10, peer)
        self.assertEqual(bytes(peer.got), b"early bird")

    def test_inside_connection_made(self):
        """Writing and closing work inside connectionMade."""
        protocol = TLSRecorder()
        protocol.connectionMade = lambda: (
            protocol.transport.write(b"hello"),
            protocol.transport.loseConnection(),
        )
        _, peer = self.connect_tls(protocol, shake=False)
        self.until(lambda: peer.over, peer)
        self.assertEqual((bytes(peer.got), peer.over), (b"hello", "farewell"))
        peer.say_farewell()
        self.until(lambda: protocol.events[-1] == DONE, peer)

    def test_bytes_only(self):
        """Writing text raises an error."""
        protocol, peer = self.connect_tls()
        self.assertRaises(TypeError, protocol.transport.write, "text")
        self.assertRaises(TypeError, protocol.transport.write, None)
        self.assertRaises(TypeError, protocol.transport.writeSequence, ["text"])
        protocol.transport.write(bytearray(b"as"))
        protocol.transport.write(b" bytes")
        self.until(lambda: peer.got == b"as bytes", peer)

    def test_streaming_producer(self):
        """A streaming producer is paused while the queue is full, and resumed when it is sent."""
        protocol, peer = self.connect_tls()
        protocol.transport.registerProducer(protocol, True)
        protocol.transport.write(b"x" * 1000)
        self.until(lambda: len(peer.got) == 1000, peer)
        self.assertEqual(protocol.events, [("handshake",)])
        for _ in range(4):
            protocol.transport.write(b"x" * (MANY // 4))
        self.turn(2)
        self.assertEqual(protocol.events[1:], [("pause",)])
        self.until(lambda: protocol.events[-1] == ("resume",), peer)
        self.until(lambda: len(peer.got) == 1000 + MANY, peer)
        protocol.transport.loseConnection()
        self.settle(peer)
        self.assertIsNone(peer.over)
        protocol.transport.write(b"one more")
        self.until(lambda: peer.got.endswith(b"one more"), peer)
        self.assertIsNone(peer.over)
        protocol.transport.unregisterProducer()
        self.until(lambda: peer.over == "farewell", peer)

    def test_pull_producer(self):
        """A pull producer is asked until it has no more data."""
        protocol, peer = self.connect_tls()
        self.patch(task, "_theCooperator", task.Cooperator(scheduler=self._next_turn))
        protocol.pull_from(iter([b"a" * 1000, b"b" * 1000, b"c" * 1000]))
        self.until(lambda: len(peer.got) == 3000, peer)
        self.assertEqual(bytes(peer.got), b"a" * 1000 + b"b" * 1000 + b"c" * 1000)

    def _next_turn(self, call):
        return self.reactor.callLater(0, call)

    def test_producer_stopped(self):
        """When the connection is lost, its producer is stopped, once."""
        protocol, peer = self.connect_tls()
        protocol.transport.registerProducer(protocol, True)
        peer.socket.close()
        self.until(lambda: protocol.events[-1] == LOST)
        self.assertEqual(protocol.events[1:], [("stop",), LOST])
        protocol.transport.registerProducer(protocol, True)
        self.assertEqual(protocol.events[3:], [("stop",)])

    def test_paused_reading(self):
        """pauseProducing stops reading, but not writing."""
        protocol, peer = self.connect_tls()
        protocol.transport.pauseProducing()
        peer.send(b"x")
        protocol.transport.write(b"y")
        self.until(lambda: peer.got, peer)
        self.settle(peer)
        self.assertEqual(protocol.events, [("handshake",)])
        protocol.transport.resumeProducing()
        self.until(lambda: len(protocol.events) == 2)

    def test_paused_inside(self):
        """Pausing inside dataReceived loses no data that arrived together."""
        protocol, peer = self.connect_tls()
        protocol.received = lambda self, data: self.transport.pauseProducing()
        for number in range(20):
            peer.tls.write(b"%02d" % number + b"." * 9_000)
        for _ in range(200):
            peer.flush()
            self.turn()
            protocol.transport.resumeProducing()
        got = b"".join(event[1] for event in protocol.events[1:])
        self.assertEqual(got, b"".join(b"%02d" % n + b"." * 9_000 for n in range(20)))

    def test_what_it_is(self):
        """The transport provides the TLS interfaces, and wraps the socket's transport."""
        protocol, peer = self.connect_tls()
        transport = protocol.transport
        self.assertTrue(INegotiated.providedBy(transport))
        self.assertTrue(ISSLTransport.providedBy(transport))
        self.assertIsInstance(transport, TLSMemoryBIOProtocol)
        self.assertIsInstance(transport.getHandle(), SSL.Connection)
        self.assertEqual(transport.transport.getHandle().getpeername(), peer.socket.getsockname())
        self.assertEqual(transport.getPeer().port, peer.socket.getsockname()[1])
        self.assertEqual(transport.getHost().port, peer.socket.getpeername()[1])

    def test_after_the_end(self):
        """After the end, writing and closing do nothing."""
        protocol, peer = self.connect_tls()
        transport = protocol.transport
        peer.socket.close()
        self.until(lambda: protocol.events[-1] == LOST)
        transport.write(b"x")
        transport.writeSequence([b"x"])
        transport.loseConnection()
        transport.unregisterProducer()
        self.assertIsNone(transport.negotiatedProtocol)
        self.turn(2)
        self.assertEqual(protocol.events[1:], [LOST])


class ServerPromises(Promises, AsServer):
    """What Twisted's TLS promises to servers."""

    def test_client_certificate(self):
        """A client without a required certificate is rejected."""
        protocol, peer = self.connect_tls(options=server_options(trustRoot=ROOT), shake=False)
        self.until(lambda: protocol.events and peer.over, peer)
        self.assertEqual(protocol.events[0][0], "lost")
        self.assertTrue(issubclass(protocol.events[0][1], SSL.Error))
        self.assertIsInstance(peer.over, ssl.SSLError)

    def test_name_asked(self):
        """The context can be chosen by the name that the client asks for."""
        asked = []
        self.connect_tls(
            options=server_options(contextForServerName=lambda name: asked.append(name))
        )
        self.assertEqual(asked, [b"server.example"])

    def test_protocol_chosen(self):
        """ALPN selects the first of our protocols that the client offers."""
        context = self.context()
        context.set_alpn_protocols(["b", "a"])
        protocol, peer = self.connect_tls(
            options=server_options(acceptableProtocols=[b"a", b"b"]), context=context
        )
        self.assertEqual(protocol.transport.negotiatedProtocol, b"a")
        self.assertEqual(peer.tls.selected_alpn_protocol(), "a")


class ClientPromises(Promises, AsClient):
    """What Twisted's TLS promises to clients."""

    def test_certificate(self):
        """The server's certificate is available."""
        protocol, _ = self.connect_tls()
        found = Certificate.peerFromTransport(protocol.transport)
        self.assertEqual(found.dumpPEM(), ISSUED.cert_chain_pems[0].bytes())

    def test_wrong_name(self):
        """A certificate for another name is rejected."""
        protocol, peer = self.connect_tls(options=client_options("other.example"), shake=False)
        self.until(lambda: protocol.events, peer)
        self.assertEqual(len(protocol.events), 1)
        self.assertEqual(protocol.events[0][1].__name__, "VerificationError")

    def test_untrusted(self):
        """A certificate that no trusted authority has signed is rejected."""
        other = Certificate.loadPEM(trustme.CA().cert_pem.bytes())
        protocol, peer = self.connect_tls(
            options=optionsForClientTLS("server.example", trustRoot=other), shake=False
        )
        self.until(lambda: protocol.events, peer)
        self.assertTrue(issubclass(protocol.events[0][1], SSL.Error))

    def test_protocol_chosen(self):
        """ALPN: the client uses what the server selects."""
        context = self.context()
        context.set_alpn_protocols(["b", "a"])
        protocol, _ = self.connect_tls(
            options=client_options(acceptableProtocols=[b"a", b"b"]), context=context
        )
        self.assertEqual(protocol.transport.negotiatedProtocol, b"b")


class Older:
    """The same with TLS 1.2."""

    def context(self):
        context = super().context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context


class StockServerTests(ServerPromises, OnStock, TLSTestCase):
    """The reference."""


class StockClientTests(ClientPromises, OnStock, TLSTestCase):
    """The reference."""


class StockOlderServerTests(Older, StockServerTests):
    """The reference."""


class ServerTests(ServerPromises, TLSTestCase):
    """On the eager reactor."""


class ClientTests(ClientPromises, TLSTestCase):
    """On the eager reactor."""


class OlderServerTests(Older, ServerTests):
    """On the eager reactor."""


class OlderClientTests(Older, ClientTests):
    """On the eager reactor."""


class ElsewhereServerTests(ServerPromises, OnStockEagerly, TLSTestCase):
    """On Twisted's reactor."""


class ElsewhereClientTests(ClientPromises, OnStockEagerly, TLSTestCase):
    """On Twisted's reactor."""
