"""A large file, sent with backpressure: it is read no faster than the client takes it."""

import sys
from functools import partial
from typing import Any

from twisted.internet import task

from twisted_net import Connection, Raw, serve


class SendFile(Connection):
    framing = Raw

    def __init__(self, path: str) -> None:
        self.path = path

    async def connected(self) -> None:
        with open(self.path, "rb") as file:
            while piece := file.read(65536):
                if not self.send(piece):  # the buffer is full: wait until there is room
                    await self.drained()
        self.close()


async def main(reactor: Any, port: str = "8080", path: str = __file__) -> None:
    await serve(reactor, f"tcp:{port}", partial(SendFile, path))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
