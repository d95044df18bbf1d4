"""A chat in memory with its people, and the model that says what they should hear."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from dataclasses import replace
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.chat.client_peers import Connecting
from tests.chat.model import OPERATOR, Event, Heard, Model, Person
from twisted_net.chat.client.client import CALL_TIMEOUT, ChatClient
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.protocol import ChatFactory
from twisted_net.policy.backoff import Backoff
from twisted_net.store.memory import MemoryStore
from twisted_net.testing import PEER, Peer, advance, connect_peer

LONGEST_PAUSE = 4.0
"""The longest pause of the client between two attempts to connect, in seconds."""

NAMES = (
    ("ann", "Ann", "bob", "b0b", "bot"),
    ("Iris", "lris", "iris", "bot", "zoe"),
    ("zoe", "z0e", "zoe-2", "Zoe", "bot"),
    ("b0ss", "B0T", "b0t", "bot", "bot-2"),
)
"""Names that people want. Those of one row are alike; a program uses one row, so that they meet."""

ROOMS = {"lobby": "lobby", "#lobby": "lobby", "tea": "tea", "#Tea": "tea", "Straße": "strasse"}
"""The rooms, by how people spell them."""

TEXT_USERS = ("tom", "tim", "boss")
ALL = (*TEXT_USERS, "prog", "bot")

RATES = {"joins": 31, "nicks": 7, "topics": 7, "new_rooms": 23}
"""What is allowed a minute, in the programs in which the server counts it. None divides 60: after
whole seconds there would be exactly one more or, by the last bit of a number, not yet."""

_START = 1_700_000_000.0

_LIMITS = ChatLimits(heartbeat=80_000.0, rooms=5, joins=0, nicks=0, topics=0, new_rooms=0)

_MESSAGE = re.compile(r"(?:#(\S+) )?<([^>]+)> (.*)")
_PRIVATE = re.compile(r"\* (\S+) tells you: (.*)")
_RENAMED = re.compile(r"\* You are (guest-\d+) now\.")
_NAMED = re.compile(r"You are (\S+) in #lobby\.")


class Disagreement(AssertionError):
    """The chat has not done what the model says."""


def agree(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise Disagreement(f"{what}: found {found!r}, expected {expected!r}")


def peer_at(address: str) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in address else IPv4Address)("TCP", address, 5000)


class TextUser:
    """A connection of somebody with ``nc``."""

    def __init__(self, chat: ChatFactory, clock: Clock, address: str) -> None:
        self.peer = connect_peer(chat, clock=clock, peer=peer_at(address))
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
        self.peer = connect_peer(chat, clock=clock, peer=peer_at(address))
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
    """A chat with its people, and the model of it.

    :param names: the names that people want.
    :param rated: whether the server counts how often people do what costs others something.
    """

    def __init__(self, names: tuple[str, ...] = NAMES[0], rated: bool = False) -> None:
        self.names = names
        self.clock = Clock()
        self.rated = rated
        self._tokens = itertools.count(1)
        self.store = MemoryStore(self.now, self.token)
        self.chat = self.start_chat()
        self.texts = itertools.count(1)
        self.model = Model(*(Person(who, self.kind(who), self.address(who)) for who in ALL))
        self.model.rates = RATES if rated else {}
        self.model.now = self.now()
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
        self.text["tom"].send("/join tea")
        self.model.enter(self.person("tom"), "tea")
        self.program_comes("eve")
        self.client.client.startService()
        self.settle(defaultdict(list))
        agree(self.person("bot").online, True, "the client is there")

    @staticmethod
    def kind(who: str) -> str:
        return {"prog": "json", "bot": "client"}.get(who, "text")

    @staticmethod
    def address(who: str, number: int = 1) -> str:
        """Return an address of somebody. The program has another one each time."""
        found = {"prog": f"2001:db8::{number:x}", "bot": PEER.host}
        return found.get(who) or f"198.51.100.{1 + ALL.index(who)}"

    def now(self) -> float:
        return _START + self.clock.seconds()

    def token(self) -> str:
        return f"{next(self._tokens):012x}{0:020x}"

    def start_chat(self) -> ChatFactory:
        """Start the server, with the messages and the bans of the last one."""
        chat = ChatFactory(
            clock=self.clock,
            now=self.now,
            token=self.token,
            store=self.store,
            checkers=[InMemoryUsernamePasswordDatabaseDontUse(boss=b"secret", zoe=b"secret")],
            operators=[OPERATOR],
            plain_logins=True,
            chat_limits=replace(_LIMITS, **RATES) if self.rated else _LIMITS,
        )
        chat.start_store()
        return chat

    def person(self, who: str) -> Person:
        return self.model.people[who]

    def name_of(self, name: str) -> str:
        """Return a name as it is, one of the names by its number, or that of a person."""
        if name[0] == "%":
            return self.names[int(name[1:])]
        return self.person(name[1:]).name or "nobody" if name[0] == "@" else name

    def new_text(self) -> str:
        return f"m{next(self.texts)}"

    # Coming.

    def text_comes(self, who: str) -> None:
        user = self.text[who] = TextUser(self.chat, self.clock, self.person(who).address)
        user.send("/help")  # who says something is greeted, and let in, at once
        user.heard()
        if self.model.is_banned(self.person(who)):
            agree((user.peer.finished, bool(user.errors)), (True, True), f"{who} is banned")
            return
        name = _NAMED.search("\n".join(user.lines))
        assert name is not None, user.lines
        agree(name[1].startswith("guest-"), True, f"{who} is a guest")
        self.model.come(self.person(who), name[1])
        if who == "boss":
            error, renamed = self.model.log_in(self.person(who), OPERATOR)
            user.send("/login boss secret")
            user.heard()
            agree((bool(user.errors), renamed), (bool(error), []), "the operator logs in")

    def program_comes(self, nick: str) -> None:
        """Connect the program, also if it is connected: then it takes its session over."""
        person, model = self.person("prog"), self.model
        rooms = list(person.rooms)
        before = self.program if person.online else None
        person.address = self.address("prog", next(self.texts))
        self.program = program = JsonUser(self.chat, self.clock, person.address)
        if model.is_banned(person):
            program.send(type="hello")  # the first line decides who is told, and how
            agree(program.peer.finished, True, "a banned program")
            return
        if before is not None:
            nick = ""  # the name goes on with the session
        error = model.name_error(person, nick) if nick else ""
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

    def learn_new_name(self, person: Person) -> None:
        """The server has given somebody another name, because an account has it."""
        user = self.user(person.who)
        agree(user.heard(), [], "what is heard besides a new name")
        if person.kind == "text":
            found = [named[1] for line in user.lines if (named := _RENAMED.fullmatch(line))]
        elif person.kind == "json":
            found = [each["nick"] for each in user.of("nick")]
        else:
            found = [user.client.state.nick]
        agree([name.startswith("guest-") for name in found], [True], f"the new name: {found}")
        agree(self.model.is_taken(found[0], person), False, f"{found[0]} is free")
        person.name = found[0]

    def program_joins(self, room: str, recovers: bool) -> None:
        person, program, model = self.person("prog"), self.program, self.model
        assert program is not None
        more = {}
        if recovers and room in self.epochs:
            more = {"since": {"epoch": self.epochs[room], "offset": person.seen[room][0]}}
        program.send(type="join", room=room, **more)
        heard = program.heard()
        error = model.join(person, room)
        codes = [each["code"] for each in program.of("error")]
        agree(codes, [error] * bool(error), f"joining {room}")
        if error:
            return
        (joined,) = program.of("joined")
        self.epochs[room] = joined["epoch"]
        agree(joined["offset"], len(model.logs[room]), f"the position in {room}")
        missed = model.missed(person, room) if more else []
        model.see(person, room)
        agree(joined["topic"], model.topics.get(room, ""), f"the topic of {room}")
        agree(set(joined["members"]), model.members(room), f"the members of {room}")
        expected = [("room", room, *each) for each in missed or ()]
        agree(heard, expected, f"what was missed in {room}")
        agree(joined["recovered"], (missed is not None) if more else None, f"recovery in {room}")

    # After an action.

    def settle(self, heard: Heard, seconds: float = 1.0) -> None:
        """Let some time pass, and compare what everybody has heard with what they should."""
        advance(self.clock, seconds)
        self.model.now = self.now()
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
        banned = self.model.is_banned(self.person("bot"), self.wish)
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
        # A ban may have ended in the last minute.
        ended = self.model.ban_end(self.person("bot"), self.wish) - _START
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
            model.enter(person, room)
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
        here = {each.name for each in self.model.people.values() if each.online}
        agree({user.name for user in self.chat.registry}, here, "the names of all")
