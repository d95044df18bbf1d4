"""The delay before the next round of a broadcast."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.coalescing import ROUNDS_LONG, AdaptiveCoalescer


class AdaptiveCoalescerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.coalescer = AdaptiveCoalescer(shortest=1, longest=10)

    def after(self, seconds: float) -> None:
        """Run a round of ``seconds`` that ends at 100."""
        self.coalescer.begin(100 - seconds)
        self.coalescer.end(100)

    def test_there_is_none_before_the_first_round(self) -> None:
        self.assertEqual(self.coalescer.left(0), 0.0)

    def test_is_some_times_as_long_as_the_round_was(self) -> None:
        self.after(2)
        delay = 2 * ROUNDS_LONG
        self.assertEqual(
            [self.coalescer.left(100 + n) for n in (0, 1, delay - 0.5, delay, 9)],
            [delay, delay - 1, 0.5, 0, 0],
        )

    def test_a_short_round_needs_none(self) -> None:
        self.after(5)
        self.coalescer.begin(101)
        self.coalescer.end(101.5)
        self.assertEqual(self.coalescer.left(101.5), 0.0)

    def test_has_an_end(self) -> None:
        self.after(60)
        self.assertEqual((self.coalescer.left(100), self.coalescer.left(110)), (10, 0))

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back does not extend the delay."""
        self.after(5)
        self.assertEqual(self.coalescer.left(3), 0.0)
        self.assertEqual(self.coalescer.left(99), 0.0)
