"""An idle limit for any factory: :mod:`twisted_net.idle`."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, INegotiated, IProtocol
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.connection.guarding import HalfClosing, Listening, Plain
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.idle import DiscardFactory, IdleTimeoutFactory, IdleTimeoutProtocol
from twisted_net.policy.close_reasons import IDLE
from twisted_net.testing import Peer, connect_peer, connect_tls_peer


class Answering(HalfClosing):
    """Answers after the peer's half-close, and then half-closes too."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.transport.write(b"answer")
        self.transport.loseWriteConnection()  # type: ignore[union-attr]


class IdleCase(SynchronousTestCase):
    """Has a clock, and connections with a limit of 5 s and a grace of 2 s."""

    def setUp(self) -> None:
        self.clock = Clock()

    def limited(self, wrapped: Any, seconds: float = 5, how: Any = connect_peer) -> Any:
        """Connect to a protocol class, or a factory, behind an idle limit."""
        if isinstance(wrapped, type):
            wrapped = ServerFactory.forProtocol(wrapped)
        factory = IdleTimeoutFactory(wrapped, seconds, clock=self.clock, close_grace=2)
        return how(factory, clock=self.clock)


class TimeoutTests(IdleCase):
    def test_a_silent_peer_is_closed(self) -> None:
        """A silent peer is closed, not before the limit and at most a second after it."""
        for offset in (0.0, 0.1, 0.25, 0.5, 0.7, 0.9):
            self.clock.advance(offset)
            peer = self.limited(Plain)
            wrapped = peer.protocol.wrappedProtocol
            peer.advance(5)
            self.assertTrue(peer.connected, offset)
            peer.advance(1)
            self.assertFalse(peer.connected, offset)
            self.assertIs(peer.protocol.reason, IDLE)
            self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_every_byte_counts(self) -> None:
        """The limit counts from the last byte."""
        peer = self.limited(Plain)
        wrapped = peer.protocol.wrappedProtocol
        for _ in range(20):
            peer.advance(4.9)
            peer.send(b"x")
        peer.advance(5)
        self.assertTrue(peer.connected)
        peer.advance(1)
        self.assertFalse(peer.connected)
        self.assertEqual(wrapped.events.count(b"x"), 20)

    def test_what_the_server_sends_does_not_count(self) -> None:
        """Data from the server does not count."""
        peer = self.limited(Plain)
        wrapped = peer.protocol.wrappedProtocol
        for _ in range(6):
            peer.advance(1)
            wrapped.transport.write(b"tick")
        self.assertFalse(peer.connected)

    def test_zero_is_never(self) -> None:
        """Zero means no limit, and no timer runs."""
        peer = self.limited(Plain, seconds=0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        peer.advance(10_000_000)
        self.assertTrue(peer.connected)

    def test_less_than_a_second(self) -> None:
        """A limit may be a fraction of a second."""
        peer = self.limited(Plain, seconds=0.2)
        peer.advance(0.2)
        self.assertTrue(peer.connected)
        peer.advance(1)
        self.assertFalse(peer.connected)

    def test_nothing_is_left_behind(self) -> None:
        """After the last connection, however it ended, no timer runs."""
        for end in ("reset", "write_eof", "idle"):
            peers = [self.limited(Plain) for _ in range(3)]
            for peer in peers:
                peer.advance(10) if end == "idle" else getattr(peer, end)()
                self.assertFalse(peer.connected)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_for_all(self) -> None:
        """A thousand connections of a factory share one delayed call."""
        factory = IdleTimeoutFactory(
            ServerFactory.forProtocol(Plain), 5, clock=self.clock, close_grace=2
        )
        peers = [connect_peer(factory, clock=self.clock) for _ in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        peers[0].advance(6)
        self.assertFalse(any(peer.connected for peer in peers))

    def test_the_end_has_one_line_in_the_log(self) -> None:
        """The end is logged in one line, with the peer and the reason."""
        peer = self.limited(Plain)
        with capturedLogs() as events:
            peer.advance(10)
        lines = [event for event in events if event["log_level"] >= LogLevel.info]
        self.assertEqual(len(lines), 1)
        self.assertEqual((lines[0]["reason"], lines[0]["peer"]), ("idle", "192.0.2.2:54321"))

    def test_a_wrapped_protocol_that_closes_as_it_begins(self) -> None:
        """If the wrapped protocol closes in connectionMade, its timer is cancelled."""

        class Refusing(Protocol):
            def connectionMade(self) -> None:
                self.transport.loseConnection()  # type: ignore[union-attr]

        peer = self.limited(Refusing)
        self.assertFalse(peer.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_wrapped_protocol_that_aborts_as_it_receives(self) -> None:
        """If the wrapped protocol aborts in dataReceived, its timer is cancelled."""

        class Aborting(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.abortConnection()  # type: ignore[union-attr]

        peer = self.limited(Aborting)
        peer.send(b"x")
        self.assertTrue(peer.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GraceTests(IdleCase):
    def test_a_peer_that_does_not_read_is_aborted(self) -> None:
        """A peer that does not read is aborted after the grace."""
        peer = self.limited(Plain)
        wrapped = peer.protocol.wrappedProtocol
        peer.full()
        wrapped.transport.write(b"x" * 100_000)
        peer.advance(6)
        self.assertTrue(peer.connected)
        self.assertTrue(peer.disconnecting)
        peer.advance(3)
        self.assertEqual((peer.connected, peer.aborted), (False, True))
        self.assertEqual(wrapped.events, ["made", ConnectionAborted])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_peer_that_reads_late_gets_everything(self) -> None:
        """A peer that reads within the grace gets everything."""
        peer = self.limited(Plain)
        peer.full()
        peer.protocol.wrappedProtocol.transport.write(b"x" * 100_000)
        peer.advance(6.5)
        peer.drain()
        self.assertEqual((len(peer.received), peer.connected), (100_000, False))
        self.assertFalse(peer.aborted)

    def test_speaking_after_the_limit_helps_nobody(self) -> None:
        """Data after the limit, which TLS still delivers, does not extend the grace."""
        peer = self.limited(Plain, how=connect_tls_peer)
        peer.full()
        peer.protocol.wrappedProtocol.transport.write(b"x")
        peer.advance(6)
        self.assertIs(peer.protocol.reason, IDLE)
        for _ in range(10):
            if peer.connected:
                peer.protocol.dataReceived(b"still here")
            peer.advance(0.5)
        self.assertFalse(peer.connected)


class WrappedTests(IdleCase):
    """What the wrapped protocol sees of its connection."""

    def test_bytes_pass_unchanged_both_ways(self) -> None:
        """Bytes pass unchanged both ways, in the pieces in which they arrived."""
        peer = self.limited(Plain)
        wrapped = peer.protocol.wrappedProtocol
        peer.send(b"\x00\xff", b"two")
        wrapped.transport.write(b"one")
        wrapped.transport.writeSequence([b"two", b"three"])
        self.assertEqual(wrapped.events, ["made", b"\x00\xff", b"two"])
        self.assertEqual(peer.received, b"onetwothree")

    def test_half_closes_are_passed_on(self) -> None:
        """Half-closes are passed to a protocol that supports them, which may still answer."""
        peer = self.limited(Answering)
        peer.send(b"question")
        peer.write_eof()
        self.assertEqual((peer.received, peer.finished, peer.connected), (b"answer", True, True))
        events = peer.protocol.wrappedProtocol.events
        self.assertEqual(events, ["made", b"question", "read lost", "write lost"])

    def test_a_half_closed_connection_is_closed_when_idle(self) -> None:
        """A half-closed connection is closed when the limit after its last byte has passed."""
        peer = self.limited(Answering)
        peer.write_eof()
        peer.advance(6)
        self.assertFalse(peer.connected)

    def test_others_do_not_hear_of_half_closes(self) -> None:
        """For a plain protocol, the peer's FIN is the end."""
        peer = self.limited(Plain)
        wrapped = peer.protocol.wrappedProtocol
        self.assertFalse(IHalfCloseableProtocol.providedBy(peer.protocol))
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_the_handshake_is_passed_on(self) -> None:
        """The TLS handshake is reported to protocols that listen for it."""
        peer = self.limited(Listening, how=connect_tls_peer)
        peer.handshake()
        self.assertEqual(peer.protocol.wrappedProtocol.events, ["made", "handshake"])
        self.limited(Plain, how=connect_tls_peer).handshake()

    def test_a_handshake_that_never_comes(self) -> None:
        """The limit also covers the handshake."""
        peer = self.limited(Listening, how=connect_tls_peer)
        peer.advance(6)
        self.assertFalse(peer.connected)

    def test_the_transport_is_still_what_it_was(self) -> None:
        """The interfaces and addresses are those of the real transport."""
        plain, tls = self.limited(Plain), self.limited(Plain, how=connect_tls_peer)
        self.assertFalse(INegotiated.providedBy(plain.protocol))
        self.assertTrue(INegotiated.providedBy(tls.protocol))
        self.assertTrue(IProtocol.providedBy(plain.protocol))
        transport = plain.protocol.wrappedProtocol.transport
        self.assertEqual(transport.getPeer(), plain.getPeer())
        self.assertEqual(transport.getHost(), plain.getHost())

    def test_before_a_connection_of_ours(self) -> None:
        """Behind the limit, a Connection still has handshakes, half-closes and backpressure."""
        heard: list[Any] = []

        class Ours(Connection):
            def connected(self) -> None:
                heard.append("connected")

            def message_received(self, message: bytes) -> None:
                self.send(message.upper())

            def disconnected(self, reason: Any) -> None:
                heard.append(reason.code)

        factory = ConnectionFactory.forProtocol(Ours, clock=self.clock)
        peer = self.limited(factory, how=connect_tls_peer)
        self.assertEqual(heard, [])
        peer.handshake()
        peer.send(b"hello\n")
        self.assertEqual((heard, peer.received), (["connected"], b"HELLO\n"))
        peer.advance(6)
        self.assertEqual((heard, len(factory)), (["connected", "closed"], 0))
        peer = self.limited(factory)
        peer.send(b"first\nsecond")
        peer.write_eof()
        self.assertEqual((peer.received, peer.connected), (b"FIRST\n", False))


class FactoryTests(IdleCase):
    def test_a_factory_that_refuses(self) -> None:
        """If the wrapped factory rejects a client, the rejection is passed on and no timer runs."""

        class Refusing(Factory[Protocol]):
            def buildProtocol(self, addr: Any) -> None:
                return None

        factory = IdleTimeoutFactory(Refusing(), 5, clock=self.clock)
        self.assertIsNone(factory.buildProtocol(None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_starts_and_stops_what_it_wraps(self) -> None:
        """The wrapped factory is started and stopped once per port, as Twisted does."""
        calls: list[str] = []

        class Counted(Factory[Protocol]):
            noisy = False

            def startFactory(self) -> None:
                calls.append("start")

            def stopFactory(self) -> None:
                calls.append("stop")

        factory = IdleTimeoutFactory(Counted(), 5, clock=self.clock)
        for step in (factory.doStart, factory.doStart, factory.doStop, factory.doStop):
            step()
        self.assertEqual(calls, ["start", "stop"])

    def test_without_a_factory_it_discards(self) -> None:
        """Without a wrapped factory, data is read and discarded (RFC 863)."""
        peer = connect_peer(IdleTimeoutFactory(seconds=5, clock=self.clock), clock=self.clock)
        peer.send(b"x" * 1_000_000)
        self.assertEqual((bytes(peer.unread), peer.received, peer.connected), (b"", b"", True))
        peer.advance(6)
        self.assertTrue(peer.finished)
        peer.advance(8)  # the grace, for a peer that does not close
        self.assertFalse(peer.connected)

    def test_limits_that_make_no_sense(self) -> None:
        """Invalid limits raise when the factory is made."""
        for seconds in (-1, float("nan"), float("inf")):
            with self.assertRaises(ValueError):
                IdleTimeoutFactory(Factory(), seconds)
        with self.assertRaises(ValueError):
            IdleTimeoutFactory(Factory(), 5, close_grace=-1)

    def test_protocols_are_listed_while_they_live(self) -> None:
        """Open protocols are listed, as in every ``WrappingFactory``."""
        factory = IdleTimeoutFactory(DiscardFactory(clock=self.clock), 5, clock=self.clock)
        peer = connect_peer(factory, clock=self.clock)
        self.assertIsInstance(peer.protocol, IdleTimeoutProtocol)
        self.assertEqual(list(factory.protocols), [peer.protocol])
        peer.reset()
        self.assertEqual(list(factory.protocols), [])


class Page(Resource):
    """A page of a site. The page at ``/slow`` never comes."""

    isLeaf = True

    def render_GET(self, request: Any) -> Any:
        if request.path == b"/slow":
            return NOT_DONE_YET
        return b"<p>hello " + request.path + b"</p>"


class WebTests(IdleCase):
    """In front of a ``twisted.web`` site without a timeout of its own."""

    def site(self) -> Peer:
        site = Site(Page(), timeout=None, reactor=self.clock)
        peer = self.limited(site)
        assert isinstance(peer, Peer)
        return peer

    def test_requests_are_answered(self) -> None:
        """Several requests are answered on one connection, until it is idle."""
        peer = self.site()
        for path in (b"/a", b"/b"):
            peer.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"<p>hello " + path + b"</p>", peer.take())
            peer.advance(4)
        peer.advance(2)
        self.assertFalse(peer.connected)

    def test_a_request_in_pieces(self) -> None:
        """A request that arrives one byte per second is answered."""
        peer = self.site()
        for byte in b"GET /slowly HTTP/1.0\r\n\r\n":
            peer.advance(1)
            peer.send(bytes([byte]))
        self.assertIn(b"<p>hello /slowly</p>", peer.received)
        self.assertFalse(peer.connected)

    def test_half_a_request(self) -> None:
        """A peer that stops in the middle of a request is closed."""
        peer = self.site()
        peer.send(b"GET / HT")
        peer.advance(6)
        self.assertFalse(peer.connected)

    def test_a_page_that_never_comes(self) -> None:
        """The limit also ends a request whose page never comes, and the request is notified."""
        peer = self.site()
        peer.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        (request,) = peer.protocol.wrappedProtocol._channel.requests
        failed = request.notifyFinish()
        peer.advance(10)
        self.assertFalse(peer.connected)
        self.failureResultOf(failed)
