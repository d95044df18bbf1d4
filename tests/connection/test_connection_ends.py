"""Every way in which a connection can end: reported once, with the right reason."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting, end_figures, factory_of, made
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import (
    BAD_INPUT,
    CLOSED,
    DRAINING,
    FAILED,
    IDLE,
    KICKED,
    PEER_CLOSED,
    PEER_RESET,
    SLOW,
    TOO_LONG,
)
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.wire.framing import JsonLines

HELLO = end_figures(received=(6, 1))
"""What the line about an end has if the peer has said hello."""


class StoppingReactor(Clock):
    """A clock that runs and stops as a reactor does."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self._triggers: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any, *args: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self._triggers.append((call, args))

    def stop(self) -> None:
        assert len(self._triggers) == 1
        for call, args in self._triggers:
            call(*args)
        self.running = False


class EndTests(SynchronousTestCase):
    def assert_ended(self, connection: Any, peer: Peer, reason: Any) -> None:
        """Check that the end was reported once, and that nothing is left of the connection."""
        self.assertEqual([each for each in connection.events if each == reason], [reason])
        self.assertIs(connection.events[-1], reason)
        self.assertIs(connection.reason, reason)
        self.assertFalse(peer.connected)
        self.assertEqual(len(connection.factory), 0)
        self.assertEqual(connection.factory.endings, {reason.code: 1})
        peer.advance(20)
        self.assertEqual(peer.clock.getDelayedCalls(), [])
        self.assertEqual(connection.events.count(reason), 1)

    def test_peer_finishes(self) -> None:
        connection, peer = made()
        peer.write_eof()
        self.assert_ended(connection, peer, PEER_CLOSED)
        self.assertFalse(peer.aborted)

    def test_what_is_logged(self) -> None:
        """The log has every end, or only the notable ones."""
        for settings, lines in (
            (
                {"log_ends": False},
                [f"Connection 2 from 192.0.2.2:54321 ended: kicked (by ann){end_figures()}"],
            ),
            (
                {},
                [
                    f"Connection 1 from 192.0.2.2:54321 ended: peer-closed{HELLO}",
                    f"Connection 2 from 192.0.2.2:54321 ended: kicked (by ann){end_figures()}",
                ],
            ),
        ):
            factory = factory_of(Recorder, **settings)
            with capturedLogs() as events:
                peer = connect_peer(factory)
                peer.send(b"hello\n")
                peer.write_eof()
                peer = connect_peer(factory)
                peer.protocol.close(KICKED, "by ann")
                peer.write_eof()
            self.assertEqual([formatEvent(event) for event in events], lines)

    def test_the_level(self) -> None:
        """``twist`` shows what ``twistd`` does, so no end is logged for debugging alone."""
        factory = factory_of(Recorder)
        with capturedLogs() as events:
            for end in (Peer.write_eof, Peer.reset):
                peer = connect_peer(factory)
                peer.send(b"x")
                end(peer)
            peer = connect_peer(factory)
            peer.protocol.close(KICKED)
            peer.write_eof()
        self.assertEqual([event["log_level"].name for event in events], ["info"] * 3)

    def test_a_silent_peer_is_not_logged(self) -> None:
        """A connection on which the peer never said a byte has no line, unless it is notable."""
        factory = factory_of(Recorder, idle_timeout=5)
        with capturedLogs() as events:
            for end in ("write_eof", "reset", "close"):
                peer = connect_peer(factory)
                peer.protocol.send(b"welcome")
                getattr(peer.protocol if end == "close" else peer, end)()
                peer.write_eof()
            silent = connect_tls_peer(factory)  # a check of the port, without a handshake
            silent.write_eof()
        self.assertEqual(events, [])
        self.assertEqual(factory.endings, {"peer-closed": 2, "peer-reset": 1, "closed": 1})
        with capturedLogs() as events:
            peer = connect_peer(factory)
            peer.advance(20)
            peer.write_eof()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [f"Connection 5 from 192.0.2.2:54321 ended: idle{end_figures(11.0)}"],
        )

    def test_the_name_is_logged(self) -> None:
        """The line has the name of who was connected, without what could forge a line."""

        class Named(Recorder):
            name = ""

            def name_for_log(self) -> str:
                return self.name

        factory = factory_of(Named)
        lines = {
            "ann": "peer-closed, user ann",
            "ann\n2026 [-] Connection 7": "peer-closed, user ann2026 [-] Connection 7",
            "\x1b[31mred": "peer-closed, user red",
            "Straße": "peer-closed, user Straße",
            "": "peer-closed",
        }
        for number, (name, line) in enumerate(lines.items(), 1):
            with capturedLogs() as events:
                peer = connect_peer(factory)
                peer.protocol.name = name
                peer.send(b"hello\n")
                peer.write_eof()
            self.assertEqual(
                [formatEvent(event) for event in events],
                [f"Connection {number} from 192.0.2.2:54321 ended: {line}{HELLO}"],
            )
            self.assertEqual(events[0]["name"], line.partition(", user ")[2])

    def test_a_name_that_fails(self) -> None:
        """A hook that fails costs neither the line nor the end."""

        class Unnamed(Recorder):
            def name_for_log(self) -> str:
                raise ZeroDivisionError

        factory = factory_of(Unnamed)
        with capturedLogs() as events:
            peer = connect_peer(factory)
            peer.send(b"hello\n")
            waiting = factory.wait_closed()
            peer.write_eof()
        self.successResultOf(waiting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(
            formatEvent(events[-1]), f"Connection 1 from 192.0.2.2:54321 ended: peer-closed{HELLO}"
        )

    def test_a_hook_that_leaves(self) -> None:
        """A SystemExit in the last hook does not leave the connection with its factory."""

        class Leaving(Recorder):
            def disconnected(self, reason: Any) -> None:
                raise SystemExit

        factory = factory_of(Leaving)
        peer = connect_peer(factory)
        self.assertRaises(SystemExit, peer.write_eof)
        self.assertEqual((len(factory), factory.endings), (0, {"peer-closed": 1}))

    def test_a_reactor_that_stops(self) -> None:
        """Connections that the reactor closes when it stops were not reset by their peers."""
        for says in (False, True):
            reactor = StoppingReactor()
            factory = ConnectionFactory.forProtocol(Recorder, clock=cast(Any, reactor))
            peers = [connect_peer(factory), connect_tls_peer(factory)]
            if says:
                peers[0].send(b"hello\n")
            gone = connect_peer(factory)
            gone.reset()
            with capturedLogs() as events:
                reactor.stop()
                for peer in peers:
                    peer.protocol.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(factory.endings, {"peer-reset": 1, "closed": 2})
            line = (
                f"Connection 1 from 192.0.2.2:54321 ended: closed (the reactor has stopped){HELLO}"
            )
            self.assertEqual([formatEvent(event) for event in events], [line] if says else [])

    def test_a_reactor_that_never_ran(self) -> None:
        """Without a reactor that was told to stop, a lost connection was reset."""
        reactor = StoppingReactor()
        reactor.running = False
        factory = ConnectionFactory.forProtocol(Recorder, clock=cast(Any, reactor))
        connect_peer(factory).reset()
        self.assertEqual(factory.endings, {"peer-reset": 1})

    def test_a_transport_that_was_aborted(self) -> None:
        """A connection whose transport this program aborted was not reset by its peer."""
        connection, _ = made()
        connection.connectionLost(Failure(ConnectionAborted()))
        self.assertEqual(
            (connection.reason, connection.detail), (CLOSED, "its transport was aborted")
        )

    def test_peer_resets(self) -> None:
        connection, peer = made(idle_timeout=5)
        peer.reset()
        self.assert_ended(connection, peer, PEER_RESET)

    def test_close(self) -> None:
        """``close`` sends the last byte at once and waits for the peer's."""
        connection, peer = made()
        connection.send(b"bye")
        connection.close(KICKED, "by ann")
        self.assertEqual(peer.received, b"bye\n")
        self.assertTrue(peer.finished)
        self.assertTrue(peer.connected)
        peer.send(b"not read any more\n")
        self.assertEqual(peer.unread, b"")
        peer.write_eof()
        self.assert_ended(connection, peer, KICKED)
        self.assertEqual(connection.events, ["connected", KICKED])
        self.assertEqual(connection.detail, "by ann")
        self.assertFalse(peer.aborted)

    def test_first_reason_stands(self) -> None:
        connection, peer = made()
        connection.close(KICKED)
        connection.close(DRAINING)
        connection.abort(CLOSED)
        peer.turn()
        self.assert_ended(connection, peer, KICKED)
        self.assertTrue(peer.aborted)

    def test_peer_resets_while_closing(self) -> None:
        connection, peer = made()
        connection.close()
        peer.reset()
        self.assert_ended(connection, peer, CLOSED)

    def test_grace_when_the_peer_does_not_finish(self) -> None:
        """If the peer does not close within the grace, the connection is closed, not reset."""
        connection, peer = made(close_grace=3)
        connection.send(b"bye")
        connection.close()
        peer.advance(2.9)
        self.assertTrue(peer.connected)
        peer.send(b"chatter\n")  # does not prolong it
        peer.advance(1.1)
        self.assert_ended(connection, peer, CLOSED)
        self.assertEqual(peer.received, b"bye\n")
        self.assertFalse(peer.aborted)

    def test_grace_when_the_peer_does_not_read(self) -> None:
        """If the peer does not read, it is aborted within two seconds of the grace."""
        connection, peer = made(close_grace=3)
        peer.full()
        connection.send(b"bye")
        connection.close()
        peer.advance(2.9)
        self.assertTrue(peer.connected)
        self.assertFalse(peer.finished)
        peer.advance(2.1)
        self.assert_ended(connection, peer, CLOSED)
        self.assertTrue(peer.aborted)

    def test_grace_while_the_peer_reads(self) -> None:
        """The grace restarts while the peer reads, so that a slow peer gets everything."""
        connection, peer = made(close_grace=3)
        peer.full()
        for _ in range(5):
            connection.send(b"x" * 70_000)
        connection.close()
        for _ in range(5):
            peer.advance(2)
            peer.drain(70_001)
        self.assertEqual(len(peer.received), 350_005)
        peer.drain()
        peer.write_eof()
        self.assert_ended(connection, peer, CLOSED)
        self.assertFalse(peer.aborted)

    def test_close_waits_for_the_queue(self) -> None:
        connection, peer = made()
        peer.full()
        for _ in range(3):
            connection.send(b"x" * 50_000)
        connection.close()
        peer.turn()
        self.assertFalse(peer.finished)
        peer.drain()
        self.assertEqual(len(peer.received), 150_003)
        self.assertTrue(peer.finished)
        peer.write_eof()
        self.assert_ended(connection, peer, CLOSED)

    def test_abort(self) -> None:
        """``abort`` ends at once: unsent data is lost, and no more messages are delivered."""
        connection, peer = made()
        peer.full()
        connection.send(b"lost")
        connection.abort(KICKED)
        connection.abort(CLOSED)
        peer.send(b"late\n")
        self.assert_ended(connection, peer, KICKED)
        self.assertEqual(peer.received, b"")
        self.assertTrue(peer.aborted)
        self.assertEqual(connection.events, ["connected", KICKED])

    def test_abort_inside_of_a_hook(self) -> None:
        connection, peer = made()
        peer.send(b"a\nabort\nb\n")
        self.assert_ended(connection, peer, CLOSED)
        self.assertEqual(connection.events, ["connected", b"a", b"abort", CLOSED])

    def test_close_inside_of_a_hook(self) -> None:
        """Messages after a hook closes are not delivered."""
        connection, peer = made()
        peer.send(b"a\nsay bye\nclose\nb\n")
        peer.write_eof()
        self.assert_ended(connection, peer, CLOSED)
        self.assertEqual(connection.events, ["connected", b"a", b"say bye", b"close", CLOSED])
        self.assertEqual(peer.received, b"bye\n")

    def test_idle(self) -> None:
        connection, peer = made(idle_timeout=5)
        peer.advance(6.1)
        peer.write_eof()
        self.assert_ended(connection, peer, IDLE)

    def test_idle_although_full(self) -> None:
        """A peer that neither reads nor sends is closed, and aborted after the grace."""
        connection, peer = made(idle_timeout=5, close_grace=2)
        peer.full()
        connection.send(b"x")
        peer.advance(6.1 + 4)
        self.assert_ended(connection, peer, IDLE)
        self.assertTrue(peer.aborted)

    def test_slow(self) -> None:
        """When the queue is full, the peer is closed, but can still read what was queued."""
        connection, peer = made(queue_limit=1000)
        peer.full()
        self.assertFalse(connection.send(b"x" * 599))
        self.assertFalse(connection.send(b"y" * 399))
        self.assertIs(connection.reason, None)
        self.assertFalse(connection.send(b"z"))
        self.assertIs(connection.reason, SLOW)
        peer.drain()
        self.assertEqual(len(peer.received), 1000)
        peer.write_eof()
        self.assert_ended(connection, peer, SLOW)

    def test_too_long(self) -> None:
        """Messages that were complete before the error are delivered first."""
        connection, peer = made(max_message=5)
        peer.send(b"a\nsay b\n123456\nc\n")
        peer.write_eof()
        self.assert_ended(connection, peer, TOO_LONG)
        self.assertEqual(connection.events, ["connected", b"a", b"say b", TOO_LONG])
        self.assertEqual(peer.received, b"b\n")
        self.assertIn("5 bytes", connection.detail)

    def test_bad_input(self) -> None:
        class Json(Recorder):
            framing = JsonLines

            def message_received(self, message: Any) -> None:
                self.events.append(message)

        connection, peer = made(Json)
        peer.send(b"1\n{\n2\n")
        peer.write_eof()
        self.assert_ended(connection, peer, BAD_INPUT)
        self.assertEqual(connection.events, ["connected", 1, BAD_INPUT])

    def test_bad_input_after_an_asynchronous_hook(self) -> None:
        """The answer of an asynchronous hook goes out before the connection closes."""
        connection, peer = made(Waiting, max_message=5)
        peer.send(b"a\n1234567")
        self.assertIs(connection.reason, None)
        connection.hooks[0].callback(None)
        peer.write_eof()
        self.assertEqual(peer.received, b"answer to a\n")
        self.assert_ended(connection, peer, TOO_LONG)


class FailureTests(SynchronousTestCase):
    def assert_failed_alone(self, connection: Any, peer: Peer, other: Peer) -> None:
        peer.write_eof()
        self.assertEqual(connection.events.count(FAILED), 1)
        self.assertEqual(connection.detail, "the hook fails")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(other.connected)
        self.assertIs(other.protocol.reason, None)

    def test_in_a_message(self) -> None:
        """A hook that raises closes only its connection, whose number is logged."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        factory = factory_of(Recorder)
        other, peer = connect_peer(factory), connect_peer(factory)
        peer.send(b"fail\nlate\n")
        self.assertNotIn(b"late", peer.protocol.events)
        self.assert_failed_alone(peer.protocol, peer, other)
        self.assertEqual([event["id"] for event in seen if "log_failure" in event], [2])

    def test_in_connected(self) -> None:
        class Failing(Recorder):
            def connected(self) -> None:
                if self.id == 2:
                    raise RuntimeError("the hook fails")

        factory = factory_of(Failing)
        other, peer = connect_peer(factory), connect_peer(factory)
        peer.send(b"a\n")
        self.assertEqual(peer.protocol.events, [])
        self.assert_failed_alone(peer.protocol, peer, other)

    def test_in_a_coroutine(self) -> None:
        """A coroutine may fail at once or later."""
        for late in (False, True):
            waiting: list[Deferred[None]] = []

            class Failing(Recorder):
                async def message_received(self, message: bytes) -> None:  # type: ignore[override]
                    if late:  # noqa: B023
                        waiting.append(Deferred())  # noqa: B023
                        await waiting[-1]  # noqa: B023
                    raise RuntimeError("the hook fails")

            factory = factory_of(Failing)
            other, peer = connect_peer(factory), connect_peer(factory)
            peer.send(b"a\nb\n")
            for each in waiting:
                each.callback(None)
            self.assert_failed_alone(peer.protocol, peer, other)

    def test_in_a_deferred(self) -> None:
        """A Deferred may fail at once or later."""
        for hook in (fail(RuntimeError("the hook fails")), Deferred()):

            class Failing(Recorder):
                def message_received(self, message: bytes) -> Any:
                    return hook  # noqa: B023

            factory = factory_of(Failing)
            other, peer = connect_peer(factory), connect_peer(factory)
            peer.send(b"a\nb\n")
            if not hook.called:
                hook.errback(RuntimeError("the hook fails"))
            self.assert_failed_alone(peer.protocol, peer, other)

    def test_after_close(self) -> None:
        """If a hook closes and then fails, the error is logged and the first reason stands."""

        class Failing(Recorder):
            def message_received(self, message: bytes) -> None:
                self.close(KICKED)
                raise RuntimeError("the hook fails")

        connection, peer = made(Failing)
        peer.send(b"a\n")
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", KICKED])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_disconnected(self) -> None:
        """If ``disconnected`` raises, the error is logged and the factory still counts the end."""

        class Failing(Connection):
            def disconnected(self, reason: Any) -> None:
                raise RuntimeError("the last hook fails")

        connection, peer = made(Failing)
        peer.write_eof()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(connection.factory), 0)
        self.assertFalse(peer.connected)
