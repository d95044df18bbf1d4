"""Many clients, and lines to one of them: ``@2 hello`` goes to number 2 only."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, serve


class Numbered(Connection):
    def connected(self) -> None:
        self.send(f"You are number {self.id}; {len(self.factory)} are here.")

    def message_received(self, line: bytes) -> None:
        if not line.startswith(b"@"):
            self.factory.send_to_all(b"%d: %b" % (self.id, line), but=self)
            return
        number, _, text = line[1:].partition(b" ")
        other = self.factory.connections.get(int(number)) if number.isdigit() else None
        if other is None:
            self.send(b"Nobody here has the number " + number)
        else:
            other.send(b"%d, to you: %b" % (self.id, text))


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Numbered)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
