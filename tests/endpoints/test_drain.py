"""The closings of a stop are spread over its window."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.endpoints.drain import LEAST_PACE, DrainSchedule

totals = st.integers(0, 5000)
windows = st.just(0.0) | st.floats(0.001, 600)


def due(drain: DrainSchedule, now: float) -> int:
    """Return how many closings are due."""

    def is_waited_for(gone: int) -> bool:
        wait = drain.wait(gone, now)
        assert wait is not None
        return wait > 0

    return bisect_left(range(drain.total), True, key=is_waited_for)


class DrainTests(SynchronousTestCase):
    def test_many_are_spread_evenly_over_three_quarters_of_the_window(self) -> None:
        drain = DrainSchedule(total=3000, window=20, began=100.0)
        self.assertEqual(
            [due(drain, 100 + at) for at in (0, 5, 10, 14.993, 15, 20)],
            [1, 1001, 2001, 2999, 3000, 3000],
        )

    def test_a_few_do_not_make_the_stop_last_its_whole_window(self) -> None:
        drain = DrainSchedule(total=20, window=60, began=0.0)
        self.assertEqual(due(drain, 20 / LEAST_PACE), 20)

    def test_a_single_connection_is_closed_at_once(self) -> None:
        self.assertEqual(due(DrainSchedule(total=1, window=10, began=5.0), 5.0), 1)

    def test_no_window_closes_all_at_once(self) -> None:
        self.assertEqual(due(DrainSchedule(total=500, window=0, began=5.0), 5.0), 500)

    def test_without_connections_nothing_is_due(self) -> None:
        self.assertIsNone(DrainSchedule(total=0, window=10, began=0.0).wait(0, 0.0))

    def test_says_how_long_until_the_next(self) -> None:
        drain = DrainSchedule(total=1500, window=10, began=0.0)
        self.assertAlmostEqual(drain.wait(1, 0.0), 0.005)
        self.assertEqual(drain.wait(10, 7.0), 0.0)
        self.assertIsNone(drain.wait(1500, 7.0))

    def test_a_clock_that_is_set_back_only_delays(self) -> None:
        drain = DrainSchedule(total=1500, window=10, began=50.0)
        self.assertEqual(drain.wait(0, 40.0), 10.0)
        self.assertEqual(due(drain, 50.0), 1)

    def test_a_value_that_makes_no_sense_is_named(self) -> None:
        for total, window, name in [
            (-1, 1.0, "total"),
            (1, -1.0, "window"),
            (1, float("inf"), "window"),
            (1, float("nan"), "window"),
        ]:
            with self.assertRaises(ValueError) as caught:
                DrainSchedule(total, window, 0.0)
            self.assertIn(name, str(caught.exception))

    @given(totals, windows, st.floats(0, 1e9))
    def test_all_are_closed_before_the_end(self, total: int, window: float, began: float) -> None:
        self.assertEqual(due(DrainSchedule(total, window, began), began + window), total)

    @given(totals, windows, st.lists(st.floats(0, 700), min_size=2))
    def test_what_is_due_only_grows(self, total: int, window: float, times: list[float]) -> None:
        drain = DrainSchedule(total, window, 0.0)
        grown = [due(drain, now) for now in sorted(times)]
        self.assertEqual(grown, sorted(grown))
        self.assertTrue(all(0 <= each <= total for each in grown))

    @given(st.integers(1, 500), st.floats(0.1, 600))
    def test_who_waits_as_told_closes_one_after_another(self, total: int, window: float) -> None:
        """There are no bursts: after each wait, at most one extra closing is due."""
        drain = DrainSchedule(total, window, 0.0)
        now, gone = 0.0, 0
        while (wait := drain.wait(gone, now)) is not None:
            now += wait
            self.assertLessEqual(due(drain, now) - gone, 1)
            gone += 1
        self.assertLess(now, window)
