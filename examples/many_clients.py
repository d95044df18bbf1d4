"""Many clients: each has a number, and its lines go to all others.

Without a ``framing``, each line is a message.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import CloseReason, Connection, serve


class Numbered(Connection):
    def connected(self) -> None:
        self.send(f"You are number {self.id}; {len(self.factory)} are here.")

    def message_received(self, line: bytes) -> None:
        self.tell_others(b"%d: %b" % (self.id, line))

    def disconnected(self, reason: CloseReason) -> None:
        self.tell_others(f"{self.id} has left: {reason.text}")

    def tell_others(self, line: bytes | str) -> None:
        others = [each for each in self.factory.connections.values() if each is not self]
        for other in others:
            other.send(line)


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Numbered)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
