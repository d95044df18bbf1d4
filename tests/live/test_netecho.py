"""Tests for :mod:`twisted_net.services.echo` with real programs."""

from __future__ import annotations

import hashlib
import os
import signal

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from tests.buffers import MANY, most_held
from tests.live.harness import Bounded, LiveTestCase, memory

STILL = 1.5
"""Seconds without progress after which a connection counts as blocked."""

GIGABYTE = 1 << 30


@implementer(IPushProducer)
class Pusher(Bounded):
    """Sends up to a gigabyte as fast as possible, and does not read until :meth:`end`.

    :ivar given: the number of bytes passed to its transport.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given = 0
        self.arrived = 0
        self._piece = os.urandom(1 << 16)
        self._full = False
        self._ends = False
        self._sent, self._seen = hashlib.sha256(), hashlib.sha256()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()

    def push(self) -> None:
        """Start sending."""
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._full = True
        self.changed()

    def resumeProducing(self) -> None:
        self._full = False
        while not self._full and not self._ends and self.given < GIGABYTE:
            self.given += len(self._piece)
            self._sent.update(self._piece)
            self.transport.write(self._piece)
        self.changed()

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone."""

    def end(self) -> None:
        """Stop sending, and read everything."""
        self._ends = True
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self.arrived += len(data)
        self._seen.update(data)

    @property
    def unchanged(self) -> bool:
        """Whether everything came back unchanged."""
        return self._sent.digest() == self._seen.digest()

    async def blocked(self) -> None:
        """Wait until the server takes no more."""
        given = -1
        while given != self.given:
            given = self.given
            try:
                await self.until(lambda: self.given != given, "it to go on", STILL)  # noqa: B023
            except AssertionError:
                return


class EchoTests(LiveTestCase):
    """Every byte comes back."""

    async def test_megabytes_come_back_as_they_were(self) -> None:
        """Binary data through nc, which then half-closes: everything comes back, then the end."""
        _, port = await self.serve("netecho")
        await self.check_echo(port, os.urandom(4 << 20))

    async def test_who_has_finished_gets_its_answer(self) -> None:
        """A half-closed connection is answered, then closed."""
        _, port = await self.serve("netecho")
        client = await self.connect(port)
        client.send(b"\x00\xff\r\n\xff\xf4")
        client.transport.loseWriteConnection()
        await client.closed()
        self.assertEqual(bytes(client.received), b"\x00\xff\r\n\xff\xf4")

    async def test_who_does_not_read_is_not_read(self) -> None:
        """A client that sends and never reads is paused, and costs under 1 MiB of memory.

        When it reads, everything that was taken from it comes back unchanged.
        """
        server, port = await self.serve("netecho")
        first = await self.connect(port)
        first.send(b"x" * (1 << 20))  # allocate what the first megabyte costs
        await first.until(lambda: len(first.received) == 1 << 20, "a megabyte")
        before = memory(server.pid)
        pusher: Pusher = await self.connect(port, Pusher)
        pusher.push()
        await pusher.blocked()
        growth = memory(server.pid, "VmHWM") - before
        self.assertLess(growth, 1 << 20)
        # The data waits in the kernel's buffers of two sockets on each side.
        self.assertLess(pusher.given, most_held() + MANY)
        first.send(b"still here")
        await first.has(b"still here")
        pusher.end()
        await pusher.closed()
        self.assertEqual(pusher.arrived, pusher.given)
        self.assertTrue(pusher.unchanged)

    async def test_every_end_is_in_the_log(self) -> None:
        """However the process ends, each connection has one line, before what was logged later."""
        for self.reactor in ("eager", "epoll"):
            for number in (signal.SIGTERM, signal.SIGINT):
                server, port = await self.serve("netecho")
                clients = [await self.connect(port) for _ in range(40)]
                for client in clients:
                    client.send(b"hello")
                await self.together(*(client.has(b"hello") for client in clients))
                for client in clients[:20]:
                    client.transport.loseConnection()
                server.signal(number)
                await server.ended()
                lines = server.log()
                ends = server.log(r"Connection \d+ from .* ended: (peer-closed|draining)")
                known = {line.split(" from ")[1].split()[0] for line in ends}
                self.assertEqual(known, {client.address for client in clients})
                self.assertEqual(len(ends), 40)
                self.assertLess(lines.index(ends[-1]), len(lines) - 1)
                self.assertIn("Server Shut Down", lines[-1])

    async def test_a_silent_client_is_closed(self) -> None:
        """``--idle-timeout`` applies to every service."""
        _, port = await self.serve("netecho", "--idle-timeout", "1")
        nc = self.nc(port, "-d")  # without -d, it also waits for its input
        self.assertEqual(await nc.ended(), 0)
