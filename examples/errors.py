"""Errors: a failing hook closes its own connection only, and connect() says what failed."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import CloseReason, ConnectFailed, Connection, connect, serve


class Divide(Connection):
    def message_received(self, line: bytes) -> None:
        dividend, divisor = line.split()  # "6 3" is answered; "6 0" and "six" fail
        self.send(str(int(dividend) // int(divisor)))

    def disconnected(self, reason: CloseReason) -> None:
        print(f"Connection {self.id} ended: {reason.code} ({self.detail})")


async def main(reactor: Any, port: str = "8080") -> None:
    try:
        await connect(reactor, ("127.0.0.1", 1), Connection)  # nothing listens there
    except ConnectFailed as error:
        print(f"Failed: code={error.code} address={error.address} port={error.port}")

    await serve(reactor, f"tcp:{port}", Divide)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
