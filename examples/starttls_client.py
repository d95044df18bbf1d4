"""A client that begins in plain text, starts TLS, and sends nothing of its own before."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from twisted_net import Connection, ConnectionFactory, connect


class Ask(Connection):
    trust: Any
    asked = False

    def message_received(self, line: bytes) -> None:
        if self.is_encrypted:
            print("The server says:", line.decode())
            self.close()
        elif self.asked:  # the second line is the go-ahead
            self.start_tls(optionsForClientTLS("localhost", self.trust))
            self.send("hello")  # it waits until the server's certificate is verified
        else:
            self.send("STLS")
            self.asked = True


async def main(reactor: Any, port: str = "8110", trusted: str = "server.pem") -> None:
    Ask.trust = trustRootFromCertificates([Certificate.loadPEM(Path(trusted).read_bytes())])
    factory = ConnectionFactory.forProtocol(Ask)
    connection = await connect(reactor, ("localhost", int(port)), factory)
    await factory.wait_closed()
    if str(connection.reason) != "closed":
        sys.exit(f"No answer: {connection.reason} ({connection.detail})")


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
