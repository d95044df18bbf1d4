"""asyncio, or uvloop: the barest echo ``Protocol``, and a chat that writes to each transport.

``asyncio_server.py echo|chat [--loop uvloop] [--json] [--tls CERT KEY]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
from collections import defaultdict
from datetime import UTC, datetime
from typing import ClassVar, cast


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Chat(Echo):
    """Each line goes to each other member at once."""

    rooms: ClassVar[dict[bytes, set[Chat]]] = defaultdict(set)
    offsets: ClassVar[dict[bytes, int]] = defaultdict(int)
    last_number: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        Chat.last_number += 1
        self.nick = b"guest-%d" % Chat.last_number
        self.room = b""
        self.partial = b""
        self.join(b"lobby")

    def connection_lost(self, error: Exception | None) -> None:
        self.rooms[self.room].discard(self)

    def join(self, room: bytes) -> None:
        self.rooms[self.room].discard(self)
        self.room = room
        self.rooms[room].add(self)

    def data_received(self, data: bytes) -> None:
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.line_received(line)

    def line_received(self, line: bytes) -> None:
        if line.startswith(b"/join "):
            self.join(line[6:])
        else:
            self.broadcast(b"<" + self.nick + b"> " + line + b"\n")

    def broadcast(self, line: bytes) -> None:
        for member in self.rooms[self.room]:
            if member is not self:
                member.transport.write(line)


class JsonChat(Chat):
    """The same, one JSON object a line, with acks."""

    def line_received(self, line: bytes) -> None:
        message = json.loads(line)
        if message["type"] == "hello":
            self.nick = message["nick"].encode()
            self.join(message["room"].encode())
        elif message["type"] == "message":
            self.offsets[self.room] += 1
            about = {"room": message["room"], "offset": self.offsets[self.room]}
            said = {"from": self.nick.decode(), "text": message["text"]}
            when = {"time": datetime.now(UTC).isoformat()}
            self.broadcast(
                json.dumps({"type": "message", **about, **said, **when}).encode() + b"\n"
            )
            ack = {"type": "ack", "id": message["id"], **about}
            self.transport.write(json.dumps(ack).encode() + b"\n")


async def serve(options: argparse.Namespace) -> None:
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    chat = JsonChat if options.json else Chat
    protocol = Echo if options.service == "echo" else chat
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=["echo", "chat"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    options = parser.parse_args()
    if options.loop == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
