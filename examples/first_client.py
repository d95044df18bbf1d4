"""Your first client: it sends a line to the first server, prints the answer, and exits.

Run it while first_server.py runs: ``python first_client.py 8080 hello``.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, ConnectionFactory, Lines, connect


class Ask(Connection):
    framing = Lines

    def message_received(self, line: bytes) -> None:
        print("The server says:", line.decode())
        self.close()


async def main(reactor: Any, port: str = "8080", text: str = "hello") -> None:
    factory = ConnectionFactory.forProtocol(Ask)
    connection = await connect(reactor, ("localhost", int(port)), factory)
    connection.send(text)
    await factory.wait_closed()  # until the connection is closed


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
