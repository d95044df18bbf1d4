"""The idle limit: not before S seconds of silence, and at most a second late."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting, factory_of, made
from twisted_net.policy.close_reasons import IDLE, PEER_CLOSED
from twisted_net.testing import advance, connect_peer

_SMALL = 0.01  # seconds: the precision of the measured end


class IdleTests(SynchronousTestCase):
    def silence_until_idle(self, seconds: float, phase: float, heard: float) -> float:
        """Return how long a peer was silent that last sent ``heard`` seconds after connecting."""
        factory = factory_of(Recorder, idle_timeout=seconds)
        clock = factory.clock
        assert isinstance(clock, Clock)
        connect_peer(factory)  # starts the timer wheel
        advance(clock, phase)
        peer = connect_peer(factory)
        advance(clock, heard)
        if heard:
            peer.send(b"x")
        since = clock.seconds()
        while peer.protocol.reason is None:
            advance(clock, _SMALL)
        self.assertIs(peer.protocol.reason, IDLE)
        return clock.seconds() - since

    def test_between_s_and_s_plus_one(self) -> None:
        for seconds in (0.1, 0.5, 0.7, 1, 1.5, 2.3, 5):
            for phase in (0, 0.01, 0.25, 0.49, 0.5, 0.75):
                for heard in (0, 0.09, 0.33):
                    silence = self.silence_until_idle(seconds, phase, min(heard, seconds / 2))
                    self.assertGreaterEqual(silence, seconds - 1e-6)
                    self.assertLessEqual(silence, seconds + 1 + _SMALL)

    def test_long(self) -> None:
        connection, peer = made(idle_timeout=3600)
        peer.advance(3600)
        self.assertIs(connection.reason, None)
        peer.advance(1)
        self.assertIs(connection.reason, IDLE)

    def test_never(self) -> None:
        """Zero means no limit, and costs no timer."""
        connection, peer = made(idle_timeout=0, stall_timeout=0)
        peer.advance(100_000)
        self.assertIs(connection.reason, None)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_every_byte_counts(self) -> None:
        """Incomplete messages count as activity. What the peer is sent does not."""
        connection, peer = made(idle_timeout=2, message_timeout=0)
        for _ in range(20):
            peer.advance(1.5)
            peer.send(b"x")
        self.assertIs(connection.reason, None)
        for _ in range(4):
            connection.send(b"hello")
            peer.advance(0.8)
        self.assertIs(connection.reason, IDLE)

    def test_touch(self) -> None:
        connection, peer = made(idle_timeout=2)
        for _ in range(10):
            peer.advance(1.5)
            connection.touch()
        self.assertIs(connection.reason, None)

    def test_paused_is_not_idle(self) -> None:
        """A paused connection is not idle; the limit restarts at resume()."""
        connection, peer = made(idle_timeout=2)
        connection.pause()
        peer.advance(100)
        self.assertIs(connection.reason, None)
        connection.resume()
        peer.advance(1.9)
        self.assertIs(connection.reason, None)
        peer.advance(1.2)
        self.assertIs(connection.reason, IDLE)

    def test_hook_is_not_idle(self) -> None:
        connection, peer = made(Waiting, idle_timeout=2)
        peer.send(b"a\n")
        peer.advance(100)
        self.assertIs(connection.reason, None)
        connection.hooks[0].callback(None)
        peer.advance(1.9)
        self.assertIs(connection.reason, None)
        peer.advance(1.2)
        self.assertIs(connection.reason, IDLE)

    def test_full_is_idle(self) -> None:
        connection, peer = made(idle_timeout=2)
        peer.full()
        peer.advance(3.1)
        self.assertIs(connection.reason, IDLE)

    def test_reading_is_not_idle(self) -> None:
        """A peer that reads slowly is not idle: this side stopped reading from it."""
        connection, peer = made(idle_timeout=2)
        peer.full()
        for _ in range(10):
            connection.send(b"x" * 70_000)
        for _ in range(8):
            peer.advance(1.5)
            peer.drain(70_001)
        self.assertIs(connection.reason, None)

    def test_no_timer_is_left(self) -> None:
        connection, peer = made(idle_timeout=2)
        peer.write_eof()
        self.assertIs(connection.reason, PEER_CLOSED)
        self.assertEqual(peer.clock.getDelayedCalls(), [])
