"""A TLS server: the same connections, behind a certificate from files or made on the spot.

Run ``python tls_server.py``, or ``python tls_server.py 8443 fullchain.pem privkey.pem``.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import defer, endpoints, task
from twisted.internet.ssl import Certificate

from twisted_net.transport.connection import Connection, ConnectionFactory
from twisted_net.transport.tls import self_signed_options, server_options


class Shout(Connection):
    def message_received(self, line: bytes) -> None:
        self.send(line.upper())


async def main(reactor: Any, port: str = "8443", cert: str = "", key: str = "") -> None:
    if cert:
        options = server_options(cert, key)
    else:  # for development; tls_client.py trusts what is in this file
        options, _ = self_signed_options(datetime.now(UTC))
        Path("server.pem").write_bytes(Certificate(options.certificate).dumpPEM())
    endpoint = endpoints.SSL4ServerEndpoint(reactor, int(port), options)
    listening = await endpoint.listen(ConnectionFactory.forProtocol(Shout))
    print("Listening on port", listening.getHost().port)
    await defer.Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
