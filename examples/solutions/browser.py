"""Browsers of one page, and programs of this machine, in one room with people who use nc."""

from typing import Any

from twisted.internet import task

import twisted_net as net


def as_line(text: str) -> bytes:
    return net.printable(text).encode() + b"\n"


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


async def main(reactor: Any) -> None:
    Member.room = net.EncodedBroadcast(reactor)
    browsers = net.WebSocketFactory.forProtocol(Browser, origins=["http://localhost:8000"])
    local = "tcp:8081:interface=127.0.0.1"
    await net.serve(reactor, "tcp:8080", Member, (local, browsers))


if __name__ == "__main__":
    task.react(main)
