"""Your own chat server: a Broadcast sends each line to all other members."""

import sys
from functools import partial
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, ConnectionFactory, printable, serve


class Member(Connection):
    def __init__(self, room: Broadcast) -> None:
        self.room = room

    def connected(self) -> None:
        self.send(f"You are guest {self.id}. Others here: {len(self.room)}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))  # no control characters
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason: CloseReason) -> None:
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080") -> None:
    factory = ConnectionFactory.forProtocol(partial(Member, Broadcast(reactor)))
    await serve(reactor, f"tcp:{port}", factory)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
