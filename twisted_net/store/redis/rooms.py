"""The commands for rooms: each runs one script."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

from twisted.internet.defer import Deferred

from twisted_net.store.log import Appended, Bounds, Message, Page, StoredMessage
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.damage import note_damage
from twisted_net.store.redis.names import Names, RoomNames, encoded, shielded
from twisted_net.store.redis.records import append_arguments, decode_records
from twisted_net.store.redis.script import Script
from twisted_net.store.redis.scripts import APPEND, CLOSE, OPEN, READ

_Result = TypeVar("_Result")


class KnownRoom(NamedTuple):
    """A room, and what a process knows of it.

    :ivar epoch: the epoch that the process knows; may be empty.
    :ivar top: the last offset in it that the process knows.
    """

    name: str
    names: RoomNames
    epoch: str = ""
    top: int = 0


class Opened(NamedTuple):
    """The state of a room.

    :ivar top: the offset of the last message.
    :ivar first: the offset of the oldest one.
    :ivar old: the epoch before; empty if unknown.
    :ivar cut: the last offset of the epoch before that is still in the log.
    """

    epoch: str
    top: int
    first: int
    old: str
    cut: int


class Written(NamedTuple):
    """The result of an append.

    :ivar base: the offset of the last message before it.
    :ivar first: the offset of the oldest message after it.
    :ivar problem: why it does not count, although it was stored; usually empty.
    """

    appended: Appended
    base: int
    first: int
    problem: str = ""


class RoomCommands:
    """Runs the scripts for rooms.

    :param process: the id of this process.
    :param now: returns the time, in seconds since 1970.
    :param token: returns a random text, different each time. It is the beginning of the epochs.
    """

    def __init__(
        self,
        client: RedisClient,
        names: Names,
        bounds: Bounds,
        process: str,
        now: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._client = client
        self._names = names
        self._process = process
        self._now = now
        self._token = token()
        self._asked = itertools.count(1)
        self._age = bounds.age
        self._bounds = (bounds.count, bounds.bytes)
        self._rooms = bounds.rooms
        self._base = encoded(f"{{{names.prefix}:")

    def move(self, process: str) -> None:
        """Go on for another process."""
        self._process = process

    def room(self, name: str) -> KnownRoom:
        """Return a room of which nothing is known yet."""
        return KnownRoom(name, self._names.room(name))

    def append(self, room: KnownRoom, messages: Sequence[Message]) -> Deferred[Written]:
        """Append messages, except those that are stored already."""
        arguments = self._arguments(room)
        arguments += self._process, room.names.channel
        for message in messages:
            arguments += append_arguments(message)

        def written(reply: list[bytes]) -> Written:
            epoch, base, first = reply[0].decode(), int(reply[1]), int(reply[2])
            known = [int(each) for each in reply[3:]] if len(reply) > 3 else None
            return Written(_appended(epoch, base, known, messages), base, first)

        return self._run(APPEND, room, arguments, written)

    def open(self, room: KnownRoom) -> Deferred[Opened]:
        """Read the state of a room, which is made if there is none."""

        def opened(reply: list[bytes]) -> Opened:
            epoch, top, first, old, cut = reply
            return Opened(epoch.decode(), int(top), int(first), old.decode(), int(cut))

        return self._run(OPEN, room, self._arguments(room), opened)

    def since(self, room: KnownRoom, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        """Read all messages after an offset, or none; see :meth:`Store.since`."""
        return self._read(room, "since", shielded(epoch), offset, limit)

    def after(self, room: KnownRoom, offset: int, limit: int) -> Deferred[Page | None]:
        """Read the first ``limit`` messages after an offset that are still there."""
        return self._read(room, "after", b"=", offset, limit)

    def before(self, room: KnownRoom, offset: int | None, limit: int) -> Deferred[Page]:
        """Read the last ``limit`` messages before an offset; see :meth:`Store.before`."""
        found = self._read(room, "before", b"=", b"" if offset is None else offset, limit)
        return cast("Deferred[Page]", found)  # only "since" may find nothing

    def close(self, room: KnownRoom) -> Deferred[None]:
        """Note that a room is not used by this process any more."""
        meta, channel = room.names.meta, room.names.channel
        arguments = (int(self._now() * 1000), shielded(room.name), channel)
        keys = meta, self._names.rooms
        return self._client.call(CLOSE, keys, arguments, lambda reply: None)

    def _read(
        self, room: KnownRoom, mode: str, epoch: bytes, offset: int | bytes, limit: int
    ) -> Deferred[Page | None]:
        def page(reply: list[bytes]) -> Page | None:
            found, (top, first, base, is_there) = reply[0].decode(), map(int, reply[1:5])
            if not is_there:
                return None
            stored, damaged = decode_records(base, reply[5:])
            if damaged:
                note_damage(f"a message of #{room.name}", b"%d" % damaged)
                if mode == "since":
                    return None
            return Page(found, top, stored, max(first, damaged + 1))

        arguments = [*self._arguments(room), mode, epoch, offset, limit]
        return self._run(READ, room, arguments, page)

    def _run(
        self,
        script: Script,
        room: KnownRoom,
        arguments: Sequence[str | bytes | int],
        read: Callable[[list[bytes]], _Result],
    ) -> Deferred[_Result]:
        meta, log, ids, _ = room.names
        return self._client.call(script, (meta, log, ids, self._names.rooms), arguments, read)

    def _arguments(self, room: KnownRoom) -> list[str | bytes | int]:
        now = self._now()
        oldest = int((now - self._age) * 1000) if self._age else 0
        # A new epoch for each call costs less with a number than with random bytes.
        epoch = f"{self._token}-{next(self._asked)}"
        return [
            *(epoch, room.epoch, room.top, int(now * 1000), *self._bounds, oldest),
            *(self._rooms, shielded(room.name), self._base, self._names.db),
        ]


def _appended(
    epoch: str, base: int, known: list[int] | None, messages: Sequence[Message]
) -> Appended:
    """Return the result of an append.

    :param known: the offset of each message; None if all of them are new.
    """
    if known is None:
        fresh = [StoredMessage(at, message) for at, message in enumerate(messages, base + 1)]
        return Appended(epoch, list(range(base + 1, base + 1 + len(fresh))), fresh)
    fresh = []
    for offset, message in zip(known, messages, strict=True):
        if offset == base + len(fresh) + 1:
            fresh.append(StoredMessage(offset, message))
    return Appended(epoch, known, fresh)
