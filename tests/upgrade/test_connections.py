"""A connection that is moved at any byte says the same as one that is never moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.upgrade.moving import copied, movable, move_all
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.limits import Limits, OverflowPolicy
from twisted_net.testing import connect_peer
from twisted_net.wire.framing import SkippingLines


class Shout(Connection):
    """Answers each line with its number, and much more than was asked."""

    framing = SkippingLines
    count = 0

    def connected(self) -> None:
        self.send(b"welcome")

    def message_received(self, message: Any) -> None:
        self.count += 1
        self.send(f"{self.count} {message!r}".encode() * 9)
        if message == b"pause":
            self.pause()
            self.factory.clock.callLater(3, self.resume)
        elif message == b"eof":
            self.write_eof()

    def eof_received(self) -> None:
        self.send(b"you have finished")
        self.factory.clock.callLater(5, self.close)

    def missed_notice(self, count: int) -> bytes:
        return b"missed %d\n" % count

    def save_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        self.count = state["count"]
        if self.is_paused:  # a timer of its own: the other class's is gone
            self.factory.clock.callLater(3, self.resume)


class Quiet(Shout):
    """Has no state of its own: it stays."""


def make(clock: Clock, rate: float = 0.0) -> ConnectionFactory:
    """Return a factory with small limits."""
    limits = Limits(
        idle_timeout=0,
        max_message=20,
        queue_limit=900,
        overflow_policy=OverflowPolicy.DROP_OLDEST,
        rate=rate,
        burst=3,
    )
    return ConnectionFactory.forProtocol(
        Shout,
        clock=clock,
        limits=limits,
        budget=MemoryBudget(100_000),
        admission=Admission(AdmissionRules(max_per_address=5)),
    )


pieces = st.sampled_from(
    [b"line\n", b"ha", b"lf", b"\n", b"\r", b"\0", b"much longer than a line", b"a\nb\nc\n", b"x"]
)
steps = st.lists(
    st.tuples(st.just("send"), pieces)
    | st.tuples(st.just("full"), st.none())
    | st.tuples(st.just("drain"), st.integers(1, 2000))
    | st.tuples(st.just("advance"), st.integers(1, 20).map(lambda n: n / 4)),
    max_size=30,
)


class AnyProgramTests(SynchronousTestCase):
    """Random programs of a peer."""

    def play(self, program: list[tuple[str, Any]], rate: float, moves: set[int]) -> tuple[Any, ...]:
        """Play a program, and move the connection before some of its steps."""
        clock = Clock()
        factory = make(clock, rate)
        peer = connect_peer(factory, clock=clock)
        for number, (what, value) in enumerate(program):
            if number in moves and peer.connected:
                new = make(clock, rate)
                paused = peer._producer_paused
                self.assertEqual(move_all([peer], factory, new), [])
                peer._producer_paused = paused
                factory = new
            getattr(peer, what)(*(() if value is None else (value,)))
        peer.drain()
        peer.advance(60)
        connection: Shout = peer.protocol
        return (
            peer.received,
            connection.count,
            connection.bytes_received,
            connection.bytes_sent,
            connection.messages_sent,
            connection.id,
            factory.dropped,
            factory.opened_count,
            None if factory.admission is None else factory.admission.open,
        )

    @settings(max_examples=300, database=None)
    @given(steps, st.sampled_from([0.0, 0.5, 2.0]), st.sets(st.integers(0, 30), max_size=4))
    def test_same_bytes(self, program: list[tuple[str, Any]], rate: float, moves: set[int]) -> None:
        """Wherever it is moved, and however often, the peer receives the same bytes."""
        self.assertEqual(self.play(program, rate, moves), self.play(program, rate, set()))


class MovingTests(SynchronousTestCase):
    """Single cases."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.old, self.new = make(self.clock), make(self.clock)
        self.peer = connect_peer(self.old, clock=self.clock)

    def move(self) -> list[str]:
        """Move everything."""
        return move_all([self.peer], self.old, self.new)

    def why(self) -> str:
        """Return why the connection stays."""
        with movable():
            found: str = self.peer.protocol.why_it_stays()
        return found

    def test_hooks_are_not_run_again(self) -> None:
        """The peer is welcomed once; the connection keeps its number and its age."""
        self.peer.send(b"ha")
        self.clock.advance(10)
        self.assertEqual(self.move(), [])
        self.peer.send(b"lf\n")
        self.assertEqual(self.peer.received, b"welcome\n" + b"1 b'half'" * 9 + b"\n")
        self.assertEqual(self.peer.protocol.id, 1)
        self.assertAlmostEqual(self.new.age(1), 10, delta=0.2)
        other = connect_peer(self.new, clock=self.clock)
        self.assertEqual(other.protocol.id, 2)
        self.assertEqual(len(self.old), 0)

    def test_idle_timeout_goes_on(self) -> None:
        """Silence counts from before the move."""
        for factory in (self.old, self.new):
            factory.limits = Limits(idle_timeout=10)
        self.peer.abortConnection()
        self.peer.turn()
        self.peer = connect_peer(self.old, clock=self.clock)
        self.peer.advance(7)
        self.move()
        self.peer.advance(2)
        self.assertTrue(self.peer.protocol.reason is None)
        self.peer.advance(3)
        self.assertEqual(str(self.peer.protocol.reason), "idle")

    def test_half_closed(self) -> None:
        """A peer that has finished before the move is told what it would have been."""
        self.peer.send(b"line\n")
        self.peer.write_eof()
        self.move()
        self.assertTrue(self.peer.received.endswith(b"you have finished\n"))
        self.assertEqual(self.peer.received.count(b"you have finished"), 1)

    def test_what_stays(self) -> None:
        """Connections that cannot be moved say why."""
        connection = self.peer.protocol
        self.assertEqual(self.why(), "")
        waiting: Deferred[None] = Deferred()
        connection.message_received = lambda message: waiting
        self.peer.send(b"line\n")
        self.assertEqual(self.why(), "something waits for it")
        waiting.callback(None)
        self.assertEqual(self.why(), "")
        self.peer.full()
        connection.drained()
        self.assertEqual(self.why(), "something waits for it")
        self.peer.drain()
        aiter(connection)
        self.assertEqual(self.why(), "something waits for it")
        connection.close()
        self.assertEqual(self.why(), "it is closing")

    def test_a_class_must_save_its_own_state(self) -> None:
        """Inherited methods do not count, because the subclass may have more."""
        self.old.protocol = Quiet
        self.peer = connect_peer(self.old, clock=self.clock)
        self.assertEqual(self.why(), "Quiet has no save_state() and load_state()")

    def test_not_in_memory(self) -> None:
        """A transport that is no socket stays."""
        self.assertEqual(self.peer.protocol.why_it_stays(), "its transport")

    def test_nothing_changes(self) -> None:
        """An upgrade that has failed leaves no trace."""
        self.peer.send(b"line\nha")
        self.peer.full()
        connection = self.peer.protocol
        connection.send(b"x" * 100)
        with movable():
            before = copied([connection.export_state(), self.old.export_state([connection])])
            connection.pause_for_move()
            copied([connection.export_state(), self.old.export_state([connection])])
            connection.resume_after_move()
            after = copied([connection.export_state(), self.old.export_state([connection])])
        self.assertEqual(before, after)
        self.peer.drain()
        self.peer.send(b"lf\n")
        self.assertTrue(self.peer.received.endswith(b"2 b'half'" * 9 + b"\n"))
