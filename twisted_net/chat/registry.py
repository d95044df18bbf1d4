"""The registry of all users, their names and their rooms."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from twisted_net.chat import bans, names
from twisted_net.chat.bans import Sanction, Sanctions
from twisted_net.chat.delivered import DeliveredIds
from twisted_net.chat.limits import LONGEST_NAME, ChatLimits
from twisted_net.chat.messages import RequestError
from twisted_net.chat.presence import Presence
from twisted_net.chat.request_rates import RequestKind, RequestRates
from twisted_net.chat.shared.directory import IsElsewhere, NameDirectory, Person, RemoteUser
from twisted_net.policy.ranges import client_host
from twisted_net.wire.text import counted, printable

LOBBY = "lobby"

_MOST_DEPARTED = 1000  # ignored users who are gone, but of whom a message may still be on its way


class User:
    """The user of one connection.

    :ivar name: the current name.
    :ivar rooms: the user's rooms, in the order of joining.
    :ivar here: the name of the current room, to which a text user's lines go; may be empty.
    :ivar origin: identifies the user's messages in the store; never shown to users. A program has
        it from its welcome on, a text user from the first message on; it is empty before.
    :ivar has_session: whether a program can continue the user's session on a new connection. Its
        secret is not kept: the origin is made of it.
    :ivar account: the name of the account that the user logged in to; empty for a guest.
    :ivar host: the address, or its /64 for IPv6; empty if it does not identify the user, as for
        loopback addresses.
    :ivar ignoring: whom the user ignores: the name that each had, by the marks of the person; None
        for nobody.
    :ivar connection: the user's connection, which the registry does not use.
    """

    __slots__ = (
        "account",
        "connection",
        "has_session",
        "here",
        "host",
        "ignoring",
        "name",
        "operator",
        "origin",
        "rooms",
    )

    def __init__(self, connection: Any, host: str = "") -> None:
        self.connection = connection
        self.host = client_host(host)
        self.name = ""
        self.rooms: tuple[Room, ...] = ()
        self.here = ""
        self.origin = ""
        self.has_session = False
        self.account = ""
        self.operator = False
        self.ignoring: dict[tuple[str, ...], str] | None = None


class Room:
    """A room with at least one user.

    :ivar users: the users in the room, in the order of joining.
    :ivar presence: the joins and leaves that are not announced yet.
    :ivar alone: the ``rooms`` of each user who is in this room only, as most are. Sharing the tuple
        saves memory.
    :ivar elsewhere: the names of the users of other processes in the room, by their leases. Only a
        ``SharedRoom`` has any.
    """

    __slots__ = ("alone", "name", "presence", "topic", "users")

    elsewhere: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        self.name = name
        self.users: dict[User, None] = {}
        self.topic = ""
        self.presence = Presence()
        self.alone = (self,)

    @property
    def count(self) -> int:
        """The number of users, those of other processes included."""
        return len(self.users) + len(self.elsewhere)

    def names(self) -> Iterator[str]:
        """Yield the names of all users, those of this process first.

        Who tells them to somebody says so to ``presence.listed``.
        """
        for user in self.users:
            yield user.name
        yield from self.elsewhere.values()

    def take_leave(self, name: str) -> bool:
        """Drop the pending leave of ``name``, whose next user is about to be announced.

        :return: whether there was one; announce it now.
        """
        return self.presence.take_leave(name)


class Registry:
    """All connected users and all non-empty rooms.

    :param most_rooms: the maximum number of rooms.
    :param operators: the accounts that may kick, ban and mute users.
    :param origin: the prefix for the origins of users without a session.
    :param reserved: further accounts whose names nobody else may use. Operators' names are reserved
        by themselves.
    :param rates: counts the users' requests; see there.
    :ivar most_rooms: the maximum number of rooms.
    :ivar rooms: the rooms by name.
    :ivar operators: the operators' accounts, without their case.
    :ivar by_origin: the users who sent messages to this process, by origin.
    :ivar ignorers_of: the users who ignore a person, by each mark of the person.
    :ivar bans: who may not come in.
    :ivar mutes: who may not send messages.
    :ivar delivered: the ids of private messages that were delivered.
    :ivar elsewhere: the names of other processes; None if there are none.
    :ivar make_room: makes a room.
    """

    def __init__(
        self,
        most_rooms: int,
        operators: Collection[str] = (),
        origin: str = "",
        reserved: Collection[str] = (),
        rates: RequestRates | None = None,
    ) -> None:
        self._rates = RequestRates(ChatLimits()) if rates is None else rates
        self.rooms: dict[str, Room] = {}
        self.most_rooms = most_rooms
        self._users: dict[str, User] = {}  # by the first key of the name
        self.change_accounts(operators, reserved)
        self._lookalikes: dict[str, User] = {}  # by the second key of the name, if there is one
        self.by_origin: dict[str, User] = {}
        self.ignorers_of: dict[str, set[User]] = {}
        self._departed: dict[str, tuple[str, ...]] = {}  # by origin: the marks of ignored people
        self.bans = Sanctions()
        self.mutes = Sanctions()
        self.delivered = DeliveredIds()
        self.elsewhere: NameDirectory | None = None
        self.make_room: Callable[[str], Room] = Room
        self._last_guest = 0
        self._free_guests: list[int] = []  # a heap of smaller numbers that nobody has seen
        self._origin = origin
        self._last_origin = 0

    def change_accounts(self, operators: Collection[str], reserved: Collection[str]) -> None:
        """Have other operators and reserved names from now on.

        Who is logged in becomes an operator, or is none any more. A guest who has a name that is
        reserved now keeps it until the account logs in.
        """
        self.operators = {names.fold(name) for name in operators}
        # The accounts whose names are reserved, by each key of the name.
        self._reserved = {
            key: names.fold(name) for name in (*operators, *reserved) for key in names.keys(name)
        }
        for user in self:
            user.operator = names.fold(user.account) in self.operators

    def __iter__(self) -> Iterator[User]:
        """Iterate over all users."""
        return iter(list(self._users.values()))

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self._users)

    # Names.

    def assign_guest_name(self, user: User) -> None:
        """Give a user a guest name that is free."""
        while self.elsewhere is not None:
            name = self.elsewhere.guest_name()
            if not self.owners(name):
                self._name(user, name)
                return
        while True:
            if self._free_guests:
                number = heapq.heappop(self._free_guests)
            else:
                number = self._last_guest = self._last_guest + 1
            name = f"guest-{number}"
            if not self.owners(name):
                self._name(user, name)
                return

    def give_back_guest_name(self, user: User) -> None:
        """Take the name of a guest who leaves, and whom nobody has seen, for the next guest."""
        key = names.key(user.name)
        if self._users.get(key) is user:
            self._forget_name(user)
            if self.elsewhere is not None:
                self.elsewhere.give_back_guest(user.name)
                return
            heapq.heappush(self._free_guests, int(user.name.removeprefix("guest-")))

    def find(self, name: str) -> User | None:
        """Return the user with this name, in any case; None if there is none."""
        user = self._users.get(names.key(name)) if len(name) <= 200 else None
        return user if user and names.fold(user.name) == names.fold(name) else None

    def find_person(self, name: str) -> User | RemoteUser | None:
        """Return the user of any process with this name, in any case; None if there is none."""
        user = self.find(name)
        if user is None and self.elsewhere is not None:
            return self.elsewhere.find(name)
        return user

    def require_user(self, name: str) -> User:
        """Return the user with this name, in any case.

        :raises RequestError: ``no-such-nick``.
        :raises IsElsewhere: it is a user of another process.
        """
        user = self.find_person(name)
        if isinstance(user, User):
            return user
        if user is not None:
            raise IsElsewhere(user)
        raise no_such_nick(name)

    def rename(self, user: User, name: str, now: float) -> None:
        """Change a user's name.

        :raises RequestError: ``taken`` or ``banned``.
        """
        self.check_ban(name, "", "", now)
        account = self.reserved_for(name) if self._reserved else ""
        if account and account != names.fold(user.account):
            raise RequestError("taken", f"The name {name} is reserved for an account.", "nick")
        for owner in self.owners(name):
            if owner is user:
                continue
            if names.fold(owner.name) == names.fold(name):
                raise RequestError("taken", f"The name {name} is taken.", "nick")
            raise RequestError("taken", f"The name {name} looks like {owner.name}.", "nick")
        if self.elsewhere is not None:
            self.elsewhere.check(user, name)
        self._name(user, name)

    def reserved_for(self, name: str) -> str:
        """Return the account that this name, or one that looks alike, is reserved for, or ""."""
        found = (self._reserved[key] for key in names.keys(name) if key in self._reserved)
        return next(found, "")

    def owners(self, name: str) -> list[User]:
        """Return the users, at most four, who have this name or one that looks alike."""
        found = [
            table[key]
            for key in names.keys(name)
            for table in (self._users, self._lookalikes)
            if key in table
        ]
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def free_name(self, name: str, user: User, now: float, besides: Collection[User] = ()) -> str:
        """Return ``name`` if a user with an account may take it, otherwise a similar one.

        :param besides: users who are about to lose their names.
        """
        number = 1
        found = name
        while (
            any(owner is not user and owner not in besides for owner in self.owners(found))
            or (self.elsewhere is not None and self.elsewhere.has(found, user))
            or self.reserved_for(found) not in ("", names.fold(user.account))
            or self.bans.until(bans.name_marks(found)) > now
        ):
            number += 1
            tail = f"-{number}"
            found = name[: LONGEST_NAME - len(tail)] + tail
        return found

    def _name(self, user: User, name: str) -> None:
        if user.name:
            self._forget_name(user)
        user.name = name
        key, *others = names.keys(name)
        self._users[name if key == name else key] = user  # share the string object if possible
        for other in others:
            self._lookalikes[other] = user
        if self.elsewhere is not None:
            self._give_origin(user)
            self.elsewhere.took(user, name)

    def _forget_name(self, user: User) -> None:
        key, *others = names.keys(user.name)
        if self._users.get(key) is user:
            del self._users[key]
        for other in others:
            if self._lookalikes.get(other) is user:
                del self._lookalikes[other]
        if self.elsewhere is not None:
            self.elsewhere.gave_up(user, user.name)

    def remove(self, user: User) -> None:
        """Remove a user who has left all rooms.

        The user's origin stays until :meth:`forget_origin`, so messages can still be acked.
        """
        self._forget_name(user)
        user.has_session = False
        for marks in list(user.ignoring or ()):
            self._hear(user, marks)
        self._rates.forget(user)

    # Sessions.

    def set_origin(self, user: User, origin: str) -> None:
        """Set the origin of a user's messages."""
        user.origin = origin
        self.by_origin[origin] = user
        if self.elsewhere is not None:
            self.elsewhere.touch(user)

    def forget_origin(self, user: User) -> None:
        """Forget the origin of a user whose connection is gone, so no message can be acked."""
        if self.by_origin.get(user.origin) is user:
            del self.by_origin[user.origin]
            self.note_departed(user)

    def note_departed(self, user: Person) -> None:
        """Remember who is gone, if ignored: a message may still be on its way."""
        if self.ignorers(user):
            self._departed[user.origin] = _person(user)
            if len(self._departed) > _MOST_DEPARTED:
                del self._departed[next(iter(self._departed))]

    def _give_origin(self, user: User) -> None:
        if not user.origin:
            self._last_origin += 1
            self.set_origin(user, f"{self._origin}.{self._last_origin}")

    def begin_session(self, user: User, origin: str) -> None:
        """Give a user the session of this origin. A former user of it loses it."""
        self.by_origin.pop(user.origin, None)
        user.has_session = True
        self.set_origin(user, origin)

    def user_of_session(self, origin: str) -> User | None:
        """Return who has the session of this origin, if anybody has."""
        user = self.by_origin.get(origin)
        return user if user is not None and user.has_session else None

    def may_take_name_of(self, user: User, ghost: Person, nick: str) -> bool:
        """Return whether a user who continues ``ghost``'s session takes over the name as well.

        :param nick: the name that the user asks for; empty for none.
        """
        if nick and names.fold(nick) != names.fold(ghost.name):
            return False
        account = self.reserved_for(ghost.name)
        return not account or account == names.fold(user.account)

    def take_name_of(self, user: User, ghost: User) -> None:
        """Give a user the name of ``ghost``, and remove ``ghost``."""
        name = ghost.name
        self.remove(ghost)
        self._name(user, name)

    # Rooms.

    def join(self, user: User, name: str) -> Room:
        """Add a user to a room. Create the room if there is none.

        :raises RequestError: ``too-many-rooms``.
        """
        room = self.rooms.get(name)
        if room is None:
            if len(self.rooms) >= self.most_rooms:
                raise RequestError("too-many-rooms", "There are too many rooms already.", "room")
            room = self.rooms[name] = self.make_room(name)
        room.users[user] = None
        user.rooms = (*user.rooms, room) if user.rooms else room.alone
        user.here = name
        return room

    def count_request(self, user: User, kind: RequestKind, now: float) -> None:
        """Count a request. New rooms count for all connections of an account, or of an address.

        Operators have no such limits, as on most IRC servers.

        :raises RequestError: ``rate-limited``.
        """
        if kind == "nicks" and self.elsewhere is not None and self.elsewhere.has_claims(user):
            return  # it was counted before it waited for the name
        if not user.operator:
            marks = _marks(user)[:1] if kind == "new_rooms" else []
            self._rates.count(marks[0] if marks else user, kind, now)

    def leave(self, user: User, room: Room) -> None:
        """Remove a user from a room. Delete the room if it is empty then."""
        del room.users[user]
        left = tuple(each for each in user.rooms if each is not room)
        user.rooms = left[0].alone if len(left) == 1 else left
        if user.here == room.name:
            user.here = user.rooms[-1].name if user.rooms else ""
        if not room.users:
            del self.rooms[room.name]

    def room_of(self, user: User, name: str) -> Room:
        """Return one of the user's rooms; for an empty name, the current one.

        :raises RequestError: ``not-in-room``.
        """
        for room in user.rooms:
            if room.name == (name or user.here):
                return room
        if not name:
            raise RequestError("not-in-room", "You are in no room. /join ROOM goes to one.", "room")
        raise RequestError("not-in-room", f"You are not in #{name}.", "room")

    def room_to_speak_in(self, user: User, name: str, now: float) -> Room:
        """Return one of the user's rooms to send a message to. Give the user an origin.

        :raises RequestError: ``not-in-room`` or ``muted``.
        """
        room = self.room_of(user, name)
        self.check_mute(user, now)
        self._give_origin(user)
        return room

    # Ignoring. It applies to a person under any name, and not to the next who has the name.

    def ignore(self, user: User, name: str, most: int) -> User:
        """Hide the messages of the person called ``name`` from ``user``.

        :return: the user who has the name.
        :raises RequestError: ``no-such-nick``, or ``too-many``: the user ignores ``most`` people.
        """
        found = self.require_user(name)
        self._give_origin(found)
        self.ignore_person(user, found, most)
        return found

    def ignore_person(self, user: User, found: Person, most: int) -> None:
        """Hide the messages of a person, of any process, from ``user``.

        :raises RequestError: ``too-many``: the user ignores ``most`` people.
        """
        marks = _person(found)
        if user.ignoring is None:
            user.ignoring = {}
        if len(user.ignoring) >= most and marks not in user.ignoring:
            raise RequestError("too-many", f"You ignore {counted(most, 'person')} already.", "nick")
        user.ignoring[marks] = found.name
        for mark in marks:
            self.ignorers_of.setdefault(mark, set()).add(user)

    def unignore(self, user: User, name: str) -> bool:
        """Stop ignoring who had this name then, or has it now. Return whether there was anyone."""
        ignoring = user.ignoring or {}
        ended = [each for each, had in ignoring.items() if names.fold(had) == names.fold(name)]
        found = None if ended else self.find_person(name)
        if found is not None:
            ended = [each for each in ignoring if not set(each).isdisjoint(_person(found))]
        for marks in ended:
            self._hear(user, marks)
        return bool(ended)

    def _hear(self, user: User, marks: tuple[str, ...]) -> None:
        assert user.ignoring is not None
        del user.ignoring[marks]
        for mark in marks:
            if any(mark in others for others in user.ignoring):
                continue
            ignorers = self.ignorers_of[mark]
            ignorers.discard(user)
            if not ignorers:
                del self.ignorers_of[mark]
        if not self.ignorers_of:
            self._departed.clear()

    def ignorers(self, user: Person) -> Collection[User]:
        """Return the users who ignore ``user``."""
        return self._ignorers(_person(user)) if self.ignorers_of else ()

    def ignorers_of_origin(self, origin: str) -> Collection[User]:
        """Return the users who ignore the sender of messages with this origin, even if gone."""
        if not self.ignorers_of:
            return ()
        user = self.by_origin.get(origin)
        if user is not None:
            return self.ignorers(user)
        remote = None if self.elsewhere is None else self.elsewhere.of_origin(origin)
        if remote is not None:
            return self.ignorers(remote)
        return self._ignorers(self._departed.get(origin) or (f"origin {origin}",))

    def _ignorers(self, marks: tuple[str, ...]) -> Collection[User]:
        found = [self.ignorers_of[mark] for mark in marks if mark in self.ignorers_of]
        return set().union(*found) if len(found) > 1 else found[0] if found else ()

    # Moderation.

    def check_ban(self, name: str, account: str, host: str, now: float) -> None:
        """Check whether a name, an account and an address may enter the chat.

        The ban of a name is one of the account with this name, too.

        :raises RequestError: ``banned``.
        """
        if not self.bans:
            return
        marks = bans.marks_of(account, host)
        marks += [mark for each in (name, account) if each for mark in bans.name_marks(each)]
        until = self.bans.until(marks, host)
        if until > now:
            minutes = math.ceil((until - now) / 60)
            raise RequestError("banned", f"You are banned for {counted(minutes, 'minute')} more.")

    def mute(self, user: User | RemoteUser, until: float, now: float) -> None:
        """Stop a user from sending messages, under any name."""
        if isinstance(user, User):
            self._give_origin(user)
        marks = (f"origin {user.origin}", *_marks(user), bans.name_key(user.name))
        self.mutes.add(Sanction(user.name, marks, until), now)

    def lift_mute(self, name: str) -> bool:
        """Lift the mute of who had this name then, or has it now. Return whether there was one."""
        found = self.find_person(name)
        marks = [] if found is None else [*_marks(found), f"origin {found.origin}"]
        return bool(self.mutes.lift(bans.name_key(name), marks))

    def check_mute(self, user: User, now: float) -> None:
        """Check whether a user may send messages.

        :raises RequestError: ``muted``.
        """
        if self.mutes:
            until = self.mutes.until([*_marks(user), f"origin {user.origin}"])
            if until > now:
                raise RequestError(
                    "muted", f"You may speak again in {counted(math.ceil(until - now), 'second')}."
                )

    # Moving to another process, as by an upgrade in place.

    def export_state(self, now: float) -> dict[str, Any]:
        """Return what is known besides the connected users, for :meth:`restore_state`.

        :param now: seconds since 1970.
        """
        rates = self._rates.export_state(now)
        return {
            "last_guest": self._last_guest,
            "free_guests": self._free_guests,
            "origin": self._origin,
            "last_origin": self._last_origin,
            "departed": self._departed,
            "bans": self.bans.export_state(),
            "mutes": self.mutes.export_state(),
            "delivered": self.delivered.export_state(),
            "rates": [each for each in rates if not isinstance(each[0][1], User)],
        }

    def restore_state(self, state: Mapping[str, Any], now: float) -> None:
        """Go on where another process has stopped. The users follow: :meth:`restore_user`."""
        self._last_guest = state["last_guest"]
        self._free_guests[:] = state["free_guests"]
        self._origin, self._last_origin = state["origin"], state["last_origin"]
        self._departed.update((key, tuple(marks)) for key, marks in state["departed"].items())
        self.bans.restore_state(state["bans"], now)
        self.mutes.restore_state(state["mutes"], now)
        self.delivered.restore_state(state["delivered"])
        for (kind, who), bucket in state["rates"]:
            self._rates.restore_state(kind, who, bucket, now)

    def export_user(self, user: User, now: float) -> dict[str, Any]:
        """Return what is known of a user, for :meth:`restore_user`."""
        state: dict[str, Any] = {
            name: value for name in _TEXTS_OF_USER if (value := getattr(user, name))
        }
        if user.rooms:
            state["rooms"] = [room.name for room in user.rooms]
        if user.operator:
            state["operator"] = True
        if user.has_session:
            state["session"] = True
        if user.ignoring:
            state["ignoring"] = [[list(marks), name] for marks, name in user.ignoring.items()]
        if user.name and self.find(user.name) is not user:  # it was given back
            state["nameless"] = True
        rates = self._rates.export_of(user, now)
        if rates:
            state["rates"] = rates
        return state

    def restore_user(self, user: User, state: Mapping[str, Any], now: float) -> None:
        """Go on with a user of another process. The rooms follow: :meth:`restore_room`."""
        for name in _TEXTS_OF_USER:
            setattr(user, name, state.get(name, ""))
        # Who is an operator may have changed with the flags.
        user.operator = "operator" in state and names.fold(user.account) in self.operators
        for kind, bucket in state.get("rates", ()):
            self._rates.restore_state(kind, user, bucket, now)
        if user.name and "nameless" not in state:
            name, user.name = user.name, ""
            self._name(user, name)
        user.has_session = bool(state.get("session"))  # it was the secret once
        if user.origin:
            self.by_origin[user.origin] = user
        for marks, name in state.get("ignoring", ()):
            if user.ignoring is None:
                user.ignoring = {}
            user.ignoring[tuple(marks)] = name
            for mark in marks:
                self.ignorers_of.setdefault(mark, set()).add(user)

    def restore_room(self, name: str, topic: str, users: Iterable[User]) -> Room:
        """Make a room of another process, with its users in the order of joining."""
        room = self.rooms[name] = self.make_room(name)
        room.topic = topic
        for user in users:
            room.users[user] = None
        return room

    def restore_rooms_of(self, user: User, names: Iterable[str]) -> None:
        """Give a user the rooms, which are all made by now, in the order of joining."""
        found = tuple(self.rooms[name] for name in names)
        user.rooms = found[0].alone if len(found) == 1 else found


_TEXTS_OF_USER = ("name", "here", "origin", "account", "host")


def no_such_nick(name: str) -> RequestError:
    """Return the error for a name that nobody has."""
    shown = printable(name)[:80]  # a program may send any characters
    return RequestError("no-such-nick", f"There is nobody called {shown} here.", "to")


def _person(user: Person) -> tuple[str, ...]:
    """Return the marks by which those who ignore a person recognise the person.

    They are the session, which is the connection of a text user, and the account. A guest who comes
    back has the name and the address instead: the address alone may be that of a whole office, and
    the name alone is anybody's.
    """
    session = f"origin {user.origin}"
    if user.account:
        return session, f"account {names.fold(user.account)}"
    return (session, f"guest {names.key(user.name)} {user.host}") if user.host else (session,)


def _marks(user: Person) -> list[str]:
    return bans.marks_of(user.account, user.host)
