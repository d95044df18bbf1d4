"""Users and programs for tests of the chat. They are the far ends of connections in memory."""

from __future__ import annotations

import itertools
import json
from importlib import resources
from typing import Any

import jsonschema
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_attack import strict
from twisted_net.chat.greeting import GREETING_DELAY as GREETING_DELAY
from twisted_net.chat.protocol import (
    PRESENCE_DELAY,
    SILENT_PRESENCE_DELAY,
    ChatFactory,
)
from twisted_net.testing import Peer, connect_peer

SCHEMA = json.loads(resources.files("twisted_net.chat").joinpath("netchat.schema.json").read_text())

NOW = 1_700_000_000.0


def _validator(side: str) -> Any:
    definitions = strict(SCHEMA["$defs"]) if side == "server" else SCHEMA["$defs"]
    schema = {**SCHEMA, "$defs": definitions, "anyOf": [{"$ref": f"#/$defs/{side}"}]}
    return jsonschema.Draft202012Validator(schema)


_SERVER, _CLIENT = _validator("server"), _validator("client")


class Program:
    """A program that speaks JSON. It validates all messages against the schema.

    :ivar prelude: the lines of text that came before the first JSON message.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.prelude: list[str] = []
        self.skipping = True

    def send(self, **message: Any) -> None:
        """Send a message, after validating it against the schema."""
        _CLIENT.validate(message)
        self.raw(json.dumps(message).encode())

    def raw(self, line: bytes) -> None:
        """Send a line."""
        self.peer.send(line + b"\n")

    def heard(self) -> list[dict[str, Any]]:
        """Return the messages since the last call."""
        found = []
        for line in self.peer.take().decode().split("\n")[:-1]:
            if self.skipping and not line.startswith("{"):
                self.prelude.append(line)
                continue
            self.skipping = False
            message = json.loads(line)
            _SERVER.validate(message)
            found.append(message)
        return found

    def asks(self, **message: Any) -> list[dict[str, Any]]:
        """Send a message and return the messages that follow it."""
        self.heard()
        self.send(**message)
        return self.heard()


class Members:
    """The list of a room's members that a program keeps, as clients do.

    :ivar nick: the program's own name.
    :ivar is_known: False from when joins or leaves were only counted until it joins again.
    """

    def __init__(self, room: str = "lobby") -> None:
        self.room = room
        self.nick = ""
        self.names: set[str] = set()
        self.count = 0
        self.is_known = False

    def read(self, message: dict[str, Any]) -> None:
        """Take the next message."""
        had = len(self.names)
        match message:
            case {"type": "welcome", "nick": nick}:
                self.nick = nick
            case {"type": "joined", "room": self.room, "members": members, "count": count}:
                self.names, self.is_known = set(members), True
                had, self.count = len(self.names), count
            case {"type": "nick", "nick": nick}:
                if self.nick in self.names:
                    self.names.remove(self.nick)
                    self.names.add(nick)
                self.nick = nick
            case {"type": "presence", "room": self.room, "count": _}:
                self.is_known = False
            case {"type": "presence", "room": self.room, "event": "join", "nick": nick}:
                self.names.add(nick)
            case {"type": "presence", "room": self.room, "event": "leave", "nick": nick}:
                self.names.discard(nick)
            case {"type": "presence", "room": self.room, "nick": nick, "to": to}:
                self.names.discard(nick)
                self.names.add(to)
        self.count += len(self.names) - had


class ChatCase(SynchronousTestCase):
    """A chat server with a fake clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.numbers = itertools.count(1)
        self.factory = self.make()

    def make(self, **settings: Any) -> ChatFactory:
        """Return a chat server."""
        return ChatFactory(
            clock=self.clock,
            now=lambda: NOW + self.clock.seconds(),
            token=lambda: f"{next(self.numbers):032x}",
            **settings,
        )

    def user(self, name: str = "") -> Peer:
        """Connect a text user, and read the lines that it is sent first."""
        peer = connect_peer(self.factory)
        if name:
            peer.send(f"/nick {name}\n".encode())
        else:
            self.clock.advance(GREETING_DELAY)
        peer.take()
        return peer

    def program(self, nick: str, room: str = "lobby", **more: Any) -> Program:
        """Connect a program that says hello, and read the answers."""
        program = Program(connect_peer(self.factory))
        program.send(type="hello", nick=nick, **({"room": room} if room else {}), **more)
        program.heard()
        return program

    def pass_presence(self, *peers: Peer | Program) -> None:
        """Announce the pending joins, and read them."""
        self.clock.pump([SILENT_PRESENCE_DELAY, PRESENCE_DELAY])
        for peer in peers:
            peer.heard() if isinstance(peer, Program) else peer.take()
