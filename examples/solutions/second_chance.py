"""A server that asks a silent client once whether it is still there, and then closes."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, ConnectionFactory, serve


class Sleepy(Connection):
    asked = False

    def message_received(self, line: bytes) -> None:
        self.asked = False

    def idle_expired(self) -> bool:
        if self.asked:
            self.send("Goodbye.")
            return False  # close, after what was sent
        self.send("Are you still there?")
        self.asked = True
        return True  # wait once more


async def main(reactor: Any, port: str = "8080", limit: str = "10") -> None:
    factory = ConnectionFactory.forProtocol(Sleepy, idle_timeout=float(limit))
    await serve(reactor, f"tcp:{port}", factory)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
