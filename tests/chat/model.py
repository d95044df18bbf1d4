"""What should happen in a chat, as simply as it can be said: dictionaries, and no connections.

``programs`` compares the chat with it. It uses nothing of ``twisted_net``.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

LOBBY = "lobby"

Event = tuple[str, ...]
"""``("room", room, sender, text)`` or ``("private", sender, text)``. For a text user who is in one
room only, the room is empty: the line does not say which it is."""

Heard = dict[str, list[Event]]
"""What each person hears of others because of an action."""


OPERATOR = "boss"
"""The account of the operator. Its name is reserved."""


def key(name: str) -> str:
    """Return the same for names that differ only in case, or in what small letters look like."""
    return name.lower().replace("0", "o").replace("1", "l").replace("m", "rn")


def looks(name: str) -> set[str]:
    """Return how a name may be read: a capital I looks like a small l, too."""
    return {key(name), key(name.replace("I", "l"))}


def alike(name: str, other: str) -> bool:
    """Return whether two names must not be used at the same time."""
    return not looks(name).isdisjoint(looks(other))


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the range of addresses that an operator means; None if there is none to ban."""
    try:
        found = ipaddress.ip_network(text.replace("::ffff:", ""))
    except ValueError:
        return None
    if found.version == 6 and found.prefixlen > 64:
        found = found.supernet(new_prefix=64)
    return None if found.is_loopback else found


@dataclass(frozen=True)
class Sanction:
    """A ban or a mute: what the operator named, whom it covers by these marks, and until when."""

    target: str
    marks: tuple[Event, ...]
    until: float


class Sanctions:
    """All bans, or all mutes: the last one is the last in the list."""

    def __init__(self) -> None:
        self.all: list[Sanction] = []

    def add(self, new: Sanction, now: float) -> None:
        """Add one. It replaces one with the same first mark, and covers whom that one covers."""
        for old in list(self.all):
            if old.marks[0] == new.marks[0]:
                self.all.remove(old)
                if old.until > now:
                    new = replace(new, marks=(*new.marks, *old.marks))
        self.all.append(new)

    def lift(self, marks: Iterable[Event]) -> None:
        ended = set(marks)
        self.all = [each for each in self.all if ended.isdisjoint(each.marks)]

    def end(self, marks: Iterable[Event], address: str = "") -> float:
        """Return when the last one ends, or has ended, that covers a mark or an address."""
        asked = set(marks)
        ends = [
            each.until
            for each in self.all
            if not asked.isdisjoint(each.marks) or (address and is_in(address, each.marks[0]))
        ]
        return max(ends, default=0.0)


def is_in(address: str, mark: Event) -> bool:
    return mark[0] == "range" and ipaddress.ip_address(address) in ipaddress.ip_network(mark[1])


class Bucket:
    """Counts what somebody may do so often a minute."""

    def __init__(self, most: int, now: float) -> None:
        self.most = most
        self.level, self.at = float(most), now

    def take(self, now: float) -> bool:
        self.level = min(self.most, self.level + (now - self.at) * self.most / 60)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass
class Person:
    """Somebody in the chat, or away.

    :ivar kind: ``text``, ``json`` or ``client``.
    :ivar address: the present address. It identifies the person: no two have the same, or the same
        /64 of IPv6.
    :ivar life: changes with each connection of a text user: what others recognise a person by.
    :ivar ignoring: the name that each ignored person had, by what the person is recognised by.
    :ivar seen: how many messages of each room have come, and in which of the room's lives, for
        those who recover.
    """

    who: str
    kind: str
    address: str
    account: str = ""
    online: bool = False
    name: str = ""
    here: str = ""
    life: int = 0
    rooms: list[str] = field(default_factory=list)
    ignoring: dict[frozenset[Event], str] = field(default_factory=dict)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def marks(self) -> frozenset[Event]:
        """What others recognise the person by. Everybody has an address of their own."""
        if self.account:
            return frozenset({self.life_mark, ("account", self.account)})
        return frozenset({self.life_mark, ("guest", key(self.name), self.who)})

    @property
    def life_mark(self) -> Event:
        return "life", self.who, str(self.life)

    @property
    def lasting(self) -> list[Event]:
        """By what bans and mutes recognise who comes back: the account comes first."""
        host = ("host", str(network(self.address)))
        return [("account", self.account), host] if self.account else [host]

    @property
    def is_operator(self) -> bool:
        return self.account == OPERATOR

    def ignores(self, other: Person) -> bool:
        return any(marks & other.marks() for marks in self.ignoring)


class Model:
    """The people, the rooms, and what operators have imposed.

    :ivar logs: the sender and text of all messages of each room.
    :ivar lives: how often each room has been empty without a message in it. It is then forgotten,
        and nobody can recover what is said after that.
    :ivar rates: how often a minute somebody may do what; empty for no limits.
    """

    def __init__(self, *people: Person) -> None:
        self.people = {person.who: person for person in people}
        self.logs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.lives: dict[str, int] = defaultdict(int)
        self.topics: dict[str, str] = defaultdict(str)
        self.now = 0.0
        self.bans = Sanctions()
        self.mutes = Sanctions()
        self.rates: dict[str, int] = {}
        self.buckets: dict[tuple[str, Event], Bucket] = {}

    # Questions.

    def called(self, name: str) -> Person | None:
        """Return who is called so, in any case."""
        for person in self.people.values():
            if person.online and person.name.lower() == name.lower():
                return person
        return None

    def is_taken(self, name: str, by_other_than: Person) -> bool:
        """Whether somebody has the name, or one that looks like it."""
        return any(
            other.online and other is not by_other_than and alike(other.name, name)
            for other in self.people.values()
        )

    def members(self, room: str) -> set[str]:
        return {each.name for each in self.people.values() if each.online and room in each.rooms}

    def ban_end(self, person: Person | None = None, name: str = "") -> float:
        """Return when the last ban of a person who comes, or of a name, ends or has ended."""
        marks: list[Event] = [("name", each) for each in looks(name)] if name else []
        if person is None:
            return self.bans.end(marks)
        if person.account:
            marks += [("name", each) for each in looks(person.account)]
        return self.bans.end([*marks, *person.lasting], person.address)

    def is_banned(self, person: Person | None = None, name: str = "") -> bool:
        return self.ban_end(person, name) > self.now

    def ends(self) -> set[float]:
        """Return when the bans and mutes end, or have ended."""
        return {each.until for each in (*self.bans.all, *self.mutes.all)}

    def is_muted(self, person: Person) -> bool:
        return self.mutes.end([*person.lasting, person.life_mark]) > self.now

    def is_reserved(self, name: str, person: Person) -> bool:
        return alike(name, OPERATOR) and not person.is_operator

    def may(self, person: Person, kind: str) -> bool:
        """Count something, and return whether it is not too often. The client never comes near."""
        if kind not in self.rates or person.is_operator or person.kind == "client":
            return True
        by = person.lasting[0] if kind == "new_rooms" else ("connection", person.who)
        if (kind, by) not in self.buckets:
            self.buckets[kind, by] = Bucket(self.rates[kind], self.now)
        return self.buckets[kind, by].take(self.now)

    # Coming and going.

    def come(self, person: Person, name: str) -> None:
        """A person is in the chat, under this name, and in no room yet."""
        assert not self.is_taken(name, person), f"two people are called {name}"
        if person.online:
            self.go(person)
        person.online, person.name = True, name
        person.rooms, person.here = [], ""
        if person.kind == "text":
            person.life += 1
            self.enter(person, LOBBY)

    def go(self, person: Person) -> None:
        person.online = False
        person.ignoring = {}
        if person.kind == "text":
            person.account = ""
        for kind in self.rates:
            self.buckets.pop((kind, ("connection", person.who)), None)
        for room in person.rooms:
            self.forget_if_empty(room)

    def forget_if_empty(self, room: str) -> None:
        if not self.members(room):
            self.topics.pop(room, None)
            self.lives[room] += not self.logs[room]

    def restart(self) -> None:
        """The server ends and starts again. Only messages and bans are kept."""
        for person in self.people.values():
            if person.online:
                self.go(person)
        self.mutes = Sanctions()
        self.buckets = {}
        self.bans.all = [each for each in self.bans.all if each.until > self.now]

    def log_in(self, person: Person, account: str) -> tuple[str, list[Person]]:
        """Return an error, and who has to be called otherwise."""
        if person.account:
            return "again", []
        if self.is_banned(replace(person, account=account)):
            return "banned", []
        person.account = account
        if person.name.lower() == account:
            return "", []
        renamed = [
            other
            for other in self.people.values()
            if other.online and other is not person and alike(other.name, account)
            if not (other.account and alike(other.account, account))
        ]
        for other in renamed:
            other.name = ""
        names = [account, *(f"{account}-{number}" for number in range(2, 9))]
        person.name = next(
            name for name in names if not (self.is_taken(name, person) or self.is_banned(name=name))
        )
        return "", renamed

    # What people do. The results are error codes; empty if it works.

    def nick(self, person: Person, name: str) -> str:
        if name == person.name:
            return ""
        if person.account == person.name.lower() != name.lower():
            return "not-allowed"
        if not self.may(person, "nicks"):
            return "rate-limited"
        error = self.name_error(person, name)
        if not error:
            person.name = name
        return error

    def name_error(self, person: Person, name: str) -> str:
        """Return why a person may not be called so."""
        if self.is_banned(name=name):
            return "banned"
        if self.is_reserved(name, person) or self.is_taken(name, person):
            return "taken"
        return ""

    def join(self, person: Person, room: str) -> str:
        if room in person.rooms and person.kind == "text":
            person.here = room
            return ""
        if not self.may(person, "joins"):
            return "rate-limited"
        if not self.members(room) and not self.may(person, "new_rooms"):
            return "rate-limited"
        self.enter(person, room)
        return ""

    def enter(self, person: Person, room: str) -> None:
        if room not in person.rooms:
            person.rooms.append(room)
        person.here = room

    def topic(self, person: Person, room: str, text: str) -> str:
        if room not in person.rooms:
            return "not-in-room"
        if self.is_muted(person):
            return "muted"
        if not self.may(person, "topics"):
            return "rate-limited"
        self.topics[room] = text
        return ""

    def leave(self, person: Person, room: str) -> str:
        if room not in person.rooms:
            return "not-in-room"
        person.rooms.remove(room)
        if person.here == room:
            person.here = person.rooms[-1] if person.rooms else ""
        self.forget_if_empty(room)
        return ""

    def say(self, person: Person, room: str, text: str, heard: Heard) -> str:
        if room not in person.rooms:
            return "not-in-room"
        if self.is_muted(person):
            return "muted"
        self.logs[room].append((person.name, text))
        for other in self.people.values():
            if other.online and room in other.rooms:
                self.see(other, room)
                if other is not person and not (other.kind == "text" and other.ignores(person)):
                    shown = room if other.kind != "text" or len(other.rooms) > 1 else ""
                    heard[other.who].append(("room", shown, person.name, text))
        return ""

    def tell(self, person: Person, name: str, text: str, heard: Heard) -> str:
        if self.is_muted(person):
            return "muted"
        other = self.called(name)
        if other is None:
            return "no-such-nick"
        if not other.ignores(person):
            heard[other.who].append(("private", person.name, text))
        return ""

    def ignore(self, person: Person, name: str) -> str:
        other = self.called(name)
        if other is None:
            return "no-such-nick"
        person.ignoring[other.marks()] = other.name
        return ""

    def unignore(self, person: Person, name: str) -> None:
        ended = [each for each, had in person.ignoring.items() if had.lower() == name.lower()]
        other = self.called(name)
        if not ended and other is not None:
            ended = [each for each in person.ignoring if each & other.marks()]
        for marks in ended:
            del person.ignoring[marks]

    def see(self, person: Person, room: str) -> None:
        """Note that a person has seen everything in a room."""
        person.seen[room] = len(self.logs[room]), self.lives[room]

    def missed(self, person: Person, room: str) -> list[tuple[str, str]] | None:
        """Return what a person who comes back to a room has missed; None if it is lost."""
        count, life = person.seen[room]
        return self.logs[room][count:] if life == self.lives[room] else None

    # Operators.

    def mute(self, name: str, minutes: int) -> str:
        other = self.called(name)
        if not minutes:
            marks = [] if other is None else [*other.lasting, other.life_mark]
            self.mutes.lift([("name", key(name)), *marks])
            return ""
        if other is None:
            return "no-such-nick"
        marks = [other.life_mark, *other.lasting, ("name", key(other.name))]
        self.mutes.add(Sanction(other.name, tuple(marks), self.now + 60 * minutes), self.now)
        return ""

    def ban(self, name: str, minutes: int) -> list[Person]:
        """Ban a name. Return who is thrown out."""
        marks: list[Event] = [("name", each) for each in sorted(looks(name), key=key(name).__ne__)]
        if not minutes:
            self.bans.lift(marks)
            return []
        found = self.called(name)
        out = [] if found is None else [found]
        if found is not None:
            marks += found.lasting
            out += [
                other
                for other in self.people.values()
                if other.online and other is not found and not other.is_operator
                if other.lasting[0] in found.lasting
            ]
        self.bans.add(Sanction(name, tuple(marks), self.now + 60 * minutes), self.now)
        return self.throw_out(out)

    def ban_range(self, text: str, minutes: int) -> tuple[str, list[Person]]:
        """Ban a range of addresses. Return an error, and who is thrown out."""
        found = network(text)
        if found is None:
            return "bad-field", []
        mark = ("range", str(found))
        if not minutes:
            self.bans.lift([mark, ("host", str(found))])
            return "", []
        there = [
            person
            for person in self.people.values()
            if person.online and is_in(person.address, mark)
        ]
        if any(person.who == OPERATOR for person in there):
            return "not-allowed", []
        shown = str(found.network_address if found.num_addresses == 1 else found)
        self.bans.add(Sanction(shown, (mark,), self.now + 60 * minutes), self.now)
        return "", self.throw_out([person for person in there if not person.is_operator])

    def throw_out(self, people: list[Person]) -> list[Person]:
        for person in people:
            self.go(person)
        return people
