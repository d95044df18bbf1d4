"""A framing of your own: records that end with a semicolon, such as ``one;two;``."""

import sys

from twisted.internet import task

from twisted_net import BaseFraming, Connection, RemoteProtocolError, serve


class Records(BaseFraming[bytes]):
    rest, pending = b"", False  # what has come of the next record, and whether it has begun

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        *records, self.rest = (self.rest + data).split(b";")
        self.pending = bool(self.rest)
        if len(max(*records, self.rest, b"", key=len)) > self.max_size:
            raise RemoteProtocolError("too-long", "a record is too long")
        messages += records

    def encode(self, message: bytes) -> bytes:
        return message + b";"


class Shout(Connection):
    framing = Records

    def message_received(self, record: bytes) -> None:
        self.send(record.upper())


async def main(reactor: object, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Shout)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
