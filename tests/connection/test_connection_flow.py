"""Pausing, peers that do not read, and half-closes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, made
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED, SLOW
from twisted_net.policy.limits import OverflowPolicy


class PauseTests(SynchronousTestCase):
    def test_outside_of_hooks(self) -> None:
        connection, peer = made()
        connection.pause()
        connection.pause()
        peer.send(b"a\n")
        self.assertEqual(connection.events, ["connected"])
        self.assertEqual(peer.unread, b"a\n")
        connection.resume()
        connection.resume()
        peer.turn()
        self.assertEqual(connection.events, ["connected", b"a"])

    def test_inside_of_a_hook(self) -> None:
        """When a hook pauses, messages that were already read wait too."""
        connection, peer = made()
        peer.send(b"a\npause\nb\nc\n")
        self.assertEqual(connection.events[1:], [b"a", b"pause"])
        self.assertFalse(peer.reading)
        connection.resume()
        self.assertEqual(connection.events[1:], [b"a", b"pause", b"b", b"c"])
        self.assertTrue(peer.reading)

    def test_resumes_inside_of_a_hook(self) -> None:
        """pause() and resume() in one hook change nothing, and the order stays."""

        class Hasty(Recorder):
            def message_received(self, message: bytes) -> None:
                self.pause()
                self.resume()
                self.events.append(message)

        connection, peer = made(Hasty)
        peer.send(b"a\nb\nc\n")
        self.assertEqual(connection.events[1:], [b"a", b"b", b"c"])
        self.assertTrue(peer.reading)

    def test_when_connected(self) -> None:
        """If paused from the start, no byte is read until resume()."""

        class Shy(Recorder):
            def connected(self) -> None:
                self.pause()

        connection, peer = made(Shy)
        peer.send(b"a\n")
        self.assertEqual((connection.bytes_received, peer.unread), (0, b"a\n"))
        connection.resume()
        peer.turn()
        self.assertEqual(connection.events, [b"a"])

    def test_resumed_by_a_message_hook(self) -> None:
        """While resume() delivers messages, one of them may pause again."""
        connection, peer = made()
        peer.send(b"pause\na\npause\nb\n")
        connection.resume()
        self.assertEqual(connection.events[1:], [b"pause", b"a", b"pause"])
        connection.resume()
        self.assertEqual(connection.events[-1], b"b")

    def test_end_waits_for_paused_messages(self) -> None:
        """All messages of a peer that has closed are delivered."""
        connection, peer = made()
        peer.send(b"pause\nsay a\n")
        peer.write_eof()
        self.assertTrue(peer.connected)
        connection.resume()
        self.assertEqual(peer.received, b"a\n")
        self.assertEqual(connection.events[-1], PEER_CLOSED)

    def test_closed_by_a_paused_message(self) -> None:
        """A message that waited in a pause may close: the peer's FIN is still read."""
        connection, peer = made()
        peer.send(b"pause\nclose\n")
        connection.resume()
        peer.write_eof()
        self.assertEqual(connection.events[-1], CLOSED)
        self.assertFalse(peer.aborted)

    def test_closed_while_paused(self) -> None:
        connection, peer = made()
        connection.pause()
        connection.close()
        peer.write_eof()
        self.assertEqual(connection.events[-1], CLOSED)

    def test_paused_while_closing(self) -> None:
        """pause() after close() does not keep the peer's FIN from being read."""
        connection, peer = made()
        connection.close()
        connection.pause()
        peer.write_eof()
        self.assertEqual(connection.events[-1], CLOSED)
        self.assertFalse(peer.aborted)

    def test_data_inside_of_a_hook(self) -> None:
        """Messages that arrive while one is delivered come after those that were there."""

        class Nested(Recorder):
            def message_received(self, message: bytes) -> None:
                super().message_received(message)
                if message == b"a":
                    self.dataReceived(b"c\nd\n")

        connection, peer = made(Nested)
        peer.send(b"a\nb\n")
        self.assertEqual(connection.events[1:], [b"a", b"b", b"c", b"d"])


class FullTests(SynchronousTestCase):
    def test_peer_is_not_read(self) -> None:
        """A peer that does not read is not read either."""
        connection, peer = made()
        peer.full()
        peer.send(b"say a\n")
        self.assertFalse(peer.reading)
        self.assertEqual(connection.messages_received, 0)
        peer.drain()
        self.assertEqual(peer.received, b"a\n")

    def test_peer_is_read(self) -> None:
        """With reads_while_full, it is read, and its answers wait in the queue."""

        class Reads(Recorder):
            reads_while_full = True

        connection, peer = made(Reads)
        peer.full()
        peer.send(b"say a\n")
        self.assertTrue(peer.reading)
        self.assertEqual(connection.queued, 2)
        peer.drain()
        self.assertEqual(peer.received, b"a\n")

    def test_send_says_so(self) -> None:
        connection, peer = made()
        self.assertTrue(connection.send_encoded(b"x" * 65_536))
        self.assertFalse(connection.send_encoded(b"x"))
        self.assertFalse(connection.send_encoded(b"x"))
        peer.turn()
        self.assertTrue(connection.send_encoded(b"x"))
        self.assertEqual(len(peer.received), 65_539)

    def test_full_and_paused(self) -> None:
        """A peer is read only when no pause reason is left."""
        connection, peer = made()
        connection.pause()
        peer.full()
        peer.send(b"a\n")
        peer.drain()
        self.assertFalse(peer.reading)
        peer.full()
        connection.resume()
        self.assertFalse(peer.reading)
        peer.drain()
        self.assertEqual(connection.events[-1], b"a")

    def test_order(self) -> None:
        """Queued data goes out before what is sent later, also in hooks."""
        connection, peer = made()
        peer.full()
        expected = b""
        for number in range(2000):
            line = b"%d " % number * 20
            connection.send(line)
            expected += line + b"\n"
        peer.send(b"say last\n")
        for _ in range(10):
            peer.drain(9000)
        self.assertEqual(peer.received, expected[:90_000])
        peer.drain()
        self.assertEqual(peer.received, expected + b"last\n")

    def test_drained(self) -> None:
        connection, peer = made()
        self.successResultOf(connection.drained())
        peer.full()
        waiting = [connection.drained(), connection.drained()]
        connection.send(b"x" * 100_000)
        self.assertNoResult(waiting[0])
        peer.drain(50_000)
        self.assertNoResult(waiting[0])
        peer.drain()
        for each in waiting:
            self.successResultOf(each)

    def test_drained_one_after_another(self) -> None:
        """A waiter is not woken if another's bytes have filled the transport again."""
        connection, peer = made(queue_limit=100_000)
        peer.full()
        most = []

        def fill(_: None) -> None:
            connection.send(b"x" * 70_000)
            most.append(connection.queued)

        for _ in range(5):
            connection.drained().addCallback(fill)
        peer.drain()
        self.assertEqual(len(peer.received), 5 * 70_001)
        self.assertEqual(most, [0] * 5)
        self.assertIs(connection.reason, None)

    def test_drained_given_up(self) -> None:
        """A Deferred that its owner has cancelled does no harm."""
        connection, peer = made()
        peer.full()
        waiting = connection.drained()
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        peer.drain()
        self.assertIs(connection.reason, None)

    def test_drop_rules(self) -> None:
        """The queue keeps the newest or the oldest messages, and only whole ones."""
        for rule, kept in (
            (OverflowPolicy.DROP_OLDEST, b"c\nd\n"),
            (OverflowPolicy.DROP_NEWEST, b"a\nb\n"),
        ):
            connection, peer = made(queue_limit=4, overflow_policy=rule)
            peer.full()
            for line in (b"a", b"b", b"c", b"d"):
                self.assertFalse(connection.send(line))
            self.assertEqual(connection.queued, 4)
            peer.drain()
            self.assertEqual(peer.received, kept)
            self.assertIs(connection.reason, None)

    def test_one_message_over_the_limit(self) -> None:
        """A single message may be larger than the limit, which is for what waits."""
        connection, peer = made(queue_limit=4)
        peer.full()
        connection.send(b"0123456789")
        self.assertIs(connection.reason, None)
        connection.send(b"")
        self.assertIs(connection.reason, SLOW)


class HalfCloseTests(SynchronousTestCase):
    def test_peer_that_does_not_read_finishes(self) -> None:
        """If the FIN comes while answers wait, all are sent before the connection closes."""
        connection, peer = made()
        peer.send(b"say " + b"x" * 60_000 + b"\n", b"say " + b"y" * 60_000 + b"\n")
        peer.full()
        peer.send(b"say z\n")
        peer.write_eof()
        peer.turn()
        self.assertTrue(peer.connected)
        peer.drain()
        self.assertEqual(len(peer.received), 120_004)
        self.assertEqual(connection.events[-1], PEER_CLOSED)
        self.assertFalse(peer.aborted)

    def test_finishes_while_full_and_read(self) -> None:
        """The same, with the FIN read while the transport is full."""

        class Reads(Recorder):
            reads_while_full = True

        connection, peer = made(Reads)
        peer.full()
        peer.send(b"say a\n")
        peer.write_eof()
        self.assertIs(connection.reason, PEER_CLOSED)
        self.assertTrue(peer.connected)
        peer.drain()
        self.assertEqual(peer.received, b"a\n")
        self.assertFalse(peer.connected)

    def test_finish(self) -> None:
        """write_eof() stops sending, but keeps reading until the peer closes too."""
        connection, peer = made()
        peer.send(b"say a\nfinish\nsay b\nc\n")
        self.assertEqual(peer.received, b"a\n")
        self.assertTrue(peer.finished)
        self.assertFalse(connection.send(b"late"))
        peer.send(b"d\n")
        self.assertEqual(connection.events[-2:], [b"c", b"d"])
        peer.write_eof()
        self.assertEqual(connection.events[-1], PEER_CLOSED)
        self.assertEqual(peer.received, b"a\n")

    def test_finish_while_full(self) -> None:
        connection, peer = made()
        peer.full()
        connection.send(b"x" * 70_000)
        connection.write_eof()
        connection.write_eof()
        peer.turn()
        self.assertFalse(peer.finished)
        peer.drain()
        self.assertEqual(len(peer.received), 70_001)
        self.assertTrue(peer.finished)
        self.assertTrue(peer.connected)

    def test_close_after_finish(self) -> None:
        connection, peer = made()
        connection.write_eof()
        peer.turn()
        connection.close()
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_grace_after_finish(self) -> None:
        connection, peer = made()
        connection.write_eof()
        peer.turn()
        connection.close()
        peer.advance(8)
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_finish_in_every_hook(self) -> None:
        """write_eof() after the peer's FIN ends the connection; in the last hook it is ignored."""

        class Finishes(Recorder):
            def disconnected(self, reason: Any) -> None:
                super().disconnected(reason)
                self.write_eof()

        connection, peer = made(Finishes)
        peer.send(b"pause\nfinish\n")
        peer.write_eof()
        connection.resume()
        peer.write_eof()
        self.assertEqual(connection.events[-1], PEER_CLOSED)
