"""Many timeouts on one timer: :mod:`twisted_net.connection.timer_wheel`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.timer_wheel import Timeout, TimerWheel, ticks_for

many = settings(max_examples=300, database=None)

steps = st.lists(
    st.one_of(
        st.just(("tick", 0)),
        st.tuples(st.just("watch"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["hear", "forget"]), st.integers(0, 9)),
    ),
    max_size=60,
)


class NaiveWheel:
    """A reference wheel that checks every item in every tick."""

    def __init__(self) -> None:
        self.now = 0
        self.watched: dict[int, tuple[int, int]] = {}  # item: last heard, ticks

    def hear(self, item: int) -> None:
        if item in self.watched:
            self.watched[item] = self.now, self.watched[item][1]

    def tick(self) -> list[int]:
        self.now += 1
        over = [item for item, (heard, ticks) in self.watched.items() if self.now - heard > ticks]
        for item in over:
            del self.watched[item]
        return over


def ticks(wheel: TimerWheel[str], count: int) -> list[list[str]]:
    return [[watch.item for watch in wheel.tick()] for _ in range(count)]


class WheelTests(SynchronousTestCase):
    def test_a_timeout_passes_with_the_tick_after_its_last(self) -> None:
        """A timeout of two ticks expires with the third tick of silence, once."""
        wheel: TimerWheel[str] = TimerWheel()
        wheel.start("a", 2)
        self.assertEqual(ticks(wheel, 5), [[], [], ["a"], [], []])

    def test_who_is_heard_has_all_the_time_again(self) -> None:
        """A timeout counts from the tick in which the item was last heard."""
        wheel: TimerWheel[str] = TimerWheel()
        watch = wheel.start("a", 2)
        ticks(wheel, 2)
        watch.heard = wheel.now
        self.assertEqual(ticks(wheel, 4), [[], [], ["a"], []])

    def test_a_watch_begins_now(self) -> None:
        """A timeout counts from when it is started, not from when the wheel was made."""
        wheel: TimerWheel[str] = TimerWheel()
        ticks(wheel, 7)
        wheel.start("a", 1)
        self.assertEqual(ticks(wheel, 3), [[], ["a"], []])

    def test_items_are_told_apart_by_their_watch(self) -> None:
        """Equal items, and one item twice, have separate timeouts."""
        wheel: TimerWheel[str] = TimerWheel()
        wheel.start("a", 1)
        wheel.start("a", 1)
        wheel.start("a", 2)
        self.assertEqual(ticks(wheel, 3), [[], ["a", "a"], ["a"]])

    def test_who_is_forgotten_never_times_out(self) -> None:
        """A cancelled timeout never expires, but others of the same tick do."""
        wheel: TimerWheel[str] = TimerWheel()
        wheel.start("a", 1)
        watch = wheel.start("b", 1)
        wheel.start("c", 1)
        wheel.cancel(watch)
        self.assertEqual(ticks(wheel, 3), [[], ["a", "c"], []])

    def test_forgetting_works_after_the_watch_was_moved(self) -> None:
        """A timeout can be cancelled after activity has moved it."""
        wheel: TimerWheel[str] = TimerWheel()
        watch = wheel.start("a", 1)
        wheel.tick()
        watch.heard = wheel.now
        wheel.tick()
        wheel.cancel(watch)
        self.assertFalse(wheel)
        self.assertEqual(ticks(wheel, 3), [[], [], []])

    def test_forgetting_again_or_too_late_does_nothing(self) -> None:
        """Cancelling an expired timeout is allowed, and other timeouts are not affected."""
        wheel: TimerWheel[str] = TimerWheel()
        first = wheel.start("a", 1)
        ticks(wheel, 2)
        wheel.start("b", 1)
        for _ in range(2):
            wheel.cancel(first)
        self.assertEqual(ticks(wheel, 2), [[], ["b"]])

    def test_the_wheel_is_true_while_it_watches(self) -> None:
        """The wheel is true while timeouts are running, so its owner can stop the timer."""
        wheel: TimerWheel[str] = TimerWheel()
        self.assertFalse(wheel)
        watch = wheel.start("a", 1)
        wheel.start("b", 1)
        wheel.cancel(watch)
        self.assertTrue(wheel)
        ticks(wheel, 2)
        self.assertFalse(wheel)

    def test_a_timeout_has_at_least_one_tick(self) -> None:
        """A timeout of less than one tick raises: it would expire at once."""
        for number in (0, -1):
            self.assertIn(
                str(number), str(self.assertRaises(ValueError, TimerWheel().start, "", number))
            )

    def test_a_busy_item_costs_one_look_per_timeout(self) -> None:
        """Activity in every tick costs one check per timeout."""
        looks = []
        self.patch(TimerWheel, "_place", lambda wheel, watch, place=TimerWheel._place: (
            looks.append(wheel.now), place(wheel, watch)
        ))  # fmt: skip
        wheel: TimerWheel[str] = TimerWheel()
        watch: Timeout[str] = wheel.start("a", 9)
        for _ in range(100):
            wheel.tick()
            watch.heard = wheel.now
        self.assertLessEqual(len(looks), 1 + 100 // 9)

    @many
    @given(steps)
    def test_it_does_what_looking_at_everybody_does(self, steps: list[tuple[str, int]]) -> None:
        """The wheel expires the same items in the same ticks as the reference."""
        wheel: TimerWheel[int] = TimerWheel()
        naive = NaiveWheel()
        watches: list[Timeout[int]] = []
        for step, number in [*steps, *[("tick", 0)] * 7]:
            if step == "tick":
                expired = [watch.item for watch in wheel.tick()]
                self.assertEqual(sorted(expired), sorted(naive.tick()))
            elif step == "watch":
                naive.watched[len(watches)] = naive.now, number
                watches.append(wheel.start(len(watches), number))
            elif number < len(watches) and step == "hear":
                watches[number].heard = wheel.now
                naive.hear(number)
            elif number < len(watches):
                wheel.cancel(watches[number])
                naive.watched.pop(number, None)
            self.assertEqual((bool(wheel), wheel.now), (bool(naive.watched), naive.now))
        self.assertFalse(wheel)


class TicksForTests(SynchronousTestCase):
    def test_seconds_are_rounded_up_to_ticks(self) -> None:
        """Seconds are rounded up to ticks, with at least one tick."""
        for seconds, tick, expected in (
            (60, 1, 60), (1.5, 1, 2), (0.2, 1, 1), (0, 1, 1), (1, 0.25, 4), (1.1, 0.5, 3),
        ):  # fmt: skip
            self.assertEqual(ticks_for(seconds, tick), expected, (seconds, tick))

    @many
    @given(st.floats(0, 1e6), st.sampled_from([0.125, 0.5, 1.0, 4.0]))
    def test_no_tick_less_would_do(self, seconds: float, tick: float) -> None:
        """The ticks cover the seconds, and one tick fewer would not."""
        count = ticks_for(seconds, tick)
        self.assertGreaterEqual(count * tick, seconds)
        self.assertTrue(count == 1 or (count - 1) * tick < seconds)
