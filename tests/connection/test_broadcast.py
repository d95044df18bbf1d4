"""Broadcasts to many connections: :mod:`twisted_net.connection.broadcast`."""

from __future__ import annotations

import contextlib
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.broadcast import Broadcast
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import CLOSED, CloseReason
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.testing import Peer, connect_peer
from twisted_net.wire.framing import Raw


class Member(Connection):
    """A connection that is not in any broadcast by itself."""

    framing = Raw
    reads_while_full = True


class LeavingMember(Member):
    """Leaves its broadcast as it closes, like a chat user, but may do so twice."""

    broadcast: Broadcast

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        self.broadcast.discard(self)
        super().close(reason, detail)


class GroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.broadcast = Broadcast(self.clock)
        self.writes: list[tuple[Any, bytes, int]] = []

    def member(self, protocol: Any = Member, **limits: Any) -> Peer:
        """Add a new connection to the broadcast, and return its far end."""
        factory = ConnectionFactory.forProtocol(protocol, clock=self.clock, **limits)
        peer = connect_peer(factory)
        peer.protocol.broadcast = self.broadcast
        self.broadcast.add(peer.protocol)
        return peer

    def spied(self, peer: Peer) -> Peer:
        """Record in :attr:`writes` what the broadcast writes to this member."""
        give = peer.protocol.send_encoded

        def send_encoded(data: bytes, messages: int = 1) -> bool:
            self.writes.append((peer.protocol, data, messages))
            return bool(give(data, messages))

        peer.protocol.send_encoded = send_encoded
        return peer

    def test_a_turn_is_one_write(self) -> None:
        """Each member gets all messages of a turn in a single write, and each is counted."""
        first, second = self.spied(self.member()), self.spied(self.member())
        for data in (b"a", b"b", b"c"):
            self.broadcast.publish(data)
        self.assertEqual(self.writes, [], "not in the turn itself")
        self.clock.advance(0)
        self.assertEqual(self.writes, [(first.protocol, b"abc", 3), (second.protocol, b"abc", 3)])
        self.assertEqual(first.protocol.messages_sent, 3)
        self.assertEqual((first.received, second.received), (b"abc", b"abc"))

    def test_turns_do_not_mix(self) -> None:
        """Each turn has its own write, and nothing is sent twice."""
        peer = self.spied(self.member())
        for data in (b"a", b"b"):
            self.broadcast.publish(data)
            self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual([data for _, data, _ in self.writes], [b"a", b"b"])
        self.assertEqual(peer.received, b"ab")

    def test_nobody_hears_itself(self) -> None:
        """A sender gets all other messages of its turn, in order, but not its own."""
        ann, bob, eve = self.member(), self.member(), self.member()
        for sender, data in ((ann, b"1"), (bob, b"2"), (ann, b"3"), (None, b"4")):
            self.broadcast.publish(data, sender and sender.protocol)
        self.clock.advance(0)
        self.assertEqual((ann.take(), bob.take(), eve.take()), (b"24", b"134", b"1234"))
        self.spied(ann)
        self.broadcast.publish(b"5", ann.protocol)
        self.clock.advance(0)
        self.assertEqual((self.writes, bob.received), ([], b"5"))

    def test_a_sender_need_not_be_a_member(self) -> None:
        """If the sender is not a member, every member gets the message."""
        outside = connect_peer(ConnectionFactory.forProtocol(Member, clock=self.clock))
        peer = self.member()
        self.broadcast.publish(b"x", outside.protocol)
        self.clock.advance(0)
        self.assertEqual((peer.received, outside.received), (b"x", b""))

    def test_a_newcomer_hears_what_comes_after_it(self) -> None:
        """A new member gets only later messages, even if it sends in the same turn."""
        old = self.member()
        self.broadcast.publish(b"before ")
        new = self.member()
        self.broadcast.publish(b"own ", new.protocol)
        self.broadcast.publish(b"after")
        self.clock.advance(0)
        self.assertEqual((old.received, new.received), (b"before own after", b"after"))

    def test_one_who_leaves_hears_what_came_before(self) -> None:
        """A member that leaves gets earlier messages at once, except its own, and no later ones."""
        peer = self.member()
        self.broadcast.publish(b"before ")
        self.broadcast.publish(b"own ", peer.protocol)
        self.broadcast.discard(peer.protocol)
        self.broadcast.publish(b"after")
        self.assertEqual((peer.received, len(self.broadcast)), (b"before ", 0))
        self.clock.advance(0)
        self.assertEqual(peer.received, b"before ")

    def test_coming_and_leaving_within_a_turn(self) -> None:
        """A member that joins and leaves within a turn gets only what was published in between."""
        self.broadcast.publish(b"1")
        peer = self.member()
        self.broadcast.publish(b"2")
        self.broadcast.discard(peer.protocol)
        self.broadcast.publish(b"3")
        self.clock.advance(0)
        self.assertEqual(peer.received, b"2")

    def test_leaving_and_coming_back_within_a_turn(self) -> None:
        """A member that leaves and rejoins gets nothing twice, and not what it missed."""
        peer = self.member()
        self.broadcast.publish(b"1")
        self.broadcast.discard(peer.protocol)
        self.broadcast.publish(b"2")
        self.broadcast.add(peer.protocol)
        self.broadcast.publish(b"3")
        self.clock.advance(0)
        self.assertEqual(peer.received, b"13")

    def test_adding_a_member_again_changes_nothing(self) -> None:
        """A member that is added twice gets each message once."""
        peer = self.member()
        self.broadcast.publish(b"1")
        self.broadcast.add(peer.protocol)
        self.broadcast.publish(b"2")
        self.clock.advance(0)
        self.assertEqual((peer.received, len(self.broadcast)), (b"12", 1))

    def test_who_is_in_it(self) -> None:
        """``len`` and ``in`` work. Discarding a connection that is not a member does nothing."""
        peer = self.member()
        self.assertEqual((len(self.broadcast), peer.protocol in self.broadcast), (1, True))
        self.broadcast.discard(peer.protocol)
        self.broadcast.discard(peer.protocol)
        self.assertEqual((len(self.broadcast), peer.protocol in self.broadcast), (0, False))

    def test_nobody_there(self) -> None:
        """Publishing to an empty broadcast costs one turn and nothing more."""
        self.broadcast.publish(b"x")
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_closed_member_is_passed_over(self) -> None:
        """A member may still be in the broadcast after its connection has closed."""
        gone, there = self.member(), self.member()
        gone.reset()
        self.broadcast.publish(b"x")
        self.clock.advance(0)
        self.assertEqual((gone.received, there.received), (b"", b"x"))


class SlowMemberTests(SynchronousTestCase):
    """Effects of a write on members, and of members on a write."""

    setUp = GroupTests.setUp
    member = GroupTests.member

    def test_a_slow_member_waits_alone(self) -> None:
        """Messages for a slow member are queued; the others get theirs."""
        slow, quick = self.member(), self.member()
        slow.full()
        self.broadcast.publish(b"x")
        self.clock.advance(0)
        self.assertEqual((slow.protocol.queued, quick.received), (1, b"x"))
        slow.drain()
        self.assertEqual(slow.received, b"x")

    def test_a_member_that_is_closed_by_a_flush(self) -> None:
        """If a write closes a member whose queue is full, all others still get everything."""
        before = self.member()
        slow = self.member(queue_limit=3)
        after = self.member()
        slow.full()
        for data in (b"abc", b"def"):
            self.broadcast.publish(data)
            self.clock.advance(0)
        self.assertEqual(slow.protocol.reason.code, "slow")
        self.assertEqual((before.received, after.received), (b"abcdef", b"abcdef"))

    def test_a_member_that_leaves_as_it_is_closed_by_a_flush(self) -> None:
        """If the messages sent on leaving overflow the queue too, the connection ends only once."""
        slow = self.member(LeavingMember, queue_limit=3)
        other = self.member()
        slow.full()
        for data in (b"abc", b"def", b"ghi"):
            self.broadcast.publish(data)
            self.clock.advance(0)
        self.assertEqual(slow.protocol.reason.code, "slow")
        self.assertNotIn(slow.protocol, self.broadcast)
        self.assertEqual(other.received, b"abcdefghi")

    def test_a_member_whose_queue_overflows_as_it_leaves(self) -> None:
        """``discard`` may overflow the queue and close the member, which discards it again."""
        slow = self.member(LeavingMember, queue_limit=3)
        slow.full()
        slow.protocol.send_encoded(b"abc")
        self.broadcast.publish(b"def")
        self.broadcast.discard(slow.protocol)
        self.assertEqual((slow.protocol.reason.code, len(self.broadcast)), ("slow", 0))

    def test_dropping_is_no_end(self) -> None:
        """With the two drop policies, a slow member stays connected."""
        for rule in (OverflowPolicy.DROP_NEWEST, OverflowPolicy.DROP_OLDEST):
            slow = self.member(LeavingMember, queue_limit=3, overflow_policy=rule)
            slow.full()
            for data in (b"abc", b"def"):
                self.broadcast.publish(data)
                self.clock.advance(0)
            self.assertIn(slow.protocol, self.broadcast)
            slow.drain()
            self.assertEqual(slow.take(), b"abc" if rule is OverflowPolicy.DROP_NEWEST else b"def")

    def test_what_is_published_by_a_flush_is_not_lost(self) -> None:
        """If a member's end is announced to the others, that message is sent in the next turn."""
        broadcast = self.broadcast

        class Announced(LeavingMember):
            def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
                super().close(reason, detail)
                broadcast.publish(b" left")

        slow = self.member(Announced, queue_limit=3)
        other = self.member()
        slow.full()
        for data in (b"abc", b"def"):
            broadcast.publish(data)
            self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(other.received, b"abcdef left")

    def test_who_comes_during_a_flush_hears_what_is_published_then(self) -> None:
        """A member added during a write gets only what is published from then on."""
        broadcast, visitor = self.broadcast, self.member()
        broadcast.discard(visitor.protocol)

        class Replaced(LeavingMember):
            def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
                super().close(reason, detail)
                broadcast.add(visitor.protocol)
                broadcast.publish(b"new")

        slow = self.member(Replaced, queue_limit=3)
        slow.full()
        for data in (b"abc", b"def"):
            broadcast.publish(data)
            self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(visitor.received, b"new")

    def test_one_who_takes_another_along(self) -> None:
        """A member that another member's end discards gets its messages of the turn once."""
        broadcast, friends = self.broadcast, []

        class Together(LeavingMember):
            def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
                super().close(reason, detail)
                for friend in friends:
                    broadcast.discard(friend.protocol)

        friends.append(self.member())
        slow = self.member(Together, queue_limit=3)
        friends.append(self.member())
        slow.full()
        for data in (b"abc", b"def", b"ghi"):
            broadcast.publish(data)
            self.clock.advance(0)
        self.assertEqual(friends[0].received, b"abcdef")
        self.assertIn(friends[1].received, (b"abc", b"abcdef"))
        self.assertEqual(len(broadcast), 0)

    def test_one_member_that_fails_is_not_everybodys_end(self) -> None:
        """If one member's transport raises, no other member loses a message, now or later."""
        broken, other = self.member(), self.member()
        broken.protocol.send_encoded = lambda *arguments: 1 / 0
        self.broadcast.publish(b"1")
        with contextlib.suppress(ZeroDivisionError):  # a reactor would log it
            self.clock.advance(0)
        self.broadcast.publish(b"2")
        with contextlib.suppress(ZeroDivisionError):
            self.clock.advance(0)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(other.received, b"12")

    def test_no_bytes_are_no_end_of_the_group(self) -> None:
        """Publishing text by mistake raises, and later messages still arrive."""
        peer = self.member()
        try:
            self.broadcast.publish("text")  # type: ignore[arg-type]
            self.clock.advance(0)
        except TypeError:
            pass
        else:
            self.fail("nobody was told of the mistake")
        self.broadcast.publish(b"bytes")
        self.clock.advance(0)
        self.assertEqual(peer.received, b"bytes")

    def test_many_members_and_messages(self) -> None:
        """A thousand members send in one turn, and each gets all others' messages in order."""
        peers = [self.member() for _ in range(200)]
        for number, peer in enumerate(peers):
            for step in range(5):
                self.broadcast.publish(b"%d.%d " % (number, step), peer.protocol)
        self.clock.advance(0)
        everything = [b"%d.%d" % (n, s) for n in range(200) for s in range(5)]
        for number, peer in enumerate(peers):
            own = {b"%d.%d" % (number, step) for step in range(5)}
            expected = [each for each in everything if each not in own]
            self.assertEqual(peer.received.split(), expected)
