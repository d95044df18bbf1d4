"""The chat with names: the first line of a client is its name, and no two clients have the same."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, printable, serve


class Member(Connection):
    room: Broadcast
    names: set[str] = set()
    name = ""

    def connected(self) -> None:
        self.send("What is your name?")

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))
        if self.name:
            self.room.publish(f"<{self.name}> {text}\n".encode(), sender=self)
        elif text and text not in self.names:
            self.name = text
            self.names.add(text)
            self.room.add(self)

    def disconnected(self, reason: CloseReason) -> None:
        self.names.discard(self.name)
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080") -> None:
    Member.room = Broadcast(reactor)
    await serve(reactor, f"tcp:{port}", Member)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
