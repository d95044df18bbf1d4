"""Asynchronous hooks: one at a time, in order, cancelled with the connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting, factory_of, made, made_tls
from twisted_net.policy.close_reasons import CLOSED, FAILED, KICKED, PEER_CLOSED, PEER_RESET
from twisted_net.testing import connect_peer


class OneAtATimeTests(SynchronousTestCase):
    def test_in_order(self) -> None:
        """The next message waits for the hook, and the peer is not read meanwhile."""
        connection, peer = made(Waiting)
        peer.send(b"a\nb\n", b"c\n")
        self.assertEqual(connection.events, ["connected", b"a"])
        self.assertFalse(peer.reading)
        self.assertEqual(peer.unread, b"c\n")
        for expected in (b"a", b"b", b"c"):
            self.assertEqual(connection.events[-1], expected)
            connection.hooks[-1].callback(None)
            peer.turn()
        self.assertTrue(peer.reading)
        self.assertEqual(peer.received, b"answer to a\nanswer to b\nanswer to c\n")

    def test_deferred(self) -> None:
        """A hook may return a Deferred. One that has already fired delays nothing."""

        class Slow(Recorder):
            def message_received(self, message: bytes) -> Any:
                self.events.append(message)
                return hook if message == b"wait" else succeed(None)

        hook: Deferred[None] = Deferred()
        connection, peer = made(Slow)
        peer.send(b"a\nb\nwait\nc\n")
        self.assertEqual(connection.events[1:], [b"a", b"b", b"wait"])
        hook.callback(None)
        self.assertEqual(connection.events[1:], [b"a", b"b", b"wait", b"c"])

    def test_other_results(self) -> None:
        """Other results of a hook are ignored."""

        class Odd(Recorder):
            def message_received(self, message: bytes) -> Any:
                self.events.append(message)
                return message

        connection, peer = made(Odd)
        peer.send(b"a\nb\n")
        self.assertEqual(connection.events[1:], [b"a", b"b"])

    def test_connected(self) -> None:
        """Messages wait for an asynchronous connected()."""
        hook: Deferred[None] = Deferred()

        class Slow(Recorder):
            async def connected(self) -> None:  # type: ignore[override]
                await hook
                self.send("welcome")

        connection, peer = made(Slow)
        peer.send(b"say a\n")
        self.assertEqual(connection.events, [])
        hook.callback(None)
        self.assertEqual(peer.received, b"welcome\na\n")

    def test_waits_until_drained(self) -> None:
        """A hook may wait until the peer reads what it is sent."""

        class Polite(Recorder):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                for _ in range(20):
                    self.send(b"x" * 9999)
                    await self.drained()
                    most.append(self.queued)
                self.events.append(b"done " + message)

        most: list[int] = []
        connection, peer = made(Polite)
        peer.send(b"a\nb\n")
        self.assertEqual(len(peer.received), 400_000)
        self.assertEqual(connection.events[1:], [b"done a", b"done b"])
        self.assertLessEqual(max(most), 10_000)

    def test_many_waiting_messages(self) -> None:
        """A peer that sends many messages at once costs no more per message."""
        connection, peer = made(Waiting)
        peer.send(b"\n" * 3000)
        for position in range(3000):
            connection.hooks[position].callback(None)
        peer.turn()
        self.assertEqual(connection.messages_received, 3000)
        self.assertTrue(peer.reading)


class EndWhileRunningTests(SynchronousTestCase):
    def test_peer_finishes(self) -> None:
        """A half-closed peer still gets every answer; then the connection closes."""
        connection, peer = made(Waiting)
        peer.send(b"a\nb\n")
        peer.write_eof()
        connection.hooks[0].callback(None)
        peer.turn()
        self.assertTrue(peer.connected)
        connection.hooks[1].callback(None)
        self.assertEqual(peer.received, b"answer to a\nanswer to b\n")
        self.assertEqual(connection.events[-1], PEER_CLOSED)

    def test_peer_resets(self) -> None:
        """A reset cancels the hook, which is not a failure, and drops waiting messages."""
        connection, peer = made(Waiting)
        peer.send(b"a\nb\n")
        peer.reset()
        self.assertEqual(connection.cancelled, 1)
        self.assertEqual(connection.events, ["connected", b"a", PEER_RESET])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_abort(self) -> None:
        connection, peer = made(Waiting)
        peer.send(b"a\nb\n")
        connection.abort(KICKED)
        peer.turn()
        self.assertEqual(connection.cancelled, 1)
        self.assertEqual(connection.events, ["connected", b"a", KICKED])

    def test_cleans_up_when_cancelled(self) -> None:
        """A cancelled hook may still call any method, and wait for more."""
        more: Deferred[None] = Deferred()

        class Tidy(Recorder):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                try:
                    await Deferred()
                except CancelledError:
                    self.send(b"late")
                    self.close()
                    self.pause()
                    self.resume()
                    await more
                    self.events.append("tidy")

        connection, peer = made(Tidy)
        peer.send(b"a\nb\n")
        peer.reset()
        self.assertEqual(connection.events, ["connected", PEER_RESET])
        more.callback(None)
        peer.turn()
        self.assertEqual(connection.events, ["connected", PEER_RESET, "tidy"])

    def test_fails_when_cancelled(self) -> None:
        """If a cancelled hook raises, the error is logged and the reason stays."""

        class Untidy(Recorder):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                try:
                    await Deferred()
                finally:
                    raise RuntimeError("untidy")

        connection, peer = made(Untidy)
        peer.send(b"a\n")
        peer.reset()
        self.assertEqual(connection.events, ["connected", PEER_RESET])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_cancelled_by_others(self) -> None:
        """On an open connection, a hook that is cancelled has failed."""
        connection, peer = made(Waiting)
        peer.send(b"a\n")
        connection.hooks[0].cancel()
        peer.write_eof()
        self.assertEqual(connection.events[-1], FAILED)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_closed_from_outside(self) -> None:
        """While a hook runs, close() still reads the peer's FIN, and the hook is then cancelled."""
        connection, peer = made(Waiting)
        peer.send(b"a\nb\n")
        connection.close(KICKED)
        peer.write_eof()
        self.assertEqual(connection.cancelled, 1)
        self.assertEqual(connection.events, ["connected", b"a", KICKED])

    def test_closes_and_goes_on(self) -> None:
        """A hook that closes and then waits does not keep the peer's FIN from being read."""

        class Tidy(Waiting):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                self.send(b"bye")
                self.close()
                await super().message_received(message)

        connection, peer = made(Tidy)
        peer.send(b"a\nb\n")
        self.assertTrue(peer.reading)
        peer.write_eof()
        self.assertEqual(peer.received, b"bye\n")
        self.assertEqual(connection.events, ["connected", b"a", CLOSED])
        self.assertEqual(connection.cancelled, 1)
        self.assertFalse(peer.aborted)

    def test_waiting_message_closes(self) -> None:
        """If a message that had to wait closes, the peer's FIN is still read."""

        class Quits(Waiting):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                if message == b"quit":
                    self.close()
                else:
                    await super().message_received(message)

        connection, peer = made(Quits)
        peer.send(b"a\nquit\n")
        connection.hooks[0].callback(None)
        peer.write_eof()
        self.assertEqual(peer.received, b"answer to a\n")
        self.assertEqual(connection.events[-1], CLOSED)
        self.assertFalse(peer.aborted)

    def test_one_connection_does_not_hold_up_another(self) -> None:
        factory = factory_of(Waiting)
        one, other = connect_peer(factory), connect_peer(factory)
        one.send(b"a\n")
        other.send(b"b\n")
        other.protocol.hooks[0].callback(None)
        self.assertEqual(other.received, b"answer to b\n")
        self.assertEqual(one.received, b"")


class LostWithMessagesTests(SynchronousTestCase):
    """TLS has no half-close: a peer that has sent its last messages is gone at once."""

    def lost(self, protocol: Any = Waiting) -> tuple[Any, Any]:
        connection, peer = made_tls(protocol)
        peer.send(b"a\nb\n")
        peer.resumeProducing()  # the end was read together with the messages
        peer.write_eof()
        self.assertFalse(peer.connected)
        return connection, peer

    def test_are_delivered_first(self) -> None:
        connection, peer = self.lost()
        connection.hooks[0].callback(None)
        self.assertEqual(connection.events[1:], [b"a", b"done a", b"b"])
        self.assertEqual(len(connection.factory), 1)
        connection.hooks[1].callback(None)
        self.assertEqual(connection.events[1:], [b"a", b"done a", b"b", b"done b", PEER_CLOSED])
        self.assertEqual(len(connection.factory), 0)
        self.assertEqual(peer.received, b"")

    def test_not_after_close(self) -> None:
        """After a hook closes, no message is delivered, even if the peer is gone."""

        class Closes(Waiting):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                await super().message_received(message)
                self.close(KICKED)

        connection, peer = self.lost(Closes)
        connection.hooks[0].callback(None)
        peer.turn()
        self.assertEqual(connection.events[1:], [b"a", b"done a", KICKED])
        self.assertEqual(len(connection.factory), 0)

    def test_closed_from_outside(self) -> None:
        """A hook that never ends cannot keep a connection whose transport is gone."""
        for end in ("close", "abort"):
            connection, peer = self.lost()
            getattr(connection.factory, end)(KICKED)
            peer.turn()
            self.assertEqual(connection.cancelled, 1)
            self.assertEqual(connection.events[1:], [b"a", KICKED])
            self.assertEqual(len(connection.factory), 0)

    def test_failure(self) -> None:
        connection, _ = self.lost()
        connection.hooks[0].errback(RuntimeError("fails"))
        self.assertEqual(connection.events[1:], [b"a", FAILED])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_paused_meanwhile(self) -> None:
        """pause() delays the remaining messages, and the end comes after them."""

        class Pauses(Waiting):
            async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                await super().message_received(message)
                self.pause()

        connection, _ = self.lost(Pauses)
        connection.hooks[0].callback(None)
        self.assertEqual(connection.events[1:], [b"a", b"done a"])
        connection.resume()
        connection.hooks[1].callback(None)
        connection.resume()
        self.assertEqual(connection.events[-1], PEER_CLOSED)

    def test_reset_forgets_them(self) -> None:
        connection, peer = made_tls(Waiting)
        peer.send(b"a\nb\n")
        peer.reset()
        self.assertEqual(connection.events[1:], [b"a", PEER_RESET])
