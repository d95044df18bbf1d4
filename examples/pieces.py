"""Pieces: without a framing, a message is what one read has returned.

Each read is shown, with what the framing ``Lines`` makes of it.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, Lines, Raw, serve


class Pieces(Connection):
    framing = Raw

    def connected(self) -> None:
        self.lines = Lines()

    def message_received(self, piece: bytes) -> None:
        lines = self.lines.feed(piece)
        waiting = "and a line has begun" if self.lines.pending else "and nothing waits"
        print(f"Read {piece!r}: lines {lines}, {waiting}")


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Pieces)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
