"""Forwarding to an upstream: :mod:`twisted_net.forward`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_net.forward import ForwardFactory
from twisted_net.testing import HOST, PEER, Peer, TLSPeer, connect_peer, connect_tls_peer


@implementer(IStreamClientEndpoint)
class Upstreams:
    """An upstream in memory: an endpoint that connects at once, later, or not at all.

    :ivar attempts: the attempts that are not answered yet, if they are not answered at once.
    :ivar peers: the far ends of the connections, in order, as an upstream sees them.
    :ivar cancelled: the number of attempts that were cancelled.
    """

    def __init__(self, clock: Clock, *, at_once: bool = True, transport: Any = Peer) -> None:
        self.clock = clock
        self.at_once = at_once
        self.transport = transport
        self.attempts: list[tuple[Any, Deferred[Any]]] = []
        self.peers: list[Any] = []
        self.cancelled = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.at_once:
            return succeed(self.accept(factory))
        attempt: Deferred[Any] = Deferred(self._cancel)
        self.attempts.append((factory, attempt))
        return attempt

    def accept(self, factory: Any) -> Any:
        """Connect the forwarder to a peer in memory."""
        peer = self.transport(self.clock, PEER, HOST)
        peer.protocol = factory.buildProtocol(HOST)
        self.peers.append(peer)
        peer.protocol.makeConnection(peer)
        return peer.protocol

    def answer(self) -> None:
        """Let the oldest attempt succeed."""
        factory, attempt = self.attempts.pop(0)
        attempt.callback(self.accept(factory))

    def _cancel(self, attempt: Deferred[Any]) -> None:
        self.cancelled += 1


class ForwardCase(SynchronousTestCase):
    """A forwarder with a clock, an upstream in memory, and the log."""

    def setUp(self) -> None:
        self.clock = Clock()

    def forwarder(self, how: Any = connect_peer, **limits: Any) -> Any:
        """Connect a client to a new forwarder, and return its far end."""
        at_once = limits.pop("at_once", True)
        self.upstreams = Upstreams(
            self.clock, at_once=at_once, transport=limits.pop("transport", Peer)
        )
        self.factory = ForwardFactory(self.upstreams, clock=self.clock, **limits)
        client = how(self.factory)
        self.client = client.protocol
        return client

    @property
    def upstream(self) -> Any:
        """The far end of the first connection to the upstream."""
        return self.upstreams.peers[0]

    def assertAllOver(self) -> None:
        """Check that nothing is open, waits or runs."""
        self.assertEqual((len(self.factory), len(self.factory.upstream_factory)), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BytesTests(ForwardCase):
    def test_bytes_go_both_ways(self) -> None:
        """Bytes pass both ways unchanged and at once."""
        client = self.forwarder()
        client.send(b"ping\x00\xff", b"two")
        self.assertEqual(self.upstream.received, b"ping\x00\xfftwo")
        self.upstream.send(b"pong")
        self.assertEqual(client.received, b"pong")

    def test_each_client_has_its_own_upstream(self) -> None:
        """Each client has its own upstream connection."""
        one = self.forwarder()
        two = connect_peer(self.factory)
        one.send(b"1")
        two.send(b"2")
        self.assertEqual([peer.received for peer in self.upstreams.peers], [b"1", b"2"])

    def test_what_comes_while_connecting_waits(self) -> None:
        """The client is not read until the upstream is connected."""
        client = self.forwarder(at_once=False)
        client.send(b"early")
        self.assertEqual(bytes(client.unread), b"early")
        self.upstreams.answer()
        client.turn()
        self.assertEqual(self.upstreams.peers[0].received, b"early")

    def test_an_upstream_that_speaks_first(self) -> None:
        """An upstream may send first, as SMTP servers do, even before the endpoint reports it."""
        client = self.forwarder(at_once=False)
        factory, attempt = self.upstreams.attempts.pop()
        protocol = self.upstreams.accept(factory)
        self.upstreams.peers[0].send(b"220 hello\r\n")
        attempt.callback(protocol)
        client.turn()
        self.upstreams.peers[0].send(b"more")
        self.assertEqual(client.received, b"220 hello\r\nmore")

    def test_an_upstream_over_tls(self) -> None:
        """With a TLS upstream, the client is read after the handshake."""
        client = self.forwarder(transport=TLSPeer)
        client.send(b"x")
        self.assertEqual(self.upstream.received, b"")
        self.upstream.handshake()
        client.turn()
        self.assertEqual(self.upstream.received, b"x")


class BackpressureTests(ForwardCase):
    def test_a_slow_upstream_slows_its_client(self) -> None:
        """If the upstream is slow, memory stays bounded and every byte arrives."""
        client = self.forwarder()
        self.upstream.full()
        data = bytes(range(256)) * 40_000
        client.send(data)
        self.assertGreater(len(client.unread), len(data) - 300_000)
        self.assertFalse(client.reading)
        self.assertLess(self.upstream.protocol.queued, 200_000)
        self.upstream.drain()
        self.assertEqual((self.upstream.received == data, bytes(client.unread)), (True, b""))

    def test_a_slow_client_slows_its_upstream(self) -> None:
        """If the client is slow, memory stays bounded and every byte arrives."""
        client = self.forwarder()
        client.full()
        data = bytes(range(256)) * 40_000
        self.upstream.send(data)
        self.assertGreater(len(self.upstream.unread), len(data) - 300_000)
        self.assertLess(self.client.queued, 200_000)
        client.drain()
        self.assertEqual((client.received == data, bytes(self.upstream.unread)), (True, b""))

    def test_the_other_direction_goes_on(self) -> None:
        """Data from a side that does not read still passes."""
        client = self.forwarder()
        client.full()
        self.upstream.send(b"x" * 500_000)
        client.send(b"still here")
        self.assertEqual(self.upstream.received, b"still here")

    def test_a_little_at_a_time(self) -> None:
        """However slowly one side reads, nothing is lost or repeated."""
        client = self.forwarder()
        self.upstream.full()
        data = bytes(n * 7 % 251 for n in range(400_000))
        client.send(data)
        while len(self.upstream.received) < len(data):
            self.upstream.drain(30_001)
        self.assertEqual(self.upstream.received, data)

    def test_the_slow_one_goes(self) -> None:
        """If a slow side disconnects, the other, which was paused, is closed."""
        client = self.forwarder()
        self.upstream.full()
        client.send(b"x" * 500_000)
        self.upstream.reset()
        self.clock.advance(0)
        self.assertFalse(client.connected)
        client = self.forwarder()
        client.full()
        self.upstream.send(b"x" * 500_000)
        client.reset()
        self.clock.advance(0)
        self.assertFalse(self.upstream.connected)
        self.assertAllOver()


class HalfCloseTests(ForwardCase):
    def test_a_client_that_has_said_everything(self) -> None:
        """A client's half-close reaches the upstream, and the answer still arrives."""
        client = self.forwarder()
        client.send(b"question")
        client.write_eof()
        self.assertEqual((self.upstream.received, self.upstream.finished), (b"question", True))
        self.assertTrue(client.connected)
        self.upstream.send(b"answer")
        self.upstream.write_eof()
        self.assertEqual((client.received, client.connected), (b"answer", False))
        self.assertAllOver()

    def test_an_upstream_that_has_said_everything(self) -> None:
        """An upstream's half-close reaches the client, which may keep sending."""
        client = self.forwarder()
        self.upstream.send(b"greeting")
        self.upstream.write_eof()
        client.turn()
        self.assertEqual((client.received, client.finished), (b"greeting", True))
        client.send(b"more")
        self.assertEqual(self.upstream.received, b"more")
        client.write_eof()
        self.assertFalse(self.upstream.connected)
        self.assertAllOver()

    def test_the_end_comes_after_the_bytes(self) -> None:
        """The end comes after the bytes, in both directions, even to a slow reader."""
        client = self.forwarder()
        self.upstream.full()
        client.full()
        client.send(b"x" * 200_000)
        client.write_eof()
        self.upstream.send(b"y" * 200_000)
        self.upstream.write_eof()
        self.assertFalse(self.upstream.finished or client.finished)
        self.upstream.drain()
        client.drain()
        self.upstream.drain()
        self.assertEqual(len(self.upstream.received), 200_000)
        self.assertEqual(client.received, b"y" * 200_000)
        self.assertAllOver()

    def test_a_client_that_finishes_at_once(self) -> None:
        """With ``printf x | nc -N``, the data and then the FIN reach the upstream."""
        client = self.forwarder(at_once=False)
        client.send(b"x")
        client.write_eof()
        self.upstreams.answer()
        client.turn()
        self.assertEqual((self.upstream.received, self.upstream.finished), (b"x", True))
        self.upstream.send(b"answer")
        self.upstream.write_eof()
        self.assertEqual((client.received, client.connected), (b"answer", False))

    def test_over_tls_the_end_of_one_is_the_end(self) -> None:
        """Over TLS, which has no half-close, one side's end ends both, after the bytes."""
        client = self.forwarder(how=connect_tls_peer)
        client.handshake()
        self.upstream.send(b"last words")
        self.upstream.write_eof()
        self.assertEqual((client.received, client.connected), (b"last words", False))
        self.clock.advance(10)
        self.assertFalse(self.upstream.connected)

    def test_a_tls_client_that_speaks_and_closes(self) -> None:
        """The data of a TLS client that sends and closes reaches the upstream, and then the end."""
        client = self.forwarder(how=connect_tls_peer)
        client.handshake()
        client.send(b"last words")
        client.write_eof()
        self.assertEqual((self.upstream.received, self.upstream.finished), (b"last words", True))

    def test_a_tls_client_that_closes_while_its_upstream_is_slow(self) -> None:
        """What the client sent before its end arrives, also if it was read meanwhile."""
        client = self.forwarder(how=connect_tls_peer)
        client.handshake()
        self.upstream.full()
        for piece in b"a", b"b", b"c":
            self.client.dataReceived(piece * 70_000)
        client.resumeProducing()  # OpenSSL delivers the end although the connection is paused
        client.write_eof()
        self.clock.advance(4)
        for _ in range(4):
            self.upstream.drain()
        self.assertEqual(self.upstream.received, b"".join(x * 70_000 for x in (b"a", b"b", b"c")))
        self.assertEqual(self.client.reason.code, "peer-closed")
        self.assertTrue(self.upstream.finished)

    def test_a_tls_client_that_closes_and_an_upstream_that_reads_nothing(self) -> None:
        """The idle limit ends both."""
        client = self.forwarder(how=connect_tls_peer, idle_timeout=20, stall_timeout=0)
        client.handshake()
        self.upstream.full()
        for _ in range(3):
            self.client.dataReceived(b"x" * 70_000)
        client.resumeProducing()
        client.write_eof()
        client.advance(15)
        self.assertEqual(len(self.factory), 1)
        client.advance(60)
        self.assertEqual(self.client.reason.code, "idle")
        self.assertEqual((len(self.factory), len(self.factory.upstream_factory)), (0, 0))

    def test_an_answer_through_a_tls_upstream(self) -> None:
        """A client's half-close does not cut off the answer of a TLS upstream."""
        client = self.forwarder(transport=TLSPeer)
        self.upstream.handshake()
        client.send(b"question")
        client.write_eof()
        self.upstream.send(b"answer")
        self.upstream.write_eof()
        self.assertEqual((client.received, client.connected), (b"answer", False))


class EndTests(ForwardCase):
    def test_an_upstream_that_is_down(self) -> None:
        """If the upstream is down, the client is closed and one line is logged with the cause."""
        clock = self.clock

        @implementer(IStreamClientEndpoint)
        class Down:
            def connect_peer(self, factory: Any) -> Any:
                return fail(ConnectionRefusedError())

        self.factory = ForwardFactory(Down(), clock=clock)
        with capturedLogs() as events:
            client = connect_peer(self.factory)
            client.write_eof()
        self.assertEqual((client.connected, client.received), (False, b""))
        lines = [event for event in events if event["log_level"] > LogLevel.debug]
        self.assertEqual([(line["id"], line["reason"]) for line in lines], [(1, "upstream")])
        self.assertEqual(client.protocol.reason.code, "upstream")
        self.assertAllOver()

    def test_an_upstream_that_fails_later(self) -> None:
        """An attempt that fails later has the same result."""
        client = self.forwarder(at_once=False)
        client.send(b"early")
        self.upstreams.attempts.pop()[1].errback(ConnectionRefusedError())
        client.turn()
        self.assertEqual((client.protocol.reason.code, client.finished), ("upstream", True))
        client.write_eof()
        self.assertAllOver()

    def test_an_upstream_whose_handshake_fails(self) -> None:
        """A failed handshake has the same result as an upstream that is down."""
        client = self.forwarder(transport=TLSPeer)
        self.upstream.reset()
        client.turn()
        self.assertEqual(client.protocol.reason.code, "upstream")

    def test_an_upstream_that_resets(self) -> None:
        """If the upstream resets, so that the answer is incomplete, the client is reset too."""
        client = self.forwarder()
        self.upstream.send(b"half")
        self.upstream.reset()
        client.turn()
        self.assertEqual((client.connected, client.aborted), (False, True))
        self.assertEqual(client.protocol.reason.code, "upstream")
        self.assertAllOver()

    def test_a_client_that_resets(self) -> None:
        """If the client resets, the upstream is reset too."""
        client = self.forwarder()
        client.reset()
        self.clock.advance(0)
        self.assertEqual((self.upstream.connected, self.upstream.aborted), (False, True))
        self.assertAllOver()

    def test_a_client_that_goes_while_connecting(self) -> None:
        """If the client disconnects while connecting, the attempt is cancelled without an error."""
        client = self.forwarder(at_once=False)
        with capturedLogs() as events:
            client.reset()
        self.assertEqual(self.upstreams.cancelled, 1)
        self.assertEqual([e for e in events if e["log_level"] >= LogLevel.info], [])
        self.assertAllOver()

    def test_a_client_that_goes_during_the_handshake(self) -> None:
        """If the client disconnects during the handshake, the upstream connection is closed."""
        client = self.forwarder(transport=TLSPeer)
        client.reset()
        self.clock.advance(0)
        self.assertFalse(self.upstream.connected)
        self.assertAllOver()

    def test_closing_the_factory_closes_both_sides(self) -> None:
        """Closing the factory closes both sides, and data on its way arrives."""
        client = self.forwarder()
        self.upstream.send(b"bye")
        self.factory.close()
        client.write_eof()
        self.upstream.write_eof()
        self.assertEqual(client.received, b"bye")
        self.assertAllOver()

    def test_closing_the_factory_while_connecting(self) -> None:
        """Closing the factory cancels attempts that are in progress."""
        client = self.forwarder(at_once=False)
        self.factory.close()
        client.write_eof()
        client.advance(10)
        self.assertFalse(client.connected)
        self.assertAllOver()


class IdleTests(ForwardCase):
    def test_an_idle_pair_is_closed(self) -> None:
        """If neither side sends for the limit, both sides are closed."""
        client = self.forwarder(idle_timeout=5)
        client.send(b"x")
        client.advance(5)
        self.assertTrue(client.connected)
        client.advance(10)
        self.assertEqual((client.connected, self.upstream.connected), (False, False))
        self.assertEqual(client.protocol.reason.code, "idle")
        self.assertAllOver()

    def test_either_side_keeps_it_open(self) -> None:
        """A client that only receives is not idle while the upstream sends."""
        client = self.forwarder(idle_timeout=5)
        for _ in range(5):
            client.advance(4)
            self.upstream.send(b"x")
        for _ in range(5):
            client.advance(4)
            client.send(b"x")
        self.assertTrue(client.connected and self.upstream.connected)

    def test_a_client_that_does_not_read(self) -> None:
        """A client that does not read is idle, and is aborted after the grace."""
        client = self.forwarder(idle_timeout=5)
        client.full()
        self.upstream.send(b"x" * 1_000_000)
        client.advance(20)
        self.assertEqual((client.connected, self.upstream.connected), (False, False))
        self.assertAllOver()

    def test_an_upstream_that_does_not_read(self) -> None:
        """A pair in which no data moves is idle, whichever side is the cause."""
        client = self.forwarder(idle_timeout=5)
        self.upstream.full()
        client.send(b"x" * 1_000_000)
        client.advance(30)
        self.assertEqual((client.connected, self.upstream.connected), (False, False))
        self.assertAllOver()

    def test_a_slow_download_is_not_idle(self) -> None:
        """While a slow client reads a little now and then, the pair stays open."""
        client = self.forwarder(idle_timeout=5)
        client.full()
        self.upstream.send(b"x" * 200_000)
        for _ in range(20):
            client.advance(4)
            client.drain(1000)
        self.assertTrue(client.connected and self.upstream.connected)
        client.advance(12)
        self.assertEqual(client.protocol.reason.code, "idle")

    def test_a_slow_upload_is_not_idle(self) -> None:
        """While a slow upstream reads less than a buffer in an idle limit, the pair stays open."""
        client = self.forwarder(idle_timeout=5)
        self.upstream.full()
        client.send(b"x" * 200_000)
        for _ in range(20):
            client.advance(4)
            self.upstream.drain(1000)
        self.assertTrue(client.connected and self.upstream.connected)

    def test_a_slow_upstream_is_not_an_idle_one(self) -> None:
        """While a slow upstream reads a little now and then, the pair stays open."""
        client = self.forwarder(idle_timeout=5)
        self.upstream.full()
        client.send(b"x" * 2_000_000)
        for _ in range(10):
            client.advance(4)
            self.upstream.drain(100_000)
        self.assertTrue(client.connected and self.upstream.connected)
