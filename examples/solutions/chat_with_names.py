"""The chat with names: the first line of a client is its name."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, printable, serve


class Member(Connection):
    room: Broadcast
    name = ""

    def connected(self) -> None:
        self.send("What is your name?")

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace")).strip()
        if self.name:
            self.room.publish(f"<{self.name}> {text}\n".encode(), sender=self)
        elif text:
            self.name = text[:20]
            self.room.add(self)
            self.room.publish(f"* {self.name} is here.\n".encode())

    def disconnected(self, reason: CloseReason) -> None:
        if self.name:
            self.room.discard(self)
            self.room.publish(f"* {self.name} has left.\n".encode())


async def main(reactor: Any, port: str = "8080") -> None:
    Member.room = Broadcast(reactor)
    await serve(reactor, f"tcp:{port}", Member)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
