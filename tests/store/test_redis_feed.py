"""How a process follows a room: :mod:`twisted_net.store.redis.feed`."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.store.store_contract import NOW, Heard, make_message
from twisted_net.store.log import Bounds, Page, Position, StoredMessage
from twisted_net.store.redis import feed as feed_module
from twisted_net.store.redis.errors import RedisUnavailable
from twisted_net.store.redis.feed import RoomFeed
from twisted_net.store.redis.names import Names
from twisted_net.store.redis.records import NewMessages
from twisted_net.store.redis.rooms import KnownRoom, Opened, RoomCommands


class FakeCommands:
    """The commands of a room, which a test answers.

    :ivar asked: what was asked and is not answered: its name, its arguments, and its Deferred.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def ask(room: KnownRoom, *arguments: Any) -> Deferred[Any]:
            result: Deferred[Any] = Deferred()
            known = (room.epoch, room.top) if name == "open" else ()
            self.asked.append((name, *known, *arguments, result))
            return result

        return ask

    def answer(self, test: FeedTests, expected: tuple[Any, ...], result: Any) -> None:
        """Check what was asked first, and answer it."""
        *asked, waiting = self.asked.pop(0)
        test.assertEqual(tuple(asked), expected)
        if isinstance(result, Exception):
            waiting.errback(result)
        else:
            waiting.callback(result)


def stored(base: int, count: int = 1) -> list[StoredMessage]:
    return [StoredMessage(base + n, make_message(f"{base + n}")) for n in range(1, count + 1)]


def new(base: int, count: int = 1, epoch: str = "e") -> NewMessages:
    return NewMessages(epoch, base, 1, stored(base, count))


class FeedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.commands = FakeCommands()
        self.heard = Heard()
        self.broken: list[None] = []
        self.losses: list[Position] = []
        room = KnownRoom("a", Names("p", 0).room("a"))
        self.feed = RoomFeed(
            *(cast(RoomCommands, self.commands), room, Bounds(), self.heard),
            *(lambda: self.broken.append(None), self.losses.append),
        )
        opened = self.feed.resume()
        self.answer(("open", "", 0), Opened("e", 3, 1, "", 0))
        self.successResultOf(opened)
        self.assertEqual(self.feed.position, ("e", 3))

    def answer(self, expected: tuple[Any, ...], result: Any) -> None:
        self.commands.answer(self, expected, result)

    def test_messages_in_order(self) -> None:
        """What begins at the end is delivered at once; what is known already is not again."""
        self.assertTrue(self.feed.take(new(3, 2)))
        self.assertTrue(self.feed.take(new(3, 2)))
        self.assertTrue(self.feed.take(new(4, 3)))
        self.assertEqual(self.heard.offsets, [4, 5, 6, 7])
        self.assertEqual(self.commands.asked, [])

    def test_a_gap_is_read(self) -> None:
        """What is missing is read, and what comes meanwhile follows it."""
        self.assertFalse(self.feed.take(new(5)))
        settled = self.feed.settled()
        self.feed.take(new(6))
        self.answer(("open", "e", 3), Opened("e", 7, 1, "", 0))
        self.feed.take(new(7))
        self.assertEqual(self.heard.offsets, [])
        self.answer(("after", 3, 500), Page("e", 7, stored(3, 4), 1))
        self.assertEqual(self.heard.offsets, [4, 5, 6, 7, 8])
        self.successResultOf(settled)
        self.assertTrue(self.feed.live)

    def test_a_gap_that_an_append_fills(self) -> None:
        """While an append of this process is on its way, nothing is read."""
        self.feed.appends = 1
        self.assertFalse(self.feed.take(new(4)))
        self.assertEqual(self.commands.asked, [])
        self.assertFalse(self.feed.take(new(3)))
        self.feed.appended()
        self.assertEqual(self.heard.offsets, [4, 5])
        self.assertEqual(self.commands.asked, [])

    def test_a_gap_that_an_append_does_not_fill(self) -> None:
        """Once no append is on its way, the gap is read."""
        self.feed.appends = 1
        self.feed.take(new(4))
        self.feed.appended()
        self.answer(("open", "e", 3), Opened("e", 5, 1, "", 0))

    def test_what_the_log_has_dropped(self) -> None:
        """If the log does not have it any more, the feed goes on with the oldest message."""
        self.feed.take(new(9))
        self.answer(("open", "e", 3), Opened("e", 10, 8, "", 0))
        self.answer(("after", 3, 500), Page("e", 10, stored(7, 3), 8))
        self.assertEqual(self.heard.offsets, [8, 9, 10])
        self.feed.take(new(12))
        self.answer(("open", "e", 10), Opened("e", 13, 14, "", 0))
        self.answer(("after", 10, 500), Page("e", 13, [], 14))
        self.assertEqual(self.feed.position, ("e", 13))

    def test_records_that_are_damaged(self) -> None:
        """The feed goes on after them, tells that, and delivers what follows."""
        self.feed.take(new(9))
        self.answer(("open", "e", 3), Opened("e", 10, 1, "", 0))
        self.answer(("after", 3, 500), Page("e", 10, stored(6, 2), 7))
        self.assertEqual((self.heard.offsets, self.losses), ([7, 8], [("e", 6)]))
        self.answer(("after", 8, 500), Page("e", 10, [], 10))
        self.answer(("open", "e", 9), Opened("e", 10, 1, "", 0))
        self.answer(("after", 9, 500), Page("e", 10, stored(9), 10))
        self.assertEqual((self.heard.offsets, self.losses[1:]), ([7, 8, 10], [("e", 9)]))
        self.assertTrue(self.feed.live)

    def test_an_epoch_that_continues(self) -> None:
        """If the old log is known to go on in the new epoch, nothing is missed."""
        self.feed.take(new(5, 1, "f"))
        self.answer(("open", "e", 3), Opened("f", 6, 1, "e", 4))
        self.answer(("after", 3, 500), Page("f", 6, stored(3, 3), 1))
        self.assertEqual((self.heard.offsets, self.heard.epochs), ([4, 5, 6], {"f"}))
        self.assertEqual(self.losses, [])

    def test_an_epoch_that_has_lost_messages(self) -> None:
        """Messages after the point where the log was cut are new, with offsets of lost ones."""
        self.feed.take(new(2, 2, "f"))
        self.answer(("open", "e", 3), Opened("f", 4, 1, "e", 2))
        self.answer(("after", 2, 500), Page("f", 4, stored(2, 2), 1))
        self.assertEqual((self.heard.offsets, self.heard.epochs), ([3, 4], {"f"}))
        self.assertEqual(self.losses, [("f", 2)])

    def test_an_unknown_epoch(self) -> None:
        """If nothing is known of the epoch before, the feed goes on with what is surely new."""
        self.feed.take(new(1, 1, "g"))
        self.answer(("open", "e", 3), Opened("g", 2, 1, "f", 0))
        self.answer(("after", 1, 500), Page("g", 2, stored(1), 1))
        self.assertEqual((self.heard.offsets, self.heard.epochs), ([2], {"g"}))
        self.assertEqual(self.losses, [("g", 1)])
        resumed = self.feed.resume()
        self.answer(("open", "g", 2), Opened("i", 9, 1, "h", 0))
        self.successResultOf(resumed)
        self.assertEqual(self.feed.position, ("i", 9))

    def test_a_gap_that_cannot_be_read(self) -> None:
        """It is told, nothing is delivered with a gap, and a later try goes on."""
        self.feed.take(new(5))
        self.answer(("open", "e", 3), RedisUnavailable("gone"))
        self.assertEqual((self.feed.live, len(self.broken)), (False, 1))
        self.assertFalse(self.feed.take(new(6)))
        resumed = self.feed.resume()
        self.answer(("open", "e", 3), Opened("e", 7, 1, "", 0))
        self.answer(("after", 3, 500), Page("e", 7, stored(3, 4), 1))
        self.successResultOf(resumed)
        self.assertEqual(self.heard.offsets, [4, 5, 6, 7])

    def test_a_lost_connection(self) -> None:
        """Whoever waits does not wait any longer, and what is held is read later."""
        self.feed.appends = 1
        self.feed.take(new(4))
        settled = self.feed.settled()
        self.feed.lose()
        self.successResultOf(settled)
        self.assertFalse(self.feed.live)
        self.assertEqual(self.heard.offsets, [])

    def test_too_much_is_held(self) -> None:
        """It is dropped, and read from the log."""
        self.patch(feed_module, "MOST_HELD", 2)
        self.feed.take(new(4))
        for base in range(5, 9):
            self.feed.take(new(base))
        self.answer(("open", "e", 3), Opened("e", 9, 1, "", 0))
        self.answer(("after", 3, 500), Page("e", 9, stored(3, 6), 1))
        self.assertEqual(self.heard.offsets, [4, 5, 6, 7, 8, 9])

    def test_many_readers_read_once(self) -> None:
        """Those who ask for older messages at the same time share one reading."""
        readers = [self.feed.before(None, 2, NOW) for _ in range(3)]
        readers += [self.feed.since("e", 1, 9, NOW)]
        self.answer(("before", 4, 1000), Page("e", 3, stored(0, 3), 1))
        pages = [self.successResultOf(reader).stored for reader in readers]
        self.assertEqual(pages, [stored(1, 2)] * 4)
        self.assertEqual(self.commands.asked, [])
        self.assertIsNone(self.successResultOf(self.feed.since("other", 1, 9, NOW)))
        self.assertIsNone(self.successResultOf(self.feed.since("e", 0, 2, NOW)))
        self.feed.since("e", 4, 9, NOW)  # another process may be ahead
        self.answer(("since", "e", 4, 9), None)

    def test_a_reading_that_fails(self) -> None:
        """All who wait for it are told, and the next one reads again."""
        readers = [self.feed.before(None, 2, NOW) for _ in range(2)]
        self.answer(("before", 4, 1000), RedisUnavailable("gone"))
        for reader in readers:
            self.failureResultOf(reader, RedisUnavailable)
        self.feed.before(None, 2, NOW)
        self.answer(("before", 4, 1000), Page("e", 3, stored(0, 3), 1))

    def test_reads_see_appends(self) -> None:
        """While an append is on its way, reading asks Redis, which answers after it."""
        self.feed.take(new(3))
        self.feed.appends = 1
        for reading in (self.feed.before(None, 1, NOW), self.feed.since("e", 3, 9, NOW)):
            self.assertNoResult(reading)
        self.assertEqual([asked[0] for asked in self.commands.asked], ["before", "since"])
