"""JSON messages: with JsonLines, your hook receives and sends Python objects.

Try it: ``echo '{"add": [1, 2]}' | nc -N localhost 8080``.
"""

import sys
from typing import Any

from twisted.internet import defer, endpoints, task

from twisted_net import Connection, ConnectionFactory, JsonLines


class Calculator(Connection):
    framing = JsonLines

    def message_received(self, message: Any) -> None:
        match message:
            case {"add": [int(a), int(b)]}:
                self.send({"sum": a + b})
            case _:
                self.send({"error": 'Send something like {"add": [1, 2]}.'})


async def main(reactor: Any, port: str = "8080") -> None:
    endpoint = endpoints.serverFromString(reactor, f"tcp:{port}")
    listening = await endpoint.listen(ConnectionFactory.forProtocol(Calculator))
    print("Listening on port", listening.getHost().port)
    await defer.Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
