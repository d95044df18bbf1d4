"""Connections that are ended from outside, by ``loseConnection`` of their transport."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made, made_tls
from twisted_net.connection.connection import State
from twisted_net.connection.guard import GuardFactory
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED
from twisted_net.testing import Peer, advance, connect_peer, connect_tls_peer


class OutsideTests(SynchronousTestCase):
    """Whoever calls ``loseConnection`` gets the connection's own close, with its grace."""

    def test_over_tls(self) -> None:
        """TLS would wait for its producer, which is the connection."""
        connection, peer = made_tls()
        connection.send(b"bye")
        peer.loseConnection()
        self.assertEqual(peer.received, b"bye\n")
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_plain(self) -> None:
        """The connection half-closes, and its peer has the grace to read the rest."""
        connection, peer = made()
        connection.send(b"bye")
        peer.loseConnection()
        peer.loseConnection()
        self.assertEqual(peer.received, b"bye\n")
        self.assertIs(connection.state, State.CLOSING)
        self.assertTrue(peer.finished)
        self.assertTrue(peer.connected)
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_what_is_queued_goes_first(self) -> None:
        """What waits in the send queue, or only in the transport, is sent before the end."""
        for make in (made, made_tls):
            for queued in (b"", b"x" * 200_000):
                connection, peer = make()
                peer.full()
                connection.transport.write(b"first\n")
                if queued:
                    connection.send(queued)
                peer.loseConnection()
                self.assertIs(connection.state, State.CLOSING)
                peer.drain()
                peer.write_eof()
                self.assertEqual(peer.received, b"first\n" + (queued and queued + b"\n"))
                self.assertEqual(connection.events, ["connected", CLOSED])

    def test_a_peer_that_does_not_read(self) -> None:
        """The grace limits the wait."""
        for make in (made, made_tls):
            connection, peer = make(close_grace=5)
            peer.full()
            connection.send(b"x" * 200_000)
            peer.loseConnection()
            advance(peer.clock, 4)
            self.assertIs(connection.state, State.CLOSING)
            advance(peer.clock, 4)
            self.assertIs(connection.state, State.CLOSED)
            self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_during_the_handshake(self) -> None:
        """A connection that waits for its handshake also ends."""
        peer = connect_tls_peer(factory_of(Recorder))
        peer.loseConnection()
        peer.turn()
        self.assertIs(peer.protocol.reason, CLOSED)
        self.assertFalse(peer.connected)

    def test_below_wrappers(self) -> None:
        """A wrapper, or whoever has the transport below it, ends the connection in the same way."""
        for connect in (connect_peer, connect_tls_peer):
            for level in ("wrapper", "transport"):
                factory = factory_of(Recorder)
                around: Any = WrappingFactory(WrappingFactory(factory))
                peer: Peer = connect(around, clock=factory.clock)
                outer: Any = peer.protocol
                self.assertIsInstance(outer, ProtocolWrapper)
                connection = outer.wrappedProtocol.wrappedProtocol
                connection.send(b"bye")
                (peer if level == "transport" else outer).loseConnection()
                self.assertEqual(peer.received, b"bye\n")
                self.assertIs(connection.reason, CLOSED)
                peer.write_eof()
                self.assertIs(connection.state, State.CLOSED)

    def test_inside_a_guard(self) -> None:
        """A connection inside a guard registers itself with the guard, and must not hold it."""
        for connect in (connect_peer, connect_tls_peer):
            inner = factory_of(Recorder)
            peer = connect(GuardFactory(inner, clock=inner.clock))
            guard = peer.protocol
            connection = guard.wrapped
            connection.send(b"bye")
            connection.transport.loseConnection()
            self.assertEqual(peer.received, b"bye\n")
            peer.write_eof()
            self.assertIs(guard.reason, CLOSED)
            self.assertEqual(len(inner), 0)
            self.assertIs(connection.reason, CLOSED)

    def test_the_peers_own_end_is_told_as_such(self) -> None:
        """A peer that closes TLS is not taken for somebody here."""
        connection, peer = made_tls()
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", PEER_CLOSED])

    def test_nothing_is_kept(self) -> None:
        """After the end, the transport does not refer to the connection."""
        for make in (made, made_tls):
            for end in ("loseConnection", "reset", "abortConnection"):
                _, peer = make()
                getattr(peer, end)()
                peer.turn()
                peer.write_eof()
                self.assertFalse(peer.connected)
                self.assertNotIn("loseConnection", vars(peer))


class GuardedTests(SynchronousTestCase):
    def test_a_protocol_that_produces(self) -> None:
        """Whoever ends the real transport does not wait for a guarded protocol's producer."""

        class Producing(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                transport.registerProducer(self, True)

            def stopProducing(self) -> None:
                """Do nothing."""

        factory: Any = Factory.forProtocol(Producing)
        peer = connect_tls_peer(GuardFactory(factory, close_grace=5))
        peer.handshake()
        peer.loseConnection()
        peer.turn()
        self.assertFalse(peer.connected)
