"""The tests that every :class:`twisted_net.store.interface.Store` has to pass.

The tests of a store mix :class:`StoreContract` with a test case.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.store.interface import KeyValueStore, Store
from twisted_net.store.log import Bounds, Message, StoredMessage

Result = TypeVar("Result")

NOW = 1_700_000_000.0


def make_message(text: str, id: str = "", origin: str = "o", time: float = NOW) -> Message:
    """Return a short message."""
    return Message("ann", text, time, origin=origin, id=id)


class StoreCase(SynchronousTestCase):
    """Makes stores with a time and tokens that the test controls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = NOW
        numbers = itertools.count(1)
        self.token = lambda: f"epoch-{next(numbers)}"

    def make(self, bounds: Bounds) -> Store:
        """Return a store that is not started."""
        raise NotImplementedError

    def started(self, **bounds: Any) -> Store:
        """Return a started store, which stops when the test ends."""
        store = self.make(Bounds(**bounds))
        store.start()
        self.addCleanup(lambda: self.value(store.stop()))
        return store

    def sweep(self) -> None:
        """Let the store delete what is beyond the bounds, if it does that only now and then."""

    def settle(self) -> None:
        """Let the store complete all pending calls."""
        self.clock.advance(0)

    def value(self, result: Deferred[Result]) -> Result:
        """Return the result of a Deferred, after the store has completed all pending calls."""
        self.settle()
        return self.successResultOf(result)

    def fill(self, store: Store, room: str, count: int) -> str:
        """Append messages with the texts ``1`` to ``count``. Return the room's epoch."""
        messages = [make_message(str(number)) for number in range(1, count + 1)]
        return self.value(store.append(room, messages)).epoch


class Heard:
    """A subscriber that records the messages it receives."""

    def __init__(self) -> None:
        self.stored: list[StoredMessage] = []
        self.epochs: set[str] = set()

    def __call__(self, epoch: str, stored: Sequence[StoredMessage]) -> None:
        self.epochs.add(epoch)
        self.stored += stored

    @property
    def offsets(self) -> list[int]:
        return [each.offset for each in self.stored]


class StoreContract:
    """The tests, for a class that is also a :class:`StoreCase`."""

    def test_offsets_rise_by_one(self) -> None:
        """Offsets begin at 1 and rise by one in each room, in the order of the calls."""
        store = self.started()
        results = [
            store.append("a", [make_message("x"), make_message("y")]),
            store.append("b", [make_message("x")]),
        ]
        results.append(store.append("a", [make_message("z")]))
        self.settle()
        offsets = [self.value(result).offsets for result in results]
        self.assertEqual(offsets, [[1, 2], [1], [3]])
        self.assertEqual(self.value(store.append("a", [])).offsets, [])

    def test_what_was_appended_is_read(self) -> None:
        """A read right after an append returns the messages unchanged."""
        store = self.started()
        told = Message("Å" * 9, "waves\u2028 'x' \U0001f40d", NOW + 0.125, True, "origin", "id-1")
        store.append("a", [told, make_message("x")])
        page = self.value(store.before("a", None, 10))
        self.assertEqual(page.stored, [StoredMessage(1, told), StoredMessage(2, make_message("x"))])
        self.assertEqual((page.top, page.first), (2, 1))

    def test_since_gives_all_that_came_after(self) -> None:
        """``since`` returns all messages after an offset, or none if there are none."""
        store = self.started()
        epoch = self.fill(store, "a", 5)
        for offset in range(6):
            page = self.value(store.since("a", epoch, offset, 5))
            assert page is not None
            self.assertEqual([each.offset for each in page.stored], list(range(offset + 1, 6)))
            self.assertEqual((page.epoch, page.top), (epoch, 5))

    def test_since_gives_all_or_nothing(self) -> None:
        """``since`` returns None for another epoch, an unknown offset or room, or too much."""
        store = self.started()
        epoch = self.fill(store, "a", 5)
        for asked in (("a", "other", 3, 9), ("a", epoch, 6, 9), ("a", epoch, -1, 9),
                      ("a", epoch, 2, 2), ("b", epoch, 0, 9), ("a", "", 5, 9)):  # fmt: skip
            self.assertIsNone(self.value(store.since(*asked)), asked)

    def test_since_is_none_where_something_is_gone(self) -> None:
        """``since`` returns None as soon as the first message after the offset is deleted."""
        store = self.started(count=10)
        epoch = self.fill(store, "a", 30)
        self.assertIsNone(self.value(store.since("a", epoch, 19, 100)))
        page = self.value(store.since("a", epoch, 20, 100))
        assert page is not None
        self.assertEqual((len(page.stored), page.first), (10, 21))

    def test_pages_backwards(self) -> None:
        """History can be read backwards page by page, without gaps or overlaps."""
        store = self.started()
        self.fill(store, "a", 7)
        below, pages = None, []
        for _ in range(4):
            page = self.value(store.before("a", below, 3))
            pages.append([each.offset for each in page.stored])
            below = pages[-1][0] if pages[-1] else below
        self.assertEqual(pages, [[5, 6, 7], [2, 3, 4], [1], []])
        self.assertEqual(self.value(store.before("a", 99, 2)).stored[-1].offset, 7)
        self.assertEqual(self.value(store.before("nowhere", None, 3)).stored, [])

    def test_an_id_is_stored_once(self) -> None:
        """A message with a known id keeps its offset, whenever it is appended again."""
        store = self.started()
        first = store.append(
            "a", [make_message("x", "1"), make_message("y", "2"), make_message("x", "1")]
        )
        again = store.append("a", [make_message("y", "2"), make_message("z", "3")])
        self.settle()
        self.assertEqual(self.value(first).offsets, [1, 2, 1])
        appended = self.value(again)
        self.assertEqual(appended.offsets, [2, 3])
        self.assertEqual([stored.offset for stored in appended.fresh], [3])
        self.assertEqual(self.value(store.append("a", [make_message("x", "1")])).offsets, [1])
        self.assertEqual(self.value(store.before("a", None, 9)).top, 3)

    def test_ids_of_others_are_others(self) -> None:
        """Equal ids are only duplicates within a session and a room; empty ids never are."""
        store = self.started()
        same = [
            make_message("x", "1"),
            make_message("x", "1", "p"),
            make_message("x"),
            make_message("x"),
        ]
        self.assertEqual(self.value(store.append("a", same)).offsets, [1, 2, 3, 4])
        self.assertEqual(self.value(store.append("b", same[:1])).offsets, [1])

    def test_an_id_is_forgotten_with_its_entry(self) -> None:
        """An id is forgotten when its message is deleted."""
        store = self.started(count=2)
        self.value(store.append("a", [make_message("x", "1")]))
        self.fill(store, "a", 2)
        self.assertEqual(self.value(store.append("a", [make_message("x", "1")])).offsets, [4])

    def test_subscribers_hear_everything_after_their_position(self) -> None:
        """Subscribers receive all later messages of their room before the append fires."""
        store, heard = self.started(), Heard()
        self.fill(store, "a", 3)
        position = self.value(store.subscribe("a", heard))
        self.assertEqual(position.offset, 3)
        before = []
        appended = store.append(
            "a", [make_message("x", "1"), make_message("x", "1"), make_message("y")]
        )
        appended.addCallback(lambda _: before.append(list(heard.offsets)))
        store.append("b", [make_message("z")])
        self.settle()
        self.assertEqual((before, heard.offsets), ([[4, 5]], [4, 5]))
        self.assertEqual(heard.epochs, {position.epoch})

    def test_who_unsubscribes_hears_no_more(self) -> None:
        """Unsubscribing ends the calls of one subscriber only, and may be repeated."""
        store, ann, bob = self.started(), Heard(), Heard()
        for heard in (ann, bob):
            self.value(store.subscribe("a", heard))
        store.unsubscribe("a", ann)
        store.unsubscribe("a", ann)
        self.fill(store, "a", 1)
        self.assertEqual((ann.offsets, bob.offsets), ([], [1]))

    def test_a_subscriber_that_fails_harms_nobody(self) -> None:
        """If a subscriber fails, the failure is logged and the others are still called."""
        store, heard = self.started(), Heard()
        self.value(store.subscribe("a", lambda epoch, stored: 1 / 0))
        self.value(store.subscribe("a", heard))
        self.fill(store, "a", 1)
        self.assertEqual(heard.offsets, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bounded_by_count(self) -> None:
        """The newest messages stay within the maximum count, and offsets continue."""
        store = self.started(count=3)
        self.fill(store, "a", 10)
        self.fill(store, "a", 1)
        page = self.value(store.before("a", None, 99))
        self.assertEqual(([each.offset for each in page.stored], page.first), ([9, 10, 11], 9))

    def test_bounded_by_bytes(self) -> None:
        """The total size of the messages is limited."""
        size = make_message("x" * 100).size
        store = self.started(bytes=3 * size + 1)
        self.value(store.append("a", [make_message("x" * 100) for _ in range(10)]))
        self.assertEqual(len(self.value(store.before("a", None, 99)).stored), 3)

    def test_bounded_by_age(self) -> None:
        """Messages that are too old are not returned, even if nothing is appended."""
        store = self.started(age=60)
        epoch = self.value(
            store.append("a", [make_message("old"), make_message("new", time=NOW + 50)])
        ).epoch
        self.now = NOW + 61
        page = self.value(store.before("a", None, 9))
        self.assertEqual([each.message.text for each in page.stored], ["new"])
        self.assertIsNone(self.value(store.since("a", epoch, 0, 9)))
        self.assertIsNotNone(self.value(store.since("a", epoch, 1, 9)))
        self.now = NOW + 200
        self.assertEqual(self.value(store.before("a", None, 9)).stored, [])
        self.assertEqual(self.value(store.append("a", [make_message("x")])).offsets, [3])

    def test_bounded_by_age_with_a_clock_that_is_set_back(self) -> None:
        """A page has no gaps: what follows a message that is young enough is kept with it."""
        store = self.started(age=60)
        times = (NOW, NOW + 50, NOW - 100, NOW + 50)
        appended = self.value(
            store.append("a", [make_message(str(number), time=t) for number, t in enumerate(times)])
        )
        self.now = NOW + 61
        page = self.value(store.before("a", None, 9))
        self.assertEqual([each.offset for each in page.stored], [2, 3, 4])
        self.assertEqual(page.first, 2)
        self.assertEqual([each.offset for each in self.value(store.before("a", 4, 1)).stored], [3])
        since = self.value(store.since("a", appended.epoch, 1, 9))
        assert since is not None
        self.assertEqual([each.offset for each in since.stored], [2, 3, 4])
        self.assertIsNone(self.value(store.since("a", appended.epoch, 0, 9)))

    def test_rooms_where_nothing_was_said_erase_nothing(self) -> None:
        """However many rooms are opened and left, the messages of other rooms stay."""
        store = self.started(rooms=3)
        epoch = self.fill(store, "a", 1)
        for number in range(9):
            self.now += 1
            heard = Heard()
            self.value(store.subscribe(f"empty-{number}", heard))
            store.unsubscribe(f"empty-{number}", heard)
            self.sweep()
        self.assertEqual(len(self.value(store.before("a", None, 9)).stored), 1)
        self.assertEqual(self.value(store.subscribe("a", Heard())).epoch, epoch)

    def test_texts(self) -> None:
        """Texts are kept by kind and key, the last one for each, in the order of their puts."""
        store = self.started()
        assert isinstance(store, KeyValueStore)
        self.assertEqual(self.value(store.values("ban")), {})
        for kind, key, value in (
            ("ban", "b", "1"), ("ban", "a", "2"), ("other", "a", "3"), ("ban", "b", "4\n\u2028'"),
            ("ban", "gone", "5"), ("ban", "gone", None), ("ban", "never", None),
        ):  # fmt: skip
            self.assertIsNone(self.value(store.put(kind, key, value)))
        found = self.value(store.values("ban"))
        self.assertEqual(list(found.items()), [("a", "2"), ("b", "4\n\u2028'")])
        self.assertEqual(self.value(store.values("other")), {"a": "3"})
        self.assertEqual(self.value(store.values("more")), {})
