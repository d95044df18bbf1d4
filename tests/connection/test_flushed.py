"""``flushed()``: when the kernel has taken what was sent; and what else is known about a buffer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made, made_tls
from twisted_net import LocalProtocolError, OverflowPolicy
from twisted_net.connection.connection import Connection
from twisted_net.testing import connect_tls_peer

_LARGE = b"x" * 100_000


class FlushedTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """If the socket takes it, it fires in the next turn."""
        for make in (made, made_tls):
            connection, peer = make()
            connection.send(b"a")
            flushed = connection.flushed()
            self.assertNoResult(flushed)
            peer.turn()
            self.successResultOf(flushed)
            self.assertEqual(peer.received, b"a\n")

    def test_nothing_was_sent(self) -> None:
        connection, peer = made()
        flushed = connection.flushed()
        peer.turn()
        self.successResultOf(flushed)

    def test_a_slow_peer(self) -> None:
        """It waits until the peer has taken everything, also of what waits in the queue."""
        for make in (made, made_tls):
            connection, peer = make()
            peer._credit = 0  # the kernel is full, and the transport is not
            for size in (10, 100_000, 1):  # in the transport, it is full, in the queue
                connection.send(b"y" * size)
            flushed = connection.flushed()
            peer.advance(1)
            self.assertNoResult(flushed)
            peer.drain(100_000)
            peer.advance(1)
            self.assertNoResult(flushed)
            peer.drain()
            peer.advance(1)
            self.successResultOf(flushed)

    def test_a_little_that_waits(self) -> None:
        """A transport that is not full tells nothing by itself when it is empty again."""
        connection, peer = made()
        peer._credit = 0
        connection.send(b"a")
        flushed = connection.flushed()
        peer.advance(10)
        self.assertNoResult(flushed)
        peer.drain()
        peer.advance(0.2)
        self.successResultOf(flushed)
        self.assertEqual(peer.received, b"a\n")

    def test_more_is_sent_meanwhile(self) -> None:
        """What is sent later is not waited for, although the transport never gets empty."""
        connection, peer = made()
        peer._credit = 0
        connection.send(b"a" * 999)
        flushed = connection.flushed()
        later = []
        for _ in range(20):
            connection.send(b"b" * 999)
            later.append(connection.flushed())
        peer.drain(1000)
        peer.advance(0.2)
        self.successResultOf(flushed)
        self.assertNoResult(later[0])
        peer.drain(1000)
        peer.advance(0.2)
        self.successResultOf(later[0])
        self.assertNoResult(later[1])
        peer.drain()
        peer.advance(0.2)
        for each in later[1:]:
            self.successResultOf(each)

    def test_in_order(self) -> None:
        """A callback may send and wait again."""
        connection, peer = made()
        done: list[int] = []

        def again(_: None, number: int) -> None:
            done.append(number)
            if number < 5:
                connection.send(_LARGE)
                connection.flushed().addCallback(again, number + 1)

        again(None, 0)
        peer.advance(1)
        self.assertEqual(done, [0, 1, 2, 3, 4, 5])
        self.assertEqual(len(peer.received), 5 * 100_001)

    def test_the_end(self) -> None:
        """It fails if the connection ends before; afterwards, nobody knows."""
        connection, peer = made()
        peer.full()
        connection.send(_LARGE)
        flushed = connection.flushed()
        peer.reset()
        self.failureResultOf(flushed, CancelledError)
        self.failureResultOf(connection.flushed(), CancelledError)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """What was sent before ``close()`` goes out, and is told."""
        for make in (made, made_tls):
            for size in (1, 100_000):
                connection, peer = make()
                connection.send(b"x" * size)
                flushed = connection.flushed()
                connection.close()
                peer.write_eof()
                peer.advance(1)
                self.successResultOf(flushed)
                self.assertEqual(len(peer.received), size + 1)

    def test_it_ends_before_the_next_turn(self) -> None:
        """A clean end, with everything written, is no failure."""
        connection, peer = made()
        connection.send(b"a")
        flushed = connection.flushed()
        peer.unsent.clear()
        connection.close()
        connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(flushed)

    def test_handshake(self) -> None:
        """What is sent before the end of a handshake waits for it."""

        class Early(Recorder):
            waits_for_handshake = False

            def connected(self) -> None:
                self.send(b"a")

        peer = connect_tls_peer(factory_of(Early))
        flushed = peer.protocol.flushed()
        peer.advance(1)
        self.assertNoResult(flushed)
        peer.handshake()
        peer.advance(1)
        self.successResultOf(flushed)
        peer = connect_tls_peer(factory_of(Early))
        flushed = peer.protocol.flushed()
        peer.reset()
        self.failureResultOf(flushed, CancelledError)

    def test_too_early(self) -> None:
        self.failureResultOf(Connection().flushed(), LocalProtocolError)

    def test_dropped_messages(self) -> None:
        """A message that the overflow policy drops is not waited for."""
        for policy in (OverflowPolicy.DROP_OLDEST, OverflowPolicy.DROP_NEWEST):
            connection, peer = made(queue_limit=10, overflow_policy=policy)
            peer.full()
            waiting = []
            for _ in range(10):
                connection.send(b"123456")
                waiting.append(connection.flushed())
            peer.drain()
            peer.advance(1)
            for each in waiting:
                self.successResultOf(each)

    def test_cancelled(self) -> None:
        """One who stops waiting disturbs nobody."""
        connection, peer = made()
        peer.full()
        connection.send(_LARGE)
        first, second = connection.flushed(), connection.flushed()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        peer.drain()
        peer.advance(1)
        self.successResultOf(second)

    def test_it_does_not_poll_a_full_transport(self) -> None:
        """A full transport tells when it is empty, so nobody asks it."""
        connection, peer = made(stall_timeout=0)
        peer.full()
        connection.send(_LARGE)
        connection.flushed()
        peer.turn()
        self.assertEqual(peer.clock.getDelayedCalls(), [])


class KnownTests(SynchronousTestCase):
    """Small properties of a connection."""

    def test_write_buffer_size(self) -> None:
        """All bytes that wait in the process: the transport's and the queue's."""
        connection, peer = made()
        self.assertEqual(connection.write_buffer_size, 0)
        peer.full()
        connection.send(b"123456")
        self.assertEqual((connection.queued, connection.write_buffer_size), (7, 7))
        peer._credit = 3
        connection, peer = made()
        peer._credit = 3
        connection.send(b"123456")
        peer.turn()
        self.assertEqual((connection.queued, connection.write_buffer_size), (0, 4))
        self.assertEqual(Connection().write_buffer_size, 0)

    def test_is_paused(self) -> None:
        """Only ``pause()`` counts, as in Node."""
        connection, peer = made()
        peer.full()
        self.assertFalse(connection.is_paused)
        connection.pause()
        self.assertTrue(connection.is_paused)
        connection.resume()
        self.assertFalse(connection.is_paused)

    def states(self, connection: Any) -> tuple[bool, bool]:
        return connection.is_readable, connection.is_writable

    def test_readable_and_writable(self) -> None:
        """Node's readyState: open, readOnly, writeOnly, closed."""

        class HalfOpen(Recorder):
            def eof_received(self) -> None:
                pass

        self.assertEqual(self.states(Connection()), (False, False))
        connection, peer = made(HalfOpen)
        self.assertEqual(self.states(connection), (True, True))
        connection.write_eof()
        self.assertEqual(self.states(connection), (True, False))
        connection, peer = made(HalfOpen)
        peer.write_eof()
        self.assertEqual(self.states(connection), (False, True))
        connection.close()
        self.assertEqual(self.states(connection), (False, False))
        connection, peer = made(HalfOpen)
        peer.reset()
        self.assertEqual(self.states(connection), (False, False))
