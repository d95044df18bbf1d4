"""A Redis in memory that a test answers for."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

import hiredis
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock

from twisted_net.store.redis.scripts import SCRIPTS
from twisted_net.store.redis.seals import seal_of
from twisted_net.testing import Peer, connect_peer

OK = b"+OK\r\n"

INFO = "redis_version:7.0.15\r\nrole:master\r\nloading:0\r\ncluster_enabled:0\r\n"


def bulk(text: str | bytes) -> bytes:
    """Return a text as a reply."""
    data = text.encode() if isinstance(text, str) else text
    return b"$%d\r\n%b\r\n" % (len(data), data)


def push(*words: str | bytes) -> bytes:
    """Return what Redis sends without being asked."""
    return b">%d\r\n" % len(words) + b"".join(map(bulk, words))


def sealed(command: list[bytes], *items: str | bytes) -> bytes:
    """Return the reply to a script, as the script seals it."""
    data = [each.encode() if isinstance(each, str) else each for each in items]
    data.insert(0, seal_of(b"\n".join([command[-1], *(data or [b""])])))
    return b"*%d\r\n" % len(data) + b"".join(map(bulk, data))


def published(channel: str | bytes, content: str | bytes) -> bytes:
    """Return what a script has published, as it seals it."""
    name = channel.encode() if isinstance(channel, str) else channel
    data = content.encode() if isinstance(content, str) else content
    return push("message", name, seal_of(name + b"\n" + data) + data)


class FakeRedis:
    """An endpoint, and the server behind it. It answers the login by itself.

    :ivar commands: what clients have sent after that and the test has not taken.
    :ivar login: the commands of the last login.
    :ivar info: what INFO says.
    :ivar answers: what some commands of a login are answered with, instead of what is right.
    :ivar answers_login: whether it does.
    :ivar is_down: whether connections are refused.
    :ivar connections: how many there have been.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.peer: Peer | None = None
        self.commands: list[list[bytes]] = []
        self.login: list[list[bytes]] = []
        self.info = INFO
        self.hello = b"%1\r\n+proto\r\n:3\r\n"
        self.answers: dict[bytes, bytes] = {}
        self.answers_login = True
        self.is_down = False
        self.connections = 0
        self._reader: Any = None
        self._in_login = False
        self._db = b"0"

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.is_down:
            return fail(Refused())
        self.connections += 1
        self._reader = hiredis.Reader()
        self._in_login = True
        self.login, self.commands = [], []
        self.peer = connect_peer(factory, clock=self.clock)
        protocol = self.peer.protocol
        self.clock.callLater(0, self.run)
        return succeed(protocol)

    def run(self) -> None:
        """Let everything that is due happen, and read what was sent."""
        peer = self.peer
        assert peer is not None
        for _ in range(100):
            peer.turn()
            self._reader.feed(peer.take())
            found = False
            while (command := self._reader.gets()) is not False:
                found = True
                if self._in_login and self.answers_login:
                    self.login.append(command)
                    self._answer_login(command)
                else:
                    self.commands.append(command)
            if not found:
                return

    def _answer_login(self, command: list[bytes]) -> None:
        assert self.peer is not None
        answer = self.answers.get(command[0])
        if answer is not None:
            self.peer.send(answer)
            return
        match command:
            case [b"HELLO", *_]:
                self.peer.send(self.hello)
            case [b"INFO"]:
                self.peer.send(bulk(self.info))
            case [b"SELECT", number]:
                self._db = number
                self.peer.send(OK)
            case [b"CLIENT", b"INFO"]:
                self.peer.send(bulk(b"id=3 db=%b sub=0" % self._db))
            case [b"SCRIPT", b"LOAD", text]:
                self._in_login = text != SCRIPTS[-1].text
                self.peer.send(bulk(sha1(text).hexdigest()))
            case _:
                self.peer.send(OK)

    def send(self, *data: bytes) -> None:
        """Send replies."""
        assert self.peer is not None
        self.peer.send(b"".join(data))
        self.run()

    def take(self) -> list[list[bytes]]:
        """Return the commands since the last call."""
        self.run()
        found, self.commands = self.commands, []
        return found

    def reset(self) -> None:
        """End the connection."""
        assert self.peer is not None
        self.peer.reset()
        self.peer.turn()

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(0.05, end - self.clock.seconds()))
            if self.peer is not None:
                self.run()
