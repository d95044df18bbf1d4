"""Connections over simulated TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made_tls
from twisted_net.policy.close_reasons import (
    CLOSED,
    FAILED,
    HANDSHAKE,
    IDLE,
    PEER_CLOSED,
    PEER_RESET,
)
from twisted_net.testing import TLSPeer, connect_tls_peer


class HandshakeTests(SynchronousTestCase):
    def test_connected_after_it(self) -> None:
        peer = connect_tls_peer(factory_of(Recorder))
        self.assertEqual(peer.protocol.events, [])
        peer.handshake()
        peer.handshake()
        self.assertEqual(peer.protocol.events, ["connected"])

    def test_fails(self) -> None:
        """If the handshake fails, no hooks are called, but the end is counted."""
        factory = factory_of(Recorder)
        peer = connect_tls_peer(factory)
        peer.reset()
        self.assertIs(peer.protocol.reason, HANDSHAKE)
        self.assertEqual(peer.protocol.events, [])
        self.assertEqual(len(factory), 0)

    def test_health_check(self) -> None:
        """A peer that connects and closes is not an error."""
        peer = connect_tls_peer(factory_of(Recorder))
        peer.write_eof()
        self.assertIs(peer.protocol.reason, PEER_CLOSED)
        self.assertEqual(peer.protocol.events, [])

    def test_silent(self) -> None:
        """The idle limit counts from the start."""
        peer = connect_tls_peer(factory_of(Recorder, idle_timeout=5))
        peer.advance(6.1)
        self.assertIs(peer.protocol.reason, IDLE)
        self.assertFalse(peer.connected)
        self.assertEqual(peer.protocol.events, [])

    def test_after_the_end(self) -> None:
        """A handshake that completes while closing does not open the connection."""
        peer = connect_tls_peer(factory_of(Recorder))
        peer.protocol.close()
        peer.protocol.handshakeCompleted()
        self.assertEqual(peer.protocol.events, [])

    def test_told_before_it(self) -> None:
        """``send_to_all`` skips peers in the handshake."""
        factory = factory_of(Recorder)
        peer = connect_tls_peer(factory)
        factory.send_to_all(b"news")
        peer.handshake()
        factory.send_to_all(b"more")
        self.assertEqual(peer.received, b"more\n")

    def test_read_during_it(self) -> None:
        """A connection is read during the handshake, although Twisted's TLS reports it as full."""
        peer = connect_tls_peer(factory_of(Recorder))
        peer.protocol.send(b"early")
        peer.full()
        self.assertTrue(peer.reading)
        peer.handshake()
        peer.drain()
        self.assertEqual(peer.received, b"early\n")

    def test_paused_during_it(self) -> None:
        """A pause holds from the end of the handshake on, and neither stops nor prolongs it."""

        class Early(Recorder):
            waits_for_handshake = False

        peer = connect_tls_peer(factory_of(Early))
        peer.protocol.pause()
        self.assertTrue(peer.reading)
        peer.handshake()
        self.assertFalse(peer.reading)
        peer.protocol.resume()
        self.assertTrue(peer.reading)
        peer = connect_tls_peer(factory_of(Early, handshake_timeout=5))
        peer.advance(3)
        peer.protocol.pause()
        peer.protocol.resume()
        peer.advance(3.6)
        self.assertIs(peer.protocol.reason, HANDSHAKE)

    def test_not_passed_on(self) -> None:
        """If a wrapper does not report the handshake, the first byte shows that it is done."""
        peer = connect_tls_peer(factory_of(Recorder))
        peer.send(b"a\n")
        self.assertEqual(peer.protocol.events, ["connected", b"a"])


class EndTests(SynchronousTestCase):
    def test_close(self) -> None:
        """Over TLS, which has no half-close, close() closes the connection."""
        connection, peer = made_tls()
        connection.send(b"bye")
        connection.close()
        self.assertEqual(peer.received, b"bye\n")
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_finish_closes(self) -> None:
        connection, peer = made_tls()
        peer.send(b"say a\nfinish\nb\n")
        self.assertEqual(peer.received, b"a\n")
        self.assertEqual(connection.events[-2:], [b"finish", CLOSED])

    def test_peer_ends_while_full(self) -> None:
        """A peer that closes while it does not read is gone once it has read everything."""

        class Reads(Recorder):
            reads_while_full = True

        connection, peer = made_tls(Reads)
        peer.full()
        connection.send(b"x" * 70_000)
        peer.write_eof()
        self.assertTrue(peer.connected)
        peer.drain()
        self.assertEqual(connection.events[-1], PEER_CLOSED)
        self.assertFalse(peer.connected)

    def test_peer_ends_with_the_message_that_fills(self) -> None:
        """The same, if one read has both the message and the end, as OpenSSL delivers them."""
        connection, peer = made_tls()
        connection.dataReceived(b"say " + b"x" * 65_531 + b"\nsay more\n")
        self.assertFalse(peer.reading)
        peer.resumeProducing()
        peer.write_eof()
        self.assertEqual(connection.events[-1], PEER_CLOSED)
        self.assertEqual(len(connection.factory), 0)

    def test_reset(self) -> None:
        connection, peer = made_tls()
        peer.reset()
        self.assertEqual(connection.events, ["connected", PEER_RESET])

    def test_failing_hook(self) -> None:
        connection, peer = made_tls()
        peer.send(b"fail\n")
        self.assertEqual(connection.events[-1], FAILED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class PausedTests(SynchronousTestCase):
    """What arrived before a clean end is delivered after a pause."""

    def paused(self, **limits: float) -> tuple[Any, TLSPeer]:
        """Return a connection that has paused with two messages to come, and whose peer closes."""
        connection, peer = made_tls(**limits)
        connection.dataReceived(b"pause\na\nb\n")
        peer.resumeProducing()  # OpenSSL delivers the end although the connection is paused
        peer.write_eof()
        return connection, peer

    def test_resumed(self) -> None:
        connection, peer = self.paused(idle_timeout=60)
        peer.advance(50)
        self.assertEqual(connection.events, ["connected", b"pause"])
        connection.resume()
        self.assertEqual(connection.events[2:], [b"a", b"b", PEER_CLOSED])
        self.assertEqual(len(connection.factory), 0)

    def test_within_the_grace(self) -> None:
        """Without an idle limit, the grace is the limit."""
        connection, peer = self.paused(idle_timeout=0, close_grace=5)
        peer.advance(4)
        connection.resume()
        self.assertEqual(connection.events[2:], [b"a", b"b", PEER_CLOSED])

    def test_never_resumed(self) -> None:
        for limits in ({"idle_timeout": 20}, {"idle_timeout": 0, "close_grace": 20}):
            connection, peer = self.paused(**limits)
            peer.advance(18)
            self.assertEqual(len(connection.factory), 1)
            peer.advance(5)
            self.assertEqual(connection.events, ["connected", b"pause", IDLE])
            self.assertEqual(len(connection.factory), 0)

    def test_each_pause_has_the_limit(self) -> None:
        connection, peer = made_tls(idle_timeout=20)
        connection.dataReceived(b"pause\npause\na\n")
        peer.resumeProducing()
        peer.write_eof()
        for _ in range(2):
            peer.advance(15)
            connection.resume()
        self.assertEqual(connection.events[1:], [b"pause", b"pause", b"a", PEER_CLOSED])

    def test_closed_meanwhile(self) -> None:
        connection, peer = self.paused(idle_timeout=60)
        connection.close()
        peer.advance(0.1)
        self.assertEqual(connection.events, ["connected", b"pause", CLOSED])

    def test_full(self) -> None:
        """A transport that is gone takes no answers, but the messages are delivered."""
        connection, peer = made_tls()
        waiting = []
        peer.full()
        waiting.append(connection.drained())
        connection.dataReceived(b"a\nb\n")
        connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(waiting[0])
        self.assertEqual(connection.events, ["connected", b"a", b"b", PEER_CLOSED])
        self.assertEqual(connection.factory.full, set())

    def test_reset(self) -> None:
        """After an end that is not clean, nothing is delivered."""
        connection, peer = made_tls()
        connection.dataReceived(b"pause\na\n")
        peer.reset()
        self.assertEqual(connection.events, ["connected", b"pause", PEER_RESET])
