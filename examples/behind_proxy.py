"""A server behind a proxy on this machine: limits count clients, whose addresses it tells."""

import sys
from typing import Any

from twisted.internet import endpoints, task

from twisted_net import (
    Admission,
    AdmissionRules,
    Connection,
    ConnectionFactory,
    ProxiedEndpoint,
    Ranges,
    serve,
)


class WhoAmI(Connection):
    def message_received(self, line: bytes) -> None:
        self.send(f"You are {getattr(self.peer, 'host', 'unknown')}")


async def main(reactor: Any, port: str = "8080") -> None:
    rules = AdmissionRules(max_per_address=2, accept_rate=10)
    factory = ConnectionFactory.forProtocol(WhoAmI, admission=Admission(rules), rate=5)
    tcp = endpoints.serverFromString(reactor, f"tcp:{port}")
    await serve(reactor, ProxiedEndpoint(tcp, Ranges(["127.0.0.1/32"])), factory)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
