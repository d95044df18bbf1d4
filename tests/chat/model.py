"""What should happen in a chat, as simply as it can be said: dictionaries, and no connections.

``programs`` compares the chat with it. It uses nothing of ``twisted_net``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

LOBBY = "lobby"

Event = tuple[str, ...]
"""``("room", room, sender, text)`` or ``("private", sender, text)``. For a text user who is in one
room only, the room is empty: the line does not say which it is."""

Heard = dict[str, list[Event]]
"""What each person hears of others because of an action."""


def key(name: str) -> str:
    """Return the same for names that must not be used at the same time."""
    return name.lower().replace("0", "o").replace("1", "l")


@dataclass
class Person:
    """Somebody in the chat, or away.

    :ivar kind: ``text``, ``json`` or ``client``.
    :ivar life: changes with each connection of a text user: what others recognise a person by.
    :ivar ignoring: the name that each ignored person had, by what the person is recognised by.
    :ivar seen: how many messages of each room have come, and in which of the room's lives, for
        those who recover.
    """

    who: str
    kind: str
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
        once = ("life", self.who, str(self.life))
        return frozenset({once, ("guest", key(self.name), self.who)})

    def ignores(self, other: Person) -> bool:
        return any(marks & other.marks() for marks in self.ignoring)


class Model:
    """The people, the rooms, and what operators have imposed.

    :ivar logs: the sender and text of all messages of each room.
    :ivar lives: how often each room has been empty without a message in it. It is then forgotten,
        and nobody can recover what is said after that.
    """

    def __init__(self, *people: Person) -> None:
        self.people = {person.who: person for person in people}
        self.logs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.lives: dict[str, int] = defaultdict(int)
        self.now = 0.0
        self.bans: dict[Event, tuple[float, str]] = {}  # until when, and as whom
        self.mutes: dict[str, tuple[float, str]] = {}

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
            other.online and other is not by_other_than and key(other.name) == key(name)
            for other in self.people.values()
        )

    def members(self, room: str) -> set[str]:
        return {each.name for each in self.people.values() if each.online and room in each.rooms}

    def ban_end(self, who: str = "", name: str = "") -> float:
        """Return when the last ban of a person's address or of a name ends, or has ended."""
        marks = [("address", who), ("name", key(name))]
        return max(self.bans.get(mark, (0.0, ""))[0] for mark in marks)

    def is_banned(self, who: str = "", name: str = "") -> bool:
        return self.ban_end(who, name) > self.now

    def ends(self) -> set[float]:
        """Return when the bans and mutes end, or have ended."""
        return {until for until, _ in (*self.bans.values(), *self.mutes.values())}

    def is_muted(self, person: Person) -> bool:
        return self.mutes.get(person.who, (0.0, ""))[0] > self.now

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
            self.join(person, LOBBY)

    def go(self, person: Person) -> None:
        person.online = False
        person.ignoring = {}
        for room in person.rooms:
            self.forget_if_empty(room)

    def forget_if_empty(self, room: str) -> None:
        if not self.members(room) and not self.logs[room]:
            self.lives[room] += 1

    # What people do. The results are error codes; empty if it works.

    def nick(self, person: Person, name: str) -> str:
        if name == person.name:
            return ""
        if self.is_banned(name=name):
            return "banned"
        if self.is_taken(name, person):
            return "taken"
        person.name = name
        return ""

    def join(self, person: Person, room: str) -> None:
        if room not in person.rooms:
            person.rooms.append(room)
        person.here = room

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
        if minutes:
            if other is None:
                return "no-such-nick"
            self.mutes[other.who] = self.now + 60 * minutes, key(other.name)
            return ""
        names = {key(name)}
        if other is not None and other.who in self.mutes:
            names.add(self.mutes[other.who][1])
        self.mutes = {who: row for who, row in self.mutes.items() if row[1] not in names}
        return ""

    def ban(self, name: str, minutes: int) -> Person | None:
        """Return who is thrown out."""
        if not minutes:
            self.bans = {mark: row for mark, row in self.bans.items() if row[1] != key(name)}
            return None
        other = self.called(name)
        until = self.now + 60 * minutes, key(name)
        for mark, (end, banned) in self.bans.items():
            if banned == key(name) and end > self.now:  # the new ban replaces it
                self.bans[mark] = until
        self.bans["name", key(name)] = until
        if other is not None:
            self.bans["address", other.who] = until
            self.go(other)
        return other
