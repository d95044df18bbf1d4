"""Services and TLS on Twisted's asyncio reactor."""

from __future__ import annotations

from typing import Any

from tests.live import test_tls
from tests.live.harness import LiveTestCase


class AsyncioTests(LiveTestCase):
    """``twistd --reactor asyncio``."""

    reactor = "asyncio"

    async def serve_on_asyncio(self, service: str, *flags: str) -> tuple[Any, int]:
        """Start a service on a free port."""
        server, port = await self.serve(service, *flags)
        self.assertEqual(len(server.log("AsyncioSelectorReactor")), 1)
        return server, port

    async def test_echo(self) -> None:
        """A megabyte comes back, and the half-close is answered."""
        server, port = await self.serve_on_asyncio("netecho")
        await self.check_echo(port, bytes(range(256)) * 4096)
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_chat(self) -> None:
        """Two users talk."""
        server, port = await self.serve_on_asyncio("netchat")
        ann = self.nc(port)
        await ann.expect(b"You are guest-1 in #lobby")
        bob = self.nc(port)
        await bob.expect(b"You are guest-2 in #lobby")
        ann.write(b"hello\n")
        await bob.expect(b"<guest-1> hello\n")
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_idle(self) -> None:
        """A silent peer is closed."""
        server, port = await self.serve_on_asyncio("netidle", "--idle-timeout", "1")
        client = await self.connect(port)
        await client.closed()
        await server.until(lambda: server.log("ended: idle"), "its line")
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class AsyncioTLSTests(test_tls.ServicesTests):
    """TLS on the socket, on the asyncio reactor."""

    reactor = "asyncio"
