"""Echo: every byte comes back unchanged."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import factory_of
from twisted_net.echo import EchoFactory, EchoProtocol
from twisted_net.policy.close_reasons import PEER_CLOSED
from twisted_net.testing import BUFFER_SIZE, answers, connect_pair, connect_peer, connect_tls_peer


def factory(**changes: Any) -> EchoFactory:
    return EchoFactory(clock=Clock(), **changes)


class EchoTests(SynchronousTestCase):
    def test_every_byte_in_every_split(self) -> None:
        data = bytes(range(256))
        self.assertEqual(answers(factory, data), data)

    def test_line_endings_stay(self) -> None:
        self.assertEqual(answers(factory, b"a\r\nb\n\0\xff\r"), b"a\r\nb\n\0\xff\r")

    def test_over_tls(self) -> None:
        peer = connect_tls_peer(factory())
        peer.handshake()
        peer.send(b"hello")
        self.assertEqual(peer.received, b"hello")

    def test_no_limit_on_the_whole(self) -> None:
        """max_message limits messages, and echo has none."""
        peer = connect_peer(factory(max_message=10))
        peer.send(b"x" * 200_000)
        self.assertEqual(peer.received, b"x" * 200_000)

    def test_peer_that_does_not_read(self) -> None:
        """A peer that sends without reading costs bounded memory."""
        peer = connect_peer(factory())
        peer.send(b"x" * 10)
        peer.full()
        peer.send(*[b"y" * 100_000] * 100)
        self.assertFalse(peer.reading)
        self.assertLessEqual(len(peer.unsent) + peer.protocol.queued, 2 * BUFFER_SIZE)
        self.assertGreater(len(peer.unread), 9_000_000)
        peer.write_eof()
        most = 0
        while peer.connected:
            peer.drain(30_000)
            most = max(most, len(peer.unsent) + peer.protocol.queued)
        self.assertEqual(len(peer.received), 10_000_010)
        self.assertLessEqual(most, 2 * BUFFER_SIZE)
        self.assertIs(peer.protocol.reason, PEER_CLOSED)
        self.assertFalse(peer.aborted)

    def test_peer_that_sends_all_before_it_reads(self) -> None:
        """A peer that sends a megabyte and its FIN before it reads gets every byte."""
        peer = connect_peer(factory())
        peer.full()
        peer.send(b"x" * 1_000_000)
        peer.write_eof()
        peer.drain()
        self.assertEqual(peer.received, b"x" * 1_000_000)
        self.assertTrue(peer.finished)
        self.assertFalse(peer.connected)

    def test_counters(self) -> None:
        peer = connect_peer(factory())
        peer.send(b"abc", b"de")
        peer.write_eof()
        echo = peer.protocol
        self.assertEqual((echo.bytes_received, echo.bytes_sent), (5, 5))
        self.assertEqual((echo.messages_received, echo.messages_sent), (2, 2))

    def test_short_form(self) -> None:
        peer = connect_peer(factory_of(EchoProtocol))
        peer.send(b"a")
        self.assertEqual(peer.received, b"a")

    def test_thousand_round_trips(self) -> None:
        class Ping(Protocol):
            trips = 0

            def connectionMade(self) -> None:
                self.transport.write(b"ping")

            def dataReceived(self, data: bytes) -> None:
                self.trips += data == b"ping"
                if self.trips < 1000:
                    self.transport.write(data)
                else:
                    self.transport.loseConnection()

        server = factory()
        pair = connect_pair(Factory.forProtocol(Ping), server)
        self.assertEqual(pair.client.trips, 1000)
        self.assertIs(pair.server.reason, PEER_CLOSED)
        self.assertEqual(len(server), 0)
