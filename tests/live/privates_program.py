"""Echo over transports of each kind, for :mod:`tests.live.test_privates`.

``python -m tests.live.privates_program`` prints one JSON object: the classes of the transports, and
the warnings in the log.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from twisted_net import (
    Certificates,
    Connection,
    EchoFactory,
    ReconnectingClient,
    TLSSessions,
    connect,
    session_reused,
)
from twisted_net.eager import eager
from twisted_net.echo import EchoProtocol
from twisted_net.endpoints.descriptors import log_rarely
from twisted_net.endpoints.strings import parse_net, tcp_endpoint
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.services.echo import Options

LOCALHOST = "127.0.0.1"
LINE = b"x" * 10_000

warnings: list[str] = []
failures: list[str] = []


def observe(event: LogEvent) -> None:
    """Keep warnings and errors."""
    level = event.get("log_level")
    if level is LogLevel.warn:
        warnings.append(formatEvent(event))
    elif level is not None and level > LogLevel.warn:
        failures.append(formatEvent(event))


class Client(Connection):
    """Sends a line and waits for it."""

    def connected(self) -> None:
        self.echoed: Deferred[bytes] = Deferred()
        self.send(LINE)

    def message_received(self, message: bytes) -> None:
        self.echoed.callback(message)


class StockEcho(Protocol):
    """Echo without a class of this package."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def kinds(transport: Any) -> list[str]:
    """Return the classes of a transport and of all transports below it, outermost first."""
    found = []
    while transport is not None:
        cls = type(transport)
        found.append(f"{cls.__module__}.{cls.__name__}")
        transport = getattr(transport, "transport", None)
    return found


class NotingEcho(EchoProtocol):
    """Echo that records its transports."""

    last: ClassVar[list[str]] = []

    def connected(self) -> None:
        self.last[:] = kinds(self.transport)


async def echo(client: Connection) -> list[str]:
    """Check that a connection is echoed, and return the classes of its transports."""
    assert isinstance(client, Client)
    assert await client.echoed == LINE
    found = kinds(client.transport)
    client.close()
    return found


async def run(reactor: Any) -> dict[str, Any]:
    """Echo over TCP, over Twisted's endpoints and protocols, over TLS, and with a service."""
    found: dict[str, Any] = {}
    factory = EchoFactory.forProtocol(NotingEcho)
    port = await tcp_endpoint(reactor, 0, LOCALHOST).listen(factory)
    log_rarely(port, reactor)
    where = (LOCALHOST, port.getHost().port)
    found["tcp client"] = await echo(await connect(reactor, where, Client))
    found["tcp server"] = [*NotingEcho.last]

    service = ReconnectingClient(reactor, where, Client)
    service.startService()
    found["service"] = await echo(await service.whenConnected())
    await service.stopService()

    flags = Options()
    flags.parseOptions(["--port", "0", "--interface", LOCALHOST])
    (listener,) = flags.listeners(reactor)
    port = await listener.endpoint.listen(EchoFactory.forProtocol(NotingEcho))
    await echo(await connect(reactor, (LOCALHOST, port.getHost().port), Client))
    found["--port"] = [*NotingEcho.last]

    guarded = parse_net(reactor, "0", interface=LOCALHOST)  # the endpoint "net:0"
    port = await guarded.listen(EchoFactory())
    where = (LOCALHOST, port.getHost().port)
    found["net:"] = await echo(await connect(reactor, where, Client))

    stock = endpoints.serverFromString(eager(reactor), f"tcp:0:interface={LOCALHOST}")
    stock_port = await stock.listen(Factory.forProtocol(StockEcho))
    where = (LOCALHOST, stock_port.getHost().port)
    found["eager()"] = await echo(await connect(reactor, where, Client))

    certificates = Certificates.self_signed()
    listening = TLSServerEndpoint(tcp_endpoint(reactor, 0, LOCALHOST), certificates)
    where = (LOCALHOST, (await listening.listen(factory)).getHost().port)
    roots = trustRootFromCertificates([Certificate.loadPEM(certificates.pem)])
    sessions = TLSSessions()
    for _ in range(2):
        client = await connect(
            *(reactor, where, Client),
            tls=True,
            trust=roots,
            server_name="localhost",
            sessions=sessions,
        )
        found["tls client"] = await echo(client)
        session_reused(client.transport)
    found["tls server"] = [*NotingEcho.last]
    return found


async def main(reactor: Any) -> None:
    globalLogPublisher.addObserver(observe)
    found = await run(reactor)
    print(json.dumps({"found": found, "warnings": warnings, "failures": failures}))


if __name__ == "__main__":
    task.react(main)
