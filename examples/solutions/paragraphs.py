"""A framing of your own: messages are paragraphs, each followed by an empty line."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import BaseFraming, Connection, RemoteProtocolError, serve


class Paragraphs(BaseFraming[bytes]):
    rest, pending = b"", False  # what has come of the next paragraph, and whether it has begun

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        *paragraphs, self.rest = (self.rest + data).split(b"\n\n")
        self.pending = bool(self.rest)
        if len(max(*paragraphs, self.rest, b"", key=len)) > self.max_size:
            raise RemoteProtocolError("too-long", "a paragraph is too long")
        messages += paragraphs

    def encode(self, message: bytes) -> bytes:
        return message + b"\n\n"


class Count(Connection):
    framing = Paragraphs

    def message_received(self, paragraph: bytes) -> None:
        self.send(b"%d words" % len(paragraph.split()))


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Count)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
