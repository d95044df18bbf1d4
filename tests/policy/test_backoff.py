"""The delay before the next attempt: :mod:`twisted_net.policy.backoff`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.backoff import Backoff

many = settings(max_examples=300, database=None)

ROUNDING = 1 + 1e-12


class BackoffTests(SynchronousTestCase):
    def test_without_jitter_the_delay_is_the_shortest(self) -> None:
        """Without jitter, every attempt has the shortest delay."""
        backoff = Backoff(first=0.5)
        self.assertEqual([backoff.delay(n, 0) for n in (1, 2, 50)], [0.5, 0.5, 0.5])

    def test_with_full_jitter_the_delay_grows_up_to_the_longest(self) -> None:
        """The range grows by the factor with each attempt."""
        backoff = Backoff(first=1, longest=10, factor=2)
        self.assertEqual([backoff.delay(n, 1) for n in range(1, 6)], [2, 4, 8, 10, 10])

    def test_jitter_spreads_the_delay_over_the_whole_range(self) -> None:
        """Jitter spreads the delay evenly over the whole range."""
        backoff = Backoff(first=1, longest=100, factor=3)
        self.assertEqual([backoff.delay(2, n / 4) for n in range(5)], [1, 3, 5, 7, 9])

    def test_a_factor_of_one_does_not_grow(self) -> None:
        """With a factor of one, the delay is always the same."""
        backoff = Backoff(first=3, longest=30, factor=1)
        self.assertEqual({backoff.delay(n, 1) for n in (1, 7, 10**6)}, {3})

    def test_a_service_that_is_away_for_a_week_does_no_harm(self) -> None:
        """Any number of attempts works, with any factor."""
        for factor in (2.0, 3, 1e6, 10**10):
            for attempt in (31, 64, 65, 1100, 10**9):
                self.assertEqual(Backoff(factor=factor).delay(attempt, 1), 30)

    def test_the_longest_delay_is_reached_however_slowly(self) -> None:
        """A small factor still reaches the longest delay."""
        backoff = Backoff(first=0.2, longest=30, factor=1.05)
        self.assertEqual(backoff.delay(1000, 1), 30)

    def test_what_makes_no_sense_is_refused_by_name(self) -> None:
        """An invalid value raises an error that names the parameter."""
        nan, inf = float("nan"), float("inf")
        for name, values in (
            ("first", (0, -1, nan, inf)),
            ("longest", (0.1, -1, nan, inf)),
            ("factor", (0.5, 0, -2, nan, inf)),
        ):
            for value in values:
                error = self.assertRaises(ValueError, Backoff, **{name: value})
                self.assertTrue(str(error).startswith(f"{name}: "), str(error))
                self.assertIn(repr(value), str(error))

    def test_the_longest_may_be_the_first(self) -> None:
        """If both are equal, every delay has that length."""
        self.assertEqual(Backoff(first=2, longest=2).delay(9, 1), 2)

    @many
    @given(
        st.floats(0.001, 100), st.floats(1, 1000), st.floats(1, 100),
        st.integers(1, 10**6), st.floats(0, 1),
    )  # fmt: skip
    def test_every_delay_is_within_its_bounds(
        self, first: float, times: float, factor: float, attempt: int, jitter: float
    ) -> None:
        """Every delay is in its bounds, and never decreases with the attempt or the jitter."""
        longest = first * times
        backoff = Backoff(first=first, longest=longest, factor=factor)
        delay = backoff.delay(attempt, jitter)
        self.assertTrue(first <= delay <= longest * ROUNDING, delay)
        self.assertLessEqual(delay, backoff.delay(attempt + 1, jitter) * ROUNDING)
        self.assertLessEqual(delay, backoff.delay(attempt, 1) * ROUNDING)
