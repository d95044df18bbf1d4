"""Loops over messages and waits for the kernel, for :mod:`tests.live.test_loops`.

``python -m tests.live.loop_program REACTOR`` prints one JSON object: what happened over TCP
and over TLS, with Twisted's own transports and with eager ones.
"""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar

from twisted.internet import endpoints, task
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from twisted_net import (
    Certificates,
    Connection,
    ConnectionClosed,
    ConnectionFactory,
    Raw,
    TLSServerEndpoint,
    connect,
)
from twisted_net.eager import eager

LOCALHOST = "127.0.0.1"
LINES = 2000
UPLOAD = bytes(3 << 20)


class Shout(Connection):
    """Answers in its loop."""

    ends: ClassVar[list[str]] = []

    async def connected(self) -> None:  # type: ignore[override]
        try:
            async for line in self:
                if line == b"abort":
                    self.abort()
                self.send(line.upper())
        except ConnectionClosed as error:
            self.ends.append(error.reason.code)
        else:
            self.ends.append("clean")


class Sink(Connection):
    """Reads nothing until it is told to."""

    framing = Raw
    last: Any = None

    def connected(self) -> None:
        type(self).last = self
        self.pause()


async def shout(client: Any) -> list[Any]:
    """Send lines, some of them at once, and close after the last answer."""
    client.send_encoded(b"".join(b"line %d\r\n" % number for number in range(LINES)), LINES)
    seen = 0
    async for line in client:
        assert line == b"LINE %d" % seen, line
        seen += 1
        if seen == LINES:
            client.close()
    return [seen, client.reason.code]


async def upload(reactor: Any, client: Any) -> list[Any]:
    """Send more than the kernel takes, to a peer that does not read until it is waited for."""
    client.send_encoded(UPLOAD)
    flushed = client.flushed()
    while Sink.last is None or not client.is_full:
        await task.deferLater(reactor, 0.001)
    await task.deferLater(reactor, 0)
    before = [flushed.called, client.write_buffer_size > 0]
    Sink.last.resume()
    await flushed
    after = client.write_buffer_size
    client.close()
    while Sink.last.reason is None:
        await task.deferLater(reactor, 0.001)
    sink, Sink.last = Sink.last, None
    return [*before, after, sink.bytes_received]


async def reset(client: Any) -> str:
    """Return how a loop ends whose peer resets the connection."""
    client.send(b"abort")
    try:
        async for _ in client:
            pass
    except ConnectionClosed as error:
        return error.reason.code
    return "clean"


class Client(Connection):
    """Has no hook of its own: its messages are for a loop."""


class Uploader(Client):
    framing = Raw


async def run(reactor: Any) -> dict[str, Any]:
    """Do everything on each kind of transport."""
    found: dict[str, Any] = {}
    certificates = Certificates.self_signed()
    roots = trustRootFromCertificates([Certificate.loadPEM(certificates.pem)])
    for kind in ("stock", "eager"):
        on = reactor if kind == "stock" else eager(reactor)
        for tls in (False, True):
            how: Any = {"tls": True, "trust": roots, "server_name": "localhost"} if tls else {}
            endpoint: Any = endpoints.TCP4ServerEndpoint(on, 0, interface=LOCALHOST)
            if tls:
                endpoint = TLSServerEndpoint(endpoint, certificates)
            where = []
            for protocol in (Shout, Sink):
                port = await endpoint.listen(ConnectionFactory.forProtocol(protocol))
                where.append((LOCALHOST, port.getHost().port))
            found[f"{kind} {'tls' if tls else 'tcp'}"] = [
                await shout(await connect(on, where[0], Client, **how)),
                await upload(reactor, await connect(on, where[1], Uploader, **how)),
                await reset(await connect(on, where[0], Client, **how)),
            ]
    found["ends"] = sorted(Shout.ends)
    return found


async def main(reactor: Any) -> None:
    print(json.dumps({**(await run(reactor)), "reactor": type(reactor).__name__}))


if __name__ == "__main__":
    from twisted.application import reactors

    reactors.installReactor(sys.argv[1])
    task.react(main)
