"""Producers behind a guard, and ``twisted.web``, which uses them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from twisted.internet import _producer_helpers
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Cooperator
from twisted.protocols.basic import FileSender
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.connection.guarding import GuardCase, Producer
from twisted_net.connection.guard import GuardFactory
from twisted_net.testing import Peer, connect_peer, connect_tls_peer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it raises warnings about itself
    from twisted.web.static import Data, File


class Numbers:
    """A pull producer of a number of kilobytes."""

    def __init__(self, transport: Any, count: int) -> None:
        self.transport, self.left, self.stopped = transport, count, 0

    def resumeProducing(self) -> None:
        if self.left == 0:
            self.transport.unregisterProducer()
            return
        self.left -= 1
        self.transport.write(b"x" * 1024)

    def stopProducing(self) -> None:
        self.stopped += 1


class ProducerTests(GuardCase):
    def test_a_push_producer(self) -> None:
        """A push producer is paused while the peer does not read, and stopped at the end."""
        wrapped, peer = self.made()
        producer = Producer()
        wrapped.transport.registerProducer(producer, True)
        self.assertRaises(RuntimeError, wrapped.transport.registerProducer, Producer(), True)
        wrapped.transport.write(b"x" * 100_000)
        self.assertEqual(producer.told, ["pause"])
        peer.turn()
        self.assertEqual(producer.told, ["pause", "resume"])
        peer.reset()
        self.assertEqual(producer.told, ["pause", "resume", "stop"])

    def test_registered_while_full(self) -> None:
        wrapped, peer = self.made()
        peer.full()
        producer = Producer()
        wrapped.transport.registerProducer(producer, True)
        self.assertEqual(producer.told, ["pause"])
        wrapped.transport.unregisterProducer()
        peer.drain()
        peer.write_eof()
        self.assertEqual(producer.told, ["pause"])

    def test_registered_too_late(self) -> None:
        """A producer that is registered too late is stopped at once."""
        wrapped, _ = self.made()
        wrapped.transport.loseConnection()
        producer = Producer()
        wrapped.transport.registerProducer(producer, True)
        self.assertEqual(producer.told, ["stop"])

    def test_the_end_waits_for_the_producer(self) -> None:
        """As with Twisted's TCP, a paused producer may write the rest, but nothing is read."""
        wrapped, peer = self.made()
        wrapped.transport.registerProducer(Producer(), True)
        peer.full()
        wrapped.transport.loseConnection()
        wrapped.transport.resumeProducing()
        peer.send(b"unheard")
        peer.drain()
        self.assertFalse(peer.finished)
        wrapped.transport.write(b"the ")
        wrapped.transport.write(b"rest")
        peer.turn()
        self.assertTrue(peer.finished)
        peer.write_eof()
        self.assertEqual((peer.received, peer.connected), (b"the rest", False))
        self.assertEqual(wrapped.events, ["made", ConnectionDone])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_does_not_wait_for_a_producer_that_is_not_paused(self) -> None:
        """As with Twisted's TCP, the connection closes when all is sent, and hears the peer."""
        wrapped, peer = self.made()
        wrapped.transport.registerProducer(Producer(), True)
        wrapped.transport.write(b"bye")
        wrapped.transport.loseConnection()
        wrapped.transport.loseConnection()
        peer.turn()
        self.assertEqual((peer.received, peer.finished), (b"bye", True))
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made", ConnectionDone])
        self.assertEqual(peer.protocol.reason.code, "closed")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_producer_that_writes_on_from_its_pause(self) -> None:
        """While each write fills the transport again, the end waits for the next."""

        class Rest(Producer):
            left = 5

            def resumeProducing(self) -> None:
                super().resumeProducing()
                if self.left:
                    self.left -= 1
                    wrapped.transport.write(b"x" * 100_000)

        wrapped, peer = self.made()
        peer.full()
        wrapped.transport.registerProducer(Rest(), True)
        wrapped.transport.write(b"x" * 100_000)
        wrapped.transport.loseConnection()
        peer.drain()
        self.assertEqual(len(peer.received), 600_000)
        peer.advance(6)
        peer.write_eof()
        self.assertFalse(peer.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_producer_that_writes_nothing_after_its_pause(self) -> None:
        """A producer that has nothing left cannot keep the connection open for ever."""
        wrapped, peer = self.made(close_grace=5)
        peer.full()
        wrapped.transport.registerProducer(Producer(), True)
        wrapped.transport.loseConnection()
        peer.drain()
        peer.advance(6)
        self.assertTrue(peer.finished)
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_the_end_before_the_producers(self) -> None:
        """The peer may go first."""
        wrapped, peer = self.made()
        peer.full()
        wrapped.transport.registerProducer(Producer(), True)
        wrapped.transport.loseConnection()
        peer.drain()
        peer.reset()
        self.assertEqual(wrapped.events, ["made", ConnectionLost])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_over_tls(self) -> None:
        """As with Twisted's TLS, the producer may finish writing, and the peer's end is noticed."""
        wrapped, peer = self.made_tls()
        peer.handshake()
        wrapped.transport.registerProducer(Producer(), True)
        wrapped.transport.loseConnection()
        peer.turn()
        wrapped.transport.write(b"the rest")
        self.assertEqual((peer.received, peer.connected), (b"the rest", True))
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_a_pull_producer(self) -> None:
        """A pull producer is asked for data while the peer reads, until it has no more."""
        wrapped, peer = self.made()
        numbers = Numbers(wrapped.transport, 1000)
        wrapped.transport.registerProducer(numbers, False)
        peer.full()
        peer.turn()
        self.assertEqual(numbers.left, 1000)
        peer.drain()
        self.assertEqual((numbers.left, len(peer.received)), (0, 1000 * 1024))
        self.assertEqual(self.pulls(), [])

    def pulls(self) -> list[Any]:
        return [each for each in self.clock.getDelayedCalls() if "_pull" in str(each)]

    def test_a_pull_producer_whose_peer_goes(self) -> None:
        """If the peer disconnects, a pull producer is stopped once and not asked again."""
        for end in (Peer.reset, Peer.write_eof, lambda peer: peer.protocol.abort()):
            wrapped, peer = self.made()
            numbers = Numbers(wrapped.transport, 1 << 30)
            peer.full()
            wrapped.transport.registerProducer(numbers, False)
            peer.drain(200_000)
            self.assertLess(numbers.left, (1 << 30) - 190)
            end(peer)
            peer.turn()
            left = numbers.left
            peer.advance(7)
            self.assertEqual((numbers.left, numbers.stopped, peer.connected), (left, 1, False))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_is_asked_for_what_will_not_be_sent(self) -> None:
        """Once the guard closes, the producer is not asked for more."""
        wrapped, peer = self.made()
        peer.full()
        numbers = Numbers(wrapped.transport, 1 << 30)
        wrapped.transport.registerProducer(numbers, False)
        wrapped.transport.write(b"queued")
        peer.protocol.close()
        peer.drain()
        self.assertEqual((numbers.left, peer.received), (1 << 30, b"queued"))

    def test_a_pull_producer_that_fails(self) -> None:
        """A pull producer that fails ends the connection and is not asked again."""
        wrapped, peer = self.made()
        wrapped.transport.registerProducer(Numbers(None, 5), False)
        peer.turn()
        peer.write_eof()
        self.assertEqual(peer.protocol.reason.code, "failed")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_a_file_sender(self) -> None:
        """Twisted's own pull producer sends all bytes, and then the connection ends."""
        data = bytes(range(256)) * 2000
        wrapped, peer = self.made()
        sending = FileSender().beginFileTransfer(io.BytesIO(data), wrapped.transport)
        sending.addCallback(lambda _: wrapped.transport.loseConnection())
        peer.turn()
        peer.write_eof()
        self.assertEqual(self.successResultOf(sending), None)
        self.assertEqual(peer.received, data)


class WebTests(GuardCase):
    """A guard for ``twisted.web``."""

    def setUp(self) -> None:
        super().setUp()
        # Its file producer uses the turns of the global reactor.
        turns = Cooperator(scheduler=lambda turn: self.clock.callLater(0, turn))
        self.patch(_producer_helpers, "cooperate", turns.cooperate)

    def site(self, **settings: Any) -> GuardFactory:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.large = bytes(range(256)) * 20_000
        (directory / "large").write_bytes(self.large)
        root = Resource()
        root.putChild(b"hello", Data(b"hello, web", "text/plain"))
        root.putChild(b"files", File(str(directory)))
        site = Site(root, reactor=self.clock)
        site.noisy = False
        return GuardFactory(site, clock=self.clock, **settings)

    def test_requests(self) -> None:
        """Several requests work on one connection."""
        peer = connect_peer(self.site())
        for _ in range(3):
            peer.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(peer.take().endswith(b"\r\n\r\nhello, web"))
        peer.write_eof()
        self.assertFalse(peer.connected)

    def test_a_large_file(self) -> None:
        """A large file passes through producers on both sides to a slow peer, and then the end."""
        peer = connect_peer(self.site(queue_limit=200_000))
        peer.full()
        peer.send(b"GET /files/large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        most = 0
        for _ in range(110):
            peer.drain(50_000)
            most = max(most, peer.protocol.queued + len(peer.unsent))
        self.assertTrue(peer.received.endswith(b"\r\n\r\n" + self.large))
        self.assertLess(most, 300_000, "it waits until the peer has read")
        peer.write_eof()
        self.assertEqual(peer.protocol.reason.code, "closed")

    def test_a_large_file_that_nobody_wants(self) -> None:
        """If the peer disconnects in the middle, nothing is left."""
        guard = self.site()
        for end in (Peer.reset, Peer.write_eof):
            peer = connect_peer(guard)
            peer.full()
            peer.send(b"GET /files/large HTTP/1.1\r\nHost: a\r\n\r\n")
            peer.drain(100_000)
            end(peer)
            peer.advance(12)
            self.assertFalse(peer.connected)
        guard.doStop()
        guard.doStop()
        self.assertEqual([c for c in self.clock.getDelayedCalls() if c.getTime() < 60], [])

    def test_over_tls(self) -> None:
        peer = connect_tls_peer(self.site())
        peer.handshake()
        peer.send(b"GET /hello HTTP/1.0\r\n\r\n")
        self.assertTrue(peer.received.endswith(b"hello, web"))
        self.assertFalse(peer.connected)

    def test_a_silent_client(self) -> None:
        peer = connect_peer(self.site(idle_timeout=5))
        peer.advance(6)
        peer.write_eof()
        self.assertEqual(peer.protocol.reason.code, "idle")
