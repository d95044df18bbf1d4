"""Tests of :mod:`twisted_net.store.memory`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.store.store_contract import NOW, Heard, StoreCase, StoreContract, make_message
from twisted_net.store.interface import Store, StoreError
from twisted_net.store.log import Bounds
from twisted_net.store.memory import MemoryStore, Ring


class MemoryStoreTests(StoreContract, StoreCase):
    def make(self, bounds: Bounds) -> Store:
        return MemoryStore(lambda: self.now, self.token, bounds)

    def test_results_are_there_at_once(self) -> None:
        """Every result is available at once."""
        store = self.started()
        self.assertEqual(self.successResultOf(store.append("a", [make_message("x")])).offsets, [1])
        self.successResultOf(store.subscribe("a", Heard()))

    def test_a_room_too_many_replaces_a_quiet_one(self) -> None:
        """A new room beyond the limit replaces the least recently used one."""
        store = self.started(rooms=2)
        epoch = self.fill(store, "a", 1)
        self.fill(store, "b", 1)
        self.fill(store, "a", 1)
        self.fill(store, "c", 1)
        self.assertIsNotNone(self.value(store.since("a", epoch, 2, 9)))
        self.assertEqual(self.value(store.append("b", [make_message("x")])).offsets, [1])

    def test_a_room_with_people_is_not_replaced(self) -> None:
        """A room with subscribers is not replaced, so a new room beyond the limit is refused."""
        store = self.started(rooms=2)
        for room in ("a", "b"):
            self.value(store.subscribe(room, Heard()))
        for refused in (store.subscribe("c", Heard()), store.append("c", [make_message("x")])):
            self.assertIn("2 rooms", str(self.failureResultOf(refused, StoreError).value))
        self.fill(store, "a", 1)


class BoundsTests(SynchronousTestCase):
    def test_what_makes_no_sense(self) -> None:
        """The error for an invalid bound names the bound."""
        for name in ("count", "bytes", "rooms", "age"):
            error = self.assertRaises(ValueError, Bounds, **{name: -1})
            self.assertTrue(str(error).startswith(f"{name}: "))


class RingTests(SynchronousTestCase):
    @settings(max_examples=150, database=None)
    @given(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200), st.integers(0, 9)), max_size=60),
        st.integers(1, 8),
        st.integers(1, 900),
    )
    def test_as_a_list_would(
        self, turns: list[tuple[int, int, int]], count: int, size: int
    ) -> None:
        """A ring returns the same messages as the end of a list of all messages."""
        ring, everything = Ring("e", Bounds(count, size)), []
        for many, length, asked in turns:
            messages = [make_message("x" * length) for _ in range(many)]
            ring.append(messages, NOW)
            everything += messages
            self.assertEqual(ring.top, len(everything))
            self.assertLessEqual(len(ring), count)
            self.assertLessEqual(ring.size, size)
            stored = ring.before(None, 99, NOW).stored
            self.assertEqual(
                [each.offset for each in stored], list(range(ring.first, ring.top + 1))
            )
            self.assertEqual(ring.size, sum(each.message.size for each in stored))
            page = ring.since("e", ring.top - asked, 99, NOW)
            whole = ring.top - asked >= 0 and asked <= len(ring)
            self.assertEqual(page is not None, whole)
            if page is not None:
                self.assertEqual(page.stored, stored[len(stored) - asked :])
