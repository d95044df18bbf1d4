"""Tests of :mod:`twisted_net.store.sqlite`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.store.store_contract import NOW, Heard, StoreCase, StoreContract, make_message
from twisted_net.store import sqlite_log
from twisted_net.store.interface import Store, StoreError
from twisted_net.store.log import Bounds
from twisted_net.store.memory import MemoryStore
from twisted_net.store.sqlite import CHECK, SWEEP, SqliteStore
from twisted_net.store.sqlite_log import _MIGRATIONS, SqliteLog
from twisted_net.store.url import store_from_url

Result = TypeVar("Result")


class LaterTurns:
    """A worker that runs its jobs when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.done = 0

    def run(self, job: Callable[[], Result]) -> Deferred[Result]:
        result: Deferred[Result] = Deferred()
        self.jobs.append(lambda: maybeDeferred(job).chainDeferred(result))
        return result

    def work(self) -> None:
        """Run all jobs."""
        while self.jobs:
            self.jobs.pop(0)()
            self.done += 1

    def stop(self) -> Deferred[None]:
        return succeed(None)


class SqliteCase(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = LaterTurns()
        self.path = self.mktemp()

    def make(self, bounds: Bounds) -> SqliteStore:
        return SqliteStore(
            self.path, self.clock, lambda: self.worker, lambda: self.now, self.token, bounds
        )

    def settle(self) -> None:
        for _ in range(3):
            self.clock.advance(0)
            self.worker.work()

    def again(self, store: Store) -> Store:
        """Stop a store and open the file again."""
        self.value(store.stop())
        return self.started()


class SqliteStoreTests(StoreContract, SqliteCase):
    def test_a_turn_is_one_commit(self) -> None:
        """All appends of one turn, or during a commit, are one commit, across rooms."""
        store = self.started()
        for room in "abcabc":
            store.append(room, [make_message("x")])
        self.clock.advance(0)
        self.assertEqual(len(self.worker.jobs), 1)
        for room in "abcabc":
            store.append(room, [make_message("x")])
            self.clock.advance(0)
        self.assertEqual(len(self.worker.jobs), 1)
        self.settle()
        self.assertEqual(self.worker.done, 2)
        self.assertEqual(self.value(store.before("a", None, 9)).top, 4)

    def test_nobody_hears_what_is_not_durable(self) -> None:
        """Subscribers and senders are not called before the commit."""
        store, heard = self.started(), Heard()
        self.value(store.subscribe("a", heard))
        appended = store.append("a", [make_message("x")])
        self.clock.advance(0)
        self.assertNoResult(appended)
        self.assertEqual(heard.offsets, [])
        self.settle()
        self.assertEqual((self.successResultOf(appended).offsets, heard.offsets), ([1], [1]))

    def test_epoch_offsets_and_ids_outlive_the_process(self) -> None:
        """Epoch, offsets and ids survive the end of the process."""
        store = self.started()
        epoch = self.fill(store, "a", 3)
        self.value(store.append("a", [make_message("x", "1")]))
        store = self.again(store)
        page = self.value(store.since("a", epoch, 2, 9))
        assert page is not None
        self.assertEqual([each.message.text for each in page.stored], ["3", "x"])
        self.assertEqual(self.value(store.append("a", [make_message("x", "1")])).offsets, [4])
        self.assertEqual(self.value(store.append("a", [make_message("y")])).offsets, [5])

    def test_texts_outlive_the_process(self) -> None:
        """Texts are in the file. A file without any has no table for them."""
        store = self.started()
        assert isinstance(store, SqliteStore)
        store = self.again(store)
        with contextlib.closing(
            sqlite3.connect(f"file:{self.path}?mode=ro&immutable=1", uri=True)
        ) as file:
            self.assertEqual(
                file.execute("SELECT name FROM sqlite_master").fetchall().count(("texts",)), 0
            )
        self.value(store.put("ban", "a", "1"))
        store.put("ban", "b", "2")  # stopping completes it
        store = self.again(store)
        self.assertEqual(self.value(store.values("ban")), {"a": "1", "b": "2"})

    def test_a_text_that_cannot_be_kept(self) -> None:
        """A text is refused while the file is gone, and while the store is closed."""
        store = self.started()
        os.rename(self.path, self.path + ".away")
        refused = store.put("ban", "a", "1")
        self.settle()
        self.assertIn("was removed", str(self.failureResultOf(refused, StoreError).value))
        os.rename(self.path + ".away", self.path)
        self.value(store.put("ban", "a", "1"))
        self.value(store.stop())
        self.failureResultOf(store.put("ban", "a", "1"), StoreError)
        self.failureResultOf(store.values("ban"), StoreError)

    def test_stopping_finishes_what_was_asked_for(self) -> None:
        """``stop`` completes pending calls, and later calls fail."""
        store = self.started()
        appended = store.append("a", [make_message("x")])
        self.value(store.stop())
        self.assertEqual(self.successResultOf(appended).offsets, [1])
        for late in (store.append("a", [make_message("x")]), store.before("a", None, 1)):
            self.failureResultOf(late, StoreError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_full_disk_refuses_messages_and_serves_on(self) -> None:
        """A full disk refuses messages. Later messages are stored again."""
        store, heard = self.started(), Heard()
        self.fill(store, "a", 3)
        self.value(store.subscribe("a", heard))
        database: Any = store._log._db  # type: ignore[attr-defined]
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        refused = [store.append(room, [make_message("x" * 50_000)]) for room in "ab"]
        self.settle()
        for each in refused:
            error = self.failureResultOf(each, StoreError)
            self.assertEqual(
                error.getErrorMessage(), "the store cannot be written: database or disk is full"
            )
        self.assertEqual(len(self.value(store.before("a", None, 9)).stored), 3)
        database.execute("PRAGMA max_page_count = 100000")
        self.assertEqual(self.value(store.append("a", [make_message("y")])).offsets, [4])
        self.assertEqual(heard.offsets, [4])

    def test_a_store_that_cannot_write_says_so(self) -> None:
        """It says why until it can write again, which it finds out without anybody's message."""
        store, lines = self.watched()
        os.rename(self.path, self.path + ".away")
        why = f"the store cannot be written: {os.path.basename(self.path)} was removed while"
        for _ in range(3):
            self.settle()
            refused = store.append("a", [make_message("x")])
            self.settle()
            self.failureResultOf(refused, StoreError)
            self.assertEqual(store.trouble, f"{why} it was open")
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)  # the sweep, and one check
        for _ in range(3):
            self.clock.advance(CHECK)
            self.assertEqual(len(self.worker.jobs), 1)  # the worker tries, and not the reactor
            self.clock.advance(CHECK)
            self.assertEqual(len(self.worker.jobs), 1)
            self.worker.work()
            self.assertTrue(store.trouble)
        os.rename(self.path + ".away", self.path)
        self.clock.advance(CHECK)
        self.worker.work()
        self.assertEqual(store.trouble, "")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(
            lines,
            [
                f"The store is in trouble. {self.path}: {why} it was open",
                f"The store works: {self.path}",
            ],
        )
        self.assertEqual(self.rows_of_checks(store), 0)

    def test_each_write_shows_whether_the_store_works(self) -> None:
        """A room that cannot be opened shows trouble, also a ban, and a sweep where all is quiet.

        A message that could be stored shows that it is over.
        """
        store, lines = self.watched()
        database: Any = store._log._db  # type: ignore[union-attr]

        def sweep() -> None:
            self.clock.advance(SWEEP)
            self.worker.work()

        for write in (
            lambda: store.subscribe("new", Heard()).addErrback(lambda failure: None),
            lambda: store.put("ban", "a", "1").addErrback(lambda failure: None),
            sweep,
        ):
            database.execute("PRAGMA query_only = ON")
            write()
            self.settle()
            self.assertIn("readonly database", store.trouble)
            database.execute("PRAGMA query_only = OFF")
            self.value(store.append("a", [make_message("x")]))
            self.assertEqual(store.trouble, "")
            self.clock.advance(CHECK)
            self.worker.work()
        self.assertEqual(len(lines), 6)

    def test_a_disk_stays_full_for_a_check(self) -> None:
        """A check needs as much room as a message: it does not end a trouble that goes on."""
        store, _ = self.watched()
        database: Any = store._log._db  # type: ignore[union-attr]
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        refused = store.append("a", [make_message("x" * 5000)])
        self.settle()
        self.failureResultOf(refused, StoreError)
        self.clock.advance(CHECK)
        self.worker.work()
        self.assertIn("is full", store.trouble)
        database.execute("PRAGMA max_page_count = 100000")
        self.clock.advance(CHECK)
        self.worker.work()
        self.assertEqual((store.trouble, self.rows_of_checks(store)), ("", 0))

    def test_a_closed_store_does_not_try(self) -> None:
        """No check is left of a store that stops in trouble; one that opens again has none."""
        store, _ = self.watched()
        os.rename(self.path, self.path + ".away")
        refused = store.append("a", [make_message("x")])
        self.settle()
        self.failureResultOf(refused, StoreError)
        self.value(store.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        os.mkdir(self.path)
        self.assertRaises(StoreError, store.start)
        self.assertIn("directory", store.trouble)
        os.rmdir(self.path)
        store.start()
        self.assertEqual(store.trouble, "")

    def watched(self) -> tuple[SqliteStore, list[str]]:
        """Return a store with a room, and what it logs of its trouble."""
        store = self.started()
        assert isinstance(store, SqliteStore)
        self.fill(store, "a", 1)
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "twisted_net.store.sqlite":
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return store, lines

    def rows_of_checks(self, store: SqliteStore) -> int:
        """Return the rows that belong to no room."""
        database: Any = store._log._db  # type: ignore[union-attr]
        found = database.execute("SELECT count(*) FROM entries WHERE room = 0").fetchone()[0]
        assert isinstance(found, int)
        return found

    def test_old_entries_go_where_nothing_happens(self) -> None:
        """Old messages in quiet rooms are deleted step by step."""
        store = self.started(age=60)
        self.value(store.append("a", [make_message("x") for _ in range(1000)]))
        self.now += 100
        self.clock.advance(SWEEP)
        for _ in range(30):
            self.worker.work()
            self.clock.advance(0.1)
        self.worker.work()
        database: Any = store._log._db  # type: ignore[attr-defined]
        self.assertEqual(database.execute("SELECT count(*) FROM entries").fetchone()[0], 0)
        self.assertEqual(self.value(store.append("a", [make_message("x")])).offsets, [1001])

    def test_rooms_too_many_go(self) -> None:
        """If there are too many rooms, the least recently used without subscribers are deleted."""
        store = self.started(rooms=2)
        self.value(store.subscribe("a", Heard()))
        for room in "bcde":
            self.now += 1
            self.fill(store, room, 1)
        for _ in range(5):
            self.clock.advance(SWEEP)
            self.worker.work()
        database: Any = store._log._db  # type: ignore[attr-defined]
        names = [name for (name,) in database.execute("SELECT name FROM rooms ORDER BY name")]
        self.assertEqual(names, ["a", "e"])

    def sweep(self) -> None:
        for _ in range(2):
            self.clock.advance(SWEEP)
            self.worker.work()

    def names(self, store: Any) -> list[str]:
        """Return the names of the rooms in the file."""
        return [name for (name,) in store._log._db.execute("SELECT name FROM rooms ORDER BY name")]

    def test_a_room_where_nothing_was_said_goes(self) -> None:
        """The next sweep deletes rooms without a message, except those with subscribers."""
        store, heard = self.started(), Heard()
        for room in ("empty", "busy", "said"):
            self.value(store.subscribe(room, heard))
        self.fill(store, "said", 1)
        for room in ("empty", "said"):
            store.unsubscribe(room, heard)
        self.sweep()
        self.assertEqual(self.names(store), ["busy", "said"])

    def test_a_room_that_is_being_opened_stays(self) -> None:
        """A sweep does not delete a room whose subscription is on its way."""
        store = self.started()
        self.clock.advance(SWEEP - 1)
        opened = store.subscribe("a", Heard())
        self.clock.advance(1)  # the sweep is called before the room is open
        self.assertNoResult(opened)
        self.worker.work()
        epoch = self.successResultOf(opened).epoch
        self.assertEqual(self.fill(store, "a", 1), epoch)

    def test_the_file_stays_small(self) -> None:
        """The size of the file is limited under steady load."""
        store = self.started(count=200)
        sizes = []
        for _ in range(60):
            self.value(store.append("a", [make_message("x" * 100) for _ in range(100)]))
            sizes.append(os.path.getsize(self.path) + os.path.getsize(self.path + "-wal"))
        self.assertLess(max(sizes[20:]), 8 << 20)
        self.assertEqual(len(self.value(store.before("a", None, 9999)).stored), 200)


class FileTests(SynchronousTestCase):
    """Tests of which files can be opened."""

    def open(self, path: str) -> SqliteLog:
        log = SqliteLog(path, lambda: "e", Bounds())
        self.addCleanup(log.close)
        return log

    def refused(self, path: str) -> str:
        return str(self.assertRaises(StoreError, self.open, path))

    def test_an_older_file_is_migrated(self) -> None:
        """A file of any older version is migrated with its messages."""
        for version in range(1, len(_MIGRATIONS)):
            path = self.mktemp()
            self.open(path).close()
            database = sqlite3.connect(path)
            database.execute("DROP TABLE entries")
            database.execute("DROP TABLE rooms")
            for script in _MIGRATIONS[:version]:
                database.executescript(script)
            database.executescript(
                f"PRAGMA user_version = {version};"
                "INSERT INTO rooms VALUES (1, 'a', 'epoch', 1, 1, 70, 0);"
                "INSERT INTO entries (room, offset, time, sender, text, origin, id)"
                f" VALUES (1, 1, {NOW}, 'ann', 'hello', 'o', '');"
            )
            database.close()
            page = self.open(path).since("a", "epoch", 0, 9, NOW)
            assert page is not None
            self.assertEqual(page.stored[0].message, make_message("hello"))

    def test_a_newer_file_is_refused(self) -> None:
        """A file of a newer version is refused."""
        path = self.mktemp()
        self.open(path).close()
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99")
        database.close()
        self.assertEqual(
            self.refused(path),
            f"{path}: a newer version wrote the file (schema 99; this version knows 2)",
        )

    def test_what_is_not_ours_is_refused(self) -> None:
        """Other databases, other files, folders and invalid paths are refused."""
        path = self.mktemp()
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE t (x)")
        database.close()
        self.assertEqual(self.refused(path), f"{path}: the file is a database of another program")
        other = self.mktemp()
        Path(other).write_bytes(b"hello" * 1000)
        self.assertEqual(self.refused(other), f"{other}: file is not a database")
        nowhere = self.mktemp() + "/x/y"
        self.assertEqual(self.refused(nowhere), f"{nowhere}: No such file or directory")
        self.assertEqual(self.refused("."), ".: Is a directory")

    def test_only_the_owner_may_read_a_new_file(self) -> None:
        """A new file and the WAL beside it have mode 0600. An older file keeps its mode."""
        path = self.mktemp()
        self.open(path)
        for each in (path, path + "-wal"):
            self.assertEqual(os.stat(each).st_mode & 0o777, 0o600)
        other = Path(self.mktemp())
        other.touch()
        other.chmod(0o640)
        self.open(str(other))
        self.assertEqual(other.stat().st_mode & 0o777, 0o640)

    def lost(self, damage: Callable[[str], Any], link: bool = False) -> str:
        """Damage the files of a log that is open, and return why it takes no messages."""
        path = name = self.mktemp()
        if link:
            name = self.mktemp()
            os.symlink(os.path.abspath(path), name)
        log = self.open(name)
        messages = [make_message("x")]
        self.assertEqual(log.append([("a", messages)], NOW)[0].offsets, [1])
        damage(path)
        text = str(self.assertRaises(StoreError, log.append, [("a", messages)], NOW))
        # It stays so: the messages would be lost when the process ends.
        self.assertEqual(str(self.assertRaises(StoreError, log.open_room, "b", NOW)), text)
        return text.replace(os.path.basename(path), "FILE")

    def test_a_file_that_is_removed(self) -> None:
        """No message is accepted into a file, or a WAL, that nobody will find again."""
        for link in (False, True):
            self.assertEqual(
                self.lost(os.remove, link),
                "the store cannot be written: FILE was removed while it was open",
            )
            self.assertEqual(
                self.lost(lambda path: os.remove(path + "-wal"), link),
                "the store cannot be written: FILE-wal was removed while it was open",
            )

    def test_a_directory_that_is_removed(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        log = self.open(os.path.join(directory, "chat.db"))
        shutil.rmtree(directory)
        self.assertRaises(StoreError, log.append, [("a", [make_message("x")])], NOW)

    def test_a_file_that_is_replaced(self) -> None:
        """A copy that was put back in the file's place is another file."""

        def replace(path: str) -> None:
            shutil.copy(path, path + "-copy")
            os.replace(path + "-copy", path)

        self.assertEqual(
            self.lost(replace), "the store cannot be written: FILE was replaced while it was open"
        )

    def test_a_file_that_comes_back(self) -> None:
        """A file that was moved away is used again when it is back."""
        path = self.mktemp()
        log = self.open(path)
        messages = [make_message("x")]
        os.rename(path, path + "-away")
        self.assertRaises(StoreError, log.append, [("a", messages)], NOW)
        os.rename(path + "-away", path)
        self.assertTrue(log.append([("a", messages)], NOW)[0].offsets)

    def test_another_working_directory(self) -> None:
        """A relative path still means the same file after a ``chdir``."""
        path = os.path.relpath(self.mktemp())
        log = self.open(path)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir("/")
        self.assertEqual(log.append([("a", [make_message("x")])], NOW)[0].offsets, [1])

    def test_a_damaged_file(self) -> None:
        """Whatever is read or written then, the error says so."""
        path = self.mktemp()
        with contextlib.closing(self.open(path)) as log:
            log.append([("a", [make_message("x" * 50) for _ in range(2000)])], NOW)
        with open(path, "r+b") as file:
            file.seek(4096)  # after the first page, which has the header and the schema
            file.write(b"\xff" * (os.path.getsize(path) - 4096))
        log = self.open(path)
        for read in (
            lambda: log.before("a", None, 9, NOW),
            lambda: log.since("a", "e", 0, 9, NOW),
        ):
            self.assertIn("the store cannot be read: ", str(self.assertRaises(StoreError, read)))
        for write in (
            lambda: log.append([("a", [make_message("x")])], NOW),
            lambda: log.open_room("a", NOW),
            lambda: log.sweep(NOW),
        ):
            self.assertIn(
                "the store cannot be written: ", str(self.assertRaises(StoreError, write))
            )

    def test_a_file_has_one_process(self) -> None:
        """A second process cannot open the file, because it would assign the same offsets."""
        path = self.mktemp()
        self.open(path).append([("a", [make_message("x")])], NOW)
        self.assertEqual(self.refused(path), f"{path}: this process uses it already")
        link = self.mktemp()
        os.symlink(os.path.abspath(path), link)
        self.assertEqual(self.refused(link), f"{link}: this process uses it already")
        program = (
            "import sys; from twisted_net.store.sqlite_log import *;"
            "SqliteLog(sys.argv[1], str, Bounds())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60
        )
        self.assertIn(f"{path}: another process uses it", done.stderr.splitlines()[-1])

    def test_a_file_is_free_again(self) -> None:
        """A file that is closed, or that could not be opened, can be opened at once."""
        path = self.mktemp()
        for _ in range(2):
            self.open(path).close()
        database = sqlite3.connect(path)
        database.execute("PRAGMA application_id = 1")
        database.close()
        for _ in range(2):
            self.assertIn("another program", self.refused(path))

    def test_a_second_try_frees_nothing(self) -> None:
        """A second try to open the file does not end SQLite's own locks on it, so a program that
        closes the file last cannot remove the WAL of the first."""
        path = self.mktemp()
        log = self.open(path)
        self.assertIn("uses it", self.refused(path))
        program = (
            "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
            "print(d.execute('SELECT count(*) FROM rooms').fetchone()); d.close()"
        )
        subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
        self.assertTrue(os.path.exists(path + "-wal"))
        self.assertEqual(log.append([("a", [make_message("x")])], NOW)[0].offsets, [1])

    def test_a_copy_while_it_is_open(self) -> None:
        """Another connection can copy the file, even in the middle of a reader's transaction, and
        what is appended meanwhile is stored."""
        path, copy = self.mktemp(), self.mktemp()
        log = self.open(path)
        log.append([("a", [make_message("1"), make_message("2")])], NOW)
        reader = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        self.assertEqual(reader.execute("SELECT count(*) FROM entries").fetchone(), (2,))
        for number in range(3, 50):
            log.append([("a", [make_message(str(number) * 1000)])], NOW)
            self.assertTrue(log.sweep(NOW) is False)
        target = sqlite3.connect(copy)
        reader.backup(target)
        target.close()
        reader.execute("COMMIT")
        self.assertEqual(self.open(copy).before("a", None, 9, NOW).top, 2)
        self.assertEqual(log.before("a", None, 9, NOW).top, 49)

    def test_another_program_that_writes(self) -> None:
        """While it writes, appends are refused with the reason; later they are stored."""
        path = self.mktemp()
        self.patch(sqlite_log, "BUSY_TIMEOUT", 0.0)
        log = self.open(path)
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        error = self.assertRaises(StoreError, log.append, [("a", [make_message("x")])], NOW)
        self.assertEqual(str(error), "the store cannot be written: database is locked")
        other.execute("COMMIT")
        self.assertEqual(log.append([("a", [make_message("x")])], NOW)[0].offsets, [1])


class UrlTests(SynchronousTestCase):
    def test_stores_by_name(self) -> None:
        """A URL makes a store with its bounds."""
        memory = store_from_url("memory:?count=7&age=1.5", None)
        assert isinstance(memory, MemoryStore)
        self.assertEqual(memory._bounds, Bounds(count=7, age=1.5))
        self.assertIsInstance(store_from_url("memory:", None), MemoryStore)
        for url in ("sqlite:chat.db", "sqlite:/var/a%20b.db?durable=power&rooms=3"):
            self.assertIsInstance(store_from_url(url, None), SqliteStore)

    def test_what_is_none(self) -> None:
        """The error for an invalid URL says why."""
        for url, why in (
            ("", "a store must be memory:, sqlite:PATH or redis://HOST"),
            ("memory", "a store must be memory:, sqlite:PATH or redis://HOST"),
            ("mysql://x", "a store must be memory:, sqlite:PATH or redis://HOST"),
            ("memory:x", "memory: takes no path, such as x"),
            ("sqlite:", "sqlite: needs the path of a file, as in sqlite:chat.db"),
            ("sqlite:a%00b", "sqlite: a path cannot have a NUL character (%00)"),
            ("sqlite::memory:", "sqlite::memory: must be memory:"),
            ("sqlite:%3Amemory%3A", "sqlite::memory: must be memory:"),
            ("sqlite:x?durable=no", "durable=no: must be process or power"),
            ("memory:?count=x", "count=x: must be a whole number from 1 to 1073741824"),
            ("memory:?count=0", "count=0: must be a whole number from 1 to 1073741824"),
            ("memory:?colour=1", "colour: this store has no such option"),
            ("memory:?durable=power", "durable: this store has no such option"),
            ("memory:?count=1&count=2", "count: given twice"),
        ):
            self.assertEqual(str(self.assertRaises(ValueError, store_from_url, url, None)), why)
