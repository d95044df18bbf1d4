"""A TLS client: it verifies the certificate of the TLS server before it sends anything."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import ConnectFailed, Connection, ConnectionFactory, connect


class Ask(Connection):
    def message_received(self, line: bytes) -> None:
        print("The server says:", line.decode())
        self.close()


async def main(reactor: Any, port: str = "8443", trusted: str = "server.pem") -> None:
    factory = ConnectionFactory.forProtocol(Ask)
    where = ("localhost", int(port))
    try:
        # For a server on the Internet, leave ca= out: the system's CAs are used.
        server = await connect(reactor, where, factory, tls=True, ca=trusted)
    except (ConnectFailed, ValueError) as error:  # ValueError: a bad file
        sys.exit(f"No connection: {error}")
    server.send("hello")
    await factory.wait_closed()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
