"""A transport that switches its protocol: bytes read before, and its log prefix."""

from __future__ import annotations

from typing import Any

from tests.connection.recording import Recorder, factory_of
from tests.endpoints.proxying import HEADERS, Noting, ProxiedCase
from twisted_net.policy.close_reasons import CLOSED
from twisted_net.testing import Peer


class RestTests(ProxiedCase):
    """Bytes that arrived with the header wait as if they were still in the socket."""

    def made(self, connection_made: Any, *pieces: bytes) -> tuple[Any, Peer]:
        """Connect a protocol that runs a function when the connection is made."""

        class Doing(Noting):
            def connectionMade(self) -> None:
                connection_made(self.transport)

        self.wrapped.protocol = Doing
        peer = self.connect()
        peer.send(*pieces or (HEADERS["v2"] + b"one ",))
        return self.wrapped.built[-1], peer

    def test_paused_when_made(self) -> None:
        """A protocol that pauses gets nothing until resumeProducing, then everything in a later
        turn."""
        protocol, peer = self.made(lambda transport: transport.pauseProducing())
        peer.send(b"two ")
        peer.advance(60)
        self.assertEqual(protocol.events, [])
        protocol.transport.resumeProducing()
        self.assertEqual(protocol.events, [])
        peer.turn()
        self.assertEqual(protocol.events, [b"one ", b"two "])
        self.assertNotIn("pauseProducing", vars(peer))
        protocol.transport.pauseProducing()
        peer.send(b"three")
        self.assertEqual(protocol.received, b"one two ")
        protocol.transport.resumeProducing()
        peer.turn()
        self.assertEqual(protocol.received, b"one two three")

    def test_paused_and_resumed_when_made(self) -> None:
        def blink(transport: Any) -> None:
            transport.pauseProducing()
            transport.resumeProducing()

        protocol, peer = self.made(blink)
        self.assertEqual(protocol.events, [b"one "])
        self.assertTrue(peer.reading)

    def test_resumed_and_paused_again(self) -> None:
        protocol, peer = self.made(lambda transport: transport.pauseProducing())
        for _ in range(2):
            peer.resumeProducing()
            peer.pauseProducing()
            peer.send(b"")
            self.assertEqual(protocol.events, [])
        peer.resumeProducing()
        peer.pauseProducing()
        peer.resumeProducing()
        peer.send(b"two")
        self.assertEqual(protocol.events, [b"one ", b"two"])

    def test_paused_by_the_rest(self) -> None:
        """A protocol that pauses after the first bytes gets no more."""
        protocol, peer = self.made(lambda transport: transport.pauseProducing())
        peer.resumeProducing()
        peer.pauseProducing()

        def enough(data: bytes) -> None:
            protocol.events.append(data)
            peer.pauseProducing()

        protocol.dataReceived = enough
        peer.resumeProducing()
        peer.send(b"two")
        self.assertEqual(protocol.events, [b"one "])

    def test_closed_when_made(self) -> None:
        """A protocol that closes at once gets no data."""
        for close in ("loseConnection", "abortConnection", "stopProducing"):
            protocol, peer = self.made(lambda transport, close=close: getattr(transport, close)())
            self.assertEqual([type(event) for event in protocol.events], [type])
            self.assertFalse(peer.connected)
            self.assertNotIn("pauseProducing", vars(peer))

    def test_a_connection_that_is_closed_later(self) -> None:
        """The closing that a connection of ours has taken over outlives the bytes."""
        factory = factory_of(Recorder)
        self.wrapped.buildProtocol = factory.buildProtocol  # type: ignore[method-assign]
        peer = self.connect()
        peer.send(HEADERS["v2"] + b"one\n")
        connection = peer.protocol
        self.assertEqual(connection.events, ["connected", b"one"])
        peer.loseConnection()
        self.assertIs(connection.reason, CLOSED)
        peer.write_eof()
        self.assertEqual(connection.events[2:], [CLOSED])
        self.assertNotIn("loseConnection", vars(peer))

    def test_closed_while_paused(self) -> None:
        for close in ("loseConnection", "abortConnection"):
            protocol, peer = self.made(lambda transport: transport.pauseProducing())
            peer.resumeProducing()
            getattr(peer, close)()
            peer.turn()
            self.assertEqual(protocol.received, b"")
            self.assertFalse(peer.connected)

    def test_lost_while_paused(self) -> None:
        protocol, peer = self.made(lambda transport: transport.pauseProducing())
        peer.resumeProducing()
        peer._lose(RuntimeError())
        peer.turn()
        self.assertEqual(protocol.events, [RuntimeError])
        self.assertNotIn("pauseProducing", vars(peer))

    def test_half_closed_when_made(self) -> None:
        """A protocol that closes its side for writing still reads."""
        protocol, peer = self.made(lambda transport: transport.loseWriteConnection())
        self.assertEqual(protocol.events, [b"one "])
        self.assertTrue(peer.finished)

    def test_failing_when_made(self) -> None:
        """The reactor gets the error, and the transport has its own methods again."""

        def fail(transport: Any) -> None:
            raise RuntimeError("no")

        class Failing(Noting):
            def connectionMade(self) -> None:
                fail(self.transport)

        self.wrapped.protocol = Failing
        peer = self.connect()
        self.assertRaises(RuntimeError, peer.protocol.dataReceived, HEADERS["v2"] + b"one")
        self.assertNotIn("pauseProducing", vars(peer))
        self.assertIs(peer.protocol, self.wrapped.built[-1])

    def test_failing_late(self) -> None:
        """A protocol that raises on late bytes loses its connection, and no other."""
        protocol, peer = self.made(lambda transport: transport.pauseProducing())
        protocol.dataReceived = lambda data: 1 / 0
        peer.resumeProducing()
        peer.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(peer.connected)

    def test_another_protocol_since(self) -> None:
        """The bytes go to the current protocol: startTLS changes it."""
        second = Noting()

        def change(transport: Any) -> None:
            transport.protocol = second

        protocol, _ = self.made(change)
        self.assertEqual((protocol.events, second.events), ([], [b"one "]))


class NameTests(ProxiedCase):
    def test_the_log_has_the_client(self) -> None:
        """The transport's log prefix is the same as without a proxy."""
        for prefix, factory in (("Noting", Noting), ("Ann", Named)):
            self.wrapped.protocol = factory
            peer: Any = self.connect()
            peer.logstr, peer.sessionno = "_HeaderReader,7,10.0.0.9", 7
            peer.send(HEADERS["v1"])
            self.assertEqual(peer.logstr, f"{prefix},7,192.0.2.77")

    def test_before_the_header(self) -> None:
        """The port and connections without a header log under the wrapped factory's name."""
        self.assertEqual(self.factory.logPrefix(), "Wrapped")
        self.assertEqual(self.connect().protocol.logPrefix(), "Wrapped")


class Named(Noting):
    def logPrefix(self) -> str:
        return "Ann"
