"""Plain Twisted, as its own documentation has it: an echo, and a chat of ``LineReceiver``.

``twisted_server.py echo|chat [--json] [--nodelay] [--reactor NAME] [--tls CERT KEY]``
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import ClassVar

from twisted.application.reactors import installReactor
from twisted.internet import ssl
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure


class Echo(Protocol):
    """The echo of Twisted's front page."""

    transport: ITCPTransport

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Chat(LineReceiver):
    """Each line goes to each other member at once."""

    transport: ITCPTransport
    delimiter = b"\n"
    rooms: ClassVar[dict[bytes, set[Chat]]] = defaultdict(set)
    offsets: ClassVar[dict[bytes, int]] = defaultdict(int)
    nodelay: ClassVar[bool] = False
    last_number: ClassVar[int] = 0

    def connectionMade(self) -> None:
        Chat.last_number += 1
        self.nick = b"guest-%d" % Chat.last_number
        self.room = b""
        self.join(b"lobby")
        if self.nodelay:
            self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.rooms[self.room].discard(self)

    def join(self, room: bytes) -> None:
        self.rooms[self.room].discard(self)
        self.room = room
        self.rooms[room].add(self)

    def lineReceived(self, line: bytes) -> None:
        if line.startswith(b"/join "):
            self.join(line[6:])
        else:
            self.broadcast(b"<" + self.nick + b"> " + line)

    def broadcast(self, line: bytes) -> None:
        for member in self.rooms[self.room]:
            if member is not self:
                member.sendLine(line)


class JsonChat(Chat):
    """The same, one JSON object a line, with acks."""

    def lineReceived(self, line: bytes) -> None:
        message = json.loads(line)
        if message["type"] == "hello":
            self.nick = message["nick"].encode()
            self.join(message["room"].encode())
        elif message["type"] == "message":
            self.offsets[self.room] += 1
            about = {"room": message["room"], "offset": self.offsets[self.room]}
            said = {"from": self.nick.decode(), "text": message["text"]}
            when = {"time": datetime.now(UTC).isoformat()}
            self.broadcast(json.dumps({"type": "message", **about, **said, **when}).encode())
            self.sendLine(json.dumps({"type": "ack", "id": message["id"], **about}).encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=["echo", "chat"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nodelay", action="store_true")
    parser.add_argument("--reactor", default="default")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    options = parser.parse_args()
    installReactor(options.reactor)
    from twisted.internet import reactor

    Chat.nodelay = options.nodelay
    chat = JsonChat if options.json else Chat
    factory = Factory.forProtocol(Echo if options.service == "echo" else chat)
    factory.noisy = False
    if options.tls:
        with open(options.tls[0]) as cert, open(options.tls[1]) as key:
            pair = ssl.PrivateCertificate.loadPEM(cert.read() + key.read())
        endpoint = SSL4ServerEndpoint(reactor, 0, pair.options(), 4096, "127.0.0.1")
    else:
        endpoint = TCP4ServerEndpoint(reactor, 0, 4096, "127.0.0.1")
    endpoint.listen(factory)
    IReactorCore(reactor).run()


if __name__ == "__main__":
    main()
