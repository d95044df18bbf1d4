"""Servers for tests of the chat client: the chat itself, and one that a test plays."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.chat.chat_peers import ChatCase
from twisted_net.chat.client.client import ChatClient
from twisted_net.chat.messages import ChatError
from twisted_net.policy.backoff import Backoff
from twisted_net.testing import Peer, advance, connect_pair, connect_peer

WELCOME = {
    "type": "welcome",
    "nick": "bot",
    "session": "s",
    "server": "test",
    "heartbeat": 45,
    "limits": dict.fromkeys(("message", "nick", "topic", "id", "rooms", "history", "recover"), 999),
}


JOINED = {
    "type": "joined",
    "room": "lobby",
    "epoch": "e",
    "offset": 0,
    "members": ["bot"],
    "count": 1,
    "topic": "",
    "recovered": None,
}
MESSAGE = {"type": "message", "room": "lobby", "from": "ann", "text": "hi", "time": "now"}


class Connecting:
    """A client's factory, as an endpoint uses it, and a connection in memory to a server.

    The connection is made in the next turn. As with other endpoints, no byte comes before
    :attr:`made` has fired.

    :ivar made: fires with the protocol.
    """

    def __init__(self, factory: Any, server: Any, clock: Clock, pairs: list[Any]) -> None:
        self._factory = factory
        self.made: Deferred[Any] = Deferred()
        clock.callLater(0, lambda: pairs.append(connect_pair(self, server, clock=clock)))

    def doStart(self) -> None:
        self._factory.doStart()

    def buildProtocol(self, address: Any) -> Any:
        protocol = self._factory.buildProtocol(address)
        make_connection = protocol.makeConnection

        def made(transport: Any) -> None:
            make_connection(transport)
            self.made.callback(protocol)

        protocol.makeConnection = made
        return protocol


@implementer(IStreamClientEndpoint)
class ToTheChat:
    """An endpoint that connects to a test's chat server while ``test.up`` is true.

    :ivar pairs: the connections, in the order of connecting.
    """

    def __init__(self, test: ChatClientCase) -> None:
        self.test = test
        self.pairs: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if not self.test.up:
            return fail(ConnectionRefusedError())
        return Connecting(factory, self.test.factory, self.test.clock, self.pairs).made


class ChatClientCase(ChatCase):
    def setUp(self) -> None:
        super().setUp()
        self.up = True

    def client(self, nick: str = "bot", *rooms: str, **more: Any) -> ChatClient:
        """Return a client that runs until the test ends."""
        self.where = ToTheChat(self)
        client = ChatClient(
            *(self.clock, self.where, nick, *(rooms or ("lobby",))),
            **({"backoff": Backoff(first=1, longest=1), "jitter": lambda: 0.0} | more),
        )
        client.startService()
        self.addCleanup(client.stopService)
        self.turn()
        return client

    def turn(self, seconds: float = 0) -> None:
        advance(self.clock, seconds)

    def cut(self) -> None:
        """Abort the last connection."""
        self.where.pairs[-1].client.transport.abortConnection()
        self.turn()

    def heard(self, client: ChatClient) -> list[str]:
        """Return the texts of the messages since the last call."""
        texts = [each["text"] for each in client._delivery.waiting if each["type"] == "message"]
        client._delivery.waiting.clear()
        return texts


class Answering:
    """The far end of one connection of a client: a test reads what it sends, and answers.

    It closes the connection once the client has finished.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        client_finished = peer.writeConnectionLost

        def finish(reason: Any) -> None:
            client_finished(reason)
            peer.clock.callLater(0, peer.write_eof)

        peer.writeConnectionLost = finish  # type: ignore[method-assign]

    def read(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the messages of the client since the last call; of one type, if it is given."""
        messages = [json.loads(line) for line in self.peer.take().splitlines()]
        return [each for each in messages if kind in ("", each["type"])]

    def say(self, *messages: Any) -> None:
        """Send messages; also such as no server should send."""
        for message in messages:
            self.peer.send(json.dumps(message).encode() + b"\n")


@implementer(IStreamClientEndpoint)
class Scripted:
    """An endpoint of a server that says only what a test makes it say.

    :ivar up: whether it accepts connections.
    :ivar attempts: when it was asked for a connection.
    :ivar connections: those that it accepted.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.up = True
        self.attempts: list[float] = []
        self.connections: list[Answering] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts.append(self.clock.seconds())
        if not self.up:
            return fail(ConnectionRefusedError("nobody listens"))
        peer = connect_peer(factory, clock=self.clock)
        self.connections.append(Answering(peer))
        return succeed(peer.protocol)


class ScriptedCase(SynchronousTestCase):
    """A client whose server is played by the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Scripted(self.clock)

    def client(self, *rooms: str, start: bool = True, **more: Any) -> ChatClient:
        """Return a client that runs until the test ends."""
        client = ChatClient(
            *(self.clock, self.server, "bot", *(rooms or ("lobby",))),
            **({"backoff": Backoff(first=1, longest=16), "jitter": lambda: 1.0} | more),
        )
        self.addCleanup(client.stopService)
        if start:
            client.startService()
            self.pass_time(0)
        return client

    def online(self, *rooms: str, **more: Any) -> ChatClient:
        """Return a client that is welcome, and in the lobby."""
        client = self.client(*rooms, **more)
        self.now.say(WELCOME, JOINED)
        self.now.read()
        return client

    @property
    def now(self) -> Answering:
        """The last connection."""
        return self.server.connections[-1]

    def pass_time(self, seconds: float) -> None:
        advance(self.clock, seconds)

    def wait_for_attempt(self) -> None:
        """Pass time until the client connects again."""
        before = len(self.server.attempts)
        while len(self.server.attempts) == before:
            self.pass_time(0.25)

    def pauses(self) -> list[int]:
        """Return the seconds between the client's attempts to connect, rounded."""
        times = self.server.attempts
        return [round(later - time) for time, later in pairwise(times)]

    def assertFails(self, call: Deferred[Any], code: str) -> str:
        """Assert that a call has failed with this code. Return the text."""
        error = self.failureResultOf(call, ChatError).value
        self.assertEqual(error.code, code)
        return str(error)
