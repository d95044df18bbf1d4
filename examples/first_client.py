"""Your first client: it sends a line to the first server, prints the answer, and exits.

Run it while first_server.py runs: ``python first_client.py 8080 hello``.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import ConnectFailed, Connection, ConnectionFactory, Lines, connect


class Ask(Connection):
    framing = Lines

    def message_received(self, line: bytes) -> None:
        print("The server says:", line.decode())
        self.close()


async def main(reactor: Any, port: str = "8080", text: str = "hello") -> None:
    factory = ConnectionFactory.forProtocol(Ask)
    try:
        connection = await connect(reactor, ("localhost", int(port)), factory)
    except ConnectFailed as error:
        sys.exit(f"No connection: {error}")
    connection.send(text)
    await factory.wait_closed()  # until the connection is closed
    if str(connection.reason) != "closed":  # not by this side
        sys.exit(f"No answer: {connection.reason} ({connection.detail})")


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
