"""Connections over simulated TLS."""

from __future__ import annotations

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
from twisted_net.testing import connect_tls_peer


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
