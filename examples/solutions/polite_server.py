"""A server that closes the connection when the client says bye."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, Lines, serve


class Polite(Connection):
    framing = Lines

    def connected(self) -> None:
        self.send("Hello. Say bye to leave.")

    def message_received(self, line: bytes) -> None:
        if line == b"bye":
            self.send("Goodbye.")
            self.close()  # what was sent before still goes out
        else:
            self.send(line.upper())


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Polite)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
