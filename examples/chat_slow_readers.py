"""The chat and slow readers: each has a bounded queue, and is told how many lines it missed."""

import sys
from typing import Any

from twisted.internet import task

import twisted_net as net


class Member(net.Connection):
    room: net.Broadcast

    def connected(self) -> None:
        self.send(f"You are guest {self.id}. Others here: {len(self.room)}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = net.printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def missed_notice(self, count: int) -> bytes:
        return f"* You have missed {count} lines.\n".encode()

    def disconnected(self, reason: net.CloseReason) -> None:
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080") -> None:
    Member.room = net.Broadcast(reactor)
    drop_oldest = net.OverflowPolicy.DROP_OLDEST
    factory = net.ConnectionFactory.forProtocol(
        Member, queue_limit=100_000, overflow_policy=drop_oldest
    )
    await net.serve(reactor, f"tcp:{port}", factory)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
