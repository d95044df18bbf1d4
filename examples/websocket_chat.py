"""Browsers and people with nc in one room: a message is encoded once for each kind of member."""

import sys
from typing import Any

from twisted.internet import task

import twisted_net as net


def as_line(text: str) -> bytes:
    return net.printable(text).encode() + b"\n"  # no control characters


class Member(net.Connection):
    room: net.EncodedBroadcast[str]

    def connected(self) -> None:
        self.room.add(self, self.encoder if isinstance(self, Browser) else as_line)

    def message_received(self, message: str | bytes) -> None:
        text = message if isinstance(message, str) else message.decode(errors="replace")
        self.room.publish(text, sender=self)

    def disconnected(self, reason: net.CloseReason) -> None:
        self.room.discard(self)


class Browser(Member, net.WebSocketConnection): ...


async def main(reactor: Any, port: str = "8080", web: str = "8081") -> None:
    Member.room = net.EncodedBroadcast(reactor)
    browsers = net.WebSocketFactory.forProtocol(Browser)
    await net.serve(reactor, f"tcp:{port}", Member, (f"tcp:{web}", browsers))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
