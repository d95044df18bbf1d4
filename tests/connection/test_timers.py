"""Timers: timeouts on one timer, which runs only while there are timeouts."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.timers import CALLING_SECONDS, CALLS_PER_TURN, TICK, Timers
from twisted_net.testing import advance


class TickerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.calls: list[float] = []

    def note(self) -> None:
        self.calls.append(self.clock.seconds())

    def test_late_by_a_second_at_most(self) -> None:
        """A timeout is at most a second late, whatever its length and the moment within a tick."""
        self.timers.start(lambda: None, 1000)
        for seconds in (0.1, 0.5, 0.51, 1, 2.75, 30):
            for phase in (0.1, 0.2, 0.25, 0.3):
                advance(self.clock, phase)
                begun = self.clock.seconds()
                self.timers.start(self.note, seconds)
                advance(self.clock, seconds + 1)
                late = self.calls.pop() - begun - seconds
                self.assertTrue(0 <= late <= 2 * TICK, (seconds, phase, late))

    def test_called_once(self) -> None:
        self.timers.start(self.note, 1)
        advance(self.clock, 60)
        self.assertEqual(len(self.calls), 1)

    def crowd(self, seconds: float) -> dict[int, float]:
        """Expire a thousand timeouts at once, each of which takes ``seconds``, with half cancelled.

        :return: when each was called.
        """
        called: dict[int, float] = {}

        def call(number: int) -> None:
            if not called:
                for watch in watches[1::2]:
                    self.timers.cancel(watch)
            called[number] = self.clock.seconds()
            self.clock.rightNow += seconds

        watches = [self.timers.start(partial(call, n), TICK) for n in range(1000)]
        self.clock.pump([TICK / 10_000] * 40_000)
        self.assertEqual(list(called), list(range(0, 1000, 2)))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return called

    def test_a_thousand_at_once(self) -> None:
        """They are called evenly over a tick, in order, without those cancelled meanwhile."""
        called = list(self.crowd(CALLING_SECONDS / 3).values())
        starts = [now for before, now in pairwise(called) if now - before > CALLING_SECONDS]
        gaps = [after - before for before, after in pairwise(starts)]
        self.assertAlmostEqual(max(gaps[:-1]), min(gaps[:-1]), delta=TICK / 500)
        together = Counter(sum(start <= now for start in starts) for now in called)
        self.assertLessEqual(max(together.values()), 4)
        self.assertTrue(0.9 * TICK < called[-1] - called[0] <= 1.1 * TICK)

    def test_what_is_quick(self) -> None:
        """Quick calls run in larger batches, one turn each."""
        moments = Counter(self.crowd(0).values())
        self.assertEqual(max(moments.values()), CALLS_PER_TURN // 2)  # the other half was cancelled
        self.assertEqual(len(moments), -(-1000 // CALLS_PER_TURN))

    def test_a_crowd_after_a_crowd(self) -> None:
        """When many expire after many others, none waits more than a tick longer than alone."""
        called: list[float] = []
        for _ in range(3):
            begun = self.clock.seconds()
            for _ in range(100):
                self.timers.start(lambda: called.append(self.clock.seconds()), 2 * TICK)
            self.clock.pump([TICK / 100] * 100)
            self.assertEqual([late for late in called if late > begun + 5 * TICK], [])
        self.clock.pump([TICK / 100] * 1000)
        self.assertEqual(len(called), 300)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer(self) -> None:
        """One timer runs for any number of timeouts, and none without timeouts."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watches = [self.timers.start(self.note, 1 + number) for number in range(100)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for watch in watches:
            self.timers.cancel(watch)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.calls, [])

    def test_stops_with_the_last_timeout(self) -> None:
        self.timers.start(self.note, 1)
        advance(self.clock, 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_starts_again(self) -> None:
        """After any pause without timeouts, a new timeout has its full length."""
        self.timers.start(self.note, 1)
        advance(self.clock, 100.3)
        begun = self.clock.seconds()
        self.timers.start(self.note, 1)
        advance(self.clock, 5)
        self.assertTrue(1 <= self.calls[1] - begun <= 2)

    def test_forgets_twice(self) -> None:
        watch = self.timers.start(self.note, 1)
        self.timers.cancel(watch)
        self.timers.cancel(watch)
        advance(self.clock, 5)
        self.timers.cancel(watch)
        self.assertEqual(self.calls, [])

    def test_heard(self) -> None:
        """Activity postpones an item's timeout."""
        watch = self.timers.start(self.note, 2)
        for _ in range(10):
            advance(self.clock, 1.5)
            watch.heard = self.timers.wheel.now
        self.assertEqual(self.calls, [])
        advance(self.clock, 3)
        self.assertEqual(len(self.calls), 1)

    def test_watches_in_a_call(self) -> None:
        """A call may start the next timeout, even if its own was the last."""

        def again() -> None:
            self.note()
            if len(self.calls) < 3:
                self.timers.start(again, 1)

        self.timers.start(again, 1)
        advance(self.clock, 10)
        self.assertEqual(len(self.calls), 3)
        self.assertTrue(all(1 <= b - a <= 2 for a, b in pairwise(self.calls)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forgets_in_a_call(self) -> None:
        """A call may cancel a later timeout, itself, and all others."""
        later = self.timers.start(self.note, 5)

        def forget() -> None:
            self.timers.cancel(own)
            self.timers.cancel(later)

        own = self.timers.start(forget, 1)
        advance(self.clock, 10)
        self.assertEqual(self.calls, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forgets_all_and_watches_in_a_call(self) -> None:
        """After a call cancels all timeouts and starts one, one timer runs, not two."""

        def swap() -> None:
            self.timers.cancel(self.timers.start(self.note, 1))
            self.timers.start(self.note, 1)

        self.timers.start(swap, 1)
        advance(self.clock, 1.5)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        advance(self.clock, 10)
        self.assertEqual(len(self.calls), 1)

    def test_failing_call(self) -> None:
        """A call that fails is logged, and the others still run."""

        def fail() -> None:
            raise RuntimeError("a timeout fails")

        self.timers.start(fail, 1)
        self.timers.start(self.note, 1)
        advance(self.clock, 3)
        self.assertEqual(len(self.calls), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_stopped_process(self) -> None:
        """A process that was suspended for an hour expires nothing: it could not read meanwhile."""
        self.timers.start(self.note, 2)
        self.clock.advance(3600)
        self.assertEqual(self.calls, [])
        advance(self.clock, 1.4)
        self.assertEqual(self.calls, [])
        advance(self.clock, 1.6)
        self.assertEqual(len(self.calls), 1)

    def test_no_drift(self) -> None:
        """Ticks that come a little late do not delay the next ones."""
        self.timers.start(self.note, 100)
        while self.timers.wheel.now < 100:
            self.clock.advance(0.3)
        self.assertLess(abs(self.clock.seconds() - 100 * TICK), 0.5)


class WallClock:
    """A clock that can be set, above a clock that cannot, as with the asyncio reactor."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.offset = 1e9

    def seconds(self) -> float:
        return self.clock.seconds() + self.offset

    def callLater(self, delay: float, call: Any, *args: Any) -> Any:
        return self.clock.callLater(delay, call, *args)


class SetClockTests(SynchronousTestCase):
    """Somebody sets the clock while timeouts run."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[str] = []

    def test_calls_by_the_clock(self) -> None:
        """After the clock is set back, all timeouts go on as soon as a new one begins."""
        for seconds in (20, 86_400):
            timers = Timers(self.clock)
            timers.start(partial(self.calls.append, "old"), 3)
            advance(self.clock, 1)
            self.clock.rightNow -= seconds
            timers.start(partial(self.calls.append, "new"), 3)
            advance(self.clock, 2)
            self.assertEqual(self.calls, [])
            advance(self.clock, 0.6)
            self.assertEqual(self.calls, ["old"])
            advance(self.clock, 1)
            self.assertEqual(self.calls, ["old", "new"])
            self.calls.clear()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_restart_counts_too(self) -> None:
        timers = Timers(self.clock)
        first = timers.start(partial(self.calls.append, "first"), 1)
        timers.start(partial(self.calls.append, "second"), 5)
        advance(self.clock, 3)
        self.clock.rightNow -= 100
        timers.restart(first, 1)
        advance(self.clock, 4)
        self.assertEqual(self.calls, ["first", "first", "second"])

    def test_the_rest_of_a_crowd(self) -> None:
        """Timeouts that have expired already do not wait for the clock either."""
        timers = Timers(self.clock)
        for _ in range(CALLS_PER_TURN + 1):
            timers.start(partial(self.calls.append, "crowd"), TICK)
        self.clock.pump([TICK, TICK])
        self.assertEqual(len(self.calls), CALLS_PER_TURN)
        self.clock.rightNow -= 100
        timers.start(partial(self.calls.append, "new"), 1000)
        advance(self.clock, 2 * TICK)
        self.assertEqual(len(self.calls), CALLS_PER_TURN + 1)

    def test_calls_by_another_clock(self) -> None:
        """No tick is delayed by a clock that only tells the time."""
        for offset in (-20, -86_400, 20, 86_400):
            wall = WallClock(self.clock)
            timers = Timers(wall)
            timers.start(partial(self.calls.append, "old"), 10)
            advance(self.clock, 1)
            wall.offset += offset
            advance(self.clock, 8.4)
            self.assertEqual(self.calls, [], offset)
            advance(self.clock, 2)
            self.assertEqual(self.calls, ["old"], offset)
            self.calls.clear()

    def test_set_forward(self) -> None:
        """After the clock is set forward, nobody's timeout passes at once."""
        timers = Timers(self.clock)
        timers.start(partial(self.calls.append, "old"), 10)
        advance(self.clock, 1)
        self.clock.advance(86_400)  # one jump: one tick
        advance(self.clock, 8)
        self.assertEqual(self.calls, [])
        advance(self.clock, 2)
        self.assertEqual(self.calls, ["old"])
