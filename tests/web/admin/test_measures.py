"""Tests for what is measured: histograms, ages, turns of the reactor, and appends to a store."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.store.interface import KeyValueStore, StoreError
from twisted_net.store.log import Message
from twisted_net.store.memory import MemoryStore
from twisted_net.web.admin.ages import EXACT, MOST_NOTES, Ages
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.probe import EVERY, TurnProbe
from twisted_net.web.admin.timed_store import time_appends


class HistogramTests(SynchronousTestCase):
    def test_buckets(self) -> None:
        """Each has all durations up to its bound, which belongs to it."""
        histogram = Histogram((0.1, 1.0))
        for seconds in (0.05, 0.1, 0.5, 2.0, -1.0):
            histogram.observe(seconds)
        self.assertEqual(histogram.buckets(), [("0.1", 3), ("1", 4), ("+Inf", 5)])
        self.assertEqual(histogram.count, 5)
        self.assertAlmostEqual(histogram.total, 2.65)


class AgesTests(SynchronousTestCase):
    def test_between_notes(self) -> None:
        """A connection counts from the note after its beginning."""
        ages = Ages(100)
        ages.note(3, 101)
        ages.note(3, 105)
        ages.note(4, 106)
        self.assertEqual([ages.age(number, 110) for number in (1, 3, 4, 5)], [9, 9, 4, 0])
        self.assertEqual(ages.age(4, 50), 0, "the clock was set back")

    def test_memory_is_bounded(self) -> None:
        """After many notes, the last ones are still exact, and the others near enough."""
        ages = Ages(0)
        last = 20 * MOST_NOTES
        for number in range(1, last + 1):
            ages.note(number, float(number))
        self.assertLessEqual(len(ages), MOST_NOTES)
        self.assertEqual(ages.age(last - 10, last), 10)
        for number in range(1, last, 997):
            age = last - number
            self.assertTrue(age * (1 - 1 / EXACT) - 1 <= ages.age(number, last) <= age, number)

    @given(st.lists(st.integers(0, 5), max_size=50))
    def test_at_most_one_note_too_short(self, steps: list[int]) -> None:
        """The true age is at most one interval more than the one that is returned."""
        ages, count, began = Ages(0), 0, {}
        for at, step in enumerate(steps, 1):
            for number in range(count + 1, count + step + 1):
                began[number] = at - 0.5
            count += step
            ages.note(count, at)
        end = len(steps) + 7
        for number, time in began.items():
            self.assertTrue(0 <= (end - time) - ages.age(number, end) <= 1)


class TurnProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.busy = 0.0
        self.probe = TurnProbe(self.clock, self.called)
        self.probe.start()

    def called(self) -> None:
        self.calls += 1
        self.clock.rightNow += self.busy

    def test_a_turn(self) -> None:
        """What happens between two turns counts."""
        self.busy = 0.25
        self.clock.advance(EVERY)
        self.assertEqual((self.calls, self.probe.turns.count), (1, 1))
        self.assertAlmostEqual(self.probe.turns.total, 0.25)
        self.clock.advance(EVERY)
        self.assertEqual((self.calls, self.probe.turns.count), (2, 2))

    def test_a_blocked_reactor(self) -> None:
        """A sample that comes late shows how long the reactor was busy."""
        self.clock.advance(EVERY + 3)
        self.clock.advance(0)
        self.assertAlmostEqual(self.probe.turns.total, 3)

    def test_the_end(self) -> None:
        """Nothing is left, whenever it stops."""
        self.probe.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.probe.start()
        self.clock.advance(EVERY)
        self.probe.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SlowStore:
    """A store whose appends are done later, or fail."""

    def __init__(self) -> None:
        self.results: list[Deferred[Any]] = []

    def append(self, room: str, messages: object) -> Deferred[Any]:
        self.results.append(Deferred())
        return self.results[-1]


class TimedStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.appends = Histogram()

    def timed(self, store: Any) -> Any:
        return time_appends(store, self.appends, lambda: self.now)

    def test_later(self) -> None:
        """The time until it is stored, or has failed, counts."""
        slow = SlowStore()
        store = self.timed(slow)
        first, second = store.append("a", []), store.append("a", [])
        self.now = 0.5
        slow.results[0].callback("stored")
        self.assertEqual(self.successResultOf(first), "stored")
        self.now = 2.0
        slow.results[1].errback(StoreError("no"))
        self.failureResultOf(second, StoreError)
        self.assertEqual((self.appends.count, self.appends.total), (2, 2.5))

    def test_at_once(self) -> None:
        """The result of a store in memory stays at once there, as the channel expects."""
        memory = MemoryStore(lambda: 0.0, lambda: "token")
        store = self.timed(memory)
        store.start()
        heard: list[Any] = []
        self.successResultOf(store.subscribe("a", lambda epoch, fresh: heard.append(fresh)))
        stored = store.append("a", [Message("ann", "hi", 0.0)])
        self.assertTrue(stored.called)
        self.assertEqual(len(heard), 1)
        self.assertEqual(self.appends.count, 1)
        self.assertEqual(len(self.successResultOf(store.before("a", None, 5)).stored), 1)
        self.successResultOf(store.stop())

    def test_kinds(self) -> None:
        """It keeps texts if, and only if, the store does."""
        self.assertNotIsInstance(self.timed(SlowStore()), KeyValueStore)

        class Keeping(SlowStore):
            def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
                return fail(StoreError(f"{kind} {key}"))

            def values(self, kind: str) -> Deferred[dict[str, str]]:
                return fail(StoreError(kind))

        store = self.timed(Keeping())
        self.assertIsInstance(store, KeyValueStore)
        self.failureResultOf(store.put("a", "b", None), StoreError)
        self.failureResultOf(store.values("a"), StoreError)
