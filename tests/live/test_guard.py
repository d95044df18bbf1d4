"""Floods, slow and silent peers, full servers and stops, with real servers.

:mod:`tests.live.siege` has the sizes, and can run these tests at full size.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from tests.buffers import more_than_buffers
from tests.live import prober
from tests.live.harness import (
    LOCALHOST,
    PATIENCE,
    Bounded,
    Client,
    LiveTestCase,
    Program,
    Server,
    memory,
    program,
)
from tests.live.siege import full_size, size, tell
from twisted_net.chat.protocol import LINE_TIMEOUTS

NOISE = 5.0
"""Seconds by which a busy machine may be late."""

STILL = 1.0
"""Seconds without progress after which a connection counts as stuck."""

MEBIBYTE = 1 << 20

PLAIN_PEER = 8192 + 4096
"""The most bytes of memory for a slow peer: its incomplete message (netchat's ``--max-message`` is
8 KiB), and a few KiB for the connection and its place in the room."""

TLS_PEER = 65536
"""The most bytes of memory for a peer that never begins its handshake: OpenSSL's state with room
for a record of 16 KiB in each direction, and a few KiB for the connection."""


class Deaf(Bounded):
    """Never reads."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]


class Timed(Client):
    """Records the latency of its lines in ms: each line contains the time it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []
        self._came = time.perf_counter()
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        now = time.perf_counter()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            _, sent, _ = (line + b"||").split(b"|", 2)
            if sent and float(sent) > self._came:  # otherwise it is history
                self.latencies.append((now - float(sent)) * 1000)
        self.changed()


def percentile(latencies: list[float], part: float) -> float:
    """Return a percentile of the latencies."""
    return sorted(latencies)[int(part * (len(latencies) - 1))]


def beside(besieged: list[float], quiet: list[float]) -> str:
    """Format latencies beside those without load."""
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    said = []
    for name, part in parts.items():
        now, before = percentile(besieged, part), percentile(quiet, part)
        said.append(f"{name} {now:.2f} ms (quiet {before:.2f}, x{now / before:.2f})")
    return "latency " + ", ".join(said)


def descriptors(server: Server) -> int:
    """Return the number of a server's file descriptors."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


async def passing(seconds: float) -> None:
    """Wait for a fixed time, if time itself is what the caller tests."""
    from twisted.internet import reactor

    await deferLater(reactor, seconds)  # type: ignore[arg-type]


class GuardCase(LiveTestCase):
    timeout = 600

    async def crowd(self, port: int, count: int, kind: type[Client] = Client) -> list[Any]:
        """Connect many clients, in steps that fit into a server's backlog."""
        clients: list[Any] = []
        while len(clients) < count:
            some = min(200, count - len(clients))
            clients += await self.together(*(self.connect(port, kind) for _ in range(some)))
        return clients

    def repeat(self, call: Any, seconds: float) -> LoopingCall:
        """Call a function repeatedly until the test ends."""
        loop = LoopingCall(call)
        loop.start(seconds)
        self.addCleanup(lambda: loop.stop() if loop.running else None)
        return loop

    async def eventually(self, true: Callable[[], bool]) -> None:
        """Poll for a condition that no event reports."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            self.assertLess(time.monotonic(), deadline)
            await passing(0.05)

    def grown(self, server: Server, before: int, bound: int) -> str:
        """Check how far a server's peak memory exceeds the earlier value, and format it."""
        grown = memory(server.pid, "VmHWM") - before
        self.assertLess(grown, bound)
        return f"memory grew by {grown / MEBIBYTE:.1f} MiB (bound {bound / MEBIBYTE:.0f})"

    def hardly_slower(self, besieged: list[float], quiet: list[float]) -> None:
        """Check that others still get their lines quickly."""
        self.assertLess(percentile(besieged, 0.5), 50 + 10 * percentile(quiet, 0.5))

    def no_traceback(self, server: Server) -> None:
        self.assertNotIn(b"Traceback", server.output + server.errors)

    async def latency(self, port: int, seconds: float, text: bytes = b"") -> list[float]:
        """Let one user talk to another for a while, and return the latencies."""
        listener, speaker = await self.connect(port, Timed), await self.connect(port)
        await speaker.has(b"Welcome")

        def speak() -> None:
            speaker.send(b"|%f|" % time.perf_counter() + text + b"\n")

        talking = self.repeat(speak, 0.02)
        await passing(seconds)
        talking.stop()
        listener.transport.loseConnection()
        speaker.transport.loseConnection()
        self.assertGreater(len(listener.latencies), 10)
        return list(listener.latencies)

    def apart(self, server: Server) -> None:
        """Pin the server to a core of its own, and the clients and the prober to another one."""
        prober.go_before_others(server.pid)
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:])
            self.addCleanup(os.sched_setaffinity, 0, cores)

    async def probe(self, port: int, text: str = "/ping", *flags: str) -> Program:
        """Start a prober, which runs until :meth:`probed`, and wait until it has begun."""
        words = (sys.executable, prober.__file__, str(port), text, *flags)
        running: Program = self.spawn(*words)
        await running.expect(rb"begun\n")
        return running

    async def probed(self, probe: Program) -> list[float]:
        """Return the latency of each answer in ms."""
        probe.end_input()
        self.assertEqual(await probe.ended(), 0, probe)
        latencies: list[float] = json.loads(probe.output.splitlines()[1])
        self.assertGreater(len(latencies), 10)
        return latencies

    async def quiet(self, port: int, text: str = "/ping", *flags: str) -> list[float]:
        """Measure for a while without load."""
        probe = await self.probe(port, text, *flags)
        await passing(4.0 if full_size() else 2.0)
        return await self.probed(probe)


class SlowTests(GuardCase):
    """Peers that send slowly, never read, or never begin."""

    async def test_slowloris(self) -> None:
        """Slow senders are all closed in time, with a reason, and others are hardly affected.

        They look like people who type key by key, who have more time for a line than a program. The
        server's memory grows by at most :data:`PLAIN_PEER` for each.
        """
        count, limit = size("slowloris"), 1.0
        server, port = await self.serve("netchat", "--message-timeout", f"{limit:g}")
        self.apart(server)
        quiet = await self.quiet(port)
        before = memory(server.pid)
        coming = await self.probe(port)
        clients = await self.crowd(port, count)
        arrived = await self.probed(coming)
        probe = await self.probe(port)
        turn = iter(range(1 << 30))

        def drip() -> None:
            for client in clients[next(turn) % 100 :: 100]:
                if client.lost is None:
                    client.send(b"x")

        self.repeat(drip, 0.005)
        began = time.monotonic()
        await self.together(*(each.closed() for each in clients))
        lasted = max(each.ended_at for each in clients) - began
        lines = await server.until(
            lambda: len(found := server.log("ended: unfinished")) >= count and found, "the reasons"
        )
        besieged = await self.probed(probe)
        self.assertEqual(len(lines), count)
        self.assertLess(lasted, limit * (LINE_TIMEOUTS + 1) + 1 + NOISE)
        grown = self.grown(server, before, count * PLAIN_PEER)
        self.hardly_slower(besieged, quiet)
        self.no_traceback(server)
        tell(
            f"{count} slowloris peers, --message-timeout {limit:g}: the last was gone after "
            f"{lasted:.2f} s; {grown}\n"
            f"      while they come: {beside(arrived, quiet)}\n"
            f"      while they drip and are closed: {beside(besieged, quiet)}"
        )

    async def test_never_read(self) -> None:
        """Peers that never read are closed as slow, with bounded memory; others are not
        affected."""
        count, queue = size("never_read"), 65536
        flags = ("--queue-limit", str(queue), "--message-timeout", "0")
        server, port = await self.serve("netchat", *flags)
        self.apart(server)
        readers = await self.crowd(port, count)
        await passing(1)  # in which the joins are announced
        text = b"x" * (4000 if full_size() else 8000)
        probe = await self.probe(port)
        quiet = await self.latency(port, 4.0 if full_size() else 2.0, text)
        quiet_pings = await self.probed(probe)
        for each in readers:
            each.transport.abortConnection()
        before = memory(server.pid, "VmHWM")
        await self.crowd(port, count, Deaf)
        await passing(1)
        began = time.monotonic()
        probe = await self.probe(port)
        # At full size, until they are full and closed.
        besieged = await self.latency(port, 25.0 if full_size() else 2.0, text)
        pings = await self.probed(probe)
        talker = await self.connect(port)
        self.repeat(lambda: talker.send(text + b"\n"), 0.02)
        filling = more_than_buffers() / (50 * len(text))
        await server.until(
            lambda: len(server.log("ended: slow")) >= count, "the reasons", 60 + filling
        )
        lasted = time.monotonic() - began
        # For each: its queue, twice the buffer of a transport, and the joining of data.
        grown = self.grown(server, before, count * (queue + 4 * 65536) + 16 * MEBIBYTE)
        self.hardly_slower(besieged, quiet)
        self.hardly_slower(pings, quiet_pings)
        self.no_traceback(server)
        tell(
            f"{count} that never read, lines of 4 kB at 50/s; quiet is with {count} that read: "
            f"{grown}; all closed as slow within {lasted:.0f} s\n"
            f"      of the lines: {beside(besieged, quiet)}\n"
            f"      of a /ping: {beside(pings, quiet_pings)}"
        )

    async def test_silent_tls_clients(self) -> None:
        """Silent TLS clients are closed after the handshake timeout; others are hardly affected.

        The server's memory grows by at most :data:`TLS_PEER` for each.
        """
        count, limit = size("silent_tls"), 10.0 if full_size() else 2.0
        flags = ("--tls-port", "0", "--self-signed", "--handshake-timeout", f"{limit:g}")
        server, _ = await self.serve("netecho", *flags)
        self.apart(server)
        port = await server.port("--tls-port 0")
        quiet = await self.quiet(port, "still here", "--tls")
        before = memory(server.pid)
        probe = await self.probe(port, "still here", "--tls")
        began = time.monotonic()
        clients = await self.crowd(port, count)
        await self.together(*(each.closed() for each in clients))
        besieged = await self.probed(probe)
        first = min(each.ended_at for each in clients) - began
        last = max(each.ended_at for each in clients) - began
        self.assertGreater(first, limit)
        self.assertLess(last, limit + 1 + NOISE)
        await server.until(lambda: len(server.log("ended: handshake")) >= count, "the reasons")
        self.assertEqual(len(server.log("ended: handshake")), count)
        grown = self.grown(server, before, count * TLS_PEER)
        self.hardly_slower(besieged, quiet)
        self.no_traceback(server)
        tell(
            f"{count} silent TLS clients, --handshake-timeout {limit:g}: gone after {first:.2f} to "
            f"{last:.2f} s; {grown}\n"
            f"      of an echo over TLS: {beside(besieged, quiet)}"
        )


class ManyTests(GuardCase):
    """Peers that connect and close, and peers beyond the limits."""

    async def test_connect_and_close(self) -> None:
        """Neither memory nor the log grows."""
        count = size("connect_and_close")
        server, port = await self.serve("netchat")

        async def come_and_go() -> None:
            client = await self.connect(port)
            client.transport.loseConnection()
            await client.closed()

        async def crowds(number: int) -> None:
            for _ in range(number // 50):
                await self.together(*(come_and_go() for _ in range(50)))

        client = await self.connect(port)
        await client.has(b"Welcome")
        open_before = descriptors(server) - 1
        client.transport.loseConnection()
        await crowds(max(1000, count // 2))
        before = memory(server.pid)
        began = time.monotonic()
        await crowds(count)
        grown = memory(server.pid) - before
        await self.eventually(lambda: descriptors(server) == open_before)
        self.assertLess(grown, 4 * MEBIBYTE)
        self.no_traceback(server)
        tell(
            f"{count} times connect and close, in {time.monotonic() - began:.1f} s: memory grew by "
            f"{grown / 1024:.0f} KiB, descriptors by 0 ({open_before})"
        )

    async def test_a_full_house(self) -> None:
        """The first ten are served, the others rejected; a free place can be used at once."""
        server, port = await self.serve("netchat", "--max-connections", "10")
        clients = [await self.connect(port) for _ in range(20)]
        for each in clients[:10]:
            await each.has(b"Welcome")
        for each in clients[10:]:
            await each.closed()
            self.assertEqual(each.received, b"! The server is full.\n")
        clients[3].transport.loseConnection()
        await clients[3].closed()

        async def try_again() -> bool:
            client = await self.connect(port)
            await client.until(lambda: client.received, "an answer")
            return b"Welcome" in client.received

        tries = 1
        while not await try_again():  # the server learns of the end a little later
            tries += 1
        self.assertLess(tries, 20)
        self.assertEqual(len(server.log("Refused connections")), 1)
        self.no_traceback(server)

    async def test_a_full_house_over_tls(self) -> None:
        """Over TLS, a rejected peer is closed before the handshake, without a traceback."""
        flags = ("--tls-port", "0", "--self-signed", "--max-connections", "2")
        server, _ = await self.serve("netecho", *flags)
        port = await server.port("--tls-port 0")
        clients = [await self.connect(port) for _ in range(5)]
        await self.together(*(each.closed() for each in clients[2:]))
        self.assertEqual([each.lost is None for each in clients[:2]], [True, True])
        self.no_traceback(server)

    def limited(self, limit: int, *arguments: str) -> Server:
        """Start a server with a limit on file descriptors."""
        words = ("/bin/sh", "-c", f'ulimit -n {limit}; exec "$0" "$@"', *self.command(*arguments))
        server: Server = self.spawn(*words, kind=Server)
        return server

    async def test_out_of_descriptors(self) -> None:
        """Without free descriptors, the server keeps its connections, logs it once, and
        recovers."""
        flags = ("netecho", "--port", "0", "--interface", LOCALHOST)
        server = self.limited(64, *flags, "--max-connections", "0")
        port = await server.port()
        clients = []
        for _ in range(100):
            client = await self.connect(port)
            client.send(b"hello")
            await client.until(lambda each=client: each.received or each.lost, "an end")
            clients.append(client)
        served = [each for each in clients if each.lost is None]
        self.assertTrue(30 < len(served) < 64, len(served))
        for each in served:
            each.send(b" still here")
        await self.together(*(each.has(b"hello still here") for each in served))
        for each in served[:10]:
            each.transport.loseConnection()
        await self.together(*(each.closed() for each in served[:10]))
        await self.eventually(lambda: descriptors(server) < 60)
        again = await self.connect(port)
        again.send(b"hello")
        await again.has(b"hello")
        lines = server.log("could not be accepted|EMFILE")
        self.assertEqual(len(lines), 1, lines)
        self.no_traceback(server)
        tell(f"64 descriptors: {len(served)} of 100 served; {lines[0]!r}")

    async def test_by_default_it_does_not_come_to_that(self) -> None:
        """By default, the limit on connections is below that on descriptors."""
        server = self.limited(200, "netchat", "--port", "0", "--interface", LOCALHOST)
        clients = await self.crowd(await server.port(), 150)
        for each in clients:
            await each.until(lambda each=each: each.received, "an answer")
        full = [each for each in clients if each.received.startswith(b"! The server is full")]
        self.assertEqual(len(full), 150 - (200 - 64))
        self.assertEqual(server.log("could not be accepted"), [])


class Talker(Client):
    """Sends numbered lines until the server says goodbye."""

    number = 0
    said = 0

    def say(self) -> None:
        if self.lost is None:
            self.said += 1
            self.send(b"said %d %d\n" % (self.number, self.said))

    def heard(self) -> list[tuple[int, int]]:
        """Return sender and number of the lines, in the order of their arrival."""
        found = []
        for line in bytes(self.received).split(b"\n"):
            words = line.split()
            if len(words) == 4 and words[1] == b"said":
                found.append((int(words[2]), int(words[3])))
        return found


@implementer(IPushProducer)
class Stubborn(Bounded):
    """Sends without reading.

    :ivar given: the number of bytes passed to its transport.
    """

    full = False
    given = 0

    def flood(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.full = False
        while not self.full:
            self.send(b"x" * 65536)
            self.given += 65536

    def pauseProducing(self) -> None:
        self.full = True
        self.changed()

    def stopProducing(self) -> None:
        self.full = True


class StopTests(GuardCase):
    async def test_under_load(self) -> None:
        """All get the same lines in the same order up to the goodbye, and no partial line."""
        count = size("talkers")
        server, port = await self.serve("netchat", "--drain", "8")
        clients = await self.crowd(port, count, Talker)
        await self.together(*(each.has(b"Welcome") for each in clients))
        for number, each in enumerate(clients):
            each.number = number
        turn = iter(range(1 << 30))

        def talk() -> None:
            for _ in range(5):
                clients[next(turn) % count].say()

        self.repeat(talk, 0.05)
        await clients[0].until(lambda: len(clients[0].heard()) > 200, "some talk")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await self.together(*(each.closed() for each in clients))
        await server.ended()
        lasted = time.monotonic() - began
        heard = 0
        order = max((each.heard() for each in clients), key=len)
        place = {message: at for at, message in enumerate(order)}
        for each in clients:
            self.assertTrue(each.received.endswith(b"\n* The server is restarting.\n"), each)
            messages = each.heard()
            heard += len(messages)
            self.check_order(each.number, messages, order, place)
        self.assertLess(lasted, 8 + NOISE)
        self.no_traceback(server)
        tell(
            f"SIGTERM with {count} talking, --drain 8: {lasted:.1f} s; {heard} lines heard by all, "
            f"none missing, none out of order, none cut; the last line of each is the goodbye"
        )

    def check_order(self, me: int, messages: Any, order: Any, place: Any) -> None:
        """Check that a client got the beginning of the common order, without its own lines."""
        known = [message for message in messages if message in place]
        self.assertEqual(max(Counter(messages).values(), default=1), 1, "nothing twice")
        if not known:
            return
        upto = place[known[-1]]
        self.assertEqual(known, [each for each in order[: upto + 1] if each[0] != me])
        # The client that defines the order did not get its own lines: only these may be missing.
        self.assertLessEqual(len({each[0] for each in messages} - {each[0] for each in order}), 1)

    async def stuck(self, client: Stubborn) -> None:
        """Wait until the server takes no more data from a client, as far as that is visible."""
        given = -1
        while given != client.given:
            given = client.given
            await passing(STILL)
        self.assertTrue(client.full)

    async def test_a_second_signal(self) -> None:
        """A second signal of either kind ends the server at once, whoever is still connected."""
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            server, port = await self.serve("netecho", "--drain", "60", "--queue-limit", "99999999")
            client = await self.connect(port, Stubborn)
            client.send(b"hello")
            await client.has(b"hello")  # the server is running, not only listening
            client.flood()
            await self.stuck(client)
            server.signal(first)
            await server.until(lambda each=server: each.log("Port .* Closed"), "the first signal")
            self.assertIsNone(client.lost)
            server.signal(second)
            began = time.monotonic()
            self.assertEqual(await server.ended(), -first)
            self.assertLess(time.monotonic() - began, NOISE)
            self.assertEqual(len(server.log("while stopping")), 1, server)
            self.no_traceback(server)


class WebTests(GuardCase):
    """``twistd web`` behind the guard, without any code."""

    def web(self, where: str, *flags: str) -> Server:
        # It logs warnings, which the environment of a test may turn into errors.
        without = ("PYTHONWARNINGS",)
        return self.twistd("web", "--listen", where, *flags, without=without)

    async def test_it_is_guarded(self) -> None:
        directory = self.directory()
        data = bytes(range(256)) * 40_000
        (directory / "large").write_bytes(data)
        where = f"net:0:interface={LOCALHOST}:idle=1:maxConnections=2:perAddress=20"
        server = self.web(where, "--path", str(directory))
        await server.until(lambda: server.log(r"starting on \d+"), "it to listen")
        port = int(server.log(r"starting on \d+")[0].rpartition(" ")[2])
        client = await self.connect(port)
        client.send(b"GET /large HTTP/1.0\r\n\r\n")
        await client.closed()
        head, _, body = bytes(client.received).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.0 200"), head)
        self.assertEqual((len(body), body == data), (len(data), True))
        began = time.monotonic()
        silent = [await self.connect(port) for _ in range(3)]
        await silent[2].closed()
        self.assertLess(silent[2].ended_at - began, 1 + NOISE)
        await self.together(*(each.closed() for each in silent))
        self.assertTrue(all(each.ended_at - began > 1 for each in silent[:2]))
        await server.until(lambda: len(server.log("ended: idle")) == 2, "the reasons")
        self.assertEqual(len(server.log("Refused connections since the last line: full 1")), 1)
        self.no_traceback(server)
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), -signal.SIGTERM)

    async def test_over_tls(self) -> None:
        """``curl`` verifies the certificate, and many requests share a connection."""
        directory, files = self.directory(), self.directory()
        data = bytes(range(256)) * 40_000
        (directory / "large").write_bytes(data)
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            files / "localhost.pem"
        )
        authority.cert_pem.write_to_path(files / "ca")
        where = f"nettls:0:interface={LOCALHOST}:dir={files}:idle=5"
        server = self.web(where, "--path", str(directory))
        await server.until(lambda: server.log(r"starting on \d+"), "it to listen")
        port = int(server.log(r"starting on \d+")[0].rpartition(" ")[2])
        url = f"https://localhost:{port}/large"
        for version in ("--tlsv1.3",), ("--tls-max", "1.2"):
            flags = ("-sS", "-4", "--cacert", str(files / "ca"), *version)
            curl = self.spawn(program("curl"), *flags, *[url] * 3)
            self.assertEqual(await curl.ended(), 0, curl)
            self.assertEqual(bytes(curl.output) == data * 3, True, len(curl.output))
        self.no_traceback(server)

    async def test_errors(self) -> None:
        """Errors are in the last line of the output."""
        server = self.web("net:8080:idel=1")
        self.assertNotEqual(await server.ended(), 0)
        said = (server.output + server.errors).decode().strip().splitlines()
        self.assertIn("idel=1: unknown option; the options are idle,", said[-1])
