"""The filter for fail2ban finds the addresses of refused clients in real logs."""

from __future__ import annotations

from typing import Any

from tests.fail2ban import banned
from tests.live.harness import LOCALHOST, LiveTestCase


class LogTests(LiveTestCase):
    async def banned_by(self, server: Any, count: int = 1) -> None:
        """Wait until the log of a server leads to a ban of this machine."""

        def found() -> list[str]:
            lines = (server.output + server.errors).decode(errors="replace").splitlines()
            return [each for each in map(banned, lines) if each is not None]

        await server.until(lambda: len(found()) >= count, "a line for fail2ban")
        self.assertEqual(set(found()), {LOCALHOST})

    async def test_denied(self) -> None:
        """A client that may not connect, with every service."""
        for service in ("netecho", "netidle", "netchat"):
            server, port = await self.serve(service, "--deny", "127.0.0.0/8")
            client = await self.connect(port)
            await client.closed()
            await self.banned_by(server)

    async def test_behind_an_endpoint_string(self) -> None:
        """The same with ``net:`` in front of another service of Twisted's."""
        endpoint = f"net:0:interface={LOCALHOST}:deny=127.0.0.0/8"
        server = self.twistd("web", "--listen", endpoint)
        port = int((await server.expect(rb"starting on (\d+)"))[1])
        client = await self.connect(port)
        await client.closed()
        await self.banned_by(server)

    async def test_a_failed_handshake(self) -> None:
        """A client that speaks plain text on a port for TLS; a client that behaves is not found."""
        server, port = await self.serve("netecho", "--self-signed", "--tls-port", "0")
        good = await self.connect(port)
        good.transport.loseConnection()
        await good.closed()
        bad = await self.connect(await server.port("--tls-port 0"))
        bad.send(b"GET / HTTP/1.0\r\n\r\n")
        await bad.closed()
        await self.banned_by(server)
