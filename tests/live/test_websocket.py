"""WebSockets on the ports of a chat: beside ``nc``, behind a proxy, and when it is full."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import trustme
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall

from tests.live.harness import LOCALHOST, PATIENCE, Bounding, LiveTestCase, Watched, program
from tests.live.test_haproxy import HAProxyTestCase
from tests.web.sockets import MASK, opening
from twisted_net.wire.websocket import CloseFrame, WebSocket

WS = opening("/ws", "Sec-WebSocket-Protocol: netchat.v1", host="localhost")
PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LINE = b"! The server is full.\n"


def frame(**message: Any) -> bytes:
    """Return a JSON message in the frame of a client."""
    return WebSocket(make_mask=lambda: MASK).encode(json.dumps(message))


def close_frame(reason: str, code: int = 1013) -> bytes:
    """Return a close frame of the server."""
    return WebSocket().encode(CloseFrame(code, reason))


class RefusalTests(LiveTestCase):
    """Everybody is told in what they speak that the server is full."""

    async def test_full(self) -> None:
        directory = self.directory()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
        certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
        server, port = await self.serve(
            *("netchat", "--max-connections", "1", "--web", f"tcp:0:interface={LOCALHOST}"),
            *("--tls-port", "0", "--cert", str(directory / "cert.pem")),
            *("--key", str(directory / "key.pem")),
        )
        web = await server.port(f"--web tcp:0:interface={LOCALHOST}")
        tls = await server.port("--tls-port 0")
        first = await self.connect(port)
        await first.has(b"Welcome")

        start = time.monotonic()
        nc = self.nc(port)
        await nc.until(lambda: nc.output == LINE, "the line")
        self.assertLess(time.monotonic() - start, 5)  # and not after --handshake-timeout

        for each in (port, web):
            browser = await self.connect(each)
            browser.send(WS)
            await browser.has(close_frame("full"))
            self.assertTrue(browser.received.startswith(b"HTTP/1.1 101 "))
            browser.transport.loseConnection()
            await browser.closed()

        openssl = self.spawn(
            *(program("openssl"), "s_client", "-quiet", "-alpn", "http/1.1"),
            *("-connect", f"{LOCALHOST}:{tls}"),
        )
        openssl.write(WS)
        await openssl.until(lambda: close_frame("full") in openssl.output, "the close frame")
        plain = self.spawn(
            program("openssl"), "s_client", "-quiet", "-connect", f"{LOCALHOST}:{tls}"
        )
        await plain.until(lambda: plain.output == LINE, "the line")

        first.send(b"/quit\n")
        await first.closed()
        again = await self.connect(port)
        again.send(WS)
        await again.has(b"HTTP/1.1 101 ")
        again.send(frame(type="hello", nick="web"))
        await again.has(b'"welcome"')


class ReusedTests(HAProxyTestCase):
    """Behind a proxy that sends the requests of many clients on the connections that it has."""

    async def test_an_upgrade_after_pages(self) -> None:
        _, port = await self.serve("netchat")
        (frontend,) = self.proxies((port, "\n    mode http\n    http-reuse always"))
        for number in range(3):
            visitor = await self.connect(frontend)
            visitor.send(PAGE)
            await visitor.has(b"</html>")
            visitor.transport.loseConnection()
            await visitor.closed()
            member = await self.connect(frontend)
            member.send(WS)
            await member.has(b"HTTP/1.1 101 ")
            member.send(frame(type="hello", nick=f"web{number}"))
            await member.has(f'"nick":"web{number}"'.encode())


class Crowd(Watched):
    """Many members, who only count.

    :ivar heard: how many of them have heard each of the marks that are looked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[bytes, int] = {}
        self.lost = 0

    def __repr__(self) -> str:
        return f"a crowd that has heard {self.heard}, {self.lost} gone"


class CrowdMember(Protocol):
    """One of them. It looks for one mark after the other."""

    marks: Sequence[bytes]
    transport: Any

    def __init__(self, crowd: Crowd, marks: Sequence[bytes], first: bytes) -> None:
        self.crowd = crowd
        self._marks = list(marks)
        self._first = first
        self._tail = b""

    def connectionMade(self) -> None:
        if self._first:
            self.transport.write(self._first)

    def dataReceived(self, data: bytes) -> None:
        data = self._tail + data
        while self._marks and self._marks[0] in data:
            mark = self._marks.pop(0)
            self.crowd.heard[mark] = self.crowd.heard.get(mark, 0) + 1
            self.crowd.changed()
        self._tail = data[-100:]

    def connectionLost(self, reason: Any = None) -> None:
        self.crowd.lost += 1
        self.crowd.changed()


class CrowdTests(LiveTestCase):
    """Thousands of members with browsers beside as many with ``nc``, in one room."""

    timeout = 180
    SIZE = int(os.environ.get("CROWD", "2000"))
    SLOW = 20
    MARKS = (b"all-are-here", b"half-are-gone", b"slow-are-gone")

    async def come(self, count: int, make: Callable[[int], CrowdMember], slow: bool) -> list[Any]:
        """Connect some members, not all at a time."""
        from twisted.internet import reactor

        connecting: Any = Bounding() if slow else reactor
        endpoint = TCP4ClientEndpoint(connecting, LOCALHOST, self.port, timeout=PATIENCE)
        members: list[Any] = []
        for begin in range(0, count, 100):
            members += await gatherResults(
                [
                    endpoint.connect(_Making(make, number))  # type: ignore[arg-type]
                    for number in range(begin, min(begin + 100, count))
                ]
            )
        for each in members:
            self.addCleanup(each.transport.abortConnection)
        return members

    async def test_one_room(self) -> None:
        """Half of them vanish, and some read nothing: the others hear everything."""
        server, self.port = await self.serve(
            *("netchat", "--queue-limit", "65536", "--history", "0"),
            *("--joins", "0", "--nicks", "0", "--rate", "0"),
        )
        crowd = Crowd()

        def typing(number: int) -> CrowdMember:
            return CrowdMember(crowd, (b"Welcome", *self.MARKS), b"/nick n%d\n" % number)

        def browsing(number: int) -> CrowdMember:
            hello = frame(type="hello", nick=f"w{number}", room="lobby")
            return CrowdMember(crowd, (b'"welcome"', *self.MARKS), WS + hello)

        def slow(make: Callable[[int], CrowdMember]) -> Callable[[int], CrowdMember]:
            return lambda number: make(self.SIZE + number)

        people = await self.come(self.SIZE, typing, False)
        browsers = await self.come(self.SIZE, browsing, False)
        slow_ones = await self.come(self.SLOW, slow(typing), True)
        slow_ones += await self.come(self.SLOW, slow(browsing), True)
        everybody = 2 * self.SIZE + 2 * self.SLOW

        def have_heard(mark: bytes, count: int) -> Callable[[], bool]:
            return lambda: crowd.heard.get(mark, 0) >= count

        for mark in (b"Welcome", b'"welcome"'):
            await crowd.until(have_heard(mark, everybody // 2), repr(mark), 60)
        for each in slow_ones:
            each.transport.pauseProducing()

        here, gone, last = self.MARKS
        # The two who speak hear nothing of their own, and so nothing that they wait for.
        people[0].transport.write(here + b"\n")
        await crowd.until(have_heard(here, 2 * self.SIZE - 1), "the first mark", 60)

        half = self.SIZE // 2
        for each in (*people[half:], *browsers[half:]):
            each.transport.abortConnection()
        browsers[0].transport.write(frame(type="message", room="lobby", text=gone.decode(), id="1"))
        await crowd.until(have_heard(gone, 2 * half - 2), "the second mark", 60)

        # To fill the buffers of the system takes megabytes: these are for the slow ones alone.
        speaker = people[1].transport
        for each in (speaker, *(each.transport for each in slow_ones[: self.SLOW])):
            each.write(b"/join flood\n")
        for each in slow_ones[self.SLOW :]:
            each.transport.write(frame(type="join", room="flood"))
        flood = LoopingCall(speaker.write, (b"x" * 4000 + b"\n") * 100)
        flood.start(0.1)
        self.addCleanup(lambda: flood.stop() if flood.running else None)
        await server.until(
            lambda: len(server.log("ended: slow")) >= len(slow_ones), "the slow ones' ends", 60
        )
        flood.stop()
        browsers[0].transport.write(frame(type="message", room="lobby", text=last.decode(), id="2"))
        await crowd.until(have_heard(last, 2 * half - 2), "the last mark", 60)
        self.assertEqual(len(server.log("ended: slow")), len(slow_ones))
        self.assertEqual(server.log("(?i)traceback|unhandled"), [])


class _Making(Factory):  # type: ignore[type-arg]
    noisy = False

    def __init__(self, make: Callable[[int], CrowdMember], number: int) -> None:
        self._make = make
        self._number = number

    def buildProtocol(self, addr: Any) -> Any:
        return self._make(self._number)
