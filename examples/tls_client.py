"""A TLS client: it verifies the certificate of the TLS server before it sends anything."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from twisted_net import ConnectFailed, Connection, ConnectionFactory, connect


class Ask(Connection):
    def message_received(self, line: bytes) -> None:
        print("The server says:", line.decode())
        self.close()


async def main(reactor: Any, port: str = "8443", trusted: str = "server.pem") -> None:
    # For a server on the Internet, leave trust= out: the system's CAs are used.
    trust = trustRootFromCertificates([Certificate.loadPEM(Path(trusted).read_bytes())])
    factory = ConnectionFactory.forProtocol(Ask)
    try:
        server = await connect(reactor, ("localhost", int(port)), factory, tls=True, trust=trust)
    except ConnectFailed as error:
        sys.exit(f"No connection: {error}")
    server.send("hello")
    await factory.wait_closed()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
