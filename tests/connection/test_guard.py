"""The guard for other factories: :mod:`twisted_net.connection.guard`."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    INegotiated,
    IProtocolNegotiationFactory,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import directlyProvides, implementer

from tests.connection.guarding import GuardCase, HalfClosing, Listening, Plain, Producer
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.guard import GUARD_LIMITS, GuardFactory, GuardTransport
from twisted_net.connection.rejection import RejectingProtocol
from twisted_net.echo import EchoFactory
from twisted_net.idle import IdleTimeoutFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import IDLE
from twisted_net.policy.limits import Limits
from twisted_net.testing import Peer, TLSPeer, connect_peer, connect_tls_peer


class TransportTests(GuardCase):
    """What the wrapped protocol sees."""

    def test_bytes_go_both_ways(self) -> None:
        wrapped, peer = self.made()
        peer.send(b"a", b"b")
        wrapped.transport.write(b"c")
        wrapped.transport.write(b"")
        wrapped.transport.writeSequence([b"d", b"e"])
        self.assertEqual(wrapped.events, ["made", b"a", b"b"])
        self.assertEqual(peer.received, b"cde")

    def test_it_is_the_transport_that_it_would_have_been(self) -> None:
        """The transport has the same interfaces and methods as without the guard, also over TLS."""
        wrapped, peer = self.made()
        self.assertTrue(ITCPTransport.providedBy(wrapped.transport))
        self.assertFalse(ISSLTransport.providedBy(wrapped.transport))
        wrapped.transport.setTcpNoDelay(True)
        self.assertIs(wrapped.transport.getPeer(), peer.getPeer())
        self.assertFalse(hasattr(wrapped.transport, "negotiatedProtocol"))
        wrapped, peer = self.made_tls()
        peer.negotiatedProtocol = b"h2"
        self.assertTrue(INegotiated.providedBy(wrapped.transport))
        self.assertEqual(wrapped.transport.negotiatedProtocol, b"h2")

    def test_its_class_tells_that_it_is_protected(self) -> None:
        """Libraries such as autobahn ask whether a transport is an instance of Twisted's TLS.

        A Connection inside still does not take it for a wrapper that it may go below.
        """

        connections = ConnectionFactory.forProtocol(Connection, clock=self.clock)
        for inner in (Factory.forProtocol(Listening), connections):
            guard = GuardFactory(inner, clock=self.clock)
            tls = TLSMemoryBIOFactory(CertificateOptions(), False, guard)
            below = StringTransport()
            wrapper = tls.buildProtocol(below.getPeer())
            wrapper.makeConnection(below)
            transport = wrapper.wrappedProtocol.wrapped.transport
            self.assertIsInstance(transport, TLSMemoryBIOProtocol)
            self.assertIsInstance(transport, GuardTransport)
            self.assertTrue(ISSLTransport.providedBy(transport))
            wrapper.wrappedProtocol.handshakeCompleted()
            transport.abortConnection()
            self.assertTrue(below.disconnected)
            self.assertIsNotNone(wrapper.wrappedProtocol.reason)
        plain, _ = self.made(Listening)
        self.assertNotIsInstance(plain.transport, TLSMemoryBIOProtocol)

    def test_text_is_no_bytes(self) -> None:
        """Writing text raises, whether it would be sent or queued."""
        wrapped, peer = self.made()
        for _ in range(2):
            self.assertRaises(TypeError, wrapped.transport.write, "text")
            peer.full()

    def test_reading(self) -> None:
        """While paused, the protocol receives nothing; after resuming, everything."""
        wrapped, peer = self.made()
        wrapped.transport.pauseProducing()
        peer.send(b"a")
        self.assertEqual((wrapped.events, peer.reading), (["made"], False))
        wrapped.transport.resumeProducing()
        peer.turn()
        self.assertEqual(wrapped.events, ["made", b"a"])

    def test_disconnecting(self) -> None:
        """``disconnecting`` is true once either side ends; LineReceiver relies on it."""

        class Quitting(LineReceiver):
            delimiter = b"\n"

            def __init__(self) -> None:
                self.lines: list[bytes] = []

            def lineReceived(self, line: bytes) -> None:
                self.lines.append(line)
                if line == b"quit":
                    self.transport.loseConnection()

        wrapped, peer = self.made(Quitting)
        peer.send(b"a\nquit\nb\n")
        self.assertEqual(wrapped.lines, [b"a", b"quit"])
        wrapped, peer = self.made(idle_timeout=5)
        self.assertFalse(wrapped.transport.disconnecting)
        peer.full()
        peer.advance(6)
        self.assertTrue(wrapped.transport.disconnecting)

    def test_start_tls(self) -> None:
        """After startTLS, the transport is TLS's, and the handshake has a timeout."""

        class Upgraded(Peer):
            started = 0

            def startTLS(self, *arguments: Any) -> None:
                self.started += 1
                directlyProvides(self, ISSLTransport)

            def loseWriteConnection(self) -> None:
                raise AssertionError("a half-close would cut the TLS stream")

        for done in (True, False):
            guard = self.guard(Listening)
            peer = Upgraded(self.clock)
            peer.protocol = guard.buildProtocol(peer.getPeer())
            peer.protocol.makeConnection(peer)
            wrapped = peer.protocol.wrapped
            wrapped.transport.startTLS("context")
            self.assertTrue(ISSLTransport.providedBy(wrapped.transport))
            if done:
                peer.protocol.handshakeCompleted()
            peer.advance(12)
            self.assertEqual((peer.connected, peer.aborted), (done, not done))
            self.assertEqual(wrapped.events[1] == "handshake", done)
            if done:
                wrapped.transport.loseConnection()
                peer.turn()
                self.assertFalse(peer.connected)
            else:
                self.assertEqual(peer.protocol.reason.code, "handshake")


class TakeoverTests(GuardCase):
    """An upgrade replaces the protocol, as WebSocketResource of autobahn and daphne do."""

    def test_the_new_protocol_takes_over(self) -> None:
        for attribute in ("protocol", "wrappedProtocol"):
            wrapped, peer = self.made()
            peer.send(b"upgrade")
            transport = wrapped.transport
            self.assertIs(transport.protocol, wrapped)
            self.assertFalse(hasattr(transport, "wrappedProtocol"))
            taker = HalfClosing()
            setattr(transport, attribute, taker)
            self.assertIs(transport.protocol, taker)
            taker.makeConnection(transport)
            peer.send(b"frame")
            taker.transport.write(b"answer")
            peer.write_eof()
            self.assertEqual(taker.events, ["made", b"frame", "read lost"])
            taker.transport.loseConnection()
            peer.turn()
            self.assertEqual(peer.received, b"answer")
            self.assertEqual(taker.events[3:], [ConnectionDone])
            self.assertEqual(wrapped.events, ["made", b"upgrade"])

    def test_over_tls(self) -> None:
        """Over TLS, whose transports are wrappers, both attributes are there."""

        class Wrapper(TLSPeer):
            wrappedProtocol: Any = None

        guard = self.guard()
        peer = Wrapper(self.clock)
        peer.protocol = guard.buildProtocol(peer.getPeer())
        peer.protocol.makeConnection(peer)
        peer.handshake()
        transport = peer.protocol.wrapped.transport
        self.assertIs(transport.wrappedProtocol, peer.protocol.wrapped)
        taker = Plain()
        transport.wrappedProtocol = taker
        peer.send(b"frame")
        self.assertEqual(taker.events, [b"frame"])
        self.assertIsNone(peer.wrappedProtocol)


class EndTests(GuardCase):
    """Every kind of end, and what the wrapped protocol is told."""

    def test_the_peer_closes(self) -> None:
        wrapped, peer = self.made()
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made", ConnectionDone])
        self.assertEqual(peer.protocol.reason.code, "peer-closed")

    def test_the_peer_resets(self) -> None:
        wrapped, peer = self.made()
        peer.reset()
        self.assertEqual(wrapped.events, ["made", ConnectionLost])

    def test_it_closes(self) -> None:
        """When the protocol closes, earlier data reaches the peer, and nothing more is received."""
        wrapped, peer = self.made()
        peer.full()
        wrapped.transport.write(b"last words")
        wrapped.transport.loseConnection()
        peer.send(b"too late")
        self.assertEqual(wrapped.events, ["made"])
        peer.drain()
        peer.write_eof()
        self.assertEqual(peer.received, b"last words")
        self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_it_aborts(self) -> None:
        wrapped, peer = self.made()
        wrapped.transport.abortConnection()
        peer.turn()
        self.assertTrue(peer.aborted)
        self.assertEqual(wrapped.events, ["made", ConnectionAborted])

    def test_half_close(self) -> None:
        """A protocol that supports half-closes is told of one, and may continue."""
        wrapped, peer = self.made(HalfClosing)
        peer.write_eof()
        wrapped.transport.write(b"answer")
        self.assertEqual((wrapped.events, peer.received), (["made", "read lost"], b"answer"))
        wrapped.transport.loseWriteConnection()
        peer.turn()
        self.assertEqual(wrapped.events[-1], ConnectionDone)

    def test_its_own_half_close(self) -> None:
        wrapped, peer = self.made(HalfClosing)
        wrapped.transport.loseWriteConnection()
        peer.turn()
        peer.send(b"still heard")
        self.assertEqual(wrapped.events, ["made", "write lost", b"still heard"])
        self.assertTrue(peer.finished and peer.connected)

    def test_exceptions(self) -> None:
        """An exception in any method ends only that connection and is logged."""

        def fail(protocol: Any, *arguments: Any) -> None:
            raise RuntimeError

        for at in ("makeConnection", "dataReceived", "readConnectionLost", "handshakeCompleted"):
            guard = self.guard(type("Failing", (HalfClosing, Listening), {at: fail}))
            peer = (connect_tls_peer if at == "handshakeCompleted" else connect_peer)(guard)
            if isinstance(peer, TLSPeer):
                peer.handshake()
            if peer.protocol.reason is None:
                peer.send(b"a")
            peer.write_eof()
            self.assertEqual(peer.protocol.reason.code, "failed", at)
            self.assertEqual(len(guard), 0)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1, at)

    def test_exceptions_at_the_end(self) -> None:
        """After an exception at the end, the end is still counted and reported to the protocol."""

        class Failing(Plain):
            def connectionLost(self, reason: Any = None) -> None:
                super().connectionLost(reason)
                raise RuntimeError("connectionLost")

        class Broken:
            def stopProducing(self) -> None:
                raise RuntimeError("stopProducing")

        guard = self.guard(Failing)
        peer = connect_peer(guard)
        wrapped = peer.protocol.wrapped
        wrapped.transport.registerProducer(Broken(), True)
        peer.reset()
        self.assertEqual((wrapped.events, len(guard)), (["made", ConnectionLost], 0))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_limits(self) -> None:
        """A silent peer is closed, and its protocol is told once."""
        wrapped, peer = self.made(idle_timeout=5)
        peer.advance(6)
        peer.write_eof()
        self.assertEqual(peer.protocol.reason.code, "idle")
        self.assertEqual(wrapped.events, ["made", ConnectionDone])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_being_answered_is_not_idle(self) -> None:
        """A download may exceed the idle limit, but a peer that does not read is closed as slow."""
        wrapped, peer = self.made(idle_timeout=5, stall_timeout=30)
        peer.full()
        wrapped.transport.write(b"x" * 100_000)
        for _ in range(20):
            peer.drain(1000)
            peer.advance(3)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(41)
        self.assertEqual(peer.protocol.reason.code, "slow")
        wrapped, peer = self.made(idle_timeout=5, stall_timeout=30)
        peer.full()
        wrapped.transport.write(b"x" * 100_000)
        peer.drain()
        peer.advance(12)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_who_takes_every_small_write_is_not_idle(self) -> None:
        """The idle limit counts from the last write that the peer could take."""
        wrapped, peer = self.made(idle_timeout=5)
        for _ in range(20):
            wrapped.transport.write(b"tick")
            peer.advance(1)
            wrapped.transport.writeSequence([b"t", b"ock"])
            peer.advance(3)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(4)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_writing_to_who_takes_nothing(self) -> None:
        """Without a stall limit, a peer that takes nothing is idle, however much is written."""
        wrapped, peer = self.made(idle_timeout=5, stall_timeout=0)
        peer.full()
        for _ in range(6):
            wrapped.transport.write(b"tick")
            peer.advance(2)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_a_slow_peer_without_a_stall_limit(self) -> None:
        wrapped, peer = self.made(idle_timeout=5, stall_timeout=0)
        peer.full()
        wrapped.transport.write(b"x" * 100_000)
        for _ in range(20):
            peer.drain(1000)
            peer.advance(3)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(12)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_much_for_a_peer_that_reads(self) -> None:
        """By default, no size is too much; a peer that takes nothing is closed after a while."""
        wrapped, peer = self.made()
        for _ in range(80):
            wrapped.transport.write(b"x" * 65536)
        peer.turn()
        self.assertEqual((len(peer.received), peer.protocol.reason), (80 * 65536, None))
        peer.full()
        for _ in range(80):
            wrapped.transport.write(b"x" * 65536)
        for _ in range(20):
            peer.advance(10)
            peer.drain(1000)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(43)
        self.assertEqual(peer.protocol.reason.code, "slow")

    def test_a_slow_peer_gets_the_rest(self) -> None:
        """A protocol that writes much and closes does not cut a peer that reads, however slowly."""
        for pieces in (1, 10):
            wrapped, peer = self.made(close_grace=5)
            peer.full()
            for _ in range(pieces):
                wrapped.transport.write(b"x" * (1_000_000 // pieces))
            wrapped.transport.loseConnection()
            for _ in range(100):
                peer.advance(4)
                peer.drain(9_000)
            self.assertEqual(len(peer.received), 900_000)
            peer.drain()
            self.assertEqual((len(peer.received), peer.finished), (1_000_000, True))
            peer.advance(4)  # the grace begins when all is sent
            self.assertTrue(peer.connected)
            peer.advance(3)
            self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_a_peer_that_does_not_take_the_rest(self) -> None:
        """The stall limit ends it; without one, the grace does, if the peer has taken nothing."""
        for stall, soon, late in ((30, 20, 43), (0, 6, 12)):
            wrapped, peer = self.made(close_grace=5, stall_timeout=stall)
            peer.full()
            wrapped.transport.write(b"x" * 1_000_000)
            peer.drain(1)
            wrapped.transport.loseConnection()
            peer.advance(soon)
            self.assertTrue(peer.connected)
            peer.advance(late - soon)
            self.assertEqual((peer.connected, peer.protocol.reason.code), (False, "closed"))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_limit_does_not_wait_for_the_rest(self) -> None:
        """A peer that is closed for its own fault has only the grace."""
        wrapped, peer = self.made(close_grace=5, idle_timeout=60)
        peer.full()
        wrapped.transport.write(b"x" * 1_000_000)
        peer.protocol.close(IDLE)
        peer.advance(7)
        self.assertFalse(peer.connected)

    def test_queue_limit(self) -> None:
        """Writing without limit to a peer that does not read closes the peer."""
        wrapped, peer = self.made(queue_limit=1000)
        peer.full()
        for _ in range(3):
            wrapped.transport.write(b"x" * 500)
        self.assertEqual(peer.protocol.reason.code, "slow")
        peer.advance(7)
        self.assertEqual(wrapped.events, ["made", ConnectionAborted])


class TLSTests(GuardCase):
    def test_the_protocol_is_there_from_the_beginning(self) -> None:
        """The protocol is connected before the handshake, as without a guard."""
        wrapped, peer = self.made_tls(Listening)
        self.assertEqual(wrapped.events, ["made"])
        peer.handshake()
        peer.send(b"a")
        self.assertEqual(wrapped.events, ["made", "handshake", b"a"])

    def test_no_handshake_on_plain_connections(self) -> None:
        wrapped, _ = self.made(Listening)
        self.assertEqual(wrapped.events, ["made"])

    def test_a_handshake_that_never_ends(self) -> None:
        wrapped, peer = self.made_tls(Listening, handshake_timeout=10)
        peer.advance(11)
        self.assertEqual(peer.protocol.reason.code, "handshake")
        self.assertEqual(wrapped.events, ["made", ConnectionAborted])

    def test_the_end(self) -> None:
        """Over TLS, which has no half-close, the peer's end is the end."""
        wrapped, peer = self.made_tls(HalfClosing)
        peer.handshake()
        wrapped.transport.write(b"a")
        wrapped.transport.loseConnection()
        self.assertEqual((peer.received, peer.connected), (b"a", False))
        self.assertEqual(wrapped.events, ["made", ConnectionDone])


class PausedTests(GuardCase):
    """A TLS peer ends after data that the wrapped protocol has not taken."""

    def paused(self) -> tuple[Any, TLSPeer]:
        wrapped, peer = self.made_tls(idle_timeout=60)
        peer.handshake()
        wrapped.transport.pauseProducing()
        peer.protocol.dataReceived(b"last words")  # OpenSSL had it already
        peer.resumeProducing()
        return wrapped, peer

    def test_delivered_later(self) -> None:
        wrapped, peer = self.paused()
        peer.write_eof()
        peer.advance(50)
        self.assertEqual(wrapped.events, ["made"])
        wrapped.transport.resumeProducing()
        self.assertEqual(wrapped.events, ["made", b"last words", ConnectionDone])

    def test_closed_before_the_end(self) -> None:
        """A protocol that has closed, but whose producer has not, wants nothing more."""
        wrapped, peer = self.paused()
        wrapped.transport.registerProducer(Producer(), True)
        wrapped.transport.loseConnection()
        peer.resumeProducing()
        peer.write_eof()
        peer.advance(0.1)
        self.assertEqual(wrapped.events, ["made", ConnectionDone])

    def test_closed_after_the_end(self) -> None:
        """The same, if it closes while it is paused and its transport is gone."""
        wrapped, peer = self.paused()
        wrapped.transport.registerProducer(Producer(), True)
        peer.write_eof()
        self.assertEqual(wrapped.events, ["made"])
        wrapped.transport.loseConnection()
        peer.advance(0.1)
        self.assertEqual(wrapped.events, ["made", ConnectionDone])


class FactoryTests(GuardCase):
    def test_a_factory_that_refuses(self) -> None:
        """If the factory returns None, the peer is closed and its place is free."""

        class Refusing(Factory):  # type: ignore[type-arg]
            noisy = False

            def buildProtocol(self, addr: Any) -> None:
                return None

        admission = Admission(AdmissionRules(max_connections=1))
        guard = GuardFactory(Refusing(), clock=self.clock, admission=admission)
        for _ in range(2):
            self.assertRaises(ConnectionRefusedError, connect_peer, guard)
            self.assertEqual(admission.open, 0)

    def test_a_factory_that_fails(self) -> None:
        """If the factory raises, its place is free too."""

        class Failing(Factory):  # type: ignore[type-arg]
            noisy = False

            def buildProtocol(self, addr: Any) -> Any:
                raise RuntimeError("none today")

        admission = Admission(AdmissionRules(max_connections=1))
        guard = GuardFactory(Failing(), clock=self.clock, admission=admission)
        self.assertRaises(RuntimeError, connect_peer, guard)
        self.assertEqual(admission.open, 0)

    def test_a_factory_of_ours(self) -> None:
        """A factory of ours may reject a client that the guard admits."""
        inner = EchoFactory(
            clock=self.clock, admission=Admission(AdmissionRules(max_connections=1))
        )
        admission = Admission(AdmissionRules())
        guard = GuardFactory(inner, clock=self.clock, admission=admission)
        first = connect_peer(guard)
        self.assertRaises(ConnectionRefusedError, connect_peer, guard)
        self.assertEqual((admission.open, len(inner)), (1, 1))
        first.send(b"echo")
        self.assertEqual(first.received, b"echo")
        first.write_eof()
        self.assertEqual((admission.open, len(inner), len(guard)), (0, 0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_application_protocols(self) -> None:
        """TLS, Twisted's own too, asks the factory that it wraps for its protocols, if any."""

        @implementer(IProtocolNegotiationFactory)
        class Negotiating(Factory):  # type: ignore[type-arg]
            def acceptableProtocols(self) -> list[bytes]:
                return [b"h2", b"http/1.1"]

        for wraps in (
            lambda factory: GuardFactory(factory, clock=self.clock),
            lambda factory: IdleTimeoutFactory(factory, clock=self.clock),
        ):
            for inner in (Negotiating(), WrappingFactory(Negotiating()), wraps(Negotiating())):
                outer = wraps(inner)
                self.assertTrue(IProtocolNegotiationFactory.providedBy(outer))
                self.assertEqual(outer.acceptableProtocols(), [b"h2", b"http/1.1"])
            self.assertFalse(IProtocolNegotiationFactory.providedBy(wraps(Factory())))

    def test_the_default_limits(self) -> None:
        """Limits of one's own have their own queue limit; single limits change only themselves."""
        self.assertEqual(self.guard(idle_timeout=5).limits.queue_limit, GUARD_LIMITS.queue_limit)
        self.assertEqual(self.guard(queue_limit=99).limits.queue_limit, 99)
        self.assertEqual(self.guard(limits=Limits()).limits, Limits())

    def test_starting_and_stopping(self) -> None:
        """The wrapped factory is started and stopped with the guard."""

        class Starting(Factory):  # type: ignore[type-arg]
            noisy = False
            told: list[str] = []

            def startFactory(self) -> None:
                self.told.append("start")

            def stopFactory(self) -> None:
                self.told.append("stop")

        guard = GuardFactory(Starting(), clock=self.clock)
        guard.doStart()
        guard.doStop()
        self.assertEqual(Starting.told, ["start", "stop"])
        self.assertEqual(guard.logPrefix(), "Starting")

    def test_nobody_new(self) -> None:
        guard = self.guard()
        guard.accepts = False
        self.assertIsInstance(guard.buildProtocol(None), RejectingProtocol)
