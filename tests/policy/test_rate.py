"""The token bucket: what it allows, and that it is exact."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.rate import TokenBucket, TokenBuckets


class TokenBucketTests(SynchronousTestCase):
    def test_begins_full_and_then_keeps_the_rate(self) -> None:
        bucket = TokenBucket(rate=2, burst=3)
        waits = [bucket.take(1, 100.0) for _ in range(6)]
        self.assertEqual(waits, [0.0, 0.0, 0.0, 0.5, 1.0, 1.5])

    def test_fills_while_nothing_is_taken_but_not_past_the_burst(self) -> None:
        bucket = TokenBucket(rate=1, burst=2)
        bucket.take(2, 0.0)
        self.assertEqual(bucket.take(1, 1.0), 0.0)
        self.assertEqual([bucket.take(1, 1000.0) for _ in range(3)], [0.0, 0.0, 1.0])

    def test_more_than_the_burst_may_be_taken_at_once_and_is_waited_for(self) -> None:
        bucket = TokenBucket(rate=10, burst=5)
        self.assertEqual(bucket.take(25, 0.0), 2.0)
        self.assertAlmostEqual(bucket.wait(1, 2.0), 0.1)

    def test_to_ask_takes_nothing(self) -> None:
        bucket = TokenBucket(rate=1, burst=1)
        self.assertEqual([bucket.wait(1, 5.0) for _ in range(3)], [0.0, 0.0, 0.0])
        self.assertEqual(bucket.take(1, 5.0), 0.0)
        self.assertEqual([bucket.wait(1, 5.0) for _ in range(3)], [1.0, 1.0, 1.0])

    def test_who_takes_nothing_never_waits_once_the_debt_is_paid(self) -> None:
        bucket = TokenBucket(rate=1, burst=1)
        bucket.take(3, 0.0)
        self.assertEqual(bucket.wait(0, 1.0), 1.0)
        self.assertEqual(bucket.wait(0, 2.0), 0.0)

    def test_a_clock_that_is_set_back_changes_no_level(self) -> None:
        bucket = TokenBucket(rate=1, burst=2)
        bucket.take(2, 1000.0)
        self.assertEqual(bucket.take(1, 400.0), 1.0)
        self.assertEqual(bucket.take(1, 402.0), 0.0)

    def test_does_not_drift(self) -> None:
        """After a hundred thousand waits, the time is right to a millionth of a second."""
        bucket = TokenBucket(rate=7, burst=1)
        now = 1e9
        for _ in range(100_001):
            now += bucket.take(1, now)
        self.assertAlmostEqual(now - 1e9, 100_000 / 7, delta=1e-6)

    def test_a_value_that_makes_no_sense_is_named(self) -> None:
        for rate, burst, name in [
            (0, 1, "rate"),
            (-1, 1, "rate"),
            (float("nan"), 1, "rate"),
            (float("inf"), 1, "rate"),
            (1, 0, "burst"),
        ]:
            with self.assertRaises(ValueError) as caught:
                TokenBucket(rate, burst)
            self.assertIn(name, str(caught.exception))

    @given(
        rate=st.integers(1, 1000),
        burst=st.integers(1, 100),
        steps=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 30))),
    )
    def test_equals_the_bucket_of_exact_fractions(
        self, rate: int, burst: int, steps: list[tuple[int, int]]
    ) -> None:
        bucket = TokenBucket(rate, burst)
        level = Fraction(burst)
        now = Fraction(0)
        for pause, count in steps:
            now += Fraction(pause, 1024)  # a power of two: exact as a float
            level = min(Fraction(burst), level + Fraction(pause, 1024) * rate) - count
            wait = bucket.take(count, float(now))
            self.assertAlmostEqual(wait, float(max(Fraction(0), -level / rate)), delta=1e-9)


class TokenBucketsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buckets: TokenBuckets[str] = TokenBuckets(lambda key: (1.0, len(key)), 3)

    def test_each_key_has_its_own(self) -> None:
        """Each key has a bucket of its own size, which fills up again."""
        for _ in range(2):
            self.assertEqual(self.buckets.wait("ab", 0.0), 0.0)
            self.buckets.take("ab", 0.0)
        self.assertEqual(self.buckets.wait("ab", 0.0), 1.0)
        self.assertEqual(self.buckets.wait("cd", 0.0), 0.0)
        self.assertEqual(self.buckets.wait("ab", 1.0), 0.0)

    def test_taking_more_than_there_is(self) -> None:
        """What is taken without asking has to be waited for."""
        for _ in range(4):
            self.buckets.take("ab", 0.0)
        self.assertEqual(self.buckets.wait("ab", 0.0), 3.0)

    def test_putting_back_and_forgetting(self) -> None:
        """A token can be put back, and a key forgotten; unknown keys do not matter."""
        self.buckets.take("a", 0.0)
        self.buckets.put_back("a", 0.0)
        self.buckets.put_back("b", 0.0)
        self.assertEqual((self.buckets.wait("a", 0.0), len(self.buckets)), (0.0, 1))
        self.buckets.take("a", 0.0)
        self.buckets.forget("a")
        self.buckets.forget("b")
        self.assertEqual((self.buckets.wait("a", 0.0), len(self.buckets)), (0.0, 0))

    def test_full_buckets_are_forgotten(self) -> None:
        """Buckets that are full again are not kept."""
        self.buckets.take("abc", 0.0)
        self.buckets.take("a", 0.0)
        self.buckets.take("a", 2.0)
        self.assertEqual(len(self.buckets), 1)

    def test_it_is_bounded(self) -> None:
        """Of too many keys, the one that was used longest ago is forgotten."""
        for key in ("aa", "bb", "cc", "aa", "dd", "ee"):
            self.buckets.take(key, 0.0)
            self.buckets.take(key, 0.0)
        self.assertEqual(len(self.buckets), 3)
        waits = [self.buckets.wait(key, 0.0) for key in ("aa", "bb", "cc", "dd", "ee")]
        self.assertEqual(waits, [3.0, 0.0, 0.0, 1.0, 1.0])
