"""The lists of members that programs keep are right, whoever comes and goes."""

from __future__ import annotations

import random
from typing import Any

from tests.chat.chat_peers import ChatCase, Members, Program
from twisted_net.chat.protocol import PRESENCE_DELAY, SILENT_PRESENCE_DELAY
from twisted_net.store.interface import Position
from twisted_net.testing import Peer, connect_peer

PROGRAMS = 100
STEPS = 30
NICKS = ("zed", "bob", "Ann")
MOST = 4  # of each kind; more leaves at once are not told by name
PAUSES = (0.0, 0.0, 0.01, PRESENCE_DELAY / 2, PRESENCE_DELAY, SILENT_PRESENCE_DELAY)


class NewcomerTests(ChatCase):
    """Who is told a list between the join of somebody else and its announcement."""

    def told(self, line: str) -> list[tuple[list[str], int]]:
        """Return what a program is told of a guest who sends a line before the announcement: the
        first list with its count, and what becomes of it."""
        guest = self.user()
        program = Program(connect_peer(self.factory))
        program.send(type="hello", room="lobby", nick="bot")
        members, found = Members(), []
        for _ in range(2):
            for message in program.heard():
                members.read(message)
            found.append((sorted(members.names), members.count))
            guest.send(f"{line}\n".encode())
            self.clock.pump([0.1] * 40)
        return found

    def announced(self, program: Program) -> list[tuple[Any, Any]]:
        """Let everything be announced, and return it as events and names."""
        self.pass_presence()
        return [(each.get("event", each["type"]), each.get("nick")) for each in program.heard()]

    def test_who_stays_goes_or_has_another_name(self) -> None:
        """Nobody stays in the list who is not there."""
        for line, left in (
            ("/help", ["bot", "guest-1"]),
            ("/nick carl", ["bot", "carl"]),
            ("/leave", ["bot"]),
            ("/quit", ["bot"]),
        ):
            self.setUp()
            expected = [(["bot", "guest-1"], 2), (left, len(left))]
            self.assertEqual(self.told(line), expected, line)

    def test_a_list_that_is_asked_for(self) -> None:
        """Who was in the answer to ``who`` is announced to have left."""
        program = self.program("bot")
        guest = self.user()
        (asked,) = program.asks(type="who", room="lobby", id="1")
        self.assertEqual(asked["members"], ["bot", "guest-1"])
        guest.reset()
        self.assertEqual(self.announced(program), [("leave", "guest-1")])

    def test_lost_messages(self) -> None:
        """The list that all get anew, as messages were lost, counts as one."""
        program = self.program("bot")
        guest = self.user()
        self.factory.tell_loss("lobby", Position("new", 0))
        self.clock.advance(0)
        (joined,) = program.heard()
        self.assertEqual((joined["members"], joined["count"]), (["bot", "guest-1"], 2))
        guest.reset()
        self.assertEqual(self.announced(program), [("leave", "guest-1")])

    def test_who_is_in_no_list(self) -> None:
        """A health check is announced to nobody, and its number goes to the next guest: neither its
        own welcome nor that of somebody else has names."""
        program = self.program("bot")
        self.pass_presence(program)
        check, person = self.user(), self.user()
        check.reset()
        person.send(b"hello\n")
        self.assertEqual(self.announced(program), [("join", "guest-2"), ("message", None)])
        self.user()
        self.assertEqual(self.announced(program), [("join", "guest-1")])

    def test_its_own_list(self) -> None:
        """A program that goes at once was in its own list only."""
        program = self.program("bot")
        self.pass_presence(program)
        self.program("short").peer.reset()
        self.assertEqual(self.announced(program), [])

    def test_a_number_that_somebody_has_seen(self) -> None:
        """The next guest does not get the name of one who was in a list."""
        check = self.user()
        self.program("bot")
        check.reset()
        self.assertEqual(self.user().protocol.user.name, "guest-2")

    def test_the_next_user_of_a_name(self) -> None:
        """Who has the name of somebody who has just left, and says something at once, is there."""
        watching = self.program("bot")
        first = self.program("ann")
        self.pass_presence(watching)
        first.peer.reset()
        second = self.program("ann")
        second.send(type="message", room="lobby", text="hello")
        told = [event for event, _ in self.announced(watching)]
        self.assertEqual(told, ["leave", "join", "message"])


class MemberListTests(ChatCase):
    def test_all(self) -> None:
        """A list that a program keeps is right when all is announced."""
        for seed in range(PROGRAMS):
            self.setUp()
            self.play(random.Random(seed), f"seed {seed}")

    def play(self, chance: random.Random, about: str) -> None:
        self.people: list[Peer] = []
        self.programs: list[tuple[Program, Members]] = []
        for _ in range(STEPS):
            self.step(chance)
            self.clock.advance(chance.choice(PAUSES))
        self.clock.pump([0.1] * 40)
        self.check(about)

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

    def check(self, about: str) -> None:
        room = self.factory.registry.rooms.get("lobby")
        for program, members in self.programs:
            for message in program.heard():
                members.read(message)
            if program.peer.finished or not members.is_known:
                continue
            assert room is not None, about
            self.assertEqual(sorted(members.names), sorted(room.names()), f"{about} {members.nick}")
            self.assertEqual(members.count, room.count, f"{about} {members.nick}")
