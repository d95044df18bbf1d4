"""Tests for :mod:`twisted_net.services.idle` with real programs."""

from __future__ import annotations

import socket
import time

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from tests.buffers import more_than_buffers
from tests.live.harness import LOCALHOST, Bounded, Client, LiveTestCase, Server

LIMIT = 1.0
"""The idle limit of these tests, in seconds."""

GRACE = 5.0
"""Seconds until a closing peer is aborted: the service's default."""

NOISE = 3.0
"""Seconds by which a busy machine may be late."""


@implementer(IHalfCloseableProtocol)
class Careful(Client):
    """An upstream that supports half-close, and may still answer."""

    finished = False

    def readConnectionLost(self) -> None:
        self.finished = True
        self.changed()

    def writeConnectionLost(self) -> None:
        """Do nothing: this is its own half-close."""


@implementer(IPushProducer)
class Flood(Bounded):
    """An upstream that never stops sending."""

    def connectionMade(self) -> None:
        self._full = False
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._full = False
        while not self._full:
            self.transport.write(b"flood " * 10000)

    def pauseProducing(self) -> None:
        self._full = True

    def stopProducing(self) -> None:
        self._full = True


async def speak_for(client: Client, seconds: float) -> None:
    """Send data frequently for some time."""
    from twisted.internet import reactor

    speaking = LoopingCall(client.send, b".")
    speaking.clock = reactor
    ending = deferLater(reactor, seconds, speaking.stop)  # type: ignore[arg-type]
    await speaking.start(LIMIT / 10)
    await ending


class IdleCase(LiveTestCase):
    async def is_closed_when_silent(self, server: Server, port: int) -> None:
        """Check that a client is closed soon after its silence has exceeded the limit."""
        client = await self.connect(port)
        await speak_for(client, 2 * LIMIT)
        self.assertIsNone(client.lost)
        client.send(b"the last")
        spoke_at = time.monotonic()
        await client.closed()
        self.assertGreaterEqual(client.ended_at - spoke_at, LIMIT)
        self.assertLess(client.ended_at - spoke_at, LIMIT + 1 + NOISE)
        await server.until(lambda: server.log("ended: idle"), "the line in the log")


class DiscardTests(IdleCase):
    """Without an upstream."""

    async def test_what_is_sent_is_read_and_forgotten(self) -> None:
        """A megabyte through nc is discarded: nothing comes back, then the end."""
        _, port = await self.serve("netidle")
        nc = self.nc(port, "-N")
        nc.write(b"x" * (1 << 20))
        nc.end_input()
        self.assertEqual(await nc.ended(), 0)
        self.assertEqual(bytes(nc.output), b"")

    async def test_silence_ends_it(self) -> None:
        """A client is closed between S and S + 1 seconds after its last byte."""
        server, port = await self.serve("netidle", "--idle-timeout", f"{LIMIT:g}")
        await self.is_closed_when_silent(server, port)

    async def test_zero_is_never(self) -> None:
        """With a limit of 0, a silent client stays, while one with a limit is closed."""
        _, never = await self.serve("netidle", "--idle-timeout", "0")
        _, limited = await self.serve("netidle", "--idle-timeout", f"{LIMIT:g}")
        stays = await self.connect(never)
        goes = await self.connect(limited)
        await goes.closed()
        self.assertIsNone(stays.lost)


class UpstreamTests(IdleCase):
    """In front of another service."""

    async def test_it_forwards_both_ways(self) -> None:
        """All bytes and half-closes are forwarded in both directions."""
        _, echo = await self.serve("netecho")
        _, port = await self.serve("netidle", "--upstream", f"tcp:{LOCALHOST}:{echo}")
        await self.check_echo(port, bytes(range(256)) * 8192)

    async def test_an_upstream_hears_that_the_client_has_finished(self) -> None:
        """The client's half-close reaches the upstream, whose answer comes back."""
        upstream = self.listen(Careful)
        _, port = await self.serve("netidle", "--upstream", upstream.endpoint)
        nc = self.nc(port, "-N")
        nc.write(b"question")
        nc.end_input()
        asked = await upstream.hears(b"question")
        await upstream.until(lambda: asked.finished, "the end of the question")
        asked.send(b"answer")
        asked.transport.loseConnection()
        self.assertEqual(await nc.ended(), 0)
        self.assertEqual(bytes(nc.output), b"answer")

    async def test_a_client_hears_that_the_upstream_has_finished(self) -> None:
        """After the upstream's half-close, the client can still send."""
        upstream = self.listen(Careful)
        _, port = await self.serve("netidle", "--upstream", upstream.endpoint)
        client = await self.connect(port, Careful)
        client.send(b"hello")
        spoken_to = await upstream.hears(b"hello")
        spoken_to.send(b"all that there is")
        spoken_to.transport.loseWriteConnection()
        await client.until(lambda: client.finished, "the upstream's end")
        self.assertEqual(bytes(client.received), b"all that there is")
        client.send(b", thank you")
        await spoken_to.has(b"hello, thank you")

    async def test_an_idle_pair_is_closed(self) -> None:
        """Silence on both sides closes both, between S and S + 1 seconds after the last byte."""
        _, echo = await self.serve("netecho")
        server, port = await self.serve(
            "netidle", "--idle-timeout", f"{LIMIT:g}", "--upstream", f"tcp:{LOCALHOST}:{echo}"
        )
        await self.is_closed_when_silent(server, port)

    async def test_who_only_listens_is_not_idle(self) -> None:
        """While the upstream sends, its client may be silent."""
        upstream = self.listen()
        _, port = await self.serve(
            "netidle", "--idle-timeout", f"{LIMIT:g}", "--upstream", upstream.endpoint
        )
        client = await self.connect(port)
        client.send(b"begin")
        speaker = await upstream.hears(b"begin")
        await speak_for(speaker, 3 * LIMIT)
        self.assertIsNone(client.lost)

    async def test_who_does_not_read_is_closed_and_then_aborted(self) -> None:
        """A silent client that does not read is closed too, and aborted after the grace."""
        upstream = self.listen(Flood)
        server, port = await self.serve(
            "netidle", "--idle-timeout", f"{LIMIT:g}", "--upstream", upstream.endpoint
        )
        began = time.monotonic()
        client = await self.connect(port, Bounded)
        client.transport.pauseProducing()
        await server.until(lambda: server.log(f"{client.address} ended: idle"), "the log's line")
        took = time.monotonic() - began
        self.assertGreaterEqual(took, LIMIT + GRACE)
        self.assertLess(took, LIMIT + 1 + GRACE + 1 + NOISE)

    async def test_a_pair_that_is_stuck_is_closed(self) -> None:
        """If a client sends to an echo and never reads, nothing moves, so both are closed."""
        _, echo = await self.serve("netecho")
        server, port = await self.serve(
            "netidle", "--idle-timeout", f"{LIMIT:g}", "--upstream", f"tcp:{LOCALHOST}:{echo}"
        )
        client = await self.connect(port, Bounded)
        client.transport.pauseProducing()
        client.send(b"x" * more_than_buffers(between=2))  # to the echo and back
        await server.until(
            lambda: server.log(f"{client.address} ended: idle"),
            "the log's line",
            LIMIT + 1 + GRACE + 1 + 4 * NOISE,
        )

    async def test_an_upstream_that_is_down(self) -> None:
        """The client is closed, and the log has one line about it; the service continues."""
        reserved = socket.socket()
        self.addCleanup(reserved.close)
        reserved.bind((LOCALHOST, 0))  # bound, so nothing else listens there
        where = f"tcp:{LOCALHOST}:{reserved.getsockname()[1]}"
        server, port = await self.serve("netidle", "--upstream", where)
        await server.until(lambda: server.log("cannot be reached yet"), "its warning")
        client = await self.connect(port)
        await client.closed()
        self.assertEqual(bytes(client.received), b"")
        again = await self.connect(port)
        await again.closed()
        await server.until(lambda: server.log(again.address), "its lines")
        self.assertEqual(len(server.log(client.address)), 1, server.log(client.address))
        self.assertEqual(server.log("Traceback|Unhandled"), [])
        reserved.listen()
        waits = await self.connect(port)
        waits.send(b"hello")
        connection, _ = reserved.accept()
        self.addCleanup(connection.close)
