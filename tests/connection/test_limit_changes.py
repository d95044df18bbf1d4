"""Limits that change while connections are open: ``change_limits`` and ``change_budget``."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made, made_tls
from twisted_net.connection.connection import Connection
from twisted_net.connection.guard import GuardFactory
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import IDLE, SLOW
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.testing import connect_peer
from twisted_net.wire.framing import Raw


class Plain(Recorder):
    """Each read is a message."""

    framing = Raw


class IdleTests(SynchronousTestCase):
    def test_a_shorter_one(self) -> None:
        """It starts anew for those who are there, over TCP and TLS and behind a guard."""
        guard = connect_peer(GuardFactory(Factory.forProtocol(Echo), clock=Clock()))
        for connection, peer in (made(), made_tls(), (guard.protocol, guard)):
            peer.advance(100)
            connection.factory.change_limits(idle_timeout=5)
            peer.advance(4)
            self.assertIsNone(connection.reason)
            peer.advance(2.6)
            self.assertIs(connection.reason, IDLE)

    def test_none_any_more(self) -> None:
        connection, peer = made(idle_timeout=5, stall_timeout=0)
        connection.factory.change_limits(idle_timeout=0)
        peer.advance(1000)
        self.assertIsNone(connection.reason)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_one_of_its_own(self) -> None:
        """It stays, and is not started anew; neither is any by a change of something else."""
        connection, peer = made(idle_timeout=50)
        connection.set_idle_timeout(10)
        peer.advance(8)
        connection.factory.change_limits(idle_timeout=100)
        peer.advance(4)
        self.assertIs(connection.reason, IDLE)
        connection, peer = made(idle_timeout=10)
        peer.advance(8)
        connection.factory.change_limits(rate=3)
        peer.advance(4)
        self.assertIs(connection.reason, IDLE)

    def test_who_is_closing_stays_so(self) -> None:
        connection, peer = made(close_grace=5)
        connection.close()
        connection.factory.change_limits(idle_timeout=1000, rate=1)
        peer.advance(7)
        self.assertFalse(peer.connected)

    def test_the_stall_timeout(self) -> None:
        """The checks follow it, whether there were any before or not."""
        for before in (0, 3600):
            connection, peer = made(stall_timeout=before)
            peer.full()
            connection.send(b"x" * 1000)
            connection.factory.change_limits(stall_timeout=9)
            peer.advance(20)
            self.assertIs(connection.reason, SLOW)
        connection, peer = made(stall_timeout=9)
        connection.factory.change_limits(stall_timeout=0)
        self.assertEqual(peer.clock.getDelayedCalls(), [])


class QueueTests(SynchronousTestCase):
    def full(self, **changes: Any) -> tuple[Any, Any]:
        """Return a connection with 500 bytes in its queue, whose transport is full."""
        connection, peer = made(stall_timeout=0, **changes)
        peer.full()
        while not connection.is_full:
            connection.send(b"x" * 1000)
        for _ in range(5):
            connection.send(b"x" * 99)
        self.assertEqual(connection.queued, 500)
        return connection, peer

    def test_a_smaller_one(self) -> None:
        """What waits stays; the next message is one too many."""
        connection, _ = self.full()
        connection.factory.change_limits(queue_limit=300)
        self.assertEqual((connection.queued, connection.reason), (500, None))
        connection.send(b"x")
        self.assertIs(connection.reason, SLOW)

    def test_a_larger_one(self) -> None:
        connection, _ = self.full(queue_limit=500)
        connection.factory.change_limits(queue_limit=600)
        connection.send(b"x" * 99)
        self.assertEqual((connection.queued, connection.reason), (600, None))

    def test_another_policy(self) -> None:
        connection, _ = self.full(queue_limit=500)
        connection.factory.change_limits(overflow_policy=OverflowPolicy.DROP_OLDEST)
        connection.send(b"x" * 99)
        self.assertEqual((connection.queued, connection.missed, connection.reason), (500, 1, None))

    def test_the_budget(self) -> None:
        """A new one counts what waits already; without one, nothing is counted any more."""
        connection, peer = self.full()
        budget: MemoryBudget[Connection] = MemoryBudget(550)
        connection.factory.change_budget(budget)
        self.assertEqual(budget.total, 500)
        larger: MemoryBudget[Connection] = MemoryBudget(5000)
        connection.factory.change_budget(larger)
        connection.send(b"x" * 99)
        self.assertEqual((budget.total, larger.total), (0, 600))
        connection.factory.change_budget(None)
        connection.send(b"x" * 99)
        self.assertEqual(larger.total, 0)
        connection.factory.change_budget(larger)
        self.assertEqual(larger.total, 700)
        peer.drain()
        self.assertEqual((larger.total, connection.queued), (0, 0))


class RateTests(SynchronousTestCase):
    def test_a_new_rate(self) -> None:
        """It counts for those who are there, whatever their framing."""
        for kind, lines in ((Recorder, [b"1\n2\n3\n"]), (Plain, [b"1", b"2", b"3"])):
            connection, peer = made(kind)
            connection.factory.change_limits(rate=1, burst=2)
            for line in lines:
                peer.send(line)
            self.assertEqual(connection.events, ["connected", b"1", b"2"])
            peer.advance(1)
            self.assertEqual(connection.events, ["connected", b"1", b"2", b"3"])

    def test_no_rate_any_more(self) -> None:
        """Who waits for the old one goes on at once."""
        for kind in (Recorder, Plain):
            connection, peer = made(kind, rate=0.001, burst=1)
            peer.send(b"1\n")
            peer.send(b"2\n")
            self.assertEqual(len(connection.events), 2)
            connection.factory.change_limits(rate=0)
            peer.turn()
            self.assertEqual(len(connection.events), 3)
            peer.send(b"3\n")
            peer.send(b"4\n")
            self.assertEqual(len(connection.events), 5)
            self.assertTrue(peer.reading)


class WrongTests(SynchronousTestCase):
    def test_nothing_changes(self) -> None:
        factory = factory_of(Recorder)
        before = factory.limits
        with self.assertRaisesRegex(ValueError, "idle_timeout: "):
            factory.change_limits(rate=5, idle_timeout=-1)
        with self.assertRaisesRegex(TypeError, "did you mean 'idle_timeout'"):
            factory.change_limits(idle_timout=1)  # type: ignore[call-arg]
        self.assertIs(factory.limits, before)
