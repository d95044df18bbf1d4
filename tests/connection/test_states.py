"""The states of a connection, and its optional hooks."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting, factory_of, made, made_tls
from twisted_net.connection.connection import TRANSITIONS, Connection, State
from twisted_net.policy.close_reasons import CLOSED, HANDSHAKE, IDLE, PEER_CLOSED, CloseReason
from twisted_net.testing import connect_peer, connect_tls_peer


class StateTests(SynchronousTestCase):
    """Every transition in the table, and no others."""

    def test_an_ordinary_life(self) -> None:
        """Without TLS, a connection is open at once."""
        connection: Any = factory_of(Recorder).buildProtocol(None)
        self.assertIs(connection.state, State.NEW)
        connection, peer = made()
        self.assertIs(connection.state, State.OPEN)
        connection.close()
        self.assertIs(connection.state, State.CLOSING)
        peer.write_eof()
        self.assertIs(connection.state, State.CLOSED)

    def test_over_tls(self) -> None:
        """Over TLS, it waits for the handshake, and may end during it."""
        peer = connect_tls_peer(factory_of(Recorder))
        self.assertIs(peer.protocol.state, State.HANDSHAKING)
        self.assertFalse(peer.protocol.ready)
        peer.handshake()
        self.assertIs(peer.protocol.state, State.OPEN)
        self.assertTrue(peer.protocol.ready)
        peer = connect_tls_peer(factory_of(Recorder))
        peer.protocol.abort()
        self.assertIs(peer.protocol.state, State.CLOSING)
        peer = connect_tls_peer(factory_of(Recorder))
        peer.reset()
        self.assertIs(peer.protocol.state, State.CLOSED)

    def test_input_outlives_the_transport(self) -> None:
        """Over TLS, which has no half-close, input may be delivered after the transport's end."""
        connection, peer = made_tls(Waiting)
        peer.send(b"one\n")
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIs(connection.state, State.DRAINING_INPUT)
        connection.hooks[0].callback(None)
        self.assertIs(connection.state, State.CLOSED)
        self.assertEqual(connection.events[-1], PEER_CLOSED)

    def test_lost_while_open(self) -> None:
        """A reset ends an open connection at once."""
        connection, peer = made()
        peer.reset()
        self.assertIs(connection.state, State.CLOSED)

    def test_no_other_step(self) -> None:
        """A transition that is not in the table raises and leaves the state unchanged."""
        for state in State:
            for wanted in set(State) - set(TRANSITIONS[state]):
                connection = Connection()
                connection.state = state
                with self.assertRaisesRegex(AssertionError, f"{state.name} cannot become"):
                    connection._enter(wanted)
                self.assertIs(connection.state, state)

    def test_the_end_is_the_end(self) -> None:
        """No state follows CLOSED, and every other state leads to it."""
        self.assertEqual(TRANSITIONS[State.CLOSED], ())
        reachable = {State.CLOSED}
        for _ in State:
            reachable |= {state for state in State if reachable & set(TRANSITIONS[state])}
        self.assertEqual(reachable, set(State))


class Stays(Recorder):
    """Stays three times, and then says goodbye."""

    asked = 0

    def idle_expired(self) -> bool:
        self.asked += 1
        if self.asked == 4:
            self.send(b"goodbye")
        return self.asked < 4


class Patient(Recorder):
    """Keeps sending to a peer that has half-closed."""

    def eof_received(self) -> None:
        self.events.append("eof")
        self.send(b"still here")


class Handshaking(Recorder):
    """Records that its handshake has failed."""

    def handshake_failed(self, reason: CloseReason) -> None:
        self.events.append(("failed", reason))


class HookTests(SynchronousTestCase):
    """``idle_expired``, ``eof_received`` and ``handshake_failed``."""

    def test_idle(self) -> None:
        """``idle_expired`` decides each time that the limit passes whether the peer may stay."""
        connection, peer = made(Stays, idle_timeout=10)
        peer.advance(35)
        self.assertEqual((connection.asked, connection.reason), (3, None))
        peer.advance(12)
        self.assertEqual(peer.received, b"goodbye\n")
        self.assertIs(connection.reason, IDLE)

    def test_idle_begins_anew(self) -> None:
        """The idle limit restarts when the peer sends."""
        connection, peer = made(Stays, idle_timeout=10)
        for _ in range(20):
            peer.advance(9)
            peer.send(b"x\n")
        self.assertEqual(connection.asked, 0)

    def test_idle_that_fails(self) -> None:
        """If ``idle_expired`` raises, only this connection closes."""

        class Failing(Recorder):
            def idle_expired(self) -> bool:
                raise RuntimeError("no")

        connection, peer = made(Failing, idle_timeout=10)
        peer.advance(12)
        self.assertEqual(connection.reason.code, "failed")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_idle_that_ends_it(self) -> None:
        """If ``idle_expired`` closes the connection, its reason stands."""

        class Closing(Recorder):
            def idle_expired(self) -> bool:
                self.close(CLOSED)
                return True

        connection, peer = made(Closing, idle_timeout=10)
        peer.advance(12)
        self.assertIs(connection.reason, CLOSED)
        peer.advance(60)
        self.assertIs(connection.state, State.CLOSED)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_an_idle_limit_of_its_own(self) -> None:
        """A connection's own idle limit replaces the factory's."""
        connection, peer = made(Stays, idle_timeout=10)
        connection.set_idle_timeout(100, first=50)
        peer.advance(49)
        self.assertEqual(connection.asked, 0)
        peer.advance(3)
        self.assertEqual(connection.asked, 1)
        peer.advance(90)
        self.assertEqual(connection.asked, 1)
        peer.advance(12)
        self.assertEqual(connection.asked, 2)

    def test_eof(self) -> None:
        """After ``eof_received``, the connection stays open until this side closes."""
        connection, peer = made(Patient)
        peer.send(b"last\n")
        peer.write_eof()
        self.assertEqual(connection.events[-2:], [b"last", "eof"])
        self.assertEqual(peer.received, b"still here\n")
        self.assertIs(connection.state, State.OPEN)
        connection.close()
        peer.turn()
        self.assertIs(connection.state, State.CLOSED)

    def test_a_failed_handshake(self) -> None:
        """A failed or late handshake is reported once, and ``disconnected`` is not called."""
        for end in ("late", "broken"):
            peer = connect_tls_peer(factory_of(Handshaking, handshake_timeout=5))
            if end == "late":
                peer.advance(7)
            else:
                peer.protocol.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(peer.protocol.events, [("failed", HANDSHAKE)])

    def test_no_handshake(self) -> None:
        """A peer that leaves silently, or one without TLS, has not failed its handshake."""
        peer = connect_peer(factory_of(Handshaking))
        peer.reset()
        self.assertEqual(peer.protocol.events[-1].code, "peer-reset")
        peer = connect_tls_peer(factory_of(Handshaking))
        peer.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(peer.protocol.events, [])
