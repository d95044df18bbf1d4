"""Timeouts: one for your own connections, and one in front of any Twisted factory."""

import sys
from typing import Any

from twisted.internet import task
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo

from twisted_net import CloseReason, Connection, ConnectionFactory, IdleTimeoutFactory, serve


class Sleepy(Connection):
    def connected(self) -> None:
        self.send("Say something now and then, or I hang up.")

    def disconnected(self, reason: CloseReason) -> None:
        print(f"Connection {self.id} ended: {reason.code}")


async def main(reactor: Any, port: str = "8080", other: str = "8081", limit: str = "10") -> None:
    seconds = float(limit)
    own = ConnectionFactory.forProtocol(Sleepy, idle_timeout=seconds)
    any_factory = IdleTimeoutFactory(Factory.forProtocol(Echo), seconds)
    await serve(reactor, f"tcp:{port}", own, (f"tcp:{other}", any_factory))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
