"""Byte streams through netecho and netidle: what comes back is compared, during upgrades."""

from __future__ import annotations

import asyncio
import random
from typing import Any

LARGEST = 40_000
"""Bytes of a block, more than one read of the server takes."""

AHEAD, AHEAD_OF_SLOW = 300_000, 12_000_000
"""Bytes that a stream may have sent before they have come back. While it reads nothing, they are
more than the kernel's buffers take."""


class Stream(asyncio.Protocol):
    """Sends random blocks, and compares what comes back with them.

    :param seed: for the blocks.
    :ivar sent: the bytes so far.
    :ivar received: those that have come back.
    :ivar wrong: what must not happen.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._expected = bytearray()
        self._is_over = False
        self._ahead = AHEAD
        self.sent = self.received = 0
        self.wrong: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def talk(self) -> None:
        """Send a block, unless too much has not come back yet."""
        if len(self._expected) < self._ahead:
            block = self._random.randbytes(self._random.randrange(1, LARGEST))
            self.sent += len(block)
            self._expected += block
            self.transport.write(block)

    def be_slow(self) -> None:
        """Send much, and read nothing, until :meth:`catch_up`."""
        self._ahead = AHEAD_OF_SLOW
        self.transport.pause_reading()
        while len(self._expected) < self._ahead:
            self.talk()

    def catch_up(self) -> None:
        """Read again."""
        self._ahead = AHEAD
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self._expected.startswith(data):
            self.wrong.append(f"other bytes after {self.received}")
        del self._expected[: len(data)]
        self.received += len(data)

    def end(self) -> None:
        """Close the connection."""
        self._is_over = True
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_over:
            self.wrong.append(f"closed after {self.received} bytes: {error}")


class EchoServer(asyncio.Protocol):
    """What netidle forwards to: sends everything back."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def connect_streams(count: int, port: int, path: str) -> list[Stream]:
    """Connect so many streams, every second one over a Unix socket."""
    loop = asyncio.get_running_loop()
    streams = []
    for number in range(count):
        if number % 2:
            _, stream = await loop.create_unix_connection(lambda n=number: Stream(n), path)
        else:
            _, stream = await loop.create_connection(lambda n=number: Stream(n), "127.0.0.1", port)
        streams.append(stream)
    return streams


async def talk(streams: list[Stream], stop: asyncio.Event) -> None:
    """Send on all streams until it is over, and wait until everything has come back."""
    while not stop.is_set():
        for stream in streams:
            stream.talk()
        await asyncio.sleep(0.02)
    until = asyncio.get_running_loop().time() + 60
    while any(each.received < each.sent and not each.wrong for each in streams):
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.05)


def problems(streams: list[Stream]) -> list[str]:
    """Return what is wrong."""
    found = [line for each in streams for line in each.wrong]
    missing = [each for each in streams if each.received != each.sent and not each.wrong]
    return found + [f"{each.received} of {each.sent} bytes" for each in missing]
