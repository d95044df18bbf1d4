"""Upgrade netchat in place, again and again, under load: ``python -m tests.live.upgrades``.

People, programs, browsers and Unix connections talk in rooms of twenty, while the server is
upgraded. Every message must arrive once and in order: programs see it by the offsets, and what
people see is compared with that, byte by byte. A few connections read nothing for a while, so that
bytes wait for them in the server. With ``--idle N``, N connections to netecho that do nothing are
moved as well; with ``--streams N``, N byte streams through netecho and netidle are compared. With
``--workers N``, each service has so many workers, which are upgraded, and then the supervisor.

It prints what was closed, lost, doubled or out of order, and the longest silence.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.live.upgrade_streams import EchoServer, connect_streams, problems, talk

MEMBERS = 20
"""Connections in each room."""

BURST, SIZE = 1500, 7000
"""Messages in the burst for slow readers, and their bytes: more than the kernel's buffers take."""

QUIET = ("--joins", "0", "--new-rooms", "0", "--nicks", "0", "--rate", "0", "--drain", "2")
FLAGS = (
    *QUIET,
    "--heartbeat",
    "1000",
    "--queue-limit",
    "100000000",
    "--memory-budget",
    "0",
    "--history",
    "0",
)


class Client(asyncio.Protocol):
    """A client of the chat, of one of four kinds.

    :ivar seen: the texts of the messages in its room, in order.
    :ivar wrong: what must not happen.
    """

    def __init__(self, kind: str, room: str) -> None:
        self.kind = kind
        self.room = room
        self.seen: list[str] = []
        self.wrong: list[str] = []
        self.own: list[str] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = time.monotonic()
        self.longest = 0.0
        self.is_probe = False
        self.may_close = False
        self._offset = 0
        self._data = b""
        self._opened = kind != "websocket"

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.kind == "websocket":
            key = base64.b64encode(os.urandom(16)).decode()
            transport.write(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: netchat.v1\r\n\r\n".encode()
            )
        elif self.kind == "text":
            transport.write(f"/join {self.room}\n/leave lobby\n".encode())
        if self.kind != "text":
            self.ask(type="hello", room=self.room)

    def ask(self, **request: Any) -> None:
        """Send a request of the JSON form."""
        data = json.dumps(request).encode()
        if self.kind != "websocket":
            self.transport.write(data + b"\n")
            return
        size = len(data)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2)
        self.transport.write(head + bytes(4) + data)

    def say(self, text: str) -> None:
        """Send a message to the room."""
        self.own.append(text)
        if self.kind == "text":
            self.transport.write(f"{text}\n".encode())
        else:
            self.ask(type="message", room=self.room, text=text, id=f"{len(self.own)}")

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self.is_probe:
            self.longest = max(self.longest, now - self.heard)
        self.heard = now
        self._data += data
        if not self._opened:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self.wrong.append(head.decode())
            self._opened, self._data = True, rest
        if self.kind == "websocket":
            self._read_frames()
            return
        *lines, self._data = self._data.split(b"\n")
        for line in lines:
            self._read_text(line) if self.kind == "text" else self._read_json(line)

    def _read_frames(self) -> None:
        while len(self._data) >= 2:
            size, start = self._data[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(self._data[2:start])
            if len(self._data) < start + size:
                return
            first, frame = self._data[0], self._data[start : start + size]
            self._data = self._data[start + size :]
            if first & 15 == 1:
                self._read_json(frame)

    def _read_text(self, line: bytes) -> None:
        text = line.decode()
        if "m-" in text:
            self.seen.append(text.partition("> ")[2])
        elif text.startswith("! "):
            self.wrong.append(text)
        elif "You left #lobby" in text or ("#lobby" in text and "left" in text):
            self._is_ready()

    def _read_json(self, line: bytes) -> None:
        found = json.loads(line)
        match found["type"]:
            case "message":
                self._next(found["offset"])
                self.seen.append(found["text"])
            case "ack":
                self._next(found["offset"])
                self.seen.append(self.own[int(found["id"]) - 1])
            case "joined":
                self._offset = found["offset"]
                self._is_ready()
            case "error" | "goodbye":
                self.wrong.append(line.decode())

    def _next(self, offset: int) -> None:
        if offset != self._offset + 1:
            self.wrong.append(f"{self.room}: offset {offset} follows {self._offset}")
        self._offset = offset

    def _is_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.may_close:
            self.wrong.append(f"{self.kind} closed: {error}")
            self._is_ready()


class Server:
    """A service under twistd, through its upgrades."""

    def __init__(self, directory: Path, *words: str, reactor: str = "", workers: int = 0) -> None:
        self.log = directory / f"{words[0]}.log"
        self.pid_file = directory / "pid"
        self._words = (*words, *(("--workers", str(workers)) if workers else ()))
        self._workers = workers
        self._reactor = reactor
        self._directory = directory

    async def start(self) -> int:
        """Start it, and return its port."""
        twistd = str(Path(sys.executable).with_name("twistd"))
        reactor = (f"--reactor={self._reactor}",) if self._reactor else ()
        with self.log.open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(twistd, *reactor, "-n", f"--pidfile={self.pid_file}", *self._words),
                *(("--port", "0", "--interface", "127.0.0.1")),
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )
        found = await self.hears(r"Listening on 127\.0\.0\.1:(\d+) \(--port")
        if self._workers:
            await self.hears(r"Worker \d+ serves", self._workers)
        return int(found[-1])

    async def hears(self, pattern: str, count: int = 1) -> list[Any]:
        """Wait until the log has a pattern so many times."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            found = re.findall(pattern, self.log.read_text())
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)
        raise SystemExit(f"{pattern!r} did not come:\n{self.log.read_text()[-3000:]}")

    def reasons(self) -> dict[str, int]:
        """Return why connections have ended, before the end of the service, and what went wrong."""
        text = self.log.read_text().partition("Received SIGTERM")[0]
        found = re.findall(r"(?:ended: |#(?=error|warn))([\w-]+)", text)
        return dict(Counter(found))

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return int(self.pid_file.read_text())

    async def upgrade(self, number: int) -> tuple[float, int]:
        """Upgrade it for the nth time.

        :return: the seconds in which nobody was served, and the bytes that waited. Of several
            workers, the longest time and the sum.
        """
        os.kill(self.pid, signal.SIGUSR2)
        processes = self._workers or 1
        await self.hears("this process goes on with", number * processes)
        pattern = r"goes on with \d+ connections? and (\d+) unsent bytes? after ([\d.]+) s"
        found = (await self.hears(pattern, number * processes))[-processes:]
        if self._workers:
            await self.hears("this supervisor goes on with", number)
        return max(float(each[1]) for each in found), sum(int(each[0]) for each in found)

    async def stop(self) -> None:
        """End it."""
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(self.pid, signal.SIGTERM)
        with suppress(ProcessLookupError):
            await self._process.wait()


class Load:
    """The clients of a chat."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self.rooms: dict[str, list[Client]] = {}
        self.clients: list[Client] = []

    async def connect(self, kind: str, room: str, buffer: int = 0) -> Client:
        """Connect a client."""
        loop = asyncio.get_running_loop()

        def made() -> Client:
            return Client("json" if kind == "unix" else kind, room)

        if kind == "unix":
            _, client = await loop.create_unix_connection(made, self._path)
        else:
            sock = socket.socket()
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", self._port))
            _, client = await loop.create_connection(made, sock=sock)
        self.clients.append(client)
        self.rooms.setdefault(room, []).append(client)
        return client

    async def fill(self, count: int) -> None:
        """Connect so many clients, of all kinds, in rooms of :data:`MEMBERS`."""
        for first in range(0, count, MEMBERS):
            kinds = ("json", "websocket", "text", "unix")
            members = [
                await self.connect(kinds[n % 4], f"room{first // MEMBERS}") for n in range(MEMBERS)
            ]
            await asyncio.wait_for(asyncio.gather(*(each.ready for each in members)), 60)

    async def talk(self, rate: float, stop: asyncio.Event) -> int:
        """Send messages, one after another in all rooms, and return their number."""
        speakers = [members[n % MEMBERS] for n in range(MEMBERS) for members in self._talking()]
        began, sent = time.monotonic(), 0
        while not stop.is_set():
            while sent < (time.monotonic() - began) * rate:
                speakers[sent % len(speakers)].say(f"m-{sent}")
                sent += 1
            await asyncio.sleep(0.005)
        return sent

    def _talking(self) -> list[list[Client]]:
        return [members for name, members in self.rooms.items() if name.startswith("room")]

    async def settle(self) -> None:
        """Wait until everybody has seen what anybody in the room has seen."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if not self.compare():
                return
            await asyncio.sleep(0.1)

    def compare(self) -> list[str]:
        """Return what is wrong."""
        wrong = [line for each in self.clients for line in each.wrong]
        for name, members in self.rooms.items():
            said = [text for each in members for text in each.own]
            order = members[0].seen  # a program
            if sorted(order) != sorted(said):
                wrong.append(f"{name}: {len(order)} of {len(said)} messages")
            for each in members:
                # A person does not see the own lines again.
                own = set(each.own) if each.kind == "text" else ()
                expected = [text for text in order if text not in own]
                if each.seen != expected:
                    wrong.append(f"{name}: {each.kind} has {len(each.seen)} of {len(expected)}")
        return wrong


async def run(options: argparse.Namespace) -> int:
    """Run it all, print the result, and return the status of the program."""
    with tempfile.TemporaryDirectory(prefix="upgrades-") as made:
        directory = Path(made)
        status = await _chat(directory, options) if options.upgrades else 0
        if options.idle:
            status |= await _idle(directory, options)
        for service in ("netecho", "netidle") if options.streams else ():
            status |= await _streams(directory, service, options)
    return status


async def _streams(directory: Path, service: str, options: argparse.Namespace) -> int:
    path = str(directory / service)
    words = [service, "--listen", f"unix:{path}", "--max-connections", "0"]
    upstream = await asyncio.get_running_loop().create_server(EchoServer, "127.0.0.1", 0)
    if service == "netidle":
        words += ["--upstream", f"tcp:127.0.0.1:{upstream.sockets[0].getsockname()[1]}"]
    server = Server(directory, *words, reactor=options.reactor, workers=options.workers)
    port = await server.start()
    try:
        streams = await connect_streams(options.streams, port, path)
        stop = asyncio.Event()
        talking = asyncio.create_task(talk(streams, stop))
        waited = []
        for number in range(1, options.upgrades + 1):
            slow = streams[number % 2 :: 8]
            for each in slow:
                each.be_slow()
            await asyncio.sleep(options.pause)
            waited.append((await server.upgrade(number))[1])
            for each in slow:
                each.catch_up()
            await asyncio.sleep(options.pause)
        stop.set()
        await talking
        wrong = problems(streams)
        for each in streams:
            each.end()
        await asyncio.sleep(0)
    finally:
        upstream.close()
        await server.stop()
    print(
        f"{service}: {len(streams)} streams, {sum(each.sent for each in streams)} bytes, "
        f"{options.upgrades} upgrades; {max(waited)} bytes waited; wrong: {len(wrong)}"
    )
    for line in wrong[:20]:
        print(line)
    return 1 if wrong else 0


def _store(directory: Path, options: argparse.Namespace, at_end: ExitStack) -> str:
    """Return the URL of the store, which is a Redis of its own for ``redis:``."""
    if options.store != "redis:":
        return str(options.store).replace("DIRECTORY", str(directory))
    from tests.live.redis_server import RedisServer

    redis = RedisServer(directory / "redis")
    at_end.callback(redis.kill)
    return redis.url


async def _chat(directory: Path, options: argparse.Namespace) -> int:
    with ExitStack() as at_end:
        return await _chat_with(directory, _store(directory, options, at_end), options)


async def _chat_with(directory: Path, store: str, options: argparse.Namespace) -> int:
    path = str(directory / "socket")
    words = ("netchat", *FLAGS, "--store", store, "--listen", f"unix:{path}")
    server = Server(directory, *words, reactor=options.reactor, workers=options.workers)
    load = Load(await server.start(), path)
    try:
        await load.fill(options.connections)
        probe = await load.connect("json", "probe")
        await probe.ready
        slow = [await load.connect("json", "slow", 8192) for _ in range(4)]
        await asyncio.gather(*(each.ready for each in slow))
        stop = asyncio.Event()
        talking = asyncio.create_task(load.talk(options.messages, stop))
        asking = asyncio.create_task(_ask(probe, stop))
        await asyncio.sleep(1)
        probe.is_probe = True
        pauses = []
        for number in range(1, options.upgrades + 1):
            waits = number % 3 == 1
            if waits:
                for each in slow[1:]:
                    each.transport.pause_reading()
                for n in range(BURST):
                    slow[0].say(f"m-{number}-{n}".ljust(SIZE, "."))
                    if n % 50 == 0:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(1)
            pauses.append(await server.upgrade(number))
            for each in slow[1:] if waits else ():
                each.transport.resume_reading()
            await asyncio.sleep(options.pause)
        probe.is_probe = False
        stop.set()
        sent = await talking
        await asking
        await load.settle()
        wrong = load.compare()
        for each in load.clients:
            each.may_close = True
            each.transport.abort()
    finally:
        await server.stop()
    closed = sum("closed" in line for line in wrong)
    print(f"{len(load.clients)} connections, {sent} messages, {options.upgrades} upgrades")
    print(f"closed: {closed}; lost, doubled or out of order: {len(wrong) - closed}")
    print(f"longest silence: {probe.longest * 1000:.0f} ms")
    for number, (seconds, unsent) in enumerate(pauses, 1):
        print(f"{number}: nobody was served for {seconds * 1000:.0f} ms; {unsent} bytes waited")
    for line in wrong[:20]:
        print(line[:200])
    if wrong:
        print(f"ended by the server: {server.reasons()}")
    return 1 if wrong else 0


async def _ask(probe: Client, stop: asyncio.Event) -> None:
    while not stop.is_set():
        probe.ask(type="ping")
        await asyncio.sleep(0.01)


async def _idle(directory: Path, options: argparse.Namespace) -> int:
    words = ("netecho", "--max-connections", "0")
    server = Server(directory, *words, reactor=options.reactor, workers=options.workers)
    port = await server.start()
    loop = asyncio.get_running_loop()
    closed = 0

    class Idle(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            nonlocal closed
            closed += 1

    transports = [
        (await loop.create_connection(Idle, "127.0.0.1", port))[0] for _ in range(options.idle)
    ]
    seconds, _ = await server.upgrade(1)
    found = closed
    for each in transports:
        each.abort()
    await asyncio.sleep(0)
    await server.stop()
    print(f"{options.idle} idle connections: moved in {seconds * 1000:.0f} ms, {found} closed")
    return 1 if found else 0


def main() -> int:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.upgrades", description=__doc__)
    parser.add_argument("--connections", type=int, default=200, help="clients of the chat")
    parser.add_argument("--messages", type=float, default=100, help="messages a second")
    parser.add_argument("--upgrades", type=int, default=3, help="how often; 0 for no chat")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two upgrades")
    parser.add_argument("--idle", type=int, default=0, help="idle connections of netecho")
    parser.add_argument("--streams", type=int, default=0, help="streams of netecho and netidle")
    parser.add_argument("--workers", type=int, default=0, help="workers of each service")
    parser.add_argument(
        "--store", default="memory:", help="sqlite:DIRECTORY/chat.db for a file, redis: for Redis"
    )
    parser.add_argument("--reactor", default="", help="for twistd")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
