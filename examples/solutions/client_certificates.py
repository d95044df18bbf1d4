"""A TLS server that lets only clients with a certificate of your own CA in, and greets them."""

import sys
from typing import Any

from twisted.internet import endpoints, task

from twisted_net import (
    CertificateError,
    Certificates,
    Connection,
    TLSServerEndpoint,
    peer_subject,
    serve,
)


class Greet(Connection):
    def connected(self) -> None:
        self.send(f"Hello, {peer_subject(self.transport)}.")


async def main(reactor: Any, port: str = "8443") -> None:
    try:
        certificates = Certificates.from_files("server.pem", "server.key", client_ca="ca.pem")
    except CertificateError as error:
        sys.exit(f"Cannot use {error.path}: {error}")
    tcp = endpoints.serverFromString(reactor, f"tcp:{port}")
    await serve(reactor, TLSServerEndpoint(tcp, certificates), Greet)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
