"""Who there is, under which names, and in which rooms."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

from twisted_net.chat import names
from twisted_net.chat.limits import LONGEST_NAME
from twisted_net.chat.messages import RequestError
from twisted_net.chat.presence import Presence
from twisted_net.wire.text import printable

LOBBY = "lobby"

_MOST_BANS = 10_000  # and mutes; the oldest goes: what is remembered is bounded


class User:
    """One connection's person.

    :ivar name: what it is called now.
    :ivar rooms: the rooms that it is in, in the order of joining.
    :ivar here: the one that it talks in, in the text form; may be empty.
    :ivar origin: whose its messages are, for the store; never shown to anybody. Empty until it
        has said something.
    :ivar session: what it shows when it comes back; a secret.
    :ivar account: whose account it has shown to be; empty for a guest.
    :ivar host: where it comes from; empty where that means nothing.
    :ivar connection: how it is reached; nothing here looks into it.
    """

    __slots__ = (
        "account",
        "connection",
        "here",
        "host",
        "ignoring",
        "name",
        "operator",
        "origin",
        "rooms",
        "session",
    )

    def __init__(self, connection: Any, host: str = "") -> None:
        self.connection = connection
        self.host = host
        self.name = ""
        self.rooms: tuple[Room, ...] = ()
        self.here = ""
        self.origin = ""
        self.session = ""
        self.account = ""
        self.operator = False
        self.ignoring: Collection[str] = ()


class Room:
    """A room in which somebody is.

    :ivar users: those who are in it, in the order of joining.
    :ivar presence: who has come and gone and not been told of.
    :ivar alone: the rooms of those who are in this one only, which most are.
    """

    __slots__ = ("alone", "name", "presence", "topic", "users")

    def __init__(self, name: str) -> None:
        self.name = name
        self.users: dict[User, None] = {}
        self.topic = ""
        self.presence = Presence()
        self.alone = (self,)


class Registry:
    """Everybody, and every room in which somebody is.

    :param most_rooms: rooms in all.
    :param operators: accounts that may keep order.
    :param origin: what the origins of people without a session begin with.
    :ivar by_origin: whose a message is, by its origin, if it is anybody's here.
    :ivar ignorers_of: who is not to hear from a name, by the name's key.
    """

    def __init__(self, most_rooms: int, operators: Collection[str] = (), origin: str = "") -> None:
        self.rooms: dict[str, Room] = {}
        self.operators = {names.fold(name) for name in operators}
        self._most_rooms = most_rooms
        self._users: dict[str, User] = {}
        self._sessions: dict[str, User] = {}
        self.by_origin: dict[str, User] = {}
        self.ignorers_of: dict[str, set[User]] = {}
        self._bans: dict[str, tuple[float, str]] = {}  # by mark: until when, and for which name
        self._mutes: dict[str, tuple[float, str]] = {}
        self._last_guest = 0
        self._origin = origin
        self._last_origin = 0

    def __len__(self) -> int:
        """How many people there are."""
        return len(self._users)

    # Names.

    def guest(self, user: User) -> None:
        """Give somebody a guest's name that nobody has."""
        while True:
            self._last_guest += 1
            name = f"guest-{self._last_guest}"
            if names.key(name) not in self._users:
                self._name(user, name)
                return

    def find(self, name: str) -> User | None:
        """Give who is called so, in whatever case."""
        user = self._users.get(names.key(name)) if len(name) <= 200 else None
        return user if user and names.fold(user.name) == names.fold(name) else None

    def known(self, name: str) -> User:
        """Give who is called so.

        :raises RequestError: ``no-such-nick``.
        """
        user = self.find(name)
        if user is None:
            shown = printable(name)[:80]  # a program's JSON can have anything in it
            raise RequestError("no-such-nick", f"There is nobody called {shown} here.", "to")
        return user

    def rename(self, user: User, name: str, now: float) -> None:
        """Call somebody by another name.

        :raises RequestError: ``taken`` or ``banned``.
        """
        self.may_come(name, "", "", now)
        owner = self._users.get(names.key(name))
        if owner is not None and owner is not user:
            if names.fold(owner.name) == names.fold(name):
                raise RequestError("taken", f"The name {name} is taken.", "nick")
            raise RequestError("taken", f"The name {name} looks like {owner.name}.", "nick")
        self._name(user, name)

    def spare(self, name: str) -> str:
        """Give ``name``, or what is most like it that nobody has."""
        number = 1
        found = name
        while names.key(found) in self._users:
            number += 1
            tail = f"-{number}"
            found = name[: LONGEST_NAME - len(tail)] + tail
        return found

    def _name(self, user: User, name: str) -> None:
        key, old = names.key(name), names.key(user.name)
        if old in self._users and self._users[old] is user:
            del self._users[old]
            if old != key and old in self.ignorers_of:  # another name is no way out
                self.ignorers_of.setdefault(key, set()).update(self.ignorers_of[old])
        user.name = name
        self._users[name if key == name else key] = user  # one text of the two, if it can be

    def remove(self, user: User) -> None:
        """Forget somebody who is in no room any more; what was said is still theirs."""
        key = names.key(user.name)
        if self._users.get(key) is user:
            del self._users[key]
        if self._sessions.get(user.session) is user:
            del self._sessions[user.session]
        self.ignorers_of.pop(key, None)
        for ignored in list(user.ignoring):
            self.hear(user, ignored)

    # Sessions.

    def begin(self, user: User, origin: str) -> None:
        """Somebody's messages have this origin from now on."""
        user.origin = origin
        self.by_origin[origin] = user

    def disown(self, user: User) -> None:
        """Forget whose somebody's messages are: nobody is there any more to have them acked."""
        if self.by_origin.get(user.origin) is user:
            del self.by_origin[user.origin]

    def begin_session(self, user: User, session: str, origin: str) -> None:
        """Give somebody a session; whoever had it has it no more."""
        self.by_origin.pop(user.origin, None)
        self._sessions[session] = user
        user.session = session
        self.begin(user, origin)

    def session(self, session: str) -> User | None:
        """Give whose session it is, if anybody's here."""
        return self._sessions.get(session)

    def take_name_of(self, user: User, ghost: User) -> None:
        """Let somebody have the name of one who goes."""
        name = ghost.name
        self.remove(ghost)
        ghost.name = ""
        self._name(user, name)

    # Rooms.

    def join(self, user: User, name: str) -> Room:
        """Let somebody into a room, which is made if there is none.

        :raises RequestError: ``too-many-rooms``.
        """
        room = self.rooms.get(name)
        if room is None:
            if len(self.rooms) >= self._most_rooms:
                raise RequestError("too-many-rooms", "There are too many rooms already.", "room")
            room = self.rooms[name] = Room(name)
        room.users[user] = None
        user.rooms = (*user.rooms, room) if user.rooms else room.alone
        user.here = name
        return room

    def leave(self, user: User, room: Room) -> None:
        """Let somebody out of a room; the last one takes the room with it."""
        del room.users[user]
        left = tuple(each for each in user.rooms if each is not room)
        user.rooms = left[0].alone if len(left) == 1 else left
        if user.here == room.name:
            user.here = user.rooms[-1].name if user.rooms else ""
        if not room.users:
            del self.rooms[room.name]

    def room_of(self, user: User, name: str) -> Room:
        """Give a room that somebody is in; that of ``here`` for an empty name.

        :raises RequestError: ``not-in-room``.
        """
        for room in user.rooms:
            if room.name == (name or user.here):
                return room
        if not name:
            raise RequestError("not-in-room", "You are in no room. /join ROOM goes to one.", "room")
        raise RequestError("not-in-room", f"You are not in #{name}.", "room")

    def room_to_speak_in(self, user: User, name: str, now: float) -> Room:
        """Give a room that a user is in and may speak in; the user then has an origin.

        :raises RequestError: ``not-in-room`` or ``muted``.
        """
        room = self.room_of(user, name)
        self.may_speak(user, now)
        if not user.origin:
            self._last_origin += 1
            self.begin(user, f"{self._origin}.{self._last_origin}")
        return room

    # Ignoring: by name, and by whatever name comes after it.

    def ignore(self, user: User, name: str, most: int) -> None:
        """Let ``user`` hear nothing of ``name``.

        :raises RequestError: ``too-many``: names are ignored already.
        """
        if len(user.ignoring) >= most:
            raise RequestError("too-many", f"You ignore {most} people already.", "nick")
        if not isinstance(user.ignoring, set):
            user.ignoring = set()
        user.ignoring.add(name)
        self.ignorers_of.setdefault(names.key(name), set()).add(user)

    def hear(self, user: User, name: str) -> bool:
        """End it; give whether it was so."""
        found = [each for each in user.ignoring if names.fold(each) == names.fold(name)]
        for each in found:
            assert isinstance(user.ignoring, set)
            user.ignoring.discard(each)
            key = names.key(each)
            ignorers = self.ignorers_of.get(key, set())
            ignorers.discard(user)
            if not ignorers:
                self.ignorers_of.pop(key, None)
        return bool(found)

    def ignorers(self, name: str) -> Collection[User]:
        """Give who hears nothing of ``name``."""
        return self.ignorers_of.get(names.key(name), ()) if self.ignorers_of else ()

    # Order.

    def ban(self, name: str, until: float) -> User | None:
        """Keep a name out, and the account and address of whoever has it; give who that is."""
        found = self.find(name)
        if found is None:
            _mark(self._bans, name, [f"name {names.key(name)}"], until)
        else:
            _mark(self._bans, name, _marks(found.name, found.account, found.host), until)
        return found

    def lift_ban(self, name: str) -> bool:
        """Let in again who was banned under this name; give whether somebody was."""
        return _lift(self._bans, name)

    def may_come(self, name: str, account: str, host: str, now: float) -> None:
        """:raises RequestError: ``banned``."""
        until = _until(self._bans, _marks(name, account, host))
        if until > now:
            minutes = math.ceil((until - now) / 60)
            raise RequestError("banned", f"You are banned for {minutes} minutes more.")

    def mute(self, user: User, until: float) -> None:
        """Let somebody not speak."""
        marks = _marks(user.name, user.account, user.host)
        _mark(self._mutes, user.name, marks, until)

    def lift_mute(self, name: str) -> bool:
        """Let somebody speak again; give whether it could not."""
        return _lift(self._mutes, name)

    def may_speak(self, user: User, now: float) -> None:
        """:raises RequestError: ``muted``."""
        if self._mutes:
            until = _until(self._mutes, _marks(user.name, user.account, user.host))
            if until > now:
                raise RequestError(
                    "muted", f"You may speak again in {math.ceil(until - now)} seconds."
                )


def _marks(name: str, account: str, host: str) -> list[str]:
    """Give by what somebody is recognised."""
    found = {"name": names.key(name), "account": names.fold(account), "host": host}
    return [f"{kind} {value}" for kind, value in found.items() if value]


def _mark(
    table: dict[str, tuple[float, str]], name: str, marks: Iterable[str], until: float
) -> None:
    for mark in marks:
        table.pop(mark, None)
        table[mark] = until, names.key(name)
        if len(table) > _MOST_BANS:
            del table[next(iter(table))]


def _lift(table: dict[str, tuple[float, str]], name: str) -> bool:
    found = [mark for mark, (_, whose) in table.items() if whose == names.key(name)]
    for mark in found:
        del table[mark]
    return bool(found)


def _until(table: dict[str, tuple[float, str]], marks: Iterable[str]) -> float:
    return max((table[mark][0] for mark in marks if mark in table), default=-math.inf)
