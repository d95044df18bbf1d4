"""A client that may not connect is told why."""

from typing import Any

from twisted.internet import task

import twisted_net as net


class Member(net.Connection):
    room: net.Broadcast

    def connected(self) -> None:
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line: bytes) -> None:
        text = net.printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason: net.CloseReason) -> None:
        self.room.discard(self)


class ChatFactory(net.ConnectionFactory):
    protocol = Member

    def rejection_message(self, reason: net.CloseReason) -> bytes:
        return f"! {reason.text}\n".encode()


async def main(reactor: Any) -> None:
    Member.room = net.Broadcast(reactor)
    rules = net.AdmissionRules(max_per_address=1, exempt_local=False)
    await net.serve(reactor, "tcp:8080", ChatFactory(admission=net.Admission(rules)))


if __name__ == "__main__":
    task.react(main)
