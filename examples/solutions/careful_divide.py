"""A server that answers bad input with an error, and stays connected."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, serve


class Divide(Connection):
    def message_received(self, line: bytes) -> None:
        try:
            dividend, divisor = map(int, line.split())
        except ValueError:
            self.send("Error: send two whole numbers, such as 6 3")
            return
        if divisor == 0:
            self.send("Error: the second number must not be 0")
            return
        self.send(str(dividend // divisor))


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Divide)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
