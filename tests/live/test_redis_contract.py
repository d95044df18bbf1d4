"""The tests of all stores, for the one in Redis, with a real Redis."""

from __future__ import annotations

from tests.live.redis_case import RedisCase
from tests.store.store_contract import NOW, Heard, StoreContract, make_message
from twisted_net.store.interface import SharedStore, StoreError


class RedisStoreTests(StoreContract, RedisCase):
    def test_it_is_shared(self) -> None:
        """The store is one that several processes share."""
        self.assertIsInstance(self.started(), SharedStore)

    def test_it_can_be_started_again(self) -> None:
        """After a stop, it starts as another process; what it has stored is still there."""
        store = self.started()
        self.fill(store, "a", 2)
        self.value(store.subscribe("a", Heard()))
        process = store.process
        for _ in range(2):
            self.value(store.stop())
            self.failure(store.append("a", []), StoreError)
            store.start()
            self.pumped.until(lambda: not store.trouble, "the store to work")
            self.assertNotEqual(store.process, process)
            heard = Heard()
            self.assertGreaterEqual(self.value(store.subscribe("a", heard)).offset, 2)
            self.fill(store, "a", 1)
            self.assertEqual(len(heard.offsets), 1)

    def test_a_room_too_many_replaces_a_quiet_one(self) -> None:
        """A new room beyond the limit replaces the least recently used one."""
        store = self.started(rooms=2)
        epoch = self.fill(store, "a", 1)
        self.now += 1
        self.fill(store, "b", 1)
        self.now += 1
        heard = Heard()
        self.value(store.subscribe("a", heard))
        store.unsubscribe("a", heard)
        self.now += 1
        self.fill(store, "c", 1)
        self.assertIsNotNone(self.value(store.since("a", epoch, 1, 9)))
        self.assertEqual(self.value(store.append("b", [make_message("x")])).offsets, [1])

    def test_a_room_with_people_is_not_replaced(self) -> None:
        """A room with subscribers is not replaced, so a new room beyond the limit is refused."""
        store = self.started(rooms=2)
        for room in ("a", "b"):
            self.value(store.subscribe(room, Heard()))
        for refused in (store.subscribe("c", Heard()), store.append("c", [make_message("x")])):
            self.assertIn("2 rooms", self.failure(refused, StoreError))
        self.fill(store, "a", 1)


class TwoProcessesTests(RedisCase):
    """Two stores on one Redis, as in two processes."""

    def test_each_hears_the_other_in_order(self) -> None:
        """Both deliver all messages in the order of their offsets, and each only once."""
        stores = [self.started(), self.started()]
        heard = [Heard(), Heard()]
        for store, subscriber in zip(stores, heard, strict=True):
            self.value(store.subscribe("a", subscriber))
        results = []
        for number in range(50):
            messages = [make_message(str(number))] * 2
            results += [store.append("a", messages) for store in stores]
        for result in results:
            self.value(result)
        self.pumped.until(lambda: {len(each.stored) for each in heard} == {200}, "all messages")
        self.assertEqual(heard[0].offsets, list(range(1, 201)))
        self.assertEqual(heard[0].stored, heard[1].stored)

    def test_a_position_of_the_other(self) -> None:
        """What was read in one process continues in the other, which may be behind."""
        one, other = self.started(), self.started()
        for store in (one, other):
            self.value(store.subscribe("a", Heard()))
        appended = self.value(one.append("a", [make_message("x")] * 3))
        for offset in range(4):
            page = self.value(other.since("a", appended.epoch, offset, 9))
            assert page is not None
            self.assertEqual(len(page.stored), 3 - offset)

    def test_the_ring_answers_without_redis(self) -> None:
        """Once the end of a room was read, reading it again does not ask Redis."""
        one, other = self.started(), self.started()
        epoch = self.fill(one, "a", 20)
        self.value(other.subscribe("a", Heard()))
        self.value(other.before("a", None, 5))
        self.fill(one, "a", 5)

        def asked() -> int:
            stats: bytes = self.server.ask("INFO", "commandstats")
            lines = [line for line in stats.split(b"\r\n") if line.startswith(b"cmdstat_xrange:")]
            return int(lines[0].split(b"calls=")[1].split(b",")[0])

        self.pumped.until(lambda: other.since("a", epoch, 25, 9).called, "the other to hear")
        before = asked()
        results = [other.before("a", None, 25), other.since("a", epoch, 3, 99)]
        self.assertTrue(all(result.called for result in results))
        self.assertEqual(len(self.value(other.before("a", 24, 99)).stored), 23)
        self.assertEqual(asked(), before)
        self.assertEqual(NOW, self.now)
