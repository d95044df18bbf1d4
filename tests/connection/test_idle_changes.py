"""The idle limit of one connection, changed while it lives, and the hooks around it."""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made, made_tls
from twisted_net.connection.connection import State
from twisted_net.policy.close_reasons import CLOSED, FAILED, IDLE, PEER_CLOSED
from twisted_net.testing import connect_tls_peer


class Login(Recorder):
    """Ten seconds until somebody logs in, then an hour."""

    def connected(self) -> None:
        self.set_idle_timeout(10)

    def message_received(self, message: bytes) -> None:
        if message == b"login":
            self.set_idle_timeout(3600)
        elif message == b"for ever":
            self.set_idle_timeout(0)
        elif message == b"as the rest":
            self.set_idle_timeout(None)


class ChangeTests(SynchronousTestCase):
    """``set_idle_timeout`` on a connection that is open."""

    def test_until_login(self) -> None:
        """Ten seconds, then an hour, whatever the factory's limit."""
        for limit in (0, 5, 100_000):
            connection, peer = made(Login, idle_timeout=limit)
            self.assertEqual(connection.idle_timeout, 10)
            peer.advance(9.9)
            peer.send(b"login\n")
            peer.advance(3599)
            self.assertIs(connection.reason, None)
            peer.advance(2.1)
            self.assertIs(connection.reason, IDLE)

    def test_no_login(self) -> None:
        connection, peer = made(Login, idle_timeout=3600)
        peer.advance(11.1)
        self.assertIs(connection.reason, IDLE)

    def test_zero_is_never(self) -> None:
        """Zero means no limit, as in ``Limits`` and in Node."""
        connection, peer = made(Login, idle_timeout=20, stall_timeout=0)
        peer.send(b"for ever\n")
        self.assertEqual(connection.idle_timeout, 0)
        peer.advance(100_000)
        self.assertIs(connection.reason, None)
        self.assertEqual(peer.clock.getDelayedCalls(), [])
        peer.send(b"login\n")
        peer.advance(3602)
        self.assertIs(connection.reason, IDLE)

    def test_none_is_the_factorys(self) -> None:
        """None goes back to the limit of the factory."""
        connection, peer = made(Login, idle_timeout=20)
        peer.send(b"as the rest\n")
        self.assertIs(connection.idle_timeout, None)
        peer.advance(19.9)
        self.assertIs(connection.reason, None)
        peer.advance(1.7)
        self.assertIs(connection.reason, IDLE)

    def test_for_ever_from_the_hook(self) -> None:
        """``idle_expired`` may take the limit away."""

        class Kind(Recorder):
            def idle_expired(self) -> bool:
                self.set_idle_timeout(0)
                return True

        connection, peer = made(Kind, idle_timeout=5)
        peer.advance(1000)
        self.assertIs(connection.reason, None)

    def test_the_factorys_limit_is_taken_away(self) -> None:
        """A connection that stays has the factory's limit of that moment."""

        class Kind(Recorder):
            def idle_expired(self) -> bool:
                self.events.append("expired")
                return True

        connection, peer = made(Kind, idle_timeout=5, stall_timeout=0)
        connection.factory.limits = factory_of(Kind).limits
        peer.advance(1000)
        self.assertEqual(connection.events, ["connected", "expired"])

    def test_wrong_values(self) -> None:
        connection, _ = made(idle_timeout=5)
        for wrong in (-1, math.nan, math.inf, "10"):
            with self.assertRaisesRegex(ValueError, f"idle_timeout: .* not {wrong!r}"):
                connection.set_idle_timeout(wrong)
        with self.assertRaisesRegex(ValueError, "first: .* not -1"):
            connection.set_idle_timeout(5, -1)
        self.assertIs(connection.idle_timeout, None)


class TooLateTests(SynchronousTestCase):
    """``set_idle_timeout`` before and after a connection is open."""

    def test_the_grace_stays(self) -> None:
        """A hook that goes on after ``close()`` does not replace the grace by a new limit."""
        for seconds in (3600, 0, None):
            connection, peer = made(close_grace=5)
            connection.close()
            connection.set_idle_timeout(seconds)
            peer.advance(7)
            self.assertFalse(peer.connected)

    def test_after_the_end(self) -> None:
        """Nothing is left running."""
        connection, peer = made(Login)
        peer.reset()
        connection.set_idle_timeout(3600)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_input_that_is_left(self) -> None:
        """After a TLS peer has closed, the new limit is how long a pause may last."""
        connection, peer = made_tls(close_grace=5)
        connection.pause()
        connection.dataReceived(b"a\n")
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIs(connection.state, State.DRAINING_INPUT)
        connection.set_idle_timeout(100)
        peer.advance(99)
        self.assertIs(connection.reason, None)
        peer.advance(3)
        self.assertIs(connection.reason, IDLE)

    def test_without_a_transport(self) -> None:
        """Set in ``__init__``, it holds from the beginning."""

        class Early(Recorder):
            def __init__(self) -> None:
                super().__init__()
                self.set_idle_timeout(10)

        for limit in (0, 3600):
            connection, peer = made(Early, idle_timeout=limit)
            peer.advance(9.9)
            self.assertIs(connection.reason, None)
            peer.advance(1.7)
            self.assertIs(connection.reason, IDLE)


class HookTests(SynchronousTestCase):
    """``idle_expired``: ping, say goodbye, or stay."""

    def test_goodbye(self) -> None:
        """What the hook sends is sent before the close."""

        class Polite(Recorder):
            def idle_expired(self) -> None:
                self.send(b"goodbye")

        connection, peer = made(Polite, idle_timeout=5)
        peer.advance(7)
        self.assertEqual(peer.received, b"goodbye\n")
        self.assertTrue(peer.finished)
        self.assertIs(connection.reason, IDLE)

    def test_ping(self) -> None:
        """A peer that answers stays; one that does not is closed at the second time."""

        class Pinging(Recorder):
            pinged = False

            def message_received(self, message: bytes) -> None:
                self.pinged = False

            def idle_expired(self) -> bool:
                if self.pinged:
                    return False
                self.pinged = True
                self.send(b"ping")
                return True

        connection, peer = made(Pinging, idle_timeout=5)
        for _ in range(3):
            peer.advance(6)
            self.assertEqual(peer.take(), b"ping\n")
            peer.send(b"pong\n")
        peer.advance(13)
        self.assertEqual(peer.take(), b"ping\n")
        self.assertIs(connection.reason, IDLE)

    def test_a_deferred_is_not_an_answer(self) -> None:
        """A hook that returns a Deferred, which is true, does not keep the connection for ever."""

        class Deferring(Recorder):
            def idle_expired(self) -> Any:
                return succeed(False)

        connection, peer = made(Deferring, idle_timeout=5)
        peer.advance(7)
        self.assertIs(connection.reason, FAILED)
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("idle_expired() must return True or False", failure.getErrorMessage())

    def test_not_before_connected(self) -> None:
        """A peer that is silent in the handshake is closed, and the hook is not called."""
        peer = connect_tls_peer(
            factory_of(Kept, idle_timeout=2, handshake_timeout=100, close_grace=1)
        )
        peer.advance(4)
        self.assertEqual(peer.protocol.events, [])
        self.assertIs(peer.protocol.reason, IDLE)


class Kept(Recorder):
    def idle_expired(self) -> bool:
        self.events.append("expired")
        return True


class HalfOpen(Recorder):
    """Keeps sending after the peer has finished."""

    framing_ended = False

    def eof_received(self) -> None:
        self.events.append("eof")


class EndOfInputTests(SynchronousTestCase):
    """``eof_received``, with half-open connections by choice."""

    def test_default(self) -> None:
        connection, peer = made()
        peer.write_eof()
        self.assertIs(connection.reason, PEER_CLOSED)

    def test_half_open(self) -> None:
        """The connection stays until this side closes."""
        connection, peer = made(HalfOpen)
        peer.send(b"a\n")
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", b"a", "eof"])
        connection.send(b"answer")
        self.assertEqual(peer.received, b"answer\n")
        connection.close()
        peer.turn()
        self.assertEqual(connection.events[-1], CLOSED)

    def test_once(self) -> None:
        """It is called once, whatever is paused and resumed after it."""
        connection, peer = made(HalfOpen)
        peer.write_eof()
        peer.full()
        connection.send(b"x" * 100_000)
        peer.drain()
        connection.pause()
        connection.resume()
        peer.turn()
        self.assertEqual(connection.events, ["connected", "eof"])

    def test_it_pauses(self) -> None:
        """A hook that pauses and resumes is not called from within itself."""

        class Nested(HalfOpen):
            def eof_received(self) -> None:
                super().eof_received()
                self.pause()
                self.resume()

        connection, peer = made(Nested)
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", "eof"])

    def test_a_failure(self) -> None:
        """A hook that raises closes only this connection, as ``failed``."""

        class Failing(Recorder):
            def eof_received(self) -> None:
                raise RuntimeError("the hook fails")

        connection, peer = made(Failing)
        peer.write_eof()
        self.assertIs(connection.reason, FAILED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_the_idle_limit_holds(self) -> None:
        """A half-open connection that nobody closes ends by its idle limit."""
        connection, peer = made(HalfOpen, idle_timeout=5)
        peer.write_eof()
        peer.advance(7)
        self.assertIs(connection.reason, IDLE)
