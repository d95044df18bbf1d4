"""Random programs of text users, JSON programs and chat clients, compared with a model.

``python -m tests.chat.programs 20000`` runs 20,000 of them. It ends with status 0, or at the first
disagreement with the shortest program that shows it, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import time
import traceback
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from tests.chat.client_peers import Connecting
from tests.chat.model import Event, Heard, Model, Person
from twisted_net.chat.client.client import CALL_TIMEOUT, ChatClient
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.protocol import ChatFactory
from twisted_net.policy.backoff import Backoff
from twisted_net.testing import Peer, advance, connect_peer

BATCH = 500
"""Programs with one seed."""

STEPS = 20
"""Actions in a program."""

LONGEST_PAUSE = 4.0
"""The longest pause of the client between two attempts to connect, in seconds."""

NAMES = ["ann", "Ann", "bob", "b0b", "bot"]
ROOMS = {"lobby": "lobby", "#lobby": "lobby", "tea": "tea", "#Tea": "tea", "Straße": "strasse"}
"""The rooms, by how people spell them."""

TEXT_USERS = ("tom", "tim", "boss")
ALL = (*TEXT_USERS, "prog", "bot")

_MESSAGE = re.compile(r"(?:#(\S+) )?<([^>]+)> (.*)")
_PRIVATE = re.compile(r"\* (\S+) tells you: (.*)")
_NAMED = re.compile(r"You are (\S+) in #lobby\.")


class Disagreement(AssertionError):
    """The chat has not done what the model says."""


def agree(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise Disagreement(f"{what}: found {found!r}, expected {expected!r}")


class TextUser:
    """A connection of somebody with ``nc``."""

    def __init__(self, chat: ChatFactory, clock: Clock, address: str) -> None:
        self.peer = connect_peer(chat, clock=clock, peer=IPv4Address("TCP", address, 5000))
        self.errors: list[str] = []
        self.lines: list[str] = []

    def send(self, line: str) -> None:
        self.peer.send(line.encode() + b"\n")

    def heard(self) -> list[Event]:
        """Return what others have said since the last call."""
        self.lines = self.peer.take().decode().splitlines()
        self.errors = [line for line in self.lines if line.startswith("! ")]
        events: list[Event] = []
        for line in self.lines:
            if said := _MESSAGE.fullmatch(line):
                events.append(("room", said[1] or "", said[2], said[3]))
            elif told := _PRIVATE.fullmatch(line):
                events.append(("private", told[1], told[2]))
        return events


class JsonUser:
    """A connection of a program."""

    def __init__(self, chat: ChatFactory, clock: Clock, address: str) -> None:
        self.peer = connect_peer(chat, clock=clock, peer=IPv4Address("TCP", address, 5000))
        self.messages: list[dict[str, Any]] = []
        self.peer.take()

    def send(self, **message: Any) -> None:
        self.peer.send(json.dumps(message).encode() + b"\n")

    def heard(self) -> list[Event]:
        lines = self.peer.take().splitlines()
        self.messages = [json.loads(line) for line in lines if line.startswith(b"{")]
        return json_events(self.messages)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.messages if each["type"] == kind]


def json_events(messages: list[dict[str, Any]]) -> list[Event]:
    events: list[Event] = []
    for each in messages:
        if each["type"] == "message":
            events.append(("room", each["room"], each["from"], each["text"]))
        elif each["type"] == "private":
            events.append(("private", each["from"], each["text"]))
    return events


class Sent:
    """A message that the client has sent.

    :ivar results: the result of its call, or the error's code; empty while there is none.
    :ivar done: what the server has answered, if the answer was lost.
    """

    def __init__(self, at: float, where: str, text: str, call: Deferred[Any]) -> None:
        self.at, self.where, self.text = at, where, text
        self.results: list[Any] = []
        self.done: int | None = None
        call.addBoth(self._note)

    def _note(self, result: Any) -> None:
        code = getattr(result.value, "code", result) if isinstance(result, Failure) else result
        self.results.append(code)


class ClientUser:
    """A chat client, and whether it can reach the chat.

    :ivar dismissed: whether the server has said that it should not come back.
    :ivar pending: what it has sent while it was away.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.up = True
        self.dismissed = False
        self.pairs: list[Any] = []
        self.pending: list[Sent] = []
        self.got: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self.client = ChatClient(
            *(world.clock, self, "bot", "lobby"),
            on_message=self.got.append,
            on_lost=self.lost.append,
            backoff=Backoff(first=0.4, longest=LONGEST_PAUSE),
            jitter=lambda: 1.0,
        )

    def connect(self, factory: Any) -> Deferred[Any]:
        if not self.up:
            return fail(ConnectionRefusedError())
        return Connecting(factory, self.world.chat, self.world.clock, self.pairs).made

    def cut(self) -> None:
        transport: Peer = self.pairs[-1].client.transport
        transport.reset()

    def heard(self) -> list[Event]:
        events = json_events(self.got)
        self.got.clear()
        return events


class World:
    """A chat with its people, and the model of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        tokens = itertools.count(1)
        self.chat = ChatFactory(
            clock=self.clock,
            now=lambda: 1_700_000_000.0 + self.clock.seconds(),
            token=lambda: f"{next(tokens):032x}",
            checkers=[InMemoryUsernamePasswordDatabaseDontUse(boss=b"secret")],
            operators=["boss"],
            plain_logins=True,
            chat_limits=ChatLimits(heartbeat=80_000.0),
        )
        self.texts = itertools.count(1)
        self.model = Model(*(Person(who, self.kind(who)) for who in ALL))
        self.text: dict[str, TextUser] = {}
        self.program: JsonUser | None = None
        self.session = ""
        self.client = ClientUser(self)
        self.wanted = ["lobby"]  # the rooms that the client was told to join
        self.wish = "bot"  # the name that the client wants
        self.epochs: dict[str, str] = {}
        self.client_expected = 0.0  # when the client should be back, if nothing keeps it out
        for who in TEXT_USERS:
            self.text_comes(who)
        for who, name in (("tom", "ann"), ("tim", "bob")):
            self.text[who].send(f"/nick {name}")
            agree(self.model.nick(self.person(who), name), "", "the first names")
        self.program_comes("eve")
        self.client.client.startService()
        self.settle(defaultdict(list))
        agree(self.person("bot").online, True, "the client is there")

    @staticmethod
    def kind(who: str) -> str:
        return {"prog": "json", "bot": "client"}.get(who, "text")

    @staticmethod
    def address(who: str) -> str:
        return f"198.51.100.{1 + ALL.index(who)}"

    def person(self, who: str) -> Person:
        return self.model.people[who]

    def name_of(self, name: str) -> str:
        """Return a name, or the present or last one of a person."""
        return self.person(name[1:]).name or "nobody" if name[0] == "@" else name

    def new_text(self) -> str:
        return f"m{next(self.texts)}"

    # Coming.

    def text_comes(self, who: str) -> None:
        user = self.text[who] = TextUser(self.chat, self.clock, self.address(who))
        user.heard()
        if self.model.is_banned(who):
            agree((user.peer.finished, bool(user.errors)), (True, True), f"{who} is banned")
            return
        name = _NAMED.search("\n".join(user.lines))
        assert name is not None, user.lines
        agree(name[1].startswith("guest-"), True, f"{who} is a guest")
        self.model.come(self.person(who), name[1])
        if who == "boss":
            user.send("/login boss secret")
            self.person(who).account = self.person(who).name = "boss"

    def program_comes(self, nick: str) -> None:
        """Connect the program, also if it is connected: then it takes its session over."""
        person, model = self.person("prog"), self.model
        rooms = list(person.rooms)
        before = self.program if person.online else None
        self.program = program = JsonUser(self.chat, self.clock, self.address("prog"))
        if model.is_banned("prog"):
            agree(program.peer.finished, True, "a banned program")
            return
        if before is not None:
            nick = ""  # the name goes on with the session
        error = "banned" if nick and model.is_banned(name=nick) else ""
        if not error and nick and model.is_taken(nick, person):
            error = "taken"
        more = {"session": self.session} if self.session else {}
        program.send(type="hello", nick=nick, **more)
        program.heard()
        agree([each["code"] for each in program.of("error")], [error] * bool(error), "hello")
        if error:
            program.send(type="hello", **more)
            program.heard()
        (welcome,) = program.of("welcome")
        self.session = welcome["session"]
        if before is not None:
            agree(welcome["nick"], person.name, "the name of a session")
            before.peer.turn()
            agree(before.peer.finished, True, "the old connection is closed")
        elif nick and not error:
            agree(welcome["nick"], nick, "the name of the program")
        model.come(person, welcome["nick"])
        for room in rooms or ["lobby"]:
            self.program_joins(room, recovers=room in rooms)

    def program_joins(self, room: str, recovers: bool) -> None:
        person, program, model = self.person("prog"), self.program, self.model
        assert program is not None
        more = {}
        if recovers and room in self.epochs:
            more = {"since": {"epoch": self.epochs[room], "offset": person.seen[room][0]}}
        program.send(type="join", room=room, **more)
        heard = program.heard()
        (joined,) = program.of("joined")
        self.epochs[room] = joined["epoch"]
        agree(joined["offset"], len(model.logs[room]), f"the position in {room}")
        missed = model.missed(person, room) if more else []
        model.see(person, room)
        model.join(person, room)
        agree(set(joined["members"]), model.members(room), f"the members of {room}")
        expected = [("room", room, *each) for each in missed or ()]
        agree(heard, expected, f"what was missed in {room}")
        agree(joined["recovered"], (missed is not None) if more else None, f"recovery in {room}")

    # After an action.

    def settle(self, heard: Heard, seconds: float = 1.0) -> None:
        """Let some time pass, and compare what everybody has heard with what they should."""
        advance(self.clock, seconds)
        self.model.now = self.clock.seconds()
        self.update_client(heard)
        for who in ALL:
            person = self.person(who)
            user = self.user(who)
            found = user.heard() if user is not None else []
            for channel in {each[:2] if each[0] == "room" else each[:1] for each in
                            (*found, *heard[who])}:  # fmt: skip
                agree(
                    [each for each in found if each[: len(channel)] == channel],
                    [each for each in heard[who] if each[: len(channel)] == channel],
                    f"what {who} hears ({person.name}, {channel})",
                )
        self.compare_names()

    def user(self, who: str) -> Any:
        return {"prog": self.program, "bot": self.client}.get(who) or self.text.get(who)

    # The client comes and goes by itself.

    def client_may_come(self) -> bool:
        """Whether nothing keeps the client out."""
        banned = self.model.ban_end("bot", self.wish) > self.model.now
        return self.client.up and not self.client.dismissed and not banned

    def update_client(self, heard: Heard) -> None:
        """Note that the client has come back, or has another name, if it may."""
        person, state = self.person("bot"), self.client.client.state
        if state.online and not person.online:
            agree(self.client_may_come(), True, "a client that came back")
            self.client_came(heard)
        elif person.online:
            agree(state.online, True, "a client that is there")
            if state.nick != person.name:
                agree(self.model.nick(person, state.nick), "", "the name that the client took back")
                agree(state.nick, self.wish, "the name that the client took back")
        now = self.clock.seconds()
        if person.online or not self.client_may_come():
            self.client_expected = now + LONGEST_PAUSE + 1
        ended = self.model.ban_end("bot", self.wish)  # it may have been in the last minute
        self.client_expected = max(self.client_expected, ended + LONGEST_PAUSE + 1)
        agree(now <= self.client_expected, True, "a client comes back in time")
        for sent in self.client.pending:
            agree(sent.results, ["timeout"] * (sent.at + CALL_TIMEOUT <= now), "what waits")
        self.client.pending = [sent for sent in self.client.pending if not sent.results]

    def client_came(self, heard: Heard) -> None:
        person, model = self.person("bot"), self.model
        nick = self.client.client.state.nick
        if not model.is_taken(self.wish, person):
            agree(nick, self.wish, "the name of the client")
        else:
            agree(nick.startswith(f"{self.wish}-"), True, f"the name {nick} of the client")
        model.come(person, nick)
        for room in self.wanted:
            missed = model.missed(person, room) if room in person.seen else []
            model.see(person, room)
            model.join(person, room)
            heard["bot"] += [("room", room, *each) for each in missed or ()]
            agree(room in self.client.lost, missed is None, f"what is lost in {room}")
        self.client.lost.clear()
        pending, self.client.pending = self.client.pending, []
        for sent in sorted(pending, key=lambda sent: not sent.where.startswith("@")):
            if sent.results != ["timeout"]:
                result = self.client_says(sent, heard) if sent.done is None else sent.done
                self.client_result(sent, result)

    def client_says(self, sent: Sent, heard: Heard) -> Any:
        """Return what the call of a message should fire with."""
        person, model = self.person("bot"), self.model
        if sent.where.startswith("@"):
            return model.tell(person, sent.where[1:], sent.text, heard) or 0
        error = model.say(person, sent.where, sent.text, heard)
        return error or len(model.logs[sent.where])

    def client_result(self, sent: Sent, expected: Any) -> None:
        agree(sent.results, [expected], f"the call for {sent.text}")

    def compare_names(self) -> None:
        here = [each for each in self.model.people.values() if each.online]
        agree(len(self.chat.registry), len(here), "the number of people")


_TEXT_USER = st.sampled_from(TEXT_USERS)
_WHO = st.sampled_from(ALL)
_NAME = st.sampled_from(NAMES)
_ANYBODY = st.sampled_from([*(f"@{who}" for who in ALL)] * 3 + [*NAMES, "BOT", "bot-2"])
"""A name, or the person whose present name it is: ``@tom``."""
_GUEST = _ANYBODY.filter(lambda name: name != "@boss")
_ROOM = st.sampled_from(list(ROOMS))
_MINUTES = st.sampled_from([0, 1, 2])


class Programs(RuleBasedStateMachine):
    """A program: each step is an action of somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Any] = []
        self.pause = 1.0  # the seconds after an action
        globalLogPublisher.addObserver(self._observe)
        self.world = World()

    def _observe(self, event: Any) -> None:
        if "log_failure" in event:
            self.failures.append(event["log_failure"])

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Stop watching the log."""
        globalLogPublisher.removeObserver(self._observe)

    def finish(self) -> None:
        """Let everybody see what the program has led to."""
        client = self.world.client
        self.everybody_speaks("lobby", 1)
        if not client.up:
            self.client_up_or_down()
        if client.dismissed:
            self.client_starts_again()
        self.time_passes()
        self.everybody_speaks("tea", 2)
        client.client.stopService()
        for sent in client.pending:
            agree(sent.results, ["stopped"], "what waits at the end")

    def done(self, heard: Heard | None = None, seconds: float | None = None) -> None:
        pause = self.pause if seconds is None else seconds
        self.world.settle(defaultdict(list) if heard is None else heard, pause)
        agree([str(each) for each in self.failures], [], "what was logged")

    def ask(self, who: str, line: str, error: str, heard: Heard, **message: Any) -> None:
        """Let a text user or the program do something, and compare its answer."""
        world = self.world
        if who == "prog":
            assert world.program is not None
            world.program.send(id=world.new_text(), **message)
        else:
            world.text[who].send(line)
        self.done(heard)
        if who == "prog":
            assert world.program is not None
            codes = [each["code"] for each in world.program.of("error")]
            agree(codes, [error] * bool(error), f"the answer to {message}")
        elif world.person(who).online:
            agree(bool(world.text[who].errors), bool(error), f"the answer to {line}")

    # Talking.

    @rule(who=_WHO, room=_ROOM)
    def say(self, who: str, room: str) -> None:
        world, model = self.world, self.world.model
        person, text, name = world.person(who), world.new_text(), ROOMS[room]
        heard: Heard = defaultdict(list)
        if who == "bot":
            self.client_send(name, text, world.client.client.send(room, text), heard)
        elif person.online:
            where = person.here if person.kind == "text" else name
            error = model.say(person, where, text, heard)
            self.ask(who, text, error, heard, type="message", room=room, text=text)
            if who == "prog" and not error:
                assert world.program is not None
                (ack,) = world.program.of("ack")
                agree(ack["offset"], len(model.logs[name]), "the offset of an ack")

    @rule(who=_WHO, name=_ANYBODY)
    def tell(self, who: str, name: str) -> None:
        world = self.world
        name = world.name_of(name)
        person, text = world.person(who), world.new_text()
        heard: Heard = defaultdict(list)
        if who == "bot":
            self.client_send(f"@{name}", text, world.client.client.send_private(name, text), heard)
        elif person.online:
            error = world.model.tell(person, name, text, heard)
            self.ask(who, f"/msg {name} {text}", error, heard, type="private", to=name, text=text)

    @rule(room=_ROOM, shift=st.integers(1, len(ALL) - 1))
    def everybody_speaks(self, room: str, shift: int) -> None:
        """Everybody says something in a room, and tells somebody something."""
        self.pause = 0.0
        for place, who in enumerate(ALL):
            self.say(who, room)
            self.tell(who, f"@{ALL[(place + shift) % len(ALL)]}")
        self.pause = 1.0
        self.done()

    def client_send(self, where: str, text: str, call: Deferred[int], heard: Heard) -> None:
        world, client = self.world, self.world.client
        sent = Sent(world.clock.seconds(), where, text, call)
        if client.dismissed:
            self.done()
            world.client_result(sent, "kicked")
        elif where[0] != "@" and where not in world.wanted:
            self.done()
            world.client_result(sent, "not-in-room")
        elif world.person("bot").online:
            expected = world.client_says(sent, heard)
            self.done(heard)
            world.client_result(sent, expected)
        else:
            client.pending.append(sent)
            self.done()

    # Names.

    @rule(who=st.sampled_from(["tom", "tim", "prog"]), name=_NAME)
    def nick(self, who: str, name: str) -> None:
        person = self.world.person(who)
        if person.online:
            error = self.world.model.nick(person, name)
            self.ask(who, f"/nick {name}", error, defaultdict(list), type="nick", nick=name)

    @rule(name=_NAME)
    def client_nick(self, name: str) -> None:
        world = self.world
        person = world.person("bot")
        call = world.client.client.request(type="nick", nick=name)
        sent = Sent(world.clock.seconds(), "", name, call)
        if not person.online:
            expected: str = "kicked" if world.client.dismissed else "not-connected"
            agree(sent.results, [expected], "a client that is away")
            return
        error = world.model.nick(person, name)
        if not error:
            world.wish = name
        self.done()
        found = sent.results[0]
        agree(found if error else found["nick"], error or name, "the client's new name")

    # Rooms.

    @rule(who=_WHO, room=_ROOM)
    def join(self, who: str, room: str) -> None:
        world = self.world
        person, name = world.person(who), ROOMS[room]
        if who == "bot":
            world.client.client.join(room)
            if name not in world.wanted:
                world.wanted.append(name)
                person.seen.pop(name, None)
            if person.online:
                world.model.see(person, name)
                world.model.join(person, name)
            self.done()
        elif who == "prog" and person.online:
            world.program_joins(name, recovers=name in person.rooms)
            self.done()
        elif person.online:
            world.model.join(person, name)
            self.ask(who, f"/join {room}", "", defaultdict(list))

    @rule(who=_WHO, room=_ROOM)
    def leave(self, who: str, room: str) -> None:
        world = self.world
        person, name = world.person(who), ROOMS[room]
        if who == "bot":
            if name in world.wanted:
                world.client.client.leave(room)
                world.wanted.remove(name)
                person.seen.pop(name, None)
                if person.online:
                    world.model.leave(person, name)
                for sent in world.client.pending:
                    agree(sent.results, ["left"] * (sent.where == name), "what waits for a room")
                world.client.pending = [sent for sent in world.client.pending if sent.where != name]
                self.done()
        elif person.online:
            error = world.model.leave(person, name)
            self.ask(who, f"/leave {room}", error, defaultdict(list), type="leave", room=room)

    @rule(room=st.sampled_from(sorted(set(ROOMS.values()))))
    def look(self, room: str) -> None:
        world = self.world
        if world.person("prog").online:
            assert world.program is not None
            members = world.model.members(room)  # the client may come back after the answer
            self.ask("prog", "", "", defaultdict(list), type="who", room=room)
            (answer,) = world.program.of("who")
            agree(set(answer["members"]), members, f"the members of {room}")

    # Ignoring, and what operators do.

    @rule(who=_TEXT_USER, name=_ANYBODY)
    def ignore(self, who: str, name: str) -> None:
        name = self.world.name_of(name)
        person, model = self.world.person(who), self.world.model
        if person.online and model.called(name) is not person:
            error = model.ignore(person, name)
            self.ask(who, f"/ignore {name}", error, defaultdict(list))

    @rule(who=_TEXT_USER, name=_ANYBODY)
    def unignore(self, who: str, name: str) -> None:
        name = self.world.name_of(name)
        person = self.world.person(who)
        if person.online:
            self.world.model.unignore(person, name)
            self.ask(who, f"/unignore {name}", "", defaultdict(list))

    @precondition(lambda self: self.world.person("boss").online)
    @rule(name=_ANYBODY, minutes=_MINUTES)
    def mute(self, name: str, minutes: int) -> None:
        name = self.world.name_of(name)
        error = self.world.model.mute(name, minutes)
        self.ask("boss", f"/mute {name} {minutes}", error, defaultdict(list))

    @precondition(lambda self: self.world.person("boss").online)
    @rule(name=_GUEST, minutes=_MINUTES)
    def ban(self, name: str, minutes: int) -> None:
        name = self.world.name_of(name)
        self.thrown_out(self.world.model.ban(name, minutes))
        self.ask("boss", f"/ban {name} {minutes}", "", defaultdict(list))

    @precondition(lambda self: self.world.person("boss").online)
    @rule(name=_GUEST)
    def kick(self, name: str) -> None:
        name = self.world.name_of(name)
        found = self.world.model.called(name)
        if found is not None:
            self.world.model.go(found)
        self.thrown_out(found)
        error = "" if found is not None else "no-such-nick"
        self.ask("boss", f"/kick {name}", error, defaultdict(list))

    def thrown_out(self, person: Person | None) -> None:
        if person is not None and person.who == "bot":
            self.world.client.dismissed = True

    # Coming and going.

    @rule(who=_TEXT_USER)
    def text_comes_or_goes(self, who: str) -> None:
        world = self.world
        person = world.person(who)
        if person.online:
            world.text[who].peer.reset()
            world.model.go(person)
        else:
            world.text_comes(who)
        self.done()

    @rule(nick=_NAME)
    def program_comes(self, nick: str) -> None:
        """The program connects; its earlier connection may still be there."""
        self.world.program_comes(nick)
        self.done()

    @rule()
    def program_goes(self) -> None:
        world = self.world
        if world.person("prog").online:
            assert world.program is not None
            world.program.peer.reset()
            world.model.go(world.person("prog"))
            self.done()

    @rule()
    def client_is_cut(self) -> None:
        """The client loses its connection, and can connect at once."""
        if self.world.person("bot").online:
            self.world.client.cut()
            self.world.model.go(self.world.person("bot"))
            self.done()

    @rule(room=_ROOM, name=_ANYBODY)
    def acks_are_lost(self, room: str, name: str) -> None:
        """The client sends something and is cut before the answer: it does not know what came."""
        world, model = self.world, self.world.model
        person, client, name = world.person("bot"), world.client, world.name_of(name)
        if not person.online or ROOMS[room] not in world.wanted:
            return
        client.pairs[-1].client.transport.pauseProducing()
        heard: Heard = defaultdict(list)
        for where in (f"@{name}", ROOMS[room]):
            text = world.new_text()
            call = (
                client.client.send_private(name, text)
                if where[0] == "@"
                else client.client.send(room, text)
            )
            sent = Sent(world.clock.seconds(), where, text, call)
            result = world.client_says(sent, heard)
            sent.done = result if isinstance(result, int) else None
            client.pending.append(sent)
        client.pairs[-1].pump()
        client.cut()
        model.go(person)
        heard["bot"].clear()
        self.done(heard)

    @rule()
    def client_up_or_down(self) -> None:
        world, client = self.world, self.world.client
        client.up = not client.up
        if not client.up and world.person("bot").online:
            client.cut()
            world.model.go(world.person("bot"))
        self.done()

    @precondition(lambda self: self.world.client.dismissed)
    @rule()
    def client_starts_again(self) -> None:
        self.world.client.dismissed = False
        self.world.client.client.startService()
        self.done()

    @rule()
    def time_passes(self) -> None:
        """Bans and mutes end, calls expire, and the client gets its name."""
        world = self.world
        self.wait(61.0)
        person = world.person("bot")
        if person.online and person.name != world.wish:
            self.wait(122.0)
            kept = world.model.is_taken(world.wish, person) or world.model.is_banned(
                name=world.wish
            )
            agree(kept or person.name == world.wish, True, f"{world.wish} is free")

    def wait(self, seconds: float) -> None:
        """Let time pass, in pieces: the model must know in which order things have happened."""
        back = LONGEST_PAUSE + 1
        now = self.world.clock.seconds()
        ends = self.world.model.ends()
        times = {now + back, now + seconds, *ends, *(end + back for end in ends)}
        for end in sorted(end for end in times if now < end <= now + seconds):
            self.done(seconds=end - self.world.clock.seconds())


def options(count: int) -> settings:
    """Return the settings for some programs. A failure is made as short as possible."""
    return settings(
        max_examples=count,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
    )


def run_batch(number: int, count: int) -> str:
    """Run some programs. Return the disagreement with its traceback; empty if there is none."""
    try:
        run_state_machine_as_test(seed(number)(Programs), settings=options(count))
    except Exception:
        return traceback.format_exc()
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chat.programs", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=20_000, help="[default: 20000]")
    parser.add_argument("--seed", type=int, default=1, help="the first seed [default: 1]")
    parser.add_argument("--jobs", type=int, help="processes [default: as many as processors]")
    arguments = parser.parse_args()
    whole, rest = divmod(arguments.count, BATCH)
    counts = [*[BATCH] * whole, *[rest] * bool(rest)]
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        seeds = {
            pool.submit(run_batch, number, count): (number, count)
            for number, count in enumerate(counts, arguments.seed)
        }
        for batch in as_completed(seeds):
            number, count = seeds[batch]
            if problem := batch.result():
                pool.shutdown(wait=False, cancel_futures=True)
                print(problem, file=sys.stderr)
                sys.exit(f"Again: python -m tests.chat.programs {count} --seed {number}")
            done += count
            rate = done / (time.monotonic() - began)
            print(f"{done} of {arguments.count} programs, {rate:.0f} a second", flush=True)
    print(f"No disagreement in {done} programs of {STEPS} actions.")


if __name__ == "__main__":
    main()
