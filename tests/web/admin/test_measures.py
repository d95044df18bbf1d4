"""Tests for what is measured: histograms, turns of the reactor, and appends to a store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.shared_hub import Hub
from twisted_net.store.interface import KeyValueStore, SharedStore, StoreError
from twisted_net.store.log import Message
from twisted_net.store.memory import MemoryStore
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


class TurnProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.probe = TurnProbe(self.clock)
        self.probe.start()

    def busy(self) -> None:
        self.clock.rightNow += 0.25

    def test_a_turn(self) -> None:
        """What happens between two turns counts."""
        self.clock.callLater(EVERY, self.busy)
        self.clock.advance(EVERY)
        self.assertEqual(self.probe.turns.count, 1)
        self.assertAlmostEqual(self.probe.turns.total, 0.25)
        self.clock.advance(EVERY)
        self.assertEqual(self.probe.turns.count, 2)

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

    def test_shared(self) -> None:
        """It is shared if, and only if, the store is; all that is common is passed on."""
        clock = Clock()
        hub = Hub(clock)
        one, two = hub.store(), hub.store()
        shared, other = self.timed(one), self.timed(two)
        self.assertIsInstance(shared, SharedStore)
        self.assertNotIsInstance(self.timed(MemoryStore(lambda: 0.0, str)), SharedStore)
        shared.start()
        other.start()
        self.assertEqual(shared.process, one.process)
        told: list[Any] = []
        shared.watch_trouble(told.append)
        shared.watch_leases("a", lambda *change: told.append(change))
        shared.listen("t", lambda *received: told.append(received))
        other.lease("a", ["k"], "v")
        found = shared.leases("a")
        other.release("a", ["k"])
        other.notify("t", b"data")
        clock.pump([0, 0, 0])
        self.assertEqual(self.successResultOf(found), {"k": ("v", two.process)})
        changes = [("k", "v", two.process), ("k", None, two.process), (b"data", two.process)]
        self.assertEqual(told, changes)
        shared.unwatch_leases("a", None)
        shared.unlisten("t", None)
        one.cut()
        self.assertEqual(shared.trouble, told[-1])

    def test_trouble(self) -> None:
        """What a store says of itself is passed on; one that says nothing is taken to work."""
        slow: Any = SlowStore()
        store = self.timed(slow)
        self.assertEqual(store.trouble, "")
        slow.trouble = "The disk is full."
        self.assertEqual(store.trouble, "The disk is full.")

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
