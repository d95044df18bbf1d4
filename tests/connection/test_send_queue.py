"""The send queue of a slow peer: :mod:`twisted_net.connection.send_queue`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.send_queue import SendQueue
from twisted_net.policy.limits import OverflowPolicy

many = settings(max_examples=200, database=None)

LIMIT = 10


def filled(rule: OverflowPolicy, *entries: bytes) -> SendQueue:
    """Return a send queue with a limit of ten bytes and these entries, of one message each."""
    queue = SendQueue(LIMIT, rule)
    for entry in entries:
        assert queue.put(entry)
    return queue


class OutboxTests(SynchronousTestCase):
    def test_what_is_put_comes_out_in_order(self) -> None:
        """Entries come out joined, with the count of messages; then nothing waits."""
        queue = SendQueue(LIMIT)
        self.assertFalse(queue)
        queue.put(b"ab", 2)
        queue.put(b"cde")
        self.assertTrue(queue)
        self.assertEqual(queue.size, 5)
        self.assertEqual(queue.take(LIMIT), (b"abcde", 3))
        self.assertEqual((bool(queue), queue.size), (False, 0))
        self.assertEqual(queue.take(LIMIT), (b"", 0))

    def test_entries_are_taken_whole(self) -> None:
        """Only as many whole entries are taken as are needed."""
        queue = filled(OverflowPolicy.CLOSE, b"abc", b"def", b"ghi")
        self.assertEqual(queue.take(3), (b"abc", 1))
        self.assertEqual(queue.take(4), (b"defghi", 2))
        queue = filled(OverflowPolicy.CLOSE, b"abc", b"def")
        self.assertEqual(queue.take(1), (b"abc", 1))
        self.assertEqual(queue.size, 3)

    def test_the_limit_itself_is_allowed(self) -> None:
        """Reaching the limit exactly is allowed under every policy, and nothing is missed."""
        for rule in OverflowPolicy:
            queue = filled(rule, b"12345")
            self.assertTrue(queue.put(b"67890"))
            self.assertEqual((queue.missed, queue.take(99)), (0, (b"1234567890", 2)))

    def test_close_refuses_one_byte_more(self) -> None:
        """With CLOSE, one byte more fails, and what waited is still there."""
        queue = filled(OverflowPolicy.CLOSE, b"12345")
        self.assertFalse(queue.put(b"678901"))
        self.assertEqual((queue.missed, queue.take(99)), (0, (b"12345", 1)))

    def test_drop_newest_leaves_out_what_does_not_fit(self) -> None:
        """With DROP_NEWEST, what does not fit is counted as missed. A smaller entry still fits."""
        queue = filled(OverflowPolicy.DROP_NEWEST, b"12345")
        self.assertTrue(queue.put(b"678901", 3))
        self.assertTrue(queue.put(b"6"))
        self.assertEqual((queue.missed, queue.take(99)), (3, (b"123456", 2)))

    def test_drop_oldest_makes_room(self) -> None:
        """With DROP_OLDEST, only as many whole entries are dropped as needed."""
        queue = SendQueue(LIMIT, OverflowPolicy.DROP_OLDEST)
        queue.put(b"123", 2)
        queue.put(b"456")
        queue.put(b"789")
        self.assertTrue(queue.put(b"abcde"))
        self.assertEqual((queue.missed, queue.size), (3, 8))
        self.assertEqual(queue.take(99), (b"789abcde", 2))

    def test_a_message_alone_may_be_larger_than_the_limit(self) -> None:
        """A single message may exceed the limit. Otherwise it could never be sent."""
        for rule in OverflowPolicy:
            queue = SendQueue(LIMIT, rule)
            self.assertTrue(queue.put(b"x" * 11))
            self.assertEqual((queue.missed, queue.take(1)), (0, (b"x" * 11, 1)))
        queue = filled(OverflowPolicy.DROP_OLDEST, b"a", b"b")
        self.assertTrue(queue.put(b"x" * 11))
        self.assertEqual((queue.missed, queue.take(1)), (2, (b"x" * 11, 1)))

    def test_missed_messages_are_told_once(self) -> None:
        """The count of missed messages restarts after it is taken."""
        queue = filled(OverflowPolicy.DROP_OLDEST, b"123456")
        queue.put(b"123456")
        self.assertEqual((queue.take_missed(), queue.take_missed()), (1, 0))
        queue.put(b"123456")
        self.assertEqual(queue.take_missed(), 1)

    def test_clear_forgets_what_waits(self) -> None:
        """``clear`` drops everything and frees the room."""
        queue = filled(OverflowPolicy.CLOSE, b"1234567890")
        queue.clear()
        self.assertEqual((bool(queue), queue.size, queue.take(99)), (False, 0, (b"", 0)))
        self.assertTrue(queue.put(b"1234567890"))

    @many
    @given(
        st.sampled_from(OverflowPolicy),
        st.lists(st.integers(1, 7).map(lambda size: -size) | st.integers(0, 13), max_size=40),
    )
    def test_nothing_is_lost_uncounted(self, rule: OverflowPolicy, steps: list[int]) -> None:
        """The queue is bounded and in order, and every message is counted.

        A step is the size of an entry to put or, if negative, the number of bytes to take.
        """
        queue = SendQueue(LIMIT, rule)
        taken, refused = b"", 0
        for number, step in enumerate(steps):
            if step < 0:
                taken += queue.take(-step)[0]
            elif not queue.put(b"%c" % number * step):
                refused += 1
            self.assertLessEqual(queue.size, max(LIMIT, *steps))
        size = queue.size
        rest, _ = queue.take(1 << 20)
        self.assertEqual(len(rest), size)
        self.assertEqual(taken + rest, bytes(sorted(taken + rest)), "out of order")
        for number, step in enumerate(steps):
            self.assertIn((taken + rest).count(number), (0, max(step, 0)), "not whole")
        empty = sum(step == 0 for step in steps)
        put = sum(step > 0 for step in steps)
        lost = put - len(set(taken + rest))
        self.assertTrue(lost <= refused + queue.missed <= lost + empty)
        self.assertEqual(refused == 0 or rule is OverflowPolicy.CLOSE, True)
        self.assertEqual(queue.missed == 0 or rule is not OverflowPolicy.CLOSE, True)
