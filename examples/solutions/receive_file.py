"""Receive a file of any size, and tell its client the SHA-256 of what was stored."""

import sys
from functools import partial
from hashlib import sha256
from typing import Any

from twisted.internet import task
from twisted.internet.threads import deferToThread

from twisted_net import CloseReason, Connection, Raw, serve


class Receive(Connection):
    framing = Raw

    def __init__(self, path: str) -> None:
        self.file = open(path, "wb")  # noqa: SIM115
        self.hash = sha256()

    async def message_received(self, piece: bytes) -> None:
        self.hash.update(piece)
        await deferToThread(self.file.write, piece)  # nothing is read while this runs

    def eof_received(self) -> None:
        self.file.flush()
        self.send(f"{self.hash.hexdigest()}\n".encode())
        self.close()

    def disconnected(self, reason: CloseReason) -> None:
        self.file.close()


async def main(reactor: Any, port: str = "8080", path: str = "received") -> None:
    await serve(reactor, f"tcp:{port}", partial(Receive, path))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
