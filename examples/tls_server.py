"""A TLS server that reloads renewed certificates: ``tls_server.py 8443 chain.pem key.pem``."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import endpoints, task

from twisted_net import (
    CertificateError,
    Certificates,
    CertificateWatch,
    Connection,
    TLSServerEndpoint,
    serve,
)
from twisted_net.eager import eager


class Shout(Connection):
    def message_received(self, line: bytes) -> None:
        self.send(line.upper())


async def main(reactor: Any, port: str = "8443", cert: str = "", key: str = "") -> None:
    try:
        certificates = Certificates.from_files(cert, key) if cert else Certificates.self_signed()
    except CertificateError as error:
        sys.exit(f"Cannot use {error.path}: {error}")
    if not cert:  # tls_client.py trusts this file
        Path("server.pem").write_bytes(certificates.pem)
    CertificateWatch([certificates], reactor).startService()
    tcp = endpoints.serverFromString(eager(reactor), f"tcp:{port}")
    await serve(reactor, TLSServerEndpoint(tcp, certificates), Shout)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
