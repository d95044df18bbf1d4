"""Rooms whose members are in several processes. This module is pure.

The members of a process are leases of the kind :func:`room_kind`. Their keys have the process and
the name, so the joins of a moment are one call, and no two processes can have the same key. The
value is the member's former name, if that has just changed.

A member is leased when the join is announced, so health checks are never told to others. The lease
ends as soon as the member leaves, and before the name is free: so others see that a member has left
before they see the next one of this name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from twisted_net.chat.presence import Presence
from twisted_net.chat.registry import Room

Told = Callable[[str, Sequence[str], Sequence[str], str], None]
"""Called with a room, the names of who left and of who joined it, and the former name of the only
one who joined, if it is only a new name."""


def room_kind(room: str) -> str:
    """Return the kind of the leases of a room's members."""
    return f"room:{room}"


def member_key(process: str, name: str) -> str:
    """Return the key of the lease of a member."""
    return f"{process} {name}"


def member_name(key: str) -> str:
    """Return the name in a key from :func:`member_key`."""
    return key.partition(" ")[2]


class SharedPresence(Presence):
    """The joins and leaves of a room that are not announced yet.

    :param told: called for joins when they are announced, and for leaves at once.
    """

    __slots__ = ("_room", "_told")

    def __init__(self, room: str, told: Told) -> None:
        super().__init__()
        self._room = room
        self._told = told

    def left(self, name: str, due: float = 0.0) -> None:
        is_new = name in self.arrivals
        super().left(name, due)
        if not is_new:
            self._told(self._room, [name], [], "")

    def renamed(self, old: str, new: str) -> bool:
        announced = super().renamed(old, new)
        if announced:
            self._told(self._room, [old], [new], old)
        return announced

    def introduce(self, name: str) -> bool:
        found = super().introduce(name)
        if found:
            self._told(self._room, [], [name], "")
        return found

    def take(self, until: float = math.inf) -> tuple[list[str], list[str]]:
        gone, come = super().take(until)
        if come:
            self._told(self._room, [], come, "")
        return gone, come


class SharedRoom(Room):
    """A room with users of this process, and perhaps of others.

    :ivar elsewhere: the names of the users of other processes, by the keys of their leases.
    :ivar remote: their joins and leaves that are not announced yet.
    :ivar is_known: whether all that were in the room when it was opened here are in ``elsewhere``.
        Before, they are not announced.
    :ivar is_topic_told: whether the topic was read and announced, so that the order of who has set
        it, which comes later, is not announced again.
    """

    __slots__ = ("elsewhere", "is_known", "is_topic_told", "remote")

    def __init__(self, name: str, told: Told) -> None:
        super().__init__(name)
        self.presence = SharedPresence(name, told)
        self.elsewhere: dict[str, str] = {}
        self.remote = Presence()
        self.is_known = self.is_topic_told = False

    def lease_changed(self, key: str, value: str | None) -> tuple[str, str]:
        """Note that the lease of a member of another process has changed.

        :return: an old and a new name to announce, if a member who is known has a new one.
        """
        name = member_name(key)
        if value is None:
            if self.elsewhere.pop(key, None) is not None and self.is_known:
                self.remote.left(name)
            return "", ""
        if key in self.elsewhere:
            return "", ""
        self.elsewhere[key] = name
        before = member_key(key.partition(" ")[0], value)
        if value and self.elsewhere.pop(before, None) is not None:
            if self.is_known and self.remote.renamed(value, name):
                return value, name
        elif self.is_known and not self.remote.take_leave(name):  # it was gone for a moment only
            self.remote.came(name)
        return "", ""

    @property
    def count(self) -> int:
        return super().count - len(self.remote.arrivals) + len(self._leaving())

    def names(self) -> Iterator[str]:
        # Of other processes, those who have been announced: who joins now is told of the others
        # when all are, and nobody is told of those who were gone for a moment only.
        waiting = self.remote.arrivals
        for user in self.users:
            yield user.name
        for name in self.elsewhere.values():
            if name not in waiting:
                yield name
        yield from self._leaving()

    def _leaving(self) -> list[str]:
        """Return the names of those who have left another process, and are not here."""
        leaving = self.remote.departures
        here = {user.name for user in self.users} if leaving else ()
        return [name for name in leaving if name not in here]

    def take_leave(self, name: str) -> bool:
        left_here, left_there = super().take_leave(name), self.remote.take_leave(name)
        return left_here or left_there

    def local_members(self) -> list[str]:
        """Return the names of the users of this process whose joins are announced."""
        waiting = self.presence.arrivals
        return [user.name for user in self.users if user.name not in waiting]
