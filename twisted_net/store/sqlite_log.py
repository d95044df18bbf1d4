"""The logs of the rooms in an SQLite file: the SQL, without threads and without Twisted.

The file is in WAL mode: a commit is one append to the WAL. Other programs may read the file
meanwhile, for example to copy it: neither waits for the other. Only one process at a time may
assign offsets in it, so :class:`SqliteLog` locks the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from twisted_net.store.files import FileLock, OpenFiles, closed_directory
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Appended, Bounds, Message, Page, Position, StoredMessage

APPLICATION_ID = 0x746E6574
"""The application ID in the file's header (https://sqlite.org/fileformat.html): "tnet"."""

_MIGRATIONS = (
    """
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
        first INTEGER NOT NULL, top INTEGER NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL);
    CREATE TABLE entries (
        room INTEGER NOT NULL, offset INTEGER NOT NULL, time REAL NOT NULL, sender TEXT NOT NULL,
        text TEXT NOT NULL, origin TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (room, offset)) WITHOUT ROWID;
    CREATE UNIQUE INDEX ids ON entries (room, origin, id) WHERE id <> '';
    """,
    "ALTER TABLE entries ADD COLUMN action INTEGER NOT NULL DEFAULT 0;",
)
"""The SQL from each version of the schema to the next. A new file goes through all of them."""

_INTO_ENTRIES = (
    "INTO entries (room, offset, time, sender, text, origin, id, action)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

_VALUES = """
    CREATE TABLE IF NOT EXISTS texts (
        kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (kind, key))
    """
"""Made when the first text is put. It is no step of the schema: an older version of this program
can use the file, and does not know of the table."""

_TRIM_STEP = 256
"""Maximum number of rows that an append deletes, in addition to two for each row that it adds."""

_PROBE_SIZE = 16384
"""Characters of the text that :meth:`SqliteLog.check` stores: more than most appends have."""

BUSY_TIMEOUT = 2.0
"""Seconds that a commit waits for another program that writes to the file, such as ``sqlite3``."""

Batch: TypeAlias = tuple[str, Sequence[Message]]
Result = TypeVar("Result")


@dataclass(slots=True)
class _Room:
    """The row of a room, as the next commit will write it."""

    id: int
    epoch: str
    first: int
    top: int
    bytes: int


class SqliteLog:
    """The logs in one file. Any thread may call a method, but only one thread at a time.

    :param path: the file; it is created if it does not exist.
    :param token: returns a random text for a room's epoch, different each time.
    :param bounds: the bounds of the store.
    :param power_safe: whether a commit waits for the disk, and so survives a power cut. It survives
        the end of the process in any case.
    :raises StoreError: the file cannot be used; the text says why.
    """

    def __init__(
        self, path: str, token: Callable[[], str], bounds: Bounds, power_safe: bool = False
    ) -> None:
        self._path = path
        self._token = token
        self._bounds = bounds
        self._rooms: dict[str, _Room] = {}
        with contextlib.ExitStack() as opened:
            try:
                _create_private(path)
                self._lock = FileLock(path)
                opened.callback(self._lock.release)
                self._db = sqlite3.connect(
                    path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
                )
                opened.callback(self._db.close)  # before the lock is released
                self._prepare(power_safe)
                self._files = OpenFiles(path, "-wal", "-shm")
            except sqlite3.Error as error:
                why = "another program writes to it" if "locked" in str(error) else str(error)
                # The WAL needs the directory.
                raise StoreError(f"{path}: {closed_directory(path) or why}") from None
            except PermissionError as error:
                raise StoreError(f"{path}: {closed_directory(path) or error.strerror}") from None
            except OSError as error:
                raise StoreError(f"{path}: {error.strerror}") from None
            except StoreError as error:
                raise StoreError(f"{path}: {error}") from None
            opened.pop_all()

    def close(self) -> None:
        """Close the file. SQLite moves all commits from the WAL into it."""
        self._db.close()
        self._files.close()
        self._lock.release()

    def append(self, requests: Sequence[Batch], now: float) -> list[Appended]:
        """Append messages to several rooms in one commit.

        :raises StoreError: the commit failed, for example because the disk is full, or the file was
            removed or replaced. None of the messages is certain to be stored.
        """

        def work() -> list[Appended]:
            return [
                self._append(self._used(name, now), messages, now) for name, messages in requests
            ]

        return self._in_transaction(work)

    def open_room(self, name: str, now: float) -> Position:
        """Return a room's position. Create the room if it does not exist.

        :raises StoreError: the room cannot be created.
        """
        room = self._in_transaction(lambda: self._used(name, now))
        return Position(room.epoch, room.top)

    def since(self, name: str, epoch: str, offset: int, limit: int, now: float) -> Page | None:
        """See :meth:`twisted_net.store.interface.Store.since`."""

        def work() -> Page | None:
            room = self._find(name)
            if room is None or epoch != room.epoch or not 0 <= room.top - offset <= limit:
                return None
            first = self._first(room, now)
            if offset + 1 < first:
                return None
            stored = self._read("offset > ? ORDER BY offset", room, offset)
            return Page(room.epoch, room.top, stored, first)

        return self._reading(work)

    def before(self, name: str, offset: int | None, limit: int, now: float) -> Page:
        """See :meth:`twisted_net.store.interface.Store.before`."""

        def work() -> Page:
            room = self._find(name)
            if room is None:
                return Page("", 0, [], 1)
            first = self._first(room, now)
            below = room.top + 1 if offset is None else min(offset, room.top + 1)
            condition = "offset < ? AND offset >= ? ORDER BY offset DESC LIMIT ?"
            stored = self._read(condition, room, below, first, limit)
            return Page(room.epoch, room.top, stored[::-1], first)

        return self._reading(work)

    def sweep(self, now: float, busy: frozenset[str] = frozenset()) -> bool:
        """Delete some messages and rooms beyond the bounds.

        :param busy: rooms that are not deleted, even if there are too many rooms, or if nothing was
            said in them.
        :return: whether there is more to delete.
        """

        def work() -> bool:
            self._forget_empty_rooms(busy)
            more = self._forget_rooms(busy)
            for (name,) in self._db.execute(
                "SELECT name FROM rooms WHERE first <= top ORDER BY used LIMIT 1000"
            ).fetchall():
                room = self._find(name)
                assert room is not None
                if self._trim(room, _TRIM_STEP, now) == _TRIM_STEP:
                    more = True
                self._save(room)
            return more

        more = self._in_transaction(work)
        self._reading(lambda: self._db.execute("PRAGMA incremental_vacuum(256)").fetchall())
        return more

    def check(self) -> None:
        """Find out whether messages can be stored: store a text in no room, and delete it.

        Less would not show that a disk is full. What is left of it if this ends in the middle is
        in nobody's way, and goes with the next check.

        :raises StoreError: they cannot.
        """
        values = (0, 1, 0.0, "", "x" * _PROBE_SIZE, "", "", 0)  # the first room has number 1
        in_transaction, execute = self._in_transaction, self._db.execute
        in_transaction(lambda: None)  # nothing is written to a file that is not in its place
        in_transaction(lambda: execute(f"INSERT OR REPLACE {_INTO_ENTRIES}", values))
        in_transaction(lambda: execute("DELETE FROM entries WHERE room = 0"))

    # What is not a message.

    def put(self, kind: str, key: str, value: str | None) -> None:
        """See :meth:`twisted_net.store.interface.KeyValueStore.put`."""

        def work() -> None:
            self._db.execute(_VALUES)
            self._db.execute("DELETE FROM texts WHERE kind = ? AND key = ?", (kind, key))
            if value is not None:
                self._db.execute("INSERT INTO texts VALUES (?, ?, ?)", (kind, key, value))

        self._in_transaction(work)

    def values(self, kind: str) -> dict[str, str]:
        """See :meth:`twisted_net.store.interface.KeyValueStore.values`."""

        def work() -> dict[str, str]:
            if not self._db.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = 'texts'"
            ).fetchone()[0]:
                return {}
            return dict(
                self._db.execute(
                    "SELECT key, value FROM texts WHERE kind = ? ORDER BY rowid", (kind,)
                )
            )

        return self._reading(work)

    # Opening.

    def _prepare(self, power_safe: bool) -> None:
        execute = self._db.execute
        version = execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            execute("PRAGMA auto_vacuum = INCREMENTAL")
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
        elif execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError("the file is a database of another program")
        if version > len(_MIGRATIONS):
            raise StoreError(
                "a newer version wrote the file"
                f" (schema {version}; this version knows {len(_MIGRATIONS)})"
            )
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
        execute("PRAGMA journal_size_limit = 16777216")
        execute("BEGIN IMMEDIATE")
        for number in range(version, len(_MIGRATIONS)):
            for statement in _MIGRATIONS[number].split(";"):
                execute(statement)
        execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        execute("COMMIT")

    # One transaction.

    def _in_transaction(self, work: Callable[[], Result]) -> Result:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            result = work()
            self._db.execute("COMMIT")
            self._files.check()  # after the commit, so that nothing is acknowledged in vain
        except (sqlite3.Error, StoreError) as error:
            self._rooms.clear()  # it has values that were not committed
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to report
                    self._db.execute("ROLLBACK")
            raise StoreError(f"the store cannot be written: {error}") from None
        return result

    def _reading(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from None

    def _find(self, name: str) -> _Room | None:
        room = self._rooms.get(name)
        if room is None:
            row = self._db.execute(
                "SELECT id, epoch, first, top, bytes FROM rooms WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            if len(self._rooms) >= self._bounds.rooms:
                self._rooms.clear()
            room = self._rooms[name] = _Room(*row)
        return room

    def _used(self, name: str, now: float) -> _Room:
        room = self._find(name)
        if room is None:
            self._db.execute(
                "INSERT INTO rooms (name, epoch, first, top, bytes, used)"
                " VALUES (?, ?, 1, 0, 0, ?)",
                (name, self._token(), now),
            )
            room = self._find(name)
            assert room is not None
        return room

    def _append(self, room: _Room, messages: Sequence[Message], now: float) -> Appended:
        offsets: list[int] = []
        fresh: list[StoredMessage] = []
        known: dict[tuple[str, str], int] = {}
        for message in messages:
            if message.id:
                offset = known.get((message.origin, message.id)) or self._offset_of(room, message)
                if offset:
                    offsets.append(offset)
                    continue
                known[message.origin, message.id] = room.top + 1
            room.top += 1
            room.bytes += message.size
            offsets.append(room.top)
            fresh.append(StoredMessage(room.top, message))
        self._db.executemany(
            f"INSERT {_INTO_ENTRIES}",
            [(room.id, at, e.time, e.sender, e.text, e.origin, e.id, e.action) for at, e in fresh],
        )
        self._trim(room, _TRIM_STEP + 2 * len(fresh), now)
        self._save(room, now)
        return Appended(room.epoch, offsets, fresh)

    def _offset_of(self, room: _Room, message: Message) -> int:
        row = self._db.execute(
            "SELECT offset FROM entries WHERE room = ? AND origin = ? AND id = ? AND id <> ''",
            (room.id, message.origin, message.id),
        ).fetchone()
        return row[0] if row else 0

    def _save(self, room: _Room, now: float | None = None) -> None:
        self._db.execute(
            "UPDATE rooms SET first = ?, top = ?, bytes = ?, used = coalesce(?, used) WHERE id = ?",
            (room.first, room.top, room.bytes, now, room.id),
        )

    def _trim(self, room: _Room, most: int, now: float) -> int:
        """Delete the oldest rows beyond the bounds, at most ``most``. Return their number."""
        bounds, oldest = self._bounds, self._oldest(now)
        over = room.top - room.first + 1 - bounds.count
        if over <= 0 and room.bytes <= bounds.bytes and not bounds.age:
            return 0
        gone = 0
        rows = self._db.execute(
            "SELECT offset, sender, text, time FROM entries WHERE room = ? ORDER BY offset LIMIT ?",
            (room.id, most),
        )
        for offset, *rest in rows:  # SQLite reads rows only as the loop needs them
            message = Message(*rest)
            if gone >= over and room.bytes <= bounds.bytes and message.time >= oldest:
                break
            gone += 1
            room.bytes -= message.size
            room.first = offset + 1
        rows.close()
        if gone:
            self._db.execute(
                "DELETE FROM entries WHERE room = ? AND offset < ?", (room.id, room.first)
            )
        return gone

    def _forget_empty_rooms(self, busy: frozenset[str]) -> None:
        """Delete rooms in which nothing was said: they must not take the places of others."""
        empty = self._db.execute("SELECT id, name FROM rooms WHERE top = 0").fetchall()
        for number, name in empty:
            if name not in busy:
                self._db.execute("DELETE FROM rooms WHERE id = ?", (number,))
                self._rooms.pop(name, None)

    def _forget_rooms(self, busy: frozenset[str]) -> bool:
        """Delete one room if there are too many. Return whether there still are too many."""
        count = self._db.execute("SELECT count(*) FROM rooms").fetchone()[0]
        if count <= self._bounds.rooms:
            return False
        for number, name in self._db.execute("SELECT id, name FROM rooms ORDER BY used"):
            if name not in busy:
                self._db.execute("DELETE FROM entries WHERE room = ?", (number,))
                self._db.execute("DELETE FROM rooms WHERE id = ?", (number,))
                self._rooms.pop(name, None)
                return bool(count - 1 > self._bounds.rooms)
        return False

    def _first(self, room: _Room, now: float) -> int:
        """Return the first offset within the bound of age, or the next one if there is none.

        After a message that is young enough, all are kept, even those that a clock which was set
        back has given an earlier time: a page has no gaps.
        """
        if not self._bounds.age:
            return room.first
        row = self._db.execute(
            "SELECT offset FROM entries WHERE room = ? AND time >= ? ORDER BY offset LIMIT 1",
            (room.id, self._oldest(now)),
        ).fetchone()
        return row[0] if row else room.top + 1

    def _oldest(self, now: float) -> float:
        return now - self._bounds.age if self._bounds.age else 0.0

    def _read(self, condition: str, room: _Room, *values: int) -> list[StoredMessage]:
        return [
            StoredMessage(row[0], Message(row[1], row[2], row[3], bool(row[4]), row[5], row[6]))
            for row in self._db.execute(
                "SELECT offset, sender, text, time, action, origin, id FROM entries"
                f" WHERE room = ? AND {condition}",
                (room.id, *values),
            )
        ]


def _create_private(path: str) -> None:
    """Create a file that only its owner may read, if there is none. SQLite's others follow it.

    A file that exists is not opened: see :class:`FileLock`.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    real = os.path.realpath(path)  # O_EXCL does not follow a link
    with contextlib.suppress(FileExistsError):
        os.close(os.open(real, flags, 0o600))
    if os.path.isdir(real):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(real, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
