"""The store in Redis while Redis is away, half-dead, or has lost what it had."""

from __future__ import annotations

import signal
from collections import Counter

from twisted.logger import capturedLogs, formatEvent

from tests.live.redis_case import RedisCase
from tests.live.redis_server import Asking
from tests.store.store_contract import Heard, make_message
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds, Position
from twisted_net.store.redis.store import RedisStore

META = "{netchat:a}:meta"
LOG = "{netchat:a}:log"
IDS = "{netchat:a}:ids"


class OutageCase(RedisCase):
    """One store that follows the room ``a``.

    :ivar heard: what it has delivered.
    :ivar told: its troubles.
    """

    def setUp(self) -> None:
        super().setUp()
        self.store = self.started(count=5000, bytes=1 << 24)
        self.told: list[str] = []
        self.store.watch_trouble(self.told.append)
        self.losses: list[tuple[str, Position]] = []
        self.store.watch_losses(lambda room, at: self.losses.append((room, at)))
        self.heard = Heard()
        self.epoch = self.value(self.store.subscribe("a", self.heard)).epoch

    def say(self, *texts: str, store: RedisStore | None = None) -> list[int]:
        """Append messages, and return their offsets."""
        messages = [make_message(text) for text in texts]
        return self.value((store or self.store).append("a", messages)).offsets

    def until_trouble(self, word: str) -> None:
        """Wait until the store says what is wrong."""
        self.pumped.until(lambda: word in self.store.trouble, f"trouble with {word}")
        self.assertTrue(self.store.trouble.startswith("Redis at 127.0.0.1:"), self.store.trouble)
        self.assertNotIn("\n", self.store.trouble)

    def until_well(self) -> None:
        """Wait until the store works again."""
        self.pumped.until(lambda: not self.store.trouble, "the trouble to end")

    def cut(self) -> None:
        """Let Redis close the connections of all others."""
        with Asking(self.server.port) as asking:
            asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
            asking.ask("CLIENT", "KILL", "TYPE", "normal")

    def check_new_epoch(self) -> None:
        """Check that a new message is in another epoch, and that no offset was used twice."""
        self.say("after")
        self.assertEqual(len(self.heard.epochs), 2)
        appended = self.value(self.store.append("a", []))
        self.assertNotEqual(appended.epoch, self.epoch)
        self.assertIsNone(self.value(self.store.since("a", self.epoch, 0, 99)))


class AwayTests(OutageCase):
    """Redis is not there, or does not answer."""

    options = ("appendonly yes", "appendfsync always")

    def test_killed_and_started_again(self) -> None:
        """Appends fail at once while Redis is down; then all goes on in a new epoch."""
        self.say("1", "2", "3")
        self.server.kill()
        self.until_trouble("onnection")
        refused = self.store.append("a", [make_message("lost")])
        self.assertTrue(refused.called)
        self.failure(refused, StoreError)
        self.failure(self.store.subscribe("b", Heard()), StoreError)
        page = self.value(self.store.since("a", self.epoch, 1, 9))
        assert page is not None  # from the ring
        self.assertEqual(len(page.stored), 2)
        self.server.start()
        self.until_well()
        self.assertEqual(self.say("4"), [4])
        self.assertEqual(self.heard.offsets, [1, 2, 3, 4])
        self.assertEqual(self.losses, [])
        self.check_new_epoch()
        self.assertEqual(self.told[-1], "")

    def test_restarted_with_all_its_data(self) -> None:
        """A new epoch begins although nothing was lost, as nobody can know that; see
        docs/stores.rst. The history stays, and who has stayed misses nothing."""
        self.say("1", "2", "3")
        self.server.stop()
        self.until_trouble("onnection")
        self.server.start()
        self.until_well()
        self.assertEqual(self.say("4"), [4])
        self.assertEqual((self.heard.offsets, self.losses), ([1, 2, 3, 4], []))
        other = self.started()
        page = self.value(other.before("a", None, 9))
        self.assertEqual([each.offset for each in page.stored], [1, 2, 3, 4])
        self.assertNotEqual(page.epoch, self.epoch)
        for offset in (1, 3, 4):
            self.assertIsNone(self.value(other.since("a", self.epoch, offset, 9)))
        found = self.value(other.since("a", page.epoch, 3, 9))
        assert found is not None
        self.assertEqual([each.offset for each in found.stored], [4])

    def test_an_end_that_nobody_has_seen(self) -> None:
        """Redis starts without its last messages, and whoever has seen them has died: their
        offsets are not used again in their epoch. Only a client knows them still."""
        self.say("1", "2", "3")
        with Asking(self.server.port) as asking:
            kept = {key: asking.ask("DUMP", key) for key in (META, LOG)}
        self.assertEqual(self.say("4", "5"), [4, 5])
        self.value(self.store.stop())
        self.server.stop()
        self.server.start()
        with Asking(self.server.port) as asking:
            for key, value in kept.items():
                asking.ask("RESTORE", key, 0, value, "REPLACE")
        other = self.started()
        appended = self.value(other.append("a", [make_message(text) for text in "xyz"]))
        self.assertEqual(appended.offsets, [4, 5, 6])
        self.assertNotEqual(appended.epoch, self.epoch)
        for offset in (3, 4, 5, 6):
            self.assertIsNone(self.value(other.since("a", self.epoch, offset, 9)))

    def test_stopped(self) -> None:
        """A Redis that does not answer is noticed, although its connections stay."""
        self.server.signal(signal.SIGSTOP)
        try:
            waiting = self.store.append("a", [make_message("1", id="1")])
            self.until_trouble("does not answer")
            self.assertIn("does not answer", self.failure(waiting, StoreError))
        finally:
            self.server.signal(signal.SIGCONT)
        self.until_well()
        # Nobody can know whether it was stored; with its id, it is stored once.
        again = self.value(self.store.append("a", [make_message("1", id="1")]))
        self.assertEqual(again.offsets, [1])
        self.assertEqual(self.heard.offsets, [1])

    def test_what_others_say_meanwhile(self) -> None:
        """What was said while the connection was cut is delivered after it, in the same epoch."""
        other = self.started(count=5000, bytes=1 << 24)  # it may say all before this one is back
        self.value(other.subscribe("a", Heard()))
        self.say("1")
        for number in range(3):
            self.cut()
            texts = [str(number)] * 700
            with Asking(self.server.port) as asking:
                asking.ask("CLIENT", "LIST")  # both connections have ended
            self.pumped.until(lambda: other.trouble and self.store.trouble, "both to notice")
            self.pumped.until(lambda: not other.trouble, "the other to be back")
            self.say(*texts, store=other)
        self.until_well()
        self.pumped.until(lambda: len(self.heard.stored) == 2101, "all of it")
        self.assertEqual(self.heard.offsets, list(range(1, 2102)))
        self.assertEqual(self.heard.epochs, {self.epoch})

    def test_the_password_changes(self) -> None:
        """A password that is not right any more is told, and tried again."""
        with Asking(self.server.port) as asking:
            asking.ask("CONFIG", "SET", "requirepass", "secret")
            asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
            self.until_trouble("a password is required")
            asking.ask("CONFIG", "SET", "requirepass", "")
        self.until_well()
        self.say("1")

    def test_stopping_meanwhile(self) -> None:
        """A store stops although Redis is down."""
        self.server.kill()
        self.until_trouble("onnection")
        self.value(self.store.stop())


class RefusingTests(OutageCase):
    """Redis answers, but does not take what it is told."""

    def check_refusals(self, code: str) -> None:
        """Check that appends fail with a code, and that the trouble is told."""
        text = self.failure(self.store.append("a", [make_message("x")]), StoreError)
        self.assertIn(code, text)
        self.until_trouble(code)

    def configure(self, name: str, value: str) -> None:
        self.assertEqual(self.server.ask("CONFIG", "SET", name, value), b"OK")

    def test_without_memory(self) -> None:
        """A full memory is told, and its end is noticed."""
        self.say("1")
        self.configure("maxmemory", "1")
        self.check_refusals("OOM")
        self.assertEqual(len(self.value(self.store.before("a", None, 9)).stored), 1)
        self.configure("maxmemory", "0")
        self.until_well()
        self.assertEqual(self.say("2"), [2])
        self.assertEqual(self.heard.epochs, {self.epoch})

    def test_without_replicas(self) -> None:
        """Too few replicas are told, and their return is noticed."""
        self.configure("min-replicas-to-write", "1")
        self.check_refusals("NOREPLICAS")
        self.configure("min-replicas-to-write", "0")
        self.until_well()
        self.assertEqual(self.say("1"), [1])

    def test_a_full_disk(self) -> None:
        """A Redis that cannot save refuses writes; that is told, and its end is noticed."""
        self.configure("save", "3600 1")
        directory = self.server.directory / "dump.rdb"
        directory.mkdir()
        self.say("1")
        self.server.ask("BGSAVE")
        self.pumped.until(
            lambda: b"rdb_last_bgsave_status:err" in self.server.ask("INFO", "persistence"),
            "the saving to fail",
        )
        self.check_refusals("MISCONF")
        directory.rmdir()
        self.server.ask("BGSAVE")
        self.until_well()
        self.assertEqual(self.say("2"), [2])

    def test_a_replica(self) -> None:
        """A primary that becomes a replica is left; once it is primary again, an epoch begins."""
        self.say("1")
        other = self.serve()
        self.server.ask("REPLICAOF", "127.0.0.1", other.port)
        self.until_trouble("READONLY")
        self.server.ask("REPLICAOF", "NO", "ONE")
        self.until_well()
        self.check_new_epoch()

    def test_a_script_that_was_forgotten(self) -> None:
        """Scripts that Redis has forgotten are sent again."""
        self.server.ask("SCRIPT", "FLUSH")
        self.assertEqual(self.say("1", "2"), [1, 2])
        self.assertEqual(self.say("3"), [3])

    def test_keys_of_something_else(self) -> None:
        """A key of another type fails the append before anything is written."""
        self.say("1")
        for key in (META, LOG, IDS):
            with Asking(self.server.port) as asking:
                kept = asking.ask("DUMP", key)
                asking.ask("SET", key, "something else")
                text = self.failure(self.store.append("a", [make_message("x", "1")]), StoreError)
                self.assertIn("WRONGTYPE", text)
                self.assertEqual(asking.ask("GET", key), b"something else")
                asking.ask("DEL", key)
                if kept is not None:
                    asking.ask("RESTORE", key, 0, kept)
        self.assertEqual(self.say("2"), [2])
        self.assertEqual(self.heard.epochs, {self.epoch})


class DamageTests(OutageCase):
    """Redis has lost something. No offset is used twice in an epoch."""

    def test_everything_is_gone(self) -> None:
        """After FLUSHALL, an epoch begins, and the store goes on by itself."""
        self.say("1", "2")
        self.server.ask("FLUSHALL")
        self.check_new_epoch()
        self.assertEqual(self.heard.offsets[-1], 1)
        ((room, at),) = self.losses
        self.assertEqual((room, at.offset), ("a", 0))
        self.assertIn(at.epoch, self.heard.epochs)
        self.until_well()

    def test_a_log_that_does_not_fit(self) -> None:
        """Whatever of a room's keys is missing or changed, an epoch begins."""
        for number, damage in enumerate((
            ("HDEL", META, "top"),
            ("HDEL", META, "epoch"),
            ("DEL", META),
            ("DEL", LOG),
            ("XTRIM", LOG, "MAXLEN", 1),
            ("XADD", LOG, "99-0", "m", "x", "s", "1"),
            ("HSET", META, "replid", "another"),
            ("HSET", META, "top", "1"),
            ("HSET", META, "count", "1"),
        )):  # fmt: skip
            epoch = self.value(self.store.append("a", [make_message("x")] * 3)).epoch
            self.server.ask(*damage)
            appended = self.value(self.store.append("a", [make_message("y", str(number))]))
            self.assertNotEqual(appended.epoch, epoch, damage)
            page = self.value(self.store.before("a", None, 99))
            offsets = [stored.offset for stored in page.stored]
            self.assertEqual(offsets, list(range(page.first, page.top + 1)), damage)
            self.assertEqual(page.stored[-1].message.id, str(number))

    def test_an_older_state(self) -> None:
        """If Redis is set back behind what a process has seen, an epoch begins."""
        self.say("1", "2", "3")
        with Asking(self.server.port) as asking:
            kept = {key: asking.ask("DUMP", key) for key in (META, LOG)}
            self.say("4", "5")
            for key, value in kept.items():
                asking.ask("RESTORE", key, 0, value, "REPLACE")
        self.check_new_epoch()
        used = Counter(self.heard.offsets)
        self.assertEqual(used[4], 2)  # once in each epoch

    def test_a_room_that_cannot_be_read(self) -> None:
        """It is logged, and does not keep the store from working; once it is mended, it goes on."""
        self.say("1")
        kept = self.server.ask("DUMP", LOG)
        self.server.ask("DEL", LOG)
        self.server.ask("SET", LOG, "something else")
        with capturedLogs() as logged:
            self.cut()
            self.pumped.until(lambda: len(self.told) >= 2, "the store to be back")
            self.assertEqual(self.store.trouble, "")
        texts = [text for event in logged if (text := formatEvent(event))]
        self.assertEqual(len([text for text in texts if "#a cannot be read" in text]), 1, texts)
        self.assertEqual(self.value(self.store.append("b", [make_message("x")])).offsets, [1])
        self.server.ask("DEL", LOG)
        self.server.ask("RESTORE", LOG, 0, kept)
        other = self.started()
        self.say("2", store=other)
        self.pumped.until(lambda: self.heard.offsets == [1, 2], "what was missed")
        self.assertEqual(self.heard.epochs, {self.epoch})

    def test_a_record_that_is_not_ours(self) -> None:
        """The history begins after what cannot be a message, and everything else goes on."""
        self.say("1", "2")
        self.server.ask("XADD", LOG, "3-0", "m", "{", "s", "1")
        self.server.ask("HSET", META, "top", "3", "count", "3")
        other = self.started()
        with capturedLogs() as logged:
            for _ in range(2):
                self.assertEqual(self.value(other.before("a", None, 9)).stored, [])
            self.assertEqual(self.say("4"), [4])
            self.assertEqual(self.heard.offsets, [1, 2, 4])
            page = self.value(other.before("a", None, 9))
            self.assertEqual(([each.offset for each in page.stored], page.first), ([4], 4))
            self.assertIsNone(self.value(other.since("a", self.epoch, 1, 9)))
            page = self.value(other.since("a", self.epoch, 3, 9))
            assert page is not None
            self.assertEqual(len(page.stored), 1)
        texts = [text for event in logged if (text := formatEvent(event))]
        self.assertEqual(len([text for text in texts if "is damaged" in text]), 1, texts)
        self.assertEqual(self.losses, [("a", Position(self.epoch, 3))])

    def test_a_record_that_was_changed(self) -> None:
        """A text that is not what was acked is never delivered."""
        self.say("1")
        ((_, (_, record, _, size)),) = self.server.ask("XRANGE", LOG, "-", "+")
        self.server.ask("DEL", LOG)
        changed = record.replace(b'"1"', b'"7"')
        self.assertNotEqual(changed, record)
        self.server.ask("XADD", LOG, "1-0", "m", changed, "s", size)
        self.assertEqual(self.value(self.started().before("a", None, 9)).stored, [])


class ConfirmedTests(RedisCase):
    """``wait=1``: an append counts only once a replica has it."""

    def test_a_replica_that_is_cut_off(self) -> None:
        """Without the replica, the sender is told that it failed; sent again, it is stored once."""
        replica = self.serve(f"replicaof 127.0.0.1 {self.server.port}")
        self.pumped.until(
            lambda: b"state=online" in self.server.ask("INFO", "replication"), "the replica"
        )
        with Asking(self.server.port) as asking:
            asking.ask("SET", "x", "1")
            self.assertEqual(asking.ask("WAIT", 1, 20_000), 1)
        store = self.begun(self.make(Bounds(), wait="1"))
        heard = Heard()
        self.value(store.subscribe("a", heard))
        self.assertEqual(self.value(store.append("a", [make_message("1", "1")])).offsets, [1])
        replica.signal(signal.SIGSTOP)
        text = self.failure(store.append("a", [make_message("2", "2")]), StoreError)
        self.assertIn("0 of 1 replicas", text)
        self.assertEqual([each.message.origin for each in heard.stored], ["o", ""])
        replica.signal(signal.SIGCONT)
        again = self.value(store.append("a", [make_message("2", "2")]))
        self.assertEqual((again.offsets, again.fresh), ([2], []))
