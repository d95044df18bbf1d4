"""After: a room of lines with twisted_net, ported from from_twisted_before.py."""

import sys
from functools import partial
from typing import Any

from twisted.internet import task

from twisted_net import Admission, AdmissionRules, Broadcast, Connection, ConnectionFactory, serve


class Member(Connection):
    def __init__(self, room: Broadcast) -> None:
        self.room = room

    def connected(self) -> None:
        self.room.add(self)
        self.send(f"Members: {len(self.room)}")

    def message_received(self, line: bytes) -> None:
        self.room.publish(line + b"\n", sender=self)

    def disconnected(self, reason: object) -> None:
        self.room.discard(self)


async def main(reactor: Any, port: str = "8080", seconds: str = "600") -> None:
    member = partial(Member, Broadcast(reactor))
    rules = Admission(AdmissionRules(max_connections=200))
    limits: Any = {"admission": rules, "idle_timeout": float(seconds), "max_message": 4096}
    await serve(reactor, f"tcp:{port}", ConnectionFactory.forProtocol(member, **limits))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
