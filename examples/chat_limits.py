"""The chat with limits: how many may connect, how often and from where, how fast and how much."""

import sys
from functools import partial
from typing import Any

from twisted.internet import task

import twisted_net as net


class Member(net.Connection):
    def __init__(self, room: net.Broadcast) -> None:
        self.room = room

    def connected(self) -> None:
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = net.printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason: net.CloseReason) -> None:
        self.room.discard(self)
        print(f"Connection {self.id} ended: {reason.code}", flush=True)


async def main(reactor: Any, port: str = "8080") -> None:
    rules = net.AdmissionRules(max_connections=100, max_per_address=2, exempt_local=False)
    limits = net.Limits(max_message=500, message_timeout=5, rate=10, burst=20)
    made, who = partial(Member, net.Broadcast(reactor)), net.Admission(rules)
    chat = net.ConnectionFactory.forProtocol(made, limits=limits, admission=who)
    chat.on_refused = lambda address, reason: print("Refused:", reason.code, flush=True)
    await net.serve(reactor, f"tcp:{port}", chat)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
