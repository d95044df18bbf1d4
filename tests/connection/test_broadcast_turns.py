"""How broadcasts share the reactor's turns: slices, rounds, and members of several broadcasts."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import ChatCase
from twisted_net.connection.broadcast import (
    MEMBERS_PER_TURN,
    MOST_BEHIND,
    SLICES_PER_TURN,
    Broadcast,
    WriteScheduler,
)
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import CLOSED
from twisted_net.policy.coalescing import ENOUGH, LONGEST_DELAY, ROUNDS_LONG
from twisted_net.testing import Peer
from twisted_net.wire.framing import Raw


class Member(Connection):
    framing = Raw
    reads_while_full = True


class TurningClock(Clock):
    """A clock that can advance by one turn, as a reactor does."""

    def turn(self) -> None:
        """Run the calls that are due, but not those that they schedule."""
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            if call in self.calls:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class AnsweringClock(TurningClock):
    """A clock that can say, as the eager reactor can, whether anything waits for a turn to end.

    :ivar asked: how often it was asked.
    :ivar comes_after: the question at which something has come.
    """

    asked = 0
    comes_after = -1

    def is_awaited(self) -> bool:
        self.asked += 1
        return self.asked == self.comes_after


class CountingPeer(Peer):
    """A transport that records what is written to it.

    :ivar writes: the number of writes since it was last set to 0.
    :ivar given: all bytes written.
    :ivar cost: the seconds that a write takes.
    """

    writes = 0
    given = b""
    cost = 0.0

    def write(self, data: bytes) -> None:
        self.clock.rightNow += self.cost
        self.writes += 1
        self.given += data
        super().write(data)


def member_of(clock: Clock, *broadcasts: Broadcast) -> CountingPeer:
    """Return the far end of a new connection that is in these broadcasts."""
    factory = ConnectionFactory.forProtocol(Member, clock=clock, stall_timeout=0)
    peer: Any = CountingPeer(clock)
    peer.protocol = factory.buildProtocol(None)
    peer.protocol.makeConnection(peer)
    for broadcast in broadcasts:
        broadcast.add(peer.protocol)
    return peer  # type: ignore[no-any-return]


class SliceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurningClock()
        self.scheduler = WriteScheduler(self.clock, 3)
        self.broadcast = Broadcast(self.clock, self.scheduler)

    def test_so_many_in_a_turn(self) -> None:
        """A turn writes to a limited number of members, and the rest follow in later turns."""
        peers = [member_of(self.clock, self.broadcast) for _ in range(8)]
        self.broadcast.publish(b"x")
        for heard in (3, 6, 8, 8):
            self.clock.turn()
            self.assertEqual(sum(peer.writes for peer in peers), heard)
        self.assertEqual(self.turns_due(), 0)

    def turns_due(self) -> int:
        return sum(call.func == self.scheduler._turn for call in self.clock.getDelayedCalls())

    def test_nothing_waits(self) -> None:
        """A turn goes on, up to a limit, while the reactor says that nothing else waits."""
        clock = AnsweringClock()
        scheduler = WriteScheduler(clock, 3)
        broadcast = Broadcast(clock, scheduler)
        peers = [member_of(clock, broadcast) for _ in range(3 * SLICES_PER_TURN + 4)]
        broadcast.publish(b"x")
        clock.turn()
        self.assertEqual(sum(peer.writes for peer in peers), 3 * SLICES_PER_TURN)
        clock.turn()
        self.assertEqual([peer.writes for peer in peers], [1] * len(peers))
        asked = clock.asked
        clock.turn()  # nothing is left: nobody is asked, and no turn is taken
        self.assertEqual((clock.asked, clock.getDelayedCalls()), (asked, []))

    def test_something_waits(self) -> None:
        """It goes on after the slice in which an event comes; that is handled first."""
        clock = AnsweringClock()
        broadcast = Broadcast(clock, WriteScheduler(clock, 3))
        peers = [member_of(clock, broadcast) for _ in range(12)]
        clock.comes_after = 2
        broadcast.publish(b"x")
        clock.turn()
        self.assertEqual(sum(peer.writes for peer in peers), 6)
        clock.turn()
        self.assertEqual(sum(peer.writes for peer in peers), 12)

    def test_published_in_a_turn(self) -> None:
        """What is to be done before the next turn ends this one."""
        clock = AnsweringClock()
        scheduler = WriteScheduler(clock, 3)
        broadcast = Broadcast(clock, scheduler)
        peers = [member_of(clock, broadcast) for _ in range(9)]
        done: list[int] = []
        heard = peers[0].write

        def write(data: bytes) -> None:
            heard(data)
            scheduler.before_next(lambda: done.append(sum(peer.writes for peer in peers)))

        peers[0].write = write
        broadcast.publish(b"x")
        clock.turn()
        self.assertEqual((sum(peer.writes for peer in peers), done), (3, []))
        clock.turn()
        self.assertEqual((sum(peer.writes for peer in peers), done), (9, [3]))

    def test_usual_size(self) -> None:
        """Broadcasts without a shared scheduler write in slices too."""
        broadcast = Broadcast(self.clock)
        peers = [member_of(self.clock, broadcast) for _ in range(MEMBERS_PER_TURN + 1)]
        broadcast.publish(b"x")
        self.clock.turn()
        self.assertEqual([peer.writes for peer in peers], [1] * MEMBERS_PER_TURN + [0])

    def test_what_comes_meanwhile_is_joined(self) -> None:
        """Members that are written to later in a round get all new messages in the same write."""
        peers = [member_of(self.clock, self.broadcast) for _ in range(6)]
        self.broadcast.publish(b"1")
        self.clock.turn()
        self.broadcast.publish(b"2")
        self.broadcast.publish(b"3")
        self.clock.turn()
        self.assertEqual([peer.writes for peer in peers], [1] * 6)
        self.clock.turn()
        self.clock.turn()
        self.assertEqual([peer.given for peer in peers], [b"123"] * 6)
        self.assertEqual([peer.writes for peer in peers], [2] * 3 + [1] * 3)

    def test_groups_share_a_turn(self) -> None:
        """A large broadcast does not block a small one until it is done."""
        large = [member_of(self.clock, self.broadcast) for _ in range(30)]
        other = Broadcast(self.clock, self.scheduler)
        small = member_of(self.clock, other)
        self.broadcast.publish(b"x")
        other.publish(b"y")
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(small.given, b"y")
        self.assertLess(sum(peer.writes for peer in large), 10)

    def test_many_small_groups(self) -> None:
        """All broadcasts together have a limited number of writes per turn."""
        broadcasts = [Broadcast(self.clock, self.scheduler) for _ in range(10)]
        peers = [member_of(self.clock, broadcast) for broadcast in broadcasts for _ in range(2)]
        for broadcast in broadcasts:
            broadcast.publish(b"x")
        self.clock.turn()
        self.assertIn(sum(peer.writes for peer in peers), (3, 4))
        for _ in range(10):
            self.clock.turn()
        self.assertEqual([peer.given for peer in peers], [b"x"] * 20)

    def test_too_much_is_given_at_once(self) -> None:
        """If too many bytes are pending, the rest of a round is written in one turn."""
        peers = [member_of(self.clock, self.broadcast) for _ in range(9)]
        piece = b"x" * (MOST_BEHIND // 4)
        for _ in range(4):
            self.broadcast.publish(piece)
        self.clock.turn()
        self.assertEqual(sum(peer.writes for peer in peers), 3, "not more than the bound")
        self.broadcast.publish(piece)
        self.clock.turn()
        self.assertEqual([peer.writes for peer in peers], [1] * 9)
        self.clock.turn()
        self.clock.turn()
        self.assertEqual({len(peer.given) for peer in peers}, {5 * len(piece)})

    def test_work_comes_first(self) -> None:
        """Work runs before the writes of its turn, and work that fails does not stop the rest."""
        peer = member_of(self.clock, self.broadcast)
        self.scheduler.before_next(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        self.scheduler.before_next(lambda: self.broadcast.publish(b"x"))
        self.clock.turn()
        self.assertEqual(peer.given, b"x")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_work_that_asks_for_more(self) -> None:
        """Work that is added by other work runs in the turn after."""
        seen: list[int] = []
        self.scheduler.before_next(lambda: self.scheduler.before_next(lambda: seen.append(1)))
        self.clock.turn()
        self.assertEqual(seen, [])
        self.clock.turn()
        self.assertEqual(seen, [1])

    def test_one_write_for_several_groups(self) -> None:
        """A member of several broadcasts gets one write, before and after it leaves one of them."""
        broadcasts = [Broadcast(self.clock, self.scheduler) for _ in range(3)]
        peer, other = member_of(self.clock, *broadcasts), member_of(self.clock, broadcasts[0])
        for number, broadcast in enumerate(broadcasts):
            broadcast.publish(b"%d" % number)
        self.clock.turn()
        self.assertEqual((peer.writes, peer.given), (1, b"012"))
        self.assertEqual((other.writes, other.given), (1, b"0"))
        broadcasts[0].discard(peer.protocol)
        for number, broadcast in enumerate(broadcasts):
            broadcast.publish(b"%d" % number, peer.protocol if number == 1 else None)
        self.clock.turn()
        self.assertEqual((peer.writes, peer.given), (2, b"0122"))
        broadcasts[1].discard(peer.protocol)
        broadcasts[2].publish(b"3")
        self.clock.turn()
        self.assertEqual((peer.writes, peer.given), (3, b"01223"))
        broadcasts[2].discard(peer.protocol)
        self.assertEqual(peer.protocol.broadcasts, ())


class RestTests(SynchronousTestCase):
    """A busy broadcast batches its messages."""

    def setUp(self) -> None:
        self.clock = TurningClock()
        self.broadcast = Broadcast(self.clock)
        self.peers = [member_of(self.clock, self.broadcast) for _ in range(10)]

    def round(self, cost: float) -> None:
        """Run a round in which each write takes ``cost`` seconds."""
        for peer in self.peers:
            peer.cost = cost
        self.broadcast.publish(b"0")
        self.clock.turn()
        for peer in self.peers:
            peer.cost = peer.writes = 0
            peer.given = b""

    def test_after_a_long_round(self) -> None:
        """After a long round, new messages wait for some times as long as it took."""
        self.round(0.0002)
        self.broadcast.publish(b"1")
        self.clock.turn()
        self.clock.advance(0.002 * ROUNDS_LONG - 0.0005)
        self.broadcast.publish(b"2")
        self.clock.turn()
        self.assertEqual([peer.writes for peer in self.peers], [0] * 10)
        self.clock.advance(0.0006)  # a little more, because such numbers are not exact
        self.clock.turn()
        for peer in self.peers:
            self.assertEqual((peer.writes, peer.given), (1, b"12"))

    def test_who_leaves_meanwhile(self) -> None:
        """A member that leaves during the delay gets what was published before."""
        self.round(0.0005)
        self.broadcast.publish(b"1")
        self.broadcast.discard(self.peers[0].protocol)
        self.assertEqual(self.peers[0].given, b"1")

    def test_enough_is_enough(self) -> None:
        """A few pending messages end the delay at once."""
        self.round(0.0005)
        for number in range(ENOUGH):
            self.clock.turn()
            self.assertEqual(self.peers[0].given, b"")
            self.broadcast.publish(b"%d" % number)
        self.clock.turn()
        self.assertEqual(self.peers[0].given, b"012"[:ENOUGH])
        self.clock.advance(LONGEST_DELAY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_a_short_round(self) -> None:
        """After a short round, there is no delay."""
        self.round(0.00001)
        self.broadcast.publish(b"1")
        self.clock.turn()
        self.assertEqual(self.peers[0].given, b"1")

    def test_after_a_pause(self) -> None:
        """There is no delay once a broadcast was silent for that long."""
        self.round(0.0002)
        self.clock.advance(0.002 * ROUNDS_LONG + 0.0001)
        self.broadcast.publish(b"1")
        self.clock.turn()
        self.assertEqual(self.peers[0].given, b"1")

    def test_it_is_not_for_long(self) -> None:
        self.round(1)
        self.broadcast.publish(b"1")
        self.clock.advance(LONGEST_DELAY)
        self.clock.turn()
        self.assertEqual(self.peers[0].given, b"1")


class GroupMachine(RuleBasedStateMachine):
    """Any steps with three broadcasts of six members, compared to what each should get."""

    new_clock: type[TurningClock] = TurningClock

    def __init__(self) -> None:
        super().__init__()
        self.clock = self.new_clock()
        scheduler = WriteScheduler(self.clock, 4)
        self.broadcasts = [Broadcast(self.clock, scheduler) for _ in range(3)]
        self.peers = [member_of(self.clock) for _ in range(6)]
        self.heard: dict[tuple[int, int], list[bytes]] = {
            (who, where): [] for who in range(6) for where in range(3)
        }
        self.members: set[tuple[int, int]] = set()
        self.closed: set[int] = set()
        self.numbers = count()

    who = st.integers(0, 5)
    where = st.integers(0, 2)

    @rule(who=who, where=where)
    def add(self, who: int, where: int) -> None:
        if who not in self.closed:
            self.broadcasts[where].add(self.peers[who].protocol)
            self.members.add((who, where))

    @rule(who=who, where=where)
    def discard(self, who: int, where: int) -> None:
        self.broadcasts[where].discard(self.peers[who].protocol)
        self.members.discard((who, where))
        self.check(who, where)

    def word(self, where: int) -> bytes:
        return b"%d.%d " % (where, next(self.numbers))

    def said(self, where: int, data: bytes, instead: dict[int, bytes]) -> None:
        for who in range(6):
            mine = instead.get(who, data)
            if (who, where) in self.members and mine:
                self.heard[who, where].append(mine.strip())

    @rule(where=where, who=st.one_of(st.none(), who), answered=st.booleans())
    def publish(self, where: int, who: int | None, answered: bool) -> None:
        data = self.word(where)
        instead = data.replace(b" ", b"! ") if answered else b""
        sender = None if who is None else self.peers[who].protocol
        self.broadcasts[where].enqueue(data, sender, instead)
        self.said(where, data, {} if who is None else {who: instead})

    @rule(where=where, who=who)
    def publish_but_leave_out(self, where: int, who: int) -> None:
        data = self.word(where)
        self.broadcasts[where].enqueue(data)
        self.broadcasts[where].skip(self.peers[who].protocol)
        self.said(where, data, {who: b""})

    @rule(where=where, who=who)
    def give(self, where: int, who: int) -> None:
        data = self.word(where)
        self.broadcasts[where].enqueue_for(self.peers[who].protocol, data)
        self.said(where, b"", {who: data})

    @rule(cost=st.sampled_from((0.0, 0.0001, 0.004)))
    def take_time(self, cost: float) -> None:
        for peer in self.peers:
            peer.cost = cost

    @rule(seconds=st.sampled_from((0.001, 0.02)))
    def turn_later(self, seconds: float) -> None:
        self.clock.rightNow += seconds
        self.turn()

    @rule()
    def turn(self) -> None:
        for peer in self.peers:
            peer.writes = 0
        self.clock.turn()
        for peer in self.peers:
            assert peer.writes <= 1, "more than a write in a turn"

    @precondition(lambda self: len(self.closed) < 4)
    @rule(who=who)
    def close(self, who: int) -> None:
        """End as a chat connection does: leave, send a last message, and close."""
        for where in range(3):
            self.broadcasts[where].discard(self.peers[who].protocol)
            self.members.discard((who, where))
        self.peers[who].protocol.close(CLOSED)
        self.closed.add(who)
        for where in range(3):
            self.check(who, where)

    def check(self, who: int, where: int) -> None:
        """Check that it received everything it should have from a broadcast."""
        peer = self.peers[who]
        words = peer.given.split()
        found = [word for word in words if word.startswith(b"%d." % where)]
        assert found == self.heard[who, where], (found, self.heard[who, where])

    @invariant()
    def nothing_too_early_or_twice(self) -> None:
        for (who, where), heard in self.heard.items():
            peer = self.peers[who]
            words = peer.given.split()
            found = [word for word in words if word.startswith(b"%d." % where)]
            assert found == heard[: len(found)], (found, heard)

    def teardown(self) -> None:
        for _ in range(20):
            self.turn_later(LONGEST_DELAY)
        for who, where in self.heard:
            self.check(who, where)
        for broadcast in self.broadcasts:
            assert not broadcast._pending
            assert not broadcast.is_writing


class LongTurnMachine(GroupMachine):
    """The same in turns that go on while nothing else waits."""

    new_clock = AnsweringClock


class ModelTests(SynchronousTestCase):
    def test_anything(self) -> None:
        """Every member gets what it should, once and in order, in one write per turn."""
        for machine in (GroupMachine, LongTurnMachine):
            run_state_machine_as_test(
                machine, settings=settings(max_examples=60, stateful_step_count=40, database=None)
            )


class RoomTests(ChatCase):
    """The same with the chat's rooms."""

    def setUp(self) -> None:
        super().setUp()
        self.clock: Any = TurningClock()
        self.factory = self.make()

    def writes(self, peer: Peer) -> list[bytes]:
        """Record what is written to a peer from now on."""
        written: list[bytes] = []
        write = peer.write

        def note(data: bytes) -> None:
            written.append(data)
            write(data)

        peer.write = note  # type: ignore[method-assign]
        return written

    def test_members_of_several_rooms(self) -> None:
        """Everything from all of a member's rooms in a turn is one write, in both formats."""
        bob, eve = self.user("bob"), self.program("eve")
        speakers = []
        for room in ("one", "two", "three"):
            bob.send(f"/join {room}\n".encode())
            eve.asks(type="join", room=room)
            speaker = self.user(f"in-{room}")
            speaker.send(f"/leave\n/join {room}\n".encode())
            speakers.append(speaker)
        self.clock.advance(1)
        told = self.writes(bob), self.writes(eve.peer)
        for speaker in speakers:
            speaker.protocol.dataReceived(b"hi\n")
        self.assertEqual(told, ([], []))
        self.clock.turn()
        self.assertEqual(told[0], [b"#one <in-one> hi\n#two <in-two> hi\n#three <in-three> hi\n"])
        self.assertEqual((len(told[1]), told[1][0].count(b"\n")), (1, 3))

    def test_last_words_come_after(self) -> None:
        """A member that leaves before its write still gets the earlier messages."""
        users = [self.user(f"p{number}") for number in range(9)]
        self.clock.advance(1)
        self.factory._scheduler = WriteScheduler(self.clock, 2)
        users[0].send(b"/join r\n")
        for each in users[1:]:
            each.send(b"/leave\n/join r\n")
        self.clock.advance(1)
        told = [self.writes(each) for each in users]
        users[0].protocol.dataReceived(b"/me waves\n")
        self.clock.turn()
        self.assertEqual(sum(map(bool, told)), 2, "the first slice, and no more")
        for each in users:
            each.protocol.dataReceived(b"/quit\n")
        for each in told[1:]:
            heard = b"".join(each)
            self.assertIn(b"* p0 waves\n", heard)
            self.assertLess(heard.index(b"* p0 waves"), heard.index(b"* Goodbye"), heard)
            self.assertEqual(heard.count(b"waves"), 1)
