"""The chat, watched: metrics, connections and a tap for operators, on a port of their own."""

import sys
from functools import partial
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, ConnectionFactory, printable, serve
from twisted_net.web import AdminFactory


class Member(Connection):
    def __init__(self, room: Broadcast) -> None:
        self.room = room

    def connected(self) -> None:
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason: CloseReason) -> None:
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080", admin_port: str = "9191") -> None:
    chat = ConnectionFactory.forProtocol(partial(Member, Broadcast(reactor)))
    local = f"tcp:{admin_port}:interface=127.0.0.1"  # other machines need a token
    await serve(reactor, f"tcp:{port}", chat, (local, AdminFactory({"chat": chat})))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
