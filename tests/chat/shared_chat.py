"""A chat of several processes in one test, with their users."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import NOW, Program
from tests.store.shared_hub import Hub, HubStore
from twisted_net.chat.protocol import ChatFactory
from twisted_net.testing import Peer, connect_peer

PASSWORDS = {"boss": b"secret", "zoe": b"secret"}


class Process:
    """A process of the chat, and its users."""

    def __init__(self, case: SharedCase, *, settles: bool = True, **settings: Any) -> None:
        self._case = case
        self.store: HubStore = case.hub.store()
        self.chat = ChatFactory(
            clock=case.clock,
            now=lambda: NOW + case.clock.seconds(),
            token=lambda: f"{next(case.numbers):012x}{0:020x}",
            store=self.store,
            checkers=[InMemoryUsernamePasswordDatabaseDontUse(**PASSWORDS)],
            operators=["boss"],
            plain_logins=True,
            **settings,
        )
        self.chat.start_store()
        if settles:
            case.settle()

    def connect(self, address: str = "198.51.100.1") -> Peer:
        peer = connect_peer(
            self.chat, clock=self._case.clock, peer=IPv4Address("TCP", address, 5000)
        )
        self._case.settle()
        return peer

    def text(self, name: str = "", address: str = "198.51.100.1") -> Peer:
        """Connect a text user, with a name."""
        peer = self.connect(address)
        peer.send(f"/nick {name}\n".encode() if name else b"/help\n")
        self._case.pass_presence()
        peer.take()
        return peer

    def operator(self) -> Peer:
        peer = self.connect()
        peer.send(b"/login boss secret\n")
        self._case.pass_presence()
        peer.take()
        return peer

    def program(self, nick: str = "", room: str = "lobby", **more: Any) -> Program:
        """Connect a program that has said hello. Its ``greeting`` has the answers."""
        program = Program(self.connect(more.pop("address", "198.51.100.1")))
        if nick:
            more["nick"] = nick
        program.send(type="hello", **({"room": room} if room else {}), **more)
        self._case.pass_presence()
        program.greeting = program.heard()
        return program


class SharedCase(SynchronousTestCase):
    """A chat of two processes, ``one`` and ``two``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.numbers = itertools.count(1)
        self.hub = Hub(self.clock)
        self.one, self.two = Process(self), Process(self)

    def settle(self) -> None:
        """Let all that is due happen."""
        self.clock.pump([0.001] * 30)

    def pass_presence(self) -> None:
        """Announce the pending joins, everywhere."""
        self.clock.pump([0.05] * 20)

    def says(self, peer: Peer, line: str) -> list[str]:
        """Send a line, and return the lines that the user hears after it."""
        peer.take()
        peer.send(line.encode() + b"\n")
        self.pass_presence()
        return self.lines(peer)

    def asks(self, program: Program, **message: Any) -> list[dict[str, Any]]:
        """Send a message, and return those that the program hears after it."""
        program.heard()
        program.send(**message)
        self.pass_presence()
        return program.heard()

    @staticmethod
    def lines(peer: Peer) -> list[str]:
        return peer.take().decode().splitlines()
