"""The token bucket: what it allows, and that it is exact."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.rate import TokenBucket


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

    @settings(deadline=None)  # a busy machine may be slow
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
