"""Random programs of people who come and go: what programs are told of it fits together."""

from __future__ import annotations

import random

from tests.chat.chat_peers import ChatCase, Members, Program
from twisted_net.chat.protocol import PRESENCE_DELAY, SILENT_PRESENCE_DELAY
from twisted_net.store.interface import Position
from twisted_net.testing import Peer, connect_peer

PROGRAMS = 40
STEPS = 30
NICKS = ("zed", "bob", "Ann")
MOST = 4  # of each kind; more leaves at once are not told by name
PAUSES = (0.0, 0.0, 0.01, PRESENCE_DELAY / 2, PRESENCE_DELAY, SILENT_PRESENCE_DELAY)


class NewcomerTests(ChatCase):
    """Who joins between the join of somebody else and its announcement."""

    def told(self, *lines: str) -> list[tuple[list[str], int]]:
        """Return what a program is told of a guest who sends these lines before the announcement:
        the first list with its count, and what becomes of it."""
        guest = self.user()
        program = Program(connect_peer(self.factory))
        program.send(type="hello", room="lobby", nick="bot")
        members, found = Members(), []
        for _ in range(2):
            for message in program.heard():
                members.read(message)
            found.append((sorted(members.names), members.count))
            guest.send(*(f"{line}\n".encode() for line in lines))
            self.clock.pump([0.1] * 40)
        return found

    def test_who_stays(self) -> None:
        """They are told of each other when all are."""
        self.assertEqual(self.told(), [(["bot"], 1), (["bot", "guest-1"], 2)])

    def test_who_goes_or_has_another_name(self) -> None:
        """Nobody stays in the list who is not there."""
        for line, left in (
            ("/nick carl", ["bot", "carl"]),
            ("/leave", ["bot"]),
            ("/quit", ["bot"]),
        ):
            self.setUp()
            self.assertEqual(self.told(line), [(["bot"], 1), (left, len(left))], line)

    def test_the_next_user_of_a_name(self) -> None:
        """Who has the name of somebody who has just left, and says something at once, is there."""
        watching = self.program("bot")
        first = self.program("ann")
        self.pass_presence(watching)
        first.peer.reset()
        second = self.program("ann")
        second.send(type="message", room="lobby", text="hello")
        self.clock.pump([0.1] * 10)
        told = [each.get("event", each["type"]) for each in watching.heard()]
        self.assertEqual(told, ["leave", "join", "message"])

    def test_lost_messages(self) -> None:
        """Who is told anew who is there, as messages were lost, is told of himself too."""
        program = Program(connect_peer(self.factory))
        program.send(type="hello", room="lobby", nick="bot")
        program.heard()
        self.factory.tell_loss("lobby", Position("new", 0))
        self.clock.advance(0)
        (joined,) = program.heard()
        self.assertEqual(
            (joined["type"], joined["members"], joined["count"]), ("joined", ["bot"], 1)
        )


class MemberListTests(ChatCase):
    def test_all(self) -> None:
        """A list that a program keeps has what the next program is told, at any moment; and it is
        right when all is announced."""
        for seed in range(PROGRAMS):
            self.setUp()
            self.play(random.Random(seed), f"seed {seed}")

    def play(self, chance: random.Random, about: str) -> None:
        self.people: list[Peer] = []
        self.programs: list[tuple[Program, Members]] = []
        for step in range(STEPS):
            self.step(chance)
            self.clock.advance(0)
            self.check(f"{about}, step {step}", whole=False)
            self.clock.advance(chance.choice(PAUSES))
        self.clock.pump([0.1] * 40)
        self.check(about, whole=True)

    def step(self, chance: random.Random) -> None:
        nick = chance.choice(NICKS)
        match chance.choice(("person", "program", "go", "nick", "say", "leave", "join")):
            case "person" if len(self.people) < MOST:
                self.people.append(connect_peer(self.factory))
                self.people[-1].send(chance.choice((b"", b"/help\n", f"/nick {nick}\n".encode())))
            case "program" if len(self.programs) < MOST:
                program = Program(connect_peer(self.factory))
                self.programs.append((program, Members()))
                program.send(type="hello", room="lobby", nick=nick)
            case "go" if chance.random() < 0.5 and self.people:
                self.people.pop(chance.randrange(len(self.people))).reset()
            case "go" if self.programs:
                self.programs.pop(chance.randrange(len(self.programs)))[0].peer.reset()
            case "nick" if chance.random() < 0.5 and self.programs:
                chance.choice(self.programs)[0].send(type="nick", nick=nick)
            case "say" if chance.random() < 0.5 and self.programs:
                chance.choice(self.programs)[0].send(type="message", room="lobby", text="hello")
            case "nick" | "say" | "leave" | "join" as what if self.people:
                word = {"nick": nick, "leave": "lobby", "join": "lobby"}.get(what)
                line = f"/{what} {word}" if word else "hello"
                chance.choice(self.people).send(f"{line}\n".encode())
            case _:
                pass

    def check(self, about: str, *, whole: bool) -> None:
        registry = self.factory.registry
        room = registry.rooms.get("lobby")
        for program, members in self.programs:
            for message in program.heard():
                members.read(message)
            if program.peer.finished or not members.is_known:
                continue
            assert room is not None, about
            user = registry.find(members.nick)
            told = sorted(room.names(user))
            self.assertEqual(sorted(members.names), told, f"{about}, {members.nick}")
            self.assertEqual((members.count, room.count(user)), (len(told), len(told)), about)
            if whole:
                self.assertEqual(told, sorted(each.name for each in room.users), about)
