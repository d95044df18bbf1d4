"""The chat with a history: who joins is shown the last lines, which a ring in memory has."""

import sys
from collections import deque
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, printable, serve


class Member(Connection):
    room: Broadcast
    history: deque[bytes] = deque(maxlen=5)  # a bound: without one, it would grow for ever

    def connected(self) -> None:
        self.send_encoded(b"".join(self.history), len(self.history))
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))
        said = f"<{self.id}> {text}\n".encode()
        self.history.append(said)
        self.room.publish(said, sender=self)

    def disconnected(self, reason: CloseReason) -> None:
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080") -> None:
    Member.room = Broadcast(reactor)
    await serve(reactor, f"tcp:{port}", Member)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
