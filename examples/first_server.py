"""Your first server: it sends every line back in capitals.

Start it, then talk to it from another terminal: ``nc localhost 8080``.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, Lines, serve


class Shout(Connection):
    framing = Lines  # each line is a message

    def message_received(self, line: bytes) -> None:
        self.send(line.upper())


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Shout)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
