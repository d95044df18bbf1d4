"""The send queue of a slow peer: :mod:`twisted_net.connection.send_queue`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.send_queue import SendQueue
from twisted_net.policy.limits import OverflowPolicy

many = settings(deadline=None, max_examples=200, database=None)

LIMIT = 10


def filled(rule: OverflowPolicy, *entries: bytes) -> SendQueue:
    """Return a send queue with a limit of ten bytes and these entries, of one message each."""
    outbox = SendQueue(LIMIT, rule)
    for entry in entries:
        assert outbox.put(entry)
    return outbox


class OutboxTests(SynchronousTestCase):
    def test_what_is_put_comes_out_in_order(self) -> None:
        """Entries come out joined, with the count of messages; then nothing waits."""
        outbox = SendQueue(LIMIT)
        self.assertFalse(outbox)
        outbox.put(b"ab", 2)
        outbox.put(b"cde")
        self.assertTrue(outbox)
        self.assertEqual(outbox.size, 5)
        self.assertEqual(outbox.take(LIMIT), (b"abcde", 3))
        self.assertEqual((bool(outbox), outbox.size), (False, 0))
        self.assertEqual(outbox.take(LIMIT), (b"", 0))

    def test_entries_are_taken_whole(self) -> None:
        """Only as many whole entries are taken as are needed."""
        outbox = filled(OverflowPolicy.CLOSE, b"abc", b"def", b"ghi")
        self.assertEqual(outbox.take(3), (b"abc", 1))
        self.assertEqual(outbox.take(4), (b"defghi", 2))
        outbox = filled(OverflowPolicy.CLOSE, b"abc", b"def")
        self.assertEqual(outbox.take(1), (b"abc", 1))
        self.assertEqual(outbox.size, 3)

    def test_the_limit_itself_is_allowed(self) -> None:
        """Reaching the limit exactly is allowed under every policy, and nothing is missed."""
        for rule in OverflowPolicy:
            outbox = filled(rule, b"12345")
            self.assertTrue(outbox.put(b"67890"))
            self.assertEqual((outbox.missed, outbox.take(99)), (0, (b"1234567890", 2)))

    def test_close_refuses_one_byte_more(self) -> None:
        """With CLOSE, one byte more fails, and what waited is still there."""
        outbox = filled(OverflowPolicy.CLOSE, b"12345")
        self.assertFalse(outbox.put(b"678901"))
        self.assertEqual((outbox.missed, outbox.take(99)), (0, (b"12345", 1)))

    def test_drop_newest_leaves_out_what_does_not_fit(self) -> None:
        """With DROP_NEWEST, what does not fit is counted as missed. A smaller entry still fits."""
        outbox = filled(OverflowPolicy.DROP_NEWEST, b"12345")
        self.assertTrue(outbox.put(b"678901", 3))
        self.assertTrue(outbox.put(b"6"))
        self.assertEqual((outbox.missed, outbox.take(99)), (3, (b"123456", 2)))

    def test_drop_oldest_makes_room(self) -> None:
        """With DROP_OLDEST, only as many whole entries are dropped as needed."""
        outbox = SendQueue(LIMIT, OverflowPolicy.DROP_OLDEST)
        outbox.put(b"123", 2)
        outbox.put(b"456")
        outbox.put(b"789")
        self.assertTrue(outbox.put(b"abcde"))
        self.assertEqual((outbox.missed, outbox.size), (3, 8))
        self.assertEqual(outbox.take(99), (b"789abcde", 2))

    def test_a_message_alone_may_be_larger_than_the_limit(self) -> None:
        """A single message may exceed the limit. Otherwise it could never be sent."""
        for rule in OverflowPolicy:
            outbox = SendQueue(LIMIT, rule)
            self.assertTrue(outbox.put(b"x" * 11))
            self.assertEqual((outbox.missed, outbox.take(1)), (0, (b"x" * 11, 1)))
        outbox = filled(OverflowPolicy.DROP_OLDEST, b"a", b"b")
        self.assertTrue(outbox.put(b"x" * 11))
        self.assertEqual((outbox.missed, outbox.take(1)), (2, (b"x" * 11, 1)))

    def test_missed_messages_are_told_once(self) -> None:
        """The count of missed messages restarts after it is taken."""
        outbox = filled(OverflowPolicy.DROP_OLDEST, b"123456")
        outbox.put(b"123456")
        self.assertEqual((outbox.take_missed(), outbox.take_missed()), (1, 0))
        outbox.put(b"123456")
        self.assertEqual(outbox.take_missed(), 1)

    def test_clear_forgets_what_waits(self) -> None:
        """``clear`` drops everything and frees the room."""
        outbox = filled(OverflowPolicy.CLOSE, b"1234567890")
        outbox.clear()
        self.assertEqual((bool(outbox), outbox.size, outbox.take(99)), (False, 0, (b"", 0)))
        self.assertTrue(outbox.put(b"1234567890"))

    @many
    @given(
        st.sampled_from(OverflowPolicy),
        st.lists(st.integers(1, 7).map(lambda size: -size) | st.integers(0, 13), max_size=40),
    )
    def test_nothing_is_lost_uncounted(self, rule: OverflowPolicy, steps: list[int]) -> None:
        """The queue is bounded and in order, and every message is counted.

        A step is the size of an entry to put or, if negative, the number of bytes to take.
        """
        outbox = SendQueue(LIMIT, rule)
        taken, refused = b"", 0
        for number, step in enumerate(steps):
            if step < 0:
                taken += outbox.take(-step)[0]
            elif not outbox.put(b"%c" % number * step):
                refused += 1
            self.assertLessEqual(outbox.size, max(LIMIT, *steps))
        size = outbox.size
        rest, _ = outbox.take(1 << 20)
        self.assertEqual(len(rest), size)
        self.assertEqual(taken + rest, bytes(sorted(taken + rest)), "out of order")
        for number, step in enumerate(steps):
            self.assertIn((taken + rest).count(number), (0, max(step, 0)), "not whole")
        empty = sum(step == 0 for step in steps)
        put = sum(step > 0 for step in steps)
        lost = put - len(set(taken + rest))
        self.assertTrue(lost <= refused + outbox.missed <= lost + empty)
        self.assertEqual(refused == 0 or rule is OverflowPolicy.CLOSE, True)
        self.assertEqual(outbox.missed == 0 or rule is not OverflowPolicy.CLOSE, True)
