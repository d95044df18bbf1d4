"""Lists rooms, and the users of rooms that are open in other processes only."""

from __future__ import annotations

import json

from twisted_net.chat.limits import LISTED_JSON
from twisted_net.chat.messages import MemberList, RoomList
from twisted_net.chat.registry import Room
from twisted_net.chat.shared.chat import LocalChat
from twisted_net.chat.shared.rooms import member_name, room_kind
from twisted_net.store.interface import Lessee, SharedStore

ROOMS = "rooms"
"""The kind of the leases that say which rooms are open in a process, with how many members."""

KEPT = 0.5
"""Seconds for which a list is used again: somebody may ask as often as messages may be sent."""


def room_text(room: Room) -> str:
    """Return what others learn of a room: the number of its members here, and its topic."""
    return json.dumps([_members_here(room), room.topic], ensure_ascii=False)


class Listing:
    """Reads what is not known in this process, at most every :data:`KEPT` seconds."""

    def __init__(self, store: SharedStore, chat: LocalChat) -> None:
        self._store = store
        self._chat = chat
        self._recent: dict[str, tuple[float, dict[str, tuple[str, Lessee]]]] = {}

    async def rooms(self) -> RoomList:
        """Return the rooms of all processes, those with the most users first.

        :raises StoreError: they cannot be read.
        """
        found = {
            room.name: (_members_here(room), room.topic)
            for room in self._chat.registry.rooms.values()
        }
        for key, (value, process) in (await self._read(ROOMS)).items():
            if process != self._store.process:
                name = member_name(key)
                count, topic = _read_room(value)
                before, known = found.get(name, (0, ""))
                found[name] = before + count, known or topic
        rows = sorted(found.items(), key=lambda row: (-row[1][0], row[0]))
        listed = [(name, count, topic) for name, (count, topic) in rows[:LISTED_JSON]]
        return RoomList(listed, len(rows))

    async def members(self, room: str) -> MemberList:
        """Return the users of a room that is not open here.

        :raises StoreError: they cannot be read.
        """
        leases = await self._read(room_kind(room))
        nicks = sorted(map(member_name, leases), key=str.casefold)
        return MemberList(room, nicks[:LISTED_JSON], len(nicks))

    async def _read(self, kind: str) -> dict[str, tuple[str, Lessee]]:
        now = self._chat.clock.seconds()
        self._recent = {each: kept for each, kept in self._recent.items() if now - kept[0] < KEPT}
        if kind not in self._recent:
            self._recent[kind] = now, await self._store.leases(kind)
        return self._recent[kind][1]


def _members_here(room: Room) -> int:
    return len(room.users) - len(room.presence.arrivals)


def _read_room(value: str) -> tuple[int, str]:
    try:
        count, topic = json.loads(value)
        return int(count), str(topic)
    except (TypeError, ValueError):  # another version wrote it
        return 0, ""
