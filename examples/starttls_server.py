"""A server that starts TLS when its client sends STLS, as in POP3 (RFC 2595).

Talk to it: ``openssl s_client -quiet -starttls pop3 -connect localhost:8110``.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task

from twisted_net import Certificates, Connection, serve

CERTIFICATES = Certificates.self_signed()


class Shout(Connection):
    def connected(self) -> None:
        self.send(b"+OK ready; send STLS")

    def message_received(self, line: bytes) -> None:
        if self.is_encrypted:
            self.send(line.upper())
        elif line == b"STLS":
            self.send(b"+OK begin TLS now")  # in plain text
            self.start_tls(CERTIFICATES)  # a client that sent more behind STLS is cut off


async def main(reactor: Any, port: str = "8110") -> None:
    Path("server.pem").write_bytes(CERTIFICATES.pem)  # starttls_client.py trusts this file
    await serve(reactor, f"tcp:{port}", Shout)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
