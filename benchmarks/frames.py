"""What WebSocket frames cost: ``python -m benchmarks.frames [--rounds 5]``.

First the time for one message, from the bytes of its frame, in this process and on warm caches.
Then what hostile clients do to a ``netchat``: the code with which they are closed, and the most
memory that it needs for them.
"""

from __future__ import annotations

import argparse
import gc
import select
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.build import HERE
from benchmarks.machine import peak_resident_bytes, reset_peak, resident_bytes
from benchmarks.processes import MeasureError, Server
from benchmarks.servers import twistd_command
from twisted_net.wire.websocket import CloseFrame, WebSocket, compress, encode_frame

_MASK = b"\x9d\x31\xc4\x5a"
_MB = 1_000_000
_TIMEOUT = 30.0  # seconds without a byte

_FIN, _DEFLATED, _CONTINUATION, _TEXT = 0x80, 0x40, 0x0, 0x1
_OPENING = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; "
    "server_no_context_takeover\r\n\r\n"
)


class Parse(NamedTuple):
    """A size of message, and the most microseconds that it may take."""

    size: int
    most: float

    @property
    def title(self) -> str:
        return f"parse one message of {self.size:,} B, us"


class Hostile(NamedTuple):
    """What a client sends, and what has to come of it.

    :ivar data: returns the bytes, after the opening.
    :ivar limit: the server's ``--max-message``.
    :ivar code: of the close frame.
    :ivar most: the most bytes by which the server may grow.
    """

    title: str
    data: Callable[[], bytes]
    limit: int
    code: int
    most: int


def _fragments(count: int, payload: bytes) -> bytes:
    first = encode_frame(_TEXT, payload, _MASK)
    return first + encode_frame(_CONTINUATION, payload, _MASK) * (count - 1)


def _bomb() -> bytes:
    """Return a message of a gigabyte, in a frame of a megabyte."""
    deflater, chunk = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), b" " * _MB
    squeezed = b"".join(deflater.compress(chunk) for _ in range(1000))
    squeezed += deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]
    return encode_frame(_FIN | _DEFLATED | _TEXT, squeezed, _MASK)


def first() -> bytes:
    """Return what a server has to have seen before it is measured: a compressed message, and a
    wrong frame. What it imports and makes once is there then."""
    hello = compress(b'{"type":"hello","nick":"first","room":"lobby"}')
    return encode_frame(_FIN | _DEFLATED | _TEXT, hello, _MASK) + _fragments(2, b"x") + b"\xff\xff"


PARSES = (Parse(100, 3.5), Parse(16_384, 14.0))

_USUAL, _LARGE = 8192, 1 << 20
HOSTILE = (
    Hostile("65,000 fragments of a byte", lambda: _fragments(65_000, b"x"), _USUAL, 1008, _MB),
    Hostile("1,000,000 empty fragments", lambda: _fragments(1_000_000, b""), _USUAL, 1008, _MB),
    Hostile("1 GB compressed, limit 8 KiB", _bomb, _USUAL, 1009, _USUAL + _MB),
    Hostile("1 GB compressed, limit 1 MiB", _bomb, _LARGE, 1009, _LARGE + _MB),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 if something took too much, 2 if nothing could
    be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {options.rounds}")
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from Linux's /proc, and this is not Linux")
    print(f"medians of {options.rounds} rounds\n")
    status = 0
    for row in PARSES:
        found = median(_microseconds(row.size) for _ in range(options.rounds))
        status |= _show(row.title, f"{found:.2f}", f"{row.most:g}", found <= row.most)
    try:
        for hostile in HOSTILE:
            status |= _measure(hostile, options.rounds)
    except MeasureError as error:
        print(f"benchmarks.frames: {error}", file=sys.stderr)
        return 2
    return status


def _show(title: str, found: str, most: str, is_ok: bool) -> int:
    print(f"{title:36} {found:>16}  at most {most}  {'ok' if is_ok else 'TOO MUCH'}", flush=True)
    return int(not is_ok)


def _microseconds(size: int) -> float:
    """Return the CPU time for a text message of this size, in microseconds."""
    framing = WebSocket()
    text = ("A message as people write them. " * (size // 32 + 1))[:size]
    data = encode_frame(_FIN | _TEXT, text.encode(), _MASK)
    if framing.feed(data) != [text]:
        raise SystemExit("benchmarks.frames: the message was not parsed")
    count = 20_000_000 // (1000 + size)
    gc.collect()
    began = time.thread_time()  # whatever else this machine does
    for _ in range(count):
        framing.feed(data)
    return (time.thread_time() - began) / count * 1e6


def _measure(row: Hostile, rounds: int) -> int:
    """Measure what a client costs, each time with a new server."""
    data = row.data()
    grown, codes = [], set()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
            command = [*twistd_command("eager"), "netchat", "--port", "0"]
            command += ["--interface", "127.0.0.1", "--max-message", str(row.limit)]
            with Server("netchat", command, None, Path(directory) / "log", HERE.parent) as server:
                _attack(server.port, first())
                before = resident_bytes(server.pid)
                reset_peak(server.pid)
                codes.add(_attack(server.port, data))
                grown.append(peak_resident_bytes(server.pid) - before)
    found = f"{'/'.join(map(str, sorted(codes)))}, {median(grown) / _MB:.2f} MB"
    is_ok = codes == {row.code} and median(grown) <= row.most
    return _show(row.title, found, f"{row.most / _MB:.2f} MB, with {row.code}", is_ok)


def _attack(port: int, data: bytes) -> int:
    """Send bytes on a new WebSocket, and return the code with which it is closed."""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as client:
        client.sendall(_OPENING.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _received(client)
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise MeasureError(f"netchat did not open a WebSocket: {head[:100]!r}")
        frames = WebSocket(make_mask=lambda: _MASK, window_bits=zlib.MAX_WBITS)
        left = memoryview(data)
        while True:
            for frame in frames.feed(rest):
                if isinstance(frame, CloseFrame):
                    return frame.code
            left = _send_until_heard(client, left)
            rest = _received(client)


def _send_until_heard(client: socket.socket, data: memoryview) -> memoryview:
    """Send as much as the server takes before it says something, and return the rest."""
    while True:
        heard, able, _ = select.select([client], [client] if data else [], [], _TIMEOUT)
        if heard or not able:
            return data
        data = data[client.send(data) :]


def _received(client: socket.socket) -> bytes:
    try:
        data = client.recv(1 << 16)
    except OSError as error:
        raise MeasureError(f"netchat has ended a connection: {error}") from None
    if not data:
        raise MeasureError("netchat has ended a connection without a close frame")
    return data


if __name__ == "__main__":
    raise SystemExit(main())
