"""JSON messages: with JsonLines, your hook receives and sends Python objects.

Try it: ``echo '{"add": [1, 2]}' | nc -N localhost 8080``.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import CloseReason, Connection, JsonLines, serve


class Calculator(Connection):
    framing = JsonLines

    def message_received(self, message: Any) -> None:
        match message:
            case {"add": [int(a), int(b)]}:
                self.send({"sum": a + b})
            case _:
                self.send({"error": 'Send something like {"add": [1, 2]}.'})

    def disconnected(self, reason: CloseReason) -> None:
        print(f"Connection {self.id} ended: {reason.code} ({self.detail})")


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", Calculator)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
