"""``async for message in connection``."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, made, made_tls
from twisted_net import ConnectionClosed, LengthPrefixed, LocalProtocolError, Raw
from twisted_net.connection.connection import Connection, State
from twisted_net.policy.close_reasons import CLOSED, DRAINING, IDLE, PEER_CLOSED, PEER_RESET


class Loop:
    """A loop over the messages of a connection, outside of its hooks, as in a client."""

    def __init__(self, connection: Any, *, waits: bool = False) -> None:
        self.seen: list[Any] = []
        self.waiting: list[Deferred[None]] = []
        self._waits = waits
        self.done = Deferred.fromCoroutine(self._run(connection))

    async def _run(self, connection: Any) -> str:
        async for message in connection:
            self.seen.append(message)
            if message == b"stop":
                return "stopped"
            if self._waits:
                waiting: Deferred[None] = Deferred()
                self.waiting.append(waiting)
                await waiting
        return "ended"


class Iterating(Recorder):
    """Iterates in its hook ``connected``, as a server does."""

    async def connected(self) -> None:  # type: ignore[override]
        self.events.append("connected")
        async for message in self:
            self.events.append(message)
            if message == b"stop":
                break
            if message == b"wait":
                await deferLater(self.factory.clock, 5)  # type: ignore[arg-type]
            self.send(message.upper())
        self.events.append("after the loop")


class MessagesTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """Each message comes once and in order, whatever pieces it arrives in."""
        for make in (made, made_tls):
            connection, peer = make()
            loop = Loop(connection)
            peer.send(b"a\nb", b"\n", b"c\n")
            self.assertEqual(loop.seen, [b"a", b"b", b"c"])
            self.assertEqual(connection.messages_received, 3)
            self.assertEqual(connection.events, ["connected"])  # the hook does not get them
            self.assertNoResult(loop.done)

    def test_in_a_hook(self) -> None:
        """A server's ``connected`` may be the loop, and answers what comes."""
        for make in (made, made_tls):
            connection, peer = make(Iterating)
            peer.send(b"a\nwait\nb\n")
            self.assertEqual(peer.take(), b"A\n")
            peer.advance(5)
            self.assertEqual(peer.take(), b"WAIT\nB\n")
            peer.write_eof()
            peer.turn()
            self.assertEqual(connection.events[-2:], ["after the loop", PEER_CLOSED])

    def test_later_in_a_hook(self) -> None:
        """The loop may begin after the hook has waited for something."""

        class Later(Recorder):
            async def connected(self) -> None:  # type: ignore[override]
                await deferLater(self.factory.clock, 1)  # type: ignore[arg-type]
                async for message in self:
                    self.events.append(message)

        connection, peer = made(Later)
        peer.send(b"a\nb\n")
        self.assertEqual(connection.events, [])
        peer.advance(1)
        peer.send(b"c\n")
        self.assertEqual(connection.events, [b"a", b"b", b"c"])

    def test_raw(self) -> None:
        class RawRecorder(Recorder):
            framing = Raw

        connection, peer = made(RawRecorder)
        loop = Loop(connection)
        peer.send(b"ab", b"c")
        self.assertEqual(loop.seen, [b"ab", b"c"])

    def test_backpressure(self) -> None:
        """While the loop is busy, the peer is not read; nothing is lost."""
        for make in (made, made_tls):
            connection, peer = make()
            loop = Loop(connection, waits=True)
            self.assertTrue(peer.reading)
            peer.send(b"a\nb\nc\n", b"d\n")
            self.assertEqual(loop.seen, [b"a"])
            self.assertFalse(peer.reading)
            self.assertIn(b"d\n", peer.unread)
            for position, message in enumerate((b"b", b"c", b"d")):
                loop.waiting[position].callback(None)
                peer.turn()
                self.assertEqual(loop.seen[-1], message)
            loop.waiting[3].callback(None)
            peer.turn()
            self.assertTrue(peer.reading)

    def test_from_aiter_on(self) -> None:
        """Messages wait from ``aiter()`` on, also before the loop begins."""
        connection, peer = made()
        messages = aiter(connection)
        peer.send(b"a\n")
        self.assertEqual(connection.events, ["connected"])
        first = Deferred.fromCoroutine(_next(messages))
        peer.turn()
        self.assertEqual(self.successResultOf(first), b"a")
        peer.send(b"b\n")
        loop = Loop(connection)
        peer.turn()
        self.assertEqual(loop.seen, [b"b"])

    def test_a_loop_that_is_left(self) -> None:
        """After ``break`` nothing is read, until another loop begins or ``close()`` says so."""
        connection, peer = made()
        loop = Loop(connection)
        peer.send(b"a\nstop\nb\n")
        self.assertEqual(self.successResultOf(loop.done), "stopped")
        self.assertEqual(connection.events, ["connected"])
        again = Loop(connection)
        self.assertEqual(again.seen, [b"b"])
        peer.send(b"stop\nc\n")
        aiter(connection).close()
        self.assertEqual(connection.events, ["connected", b"c"])
        peer.send(b"d\n")
        self.assertEqual(connection.events, ["connected", b"c", b"d"])

    def test_two_loops(self) -> None:
        """Only one loop may wait at a time."""
        connection, _ = made()
        loop = Loop(connection)
        self.failureResultOf(Loop(connection).done, LocalProtocolError)
        self.assertNoResult(loop.done)

    def test_cancelled(self) -> None:
        """A loop that is cancelled takes no message with it."""
        connection, peer = made()
        loop = Loop(connection)
        loop.done.cancel()
        self.failureResultOf(loop.done, CancelledError)
        peer.send(b"a\n")
        loop = Loop(connection)
        peer.turn()
        self.assertEqual(loop.seen, [b"a"])

    def test_pause(self) -> None:
        """``pause()`` holds for a loop as well."""
        connection, peer = made()
        loop = Loop(connection)
        connection.pause()
        peer.send(b"a\n")
        self.assertEqual(loop.seen, [])
        connection.resume()
        peer.turn()
        self.assertEqual(loop.seen, [b"a"])

    def test_rate(self) -> None:
        """A peer that sends too fast is slowed down as usual."""
        connection, peer = made(rate=1, burst=2)
        loop = Loop(connection)
        peer.send(b"1\n2\n3\n4\n")
        self.assertEqual(len(loop.seen), 2)
        peer.advance(2.1)
        self.assertEqual(len(loop.seen), 4)

    def test_a_body_that_fails(self) -> None:
        """In a hook it closes the connection, as for any hook that raises."""

        class Failing(Recorder):
            async def connected(self) -> None:  # type: ignore[override]
                async for _ in self:
                    raise RuntimeError("the body fails")

        connection, peer = made(Failing)
        peer.send(b"a\n")
        self.assertEqual(connection.reason.code, "failed")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_too_early(self) -> None:
        self.assertRaises(LocalProtocolError, aiter, Connection())

    def test_it_costs_nothing(self) -> None:
        """A connection without a loop has no attribute for it, and one that has ended none left."""
        connection, peer = made()
        self.assertEqual([name for name in vars(connection) if "incoming" in name], [])
        loop = Loop(connection)
        peer.reset()
        self.failureResultOf(loop.done, ConnectionClosed)
        self.assertNotIn("message_received", vars(connection))


async def _next(messages: Any) -> Any:
    return await anext(messages)


class EndTests(SynchronousTestCase):
    """How a loop ends."""

    def test_the_peer_closes(self) -> None:
        """The loop ends after the last message."""
        for make in (made, made_tls):
            connection, peer = make()
            loop = Loop(connection, waits=True)
            peer.send(b"a\nb\n")
            peer.write_eof()
            self.assertEqual(loop.seen, [b"a"])
            self.assertIs(connection.reason, None)
            for position in range(2):
                loop.waiting[position].callback(None)
                peer.turn()
            self.assertEqual(loop.seen, [b"a", b"b"])
            peer.turn()
            self.assertEqual(self.successResultOf(loop.done), "ended")
            self.assertIs(connection.reason, PEER_CLOSED)

    def test_answers_are_sent(self) -> None:
        """A peer that has finished sending gets all answers, also slow ones."""
        connection, peer = made(Iterating)
        peer.send(b"a\nwait\nb\n")
        peer.write_eof()
        peer.advance(6)
        self.assertEqual(peer.received, b"A\nWAIT\nB\n")
        self.assertIs(connection.state, State.CLOSED)

    def test_half_open(self) -> None:
        """The loop ends when the peer has finished, and then this side may still send."""

        class HalfOpen(Recorder):
            def eof_received(self) -> None:
                pass

        connection, peer = made(HalfOpen)
        loop = Loop(connection)
        peer.write_eof()
        self.assertEqual(self.successResultOf(loop.done), "ended")
        connection.send(b"answer")
        self.assertEqual(peer.received, b"answer\n")
        self.assertEqual(self.successResultOf(Loop(connection).done), "ended")

    def test_this_side_closes(self) -> None:
        """``close()``, and a service that stops, are clean ends."""
        for reason in (CLOSED, DRAINING):
            connection, peer = made()
            loop = Loop(connection)
            connection.close(reason)
            peer.write_eof()
            self.assertEqual(self.successResultOf(loop.done), "ended")

    def test_unclean_ends(self) -> None:
        """Every other end raises, with its reason, in every loop from then on."""
        connection, peer = made(idle_timeout=5)
        loop = Loop(connection)
        peer.advance(20)
        error = self.failureResultOf(loop.done, ConnectionClosed).value
        self.assertIs(error.reason, IDLE)
        self.assertEqual(str(error), "Nothing was heard from you for too long.")
        self.failureResultOf(Loop(connection).done, ConnectionClosed)
        connection, peer = made()
        loop = Loop(connection)
        peer.reset()
        self.assertIs(self.failureResultOf(loop.done, ConnectionClosed).value.reason, PEER_RESET)
        connection, peer = made(max_message=3)
        loop = Loop(connection)
        peer.send(b"a\n123456\n")
        peer.write_eof()
        self.assertEqual(loop.seen, [b"a"])
        error = self.failureResultOf(loop.done, ConnectionClosed).value
        self.assertEqual((error.reason.code, bool(error.detail)), ("too-long", True))

    def test_cut_in_the_middle(self) -> None:
        """An end in the middle of a message raises, even if the peer has closed properly."""

        class Packets(Recorder):
            framing = LengthPrefixed

        for make in (made, made_tls):
            connection, peer = make(Packets)
            loop = Loop(connection)
            peer.send(b"\0\0\0\1a\0\0")
            peer.write_eof()
            peer.turn()
            self.assertEqual(loop.seen, [b"a"])
            error = self.failureResultOf(loop.done, ConnectionClosed).value
            self.assertIs(error.reason, PEER_CLOSED)
            self.assertIn("in the middle of a message", str(error))

    def test_after_the_end(self) -> None:
        """A loop that begins too late ends as the connection did."""
        connection, peer = made()
        peer.write_eof()
        peer.turn()
        self.assertEqual(self.successResultOf(Loop(connection).done), "ended")
        connection, peer = made()
        peer.reset()
        self.failureResultOf(Loop(connection).done, ConnectionClosed)

    def test_an_unclean_end_in_a_hook(self) -> None:
        """A hook that lets it pass has not failed: the connection's end is in the log anyway."""
        for end in ("reset", "late"):
            connection, peer = made(Iterating)
            peer.send(b"wait\n" if end == "late" else b"a\n")
            peer.reset()
            self.assertIs(connection.reason, PEER_RESET)
            self.assertEqual(connection.events[-1], PEER_RESET)
            self.assertNotIn("after the loop", connection.events)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_loop_ends_before_the_last_hook(self) -> None:
        connection, peer = made(Iterating)
        connection.close()
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", "after the loop", CLOSED])

    def test_busy_at_the_end(self) -> None:
        """Outside of a hook, a busy loop learns of the end at its next step."""
        connection, peer = made()
        loop = Loop(connection, waits=True)
        peer.send(b"a\nb\n")
        peer.reset()
        self.assertNoResult(loop.done)
        loop.waiting[0].callback(None)
        self.failureResultOf(loop.done, ConnectionClosed)

    def test_tls_closes_while_the_loop_is_busy(self) -> None:
        """What a TLS peer has sent before is delivered after however long."""
        connection, peer = made_tls(idle_timeout=5)
        loop = Loop(connection, waits=True)
        connection.dataReceived(b"a\nb\n")
        connection.connectionLost(Failure(ConnectionDone()))
        peer.advance(1000)
        loop.waiting[0].callback(None)
        self.assertEqual(loop.seen, [b"a", b"b"])
        self.assertIs(connection.state, State.DRAINING_INPUT)
        loop.waiting[1].callback(None)
        self.assertEqual(self.successResultOf(loop.done), "ended")

    def test_the_last_answer(self) -> None:
        """A loop that is busy with the last message when the peer finishes may still answer."""
        connection, peer = made()
        loop = Loop(connection, waits=True)
        peer.send(b"a\n")
        connection.readConnectionLost()
        self.assertIs(connection.reason, None)
        connection.send(b"answer")
        loop.waiting[0].callback(None)
        self.assertEqual(peer.received, b"answer\n")
        self.assertEqual(self.successResultOf(loop.done), "ended")


class AnyOrderTests(SynchronousTestCase):
    """Whatever happens in whatever order, each message is seen once and in order."""

    @given(
        st.booleans(),
        st.lists(
            st.one_of(
                st.tuples(st.just("send"), st.integers(1, 9)),
                st.tuples(st.just("go on"), st.integers(1, 9)),
                st.sampled_from([("pause", 0), ("resume", 0), ("full", 0), ("drain", 0)]),
                st.just(("cancel", 0)),
            ),
            max_size=40,
        ),
    )
    def test_any_order(self, tls: bool, steps: list[tuple[str, int]]) -> None:
        connection, peer = (made_tls if tls else made)()
        loops = [Loop(connection, waits=True)]
        sent = 0

        def seen() -> list[bytes]:
            return [message for loop in loops for message in loop.seen]

        def go_on() -> None:
            waiting = [each for each in loops[-1].waiting if not each.called]
            for each in waiting:
                each.callback(None)
            peer.turn()

        for step, count in steps:
            if step == "send":
                peer.send(b"".join(b"%d\r\n" % (sent + n) for n in range(count)))
                sent += count
            elif step == "go on":
                for _ in range(count):
                    go_on()
            elif step in ("pause", "resume"):
                getattr(connection, step)()
            elif step in ("full", "drain"):
                getattr(peer, step)()
            elif step == "cancel":
                loops[-1].done.cancel()
                loops[-1].done.addErrback(lambda failure: failure.trap(CancelledError))
                loops.append(Loop(connection, waits=True))
            self.assertIs(connection.reason, None)
            self.assertEqual(seen(), [b"%d" % n for n in range(len(seen()))])
        connection.resume()
        peer.drain()
        peer.write_eof()
        for _ in range(sent + 1):
            go_on()
        self.assertEqual(seen(), [b"%d" % n for n in range(sent)])
        self.assertEqual(self.successResultOf(loops[-1].done), "ended")
        self.assertEqual(connection.events, ["connected", PEER_CLOSED])
