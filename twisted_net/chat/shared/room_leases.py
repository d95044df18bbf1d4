"""Tells other processes who is in the rooms here, and learns who is in them there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat import moderation
from twisted_net.chat.members import store_error_text
from twisted_net.chat.messages import (
    MemberLeft,
    NickChanged,
    TopicEvent,
)
from twisted_net.chat.registry import Room
from twisted_net.chat.shared.chat import LocalChat
from twisted_net.chat.shared.gathering import gather, in_batches
from twisted_net.chat.shared.listing import ROOMS, room_text
from twisted_net.chat.shared.rooms import SharedRoom, member_key, member_name, room_kind
from twisted_net.store.interface import LeaseWatcher, SharedStore

BATCH_DELAY = 0.2
"""Seconds for which changes of other processes are batched before they are announced, and changes
of the number of members before others learn it."""

_MOST_KEYS = 1000  # in one lease

_log = Logger()


class RoomLeases:
    """The leases of the members of rooms.

    :param failed: called if a lease could not be changed; call :meth:`retake` later.
    """

    def __init__(self, store: SharedStore, chat: LocalChat, failed: Callable[[], None]) -> None:
        self._store = store
        self._chat = chat
        self._failed = failed
        self._watchers: dict[SharedRoom, LeaseWatcher] = {}
        self._unannounced: dict[SharedRoom, None] = {}
        self._uncounted: dict[str, None] = {}
        self._batch: IDelayedCall | None = None
        self._unreleased: dict[str, dict[str, None]] = {}
        self._unopened: dict[SharedRoom, None] = {}  # of another process
        self._moved: dict[str, Any] = {}  # what is to be announced in its rooms

    def make_room(self, name: str) -> SharedRoom:
        """Return a new room."""
        return SharedRoom(name, self._told)

    # Rooms that are open here.

    def open(self, room: Room) -> Deferred[None]:
        """Learn who is in a room elsewhere, and its topic. It fails with StoreError."""
        assert isinstance(room, SharedRoom)

        def changed(key: str, value: str | None, process: str) -> None:
            self._changed(room, key, value)

        def known(results: Sequence[object]) -> None:
            room.is_known = True
            if room not in self._watchers:  # it was closed meanwhile
                self._store.unwatch_leases(room_kind(room.name), changed)

        self._watchers[room] = changed
        watched = self._store.watch_leases(room_kind(room.name), changed)
        return gather([watched, self._read_topic(room)]).addCallback(known)

    def close(self, room: Room) -> None:
        """Forget a room whose last user here has left."""
        assert isinstance(room, SharedRoom)
        watcher = self._watchers.pop(room, None)
        if watcher is not None:
            self._store.unwatch_leases(room_kind(room.name), watcher)
        self._unannounced.pop(room, None)
        self._unopened.pop(room, None)

    def stop(self) -> None:
        """Stop all that is due."""
        if self._batch is not None:
            self._batch.cancel()
            self._batch = None

    def _changed(self, room: SharedRoom, key: str, value: str | None) -> None:
        old, new = room.lease_changed(key, value)
        if new:
            self._announce_former(room, [new])
            self._chat.announce_here(room, NickChanged(room.name, old, new))
        if room.remote:
            self._unannounced[room] = None
            self._batch_soon()

    def _batch_soon(self) -> None:
        if self._batch is None:
            self._batch = self._chat.clock.callLater(BATCH_DELAY, self._end_batch)

    def _end_batch(self) -> None:
        self._batch = None
        rooms, self._unannounced = self._unannounced, {}
        registry = self._chat.registry
        for room in rooms:
            gone, come = room.remote.take()
            self._announce_former(room, come)
            self._chat.act(moderation.announce_changes(registry, room, gone, come))
        counted, self._uncounted = self._uncounted, {}
        for name in counted:
            self._count(name)

    def _announce_former(self, room: SharedRoom, come: Sequence[str]) -> None:
        """Announce that the former users of these names have left, before others have them."""
        for name in come:
            if room.take_leave(name):
                now = self._chat.registry.find(name)
                self._chat.announce_here(room, MemberLeft(room.name, name), now)

    # Moving to another process, as by an upgrade in place.

    def export_state(self) -> dict[str, Any]:
        """Return what is leased and what is about to be announced, for :meth:`restore_state`."""
        now, pending = self._chat.clock.seconds(), {}
        leased = {kind: list(keys) for kind, keys in self._unreleased.items()}
        for room in self._chat.registry.rooms.values():
            assert isinstance(room, SharedRoom)
            kind = room_kind(room.name)
            leased.setdefault(kind, []).extend(self._keys(room.local_members()))
            leased.setdefault(ROOMS, []).extend(self._keys([room.name]))
            if room.remote:
                pending[room.name] = room.remote.export_state(now, (), now)
        return {"leased": leased, "pending": pending}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped. The rooms follow: :meth:`restore`.

        The next :meth:`retake` ends the leases of those users who have not moved.
        """
        self._unreleased = {kind: dict.fromkeys(keys) for kind, keys in state["leased"].items()}
        self._moved = dict(state["pending"])

    def restore(self, room: Room) -> None:
        """Go on with a room of another process. What has changed meanwhile is announced."""
        assert isinstance(room, SharedRoom)
        self._open_again(room)  # tells what the other process knew
        room.is_known = True
        pending = self._moved.pop(room.name, None)
        if pending is not None:
            room.remote.restore_state(pending, self._chat.clock.seconds())
            self._unannounced[room] = None
            self._batch_soon()

    def _open_again(self, room: SharedRoom) -> None:
        def not_opened(failure: Failure) -> None:
            if room in self._watchers:  # otherwise it was closed meanwhile
                self._unopened[room] = None
            self._not_told(failure)

        self.open(room).addErrback(not_opened)

    # Members here.

    def _told(self, room: str, gone: Sequence[str], come: Sequence[str], former: str) -> None:
        """Tell other processes who has left, and whose join is about to be announced here."""
        here = self._chat.registry.rooms.get(room)
        if isinstance(here, SharedRoom):
            self._announce_former(here, come)
        if former:  # the value says so, until others have learnt it
            self._lease(room, come, former)
            self._release(room, gone)
            self._lease(room, come, "")
            return
        if gone:
            self._release(room, gone)
        if come:
            self._lease(room, come, "")
        self._uncounted[room] = None
        self._batch_soon()

    def _keys(self, found: Sequence[str]) -> list[str]:
        process = self._store.process
        return [member_key(process, name) for name in found]

    def _lease(self, room: str, found: Sequence[str], value: str) -> None:
        self._store.lease(room_kind(room), self._keys(found), value).addErrback(self._not_told)

    def _release(self, room: str, found: Sequence[str]) -> None:
        self._release_keys(room_kind(room), self._keys(found))

    def _release_keys(self, kind: str, keys: Sequence[str]) -> None:
        def not_released(failure: Failure) -> None:
            self._unreleased.setdefault(kind, {}).update(dict.fromkeys(keys))
            self._not_told(failure)

        self._store.release(kind, keys).addErrback(not_released)

    def _not_told(self, failure: Failure) -> None:
        if not self._store.trouble:
            _log.warn("Others were not told who is here: {why}", why=store_error_text(failure))
        self._failed()

    def _count(self, name: str) -> None:
        key = member_key(self._store.process, name)
        room = self._chat.registry.rooms.get(name)
        if room is None:
            self._release_keys(ROOMS, [key])
            return
        self._store.lease(ROOMS, [key], room_text(room)).addErrback(self._not_told)

    async def retake(self) -> None:
        """Take all leases again, after the store was away.

        :raises StoreError: it is away again.
        """
        unreleased, self._unreleased = self._unreleased, {}
        unopened, self._unopened = self._unopened, {}
        for each in unopened:
            self._open_again(each)
        rooms = list(self._chat.registry.rooms.values())
        for room in rooms:
            assert isinstance(room, SharedRoom)
            keys = self._keys(room.local_members())
            kept = unreleased.get(room_kind(room.name), {})
            for key in keys:
                kept.pop(key, None)
            for some in in_batches(keys, _MOST_KEYS):
                await self._store.lease(room_kind(room.name), list(some), "")
            if room.is_known:
                await self._read_topic(room)
            self._count(room.name)
        for kind, left in unreleased.items():
            if left and kind != ROOMS:
                self._release_keys(kind, list(left))
        for key in unreleased.get(ROOMS, {}):
            self._count(member_name(key))

    # Topics.

    def set_topic(self, room: Room) -> Deferred[None]:
        """Keep a room's topic, which outlives the room. It fails with StoreError."""
        self._uncounted[room.name] = None
        self._batch_soon()
        return self._store.put(_topic_kind(room.name), "topic", room.topic or None)

    def _read_topic(self, room: Room) -> Deferred[None]:
        before = room.topic

        def read(values: dict[str, str]) -> None:
            topic = values.get("topic", "")
            if room.topic != before or topic == before:
                return  # somebody was faster
            room.topic = topic
            if isinstance(room, SharedRoom) and room.is_known:
                room.is_topic_told = True
                self._chat.announce_here(room, TopicEvent(room.name, topic))

        return self._store.values(_topic_kind(room.name)).addCallback(read)


def _topic_kind(room: str) -> str:
    return f"topic:{room}"
