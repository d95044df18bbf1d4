"""The clients that are Python programs: ``python -m tests.foreign.clients NAME URL``.

Each ends with status 0 only if everything that it asked came back right.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import react

SIZE = 50_000_000

SIZES = [1, 125, 126, 65_535, 65_536, 1_000_000]
"""Bytes of WebSocket messages: around the steps of the frame's length field."""


def _agent(reactor: Any) -> Any:
    """Return an agent that accepts the certificate of the test."""
    from twisted.internet.ssl import Certificate, trustRootFromCertificates
    from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

    with open("cert.pem") as file:
        root = trustRootFromCertificates([Certificate.loadPEM(file.read())])
    pool = HTTPConnectionPool(reactor, persistent=True)
    return Agent(reactor, BrowserLikePolicyForHTTPS(root), pool=pool)


async def treq(reactor: Any, url: str) -> None:
    """Ask for small pages on many connections, download, upload, and read a slow stream."""
    import treq as library
    from treq.client import HTTPClient

    client = HTTPClient(_agent(reactor))

    async def get(path: str) -> bytes:
        response = await client.get(url + path)
        assert response.code == 200, response.code
        return bytes(await library.content(response))

    for _ in range(5):
        pages = await gatherResults([ensureDeferred(get("/")) for _ in range(100)])
        assert pages == [b"hello"] * 100
    assert await get("/large") == bytes(SIZE)
    assert await get("/whole") == bytes(SIZE // 10)
    assert await get("/slow") == b"0\n1\n2\n3\n4\nend\n"
    body = os.urandom(SIZE)
    response = await client.post(url + "/upload", body)
    digest = await library.content(response)
    assert digest == hashlib.sha256(body).hexdigest().encode(), digest


async def websocket(reactor: Any, url: str) -> None:
    """Echo messages of many sizes, a thousand of them small, all at once, and close with a code."""
    await _echo(url, [0, *SIZES])


async def websocket_asgi(reactor: Any, url: str) -> None:
    """The same without the empty message, which daphne does not send."""
    await _echo(url, SIZES)


async def _echo(url: str, sizes: list[int]) -> None:
    from autobahn.twisted.websocket import (
        WebSocketClientFactory,
        WebSocketClientProtocol,
        connectWS,
    )
    from twisted.internet.ssl import CertificateOptions

    sent = [os.urandom(size) for size in sizes] + [b"%d" % number for number in range(1000)]
    closed: Deferred[tuple[bool, int | None, int]] = Deferred()

    class Client(WebSocketClientProtocol):  # type: ignore[misc]
        received = 0

        def onOpen(self) -> None:
            for message in sent:
                self.sendMessage(message, True)

        def onMessage(self, payload: bytes, is_binary: bool) -> None:
            if payload != sent[self.received]:
                print(f"message {self.received} came back wrong", file=sys.stderr)
                self.sendClose(3001)
                return
            self.received += 1
            if self.received == len(sent):
                self.sendClose(1000)

        def onClose(self, clean: bool, code: int | None, reason: str) -> None:
            if not closed.called:
                closed.callback((clean, code, self.received))

    factory = WebSocketClientFactory(url)
    factory.protocol = Client
    connectWS(factory, CertificateOptions(verify=False) if factory.isSecure else None)
    assert await closed == (True, 1000, len(sent)), closed


CLIENTS: dict[str, Callable[[Any, str], Awaitable[None]]] = {
    "treq": treq,
    "websocket": websocket,
    "websocket_asgi": websocket_asgi,
}


if __name__ == "__main__":
    name, url = sys.argv[1:3]
    react(lambda reactor: ensureDeferred(CLIENTS[name](reactor, url)))  # type: ignore[arg-type]
