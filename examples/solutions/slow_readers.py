"""Slow members are closed, and the others are told why."""

from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, ConnectionFactory, printable, serve


class Member(Connection):
    room: Broadcast

    def connected(self) -> None:
        self.send(f"You are guest {self.id}. Others here: {len(self.room)}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason: CloseReason) -> None:
        self.room.discard(self)
        if reason.code == "slow":
            self.room.publish(f"* {self.id} was too slow.\n".encode())


async def main(reactor: Any) -> None:
    Member.room = Broadcast(reactor)
    await serve(reactor, "tcp:8080", ConnectionFactory.forProtocol(Member, queue_limit=100_000))


if __name__ == "__main__":
    task.react(main)
