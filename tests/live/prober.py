"""Measure a server's latency from a separate process.

``python prober.py PORT TEXT [--tls]`` sends requests until its standard input ends, then prints its
latencies in milliseconds, as JSON. Its first line, ``begun``, comes with the first answer. It does
nothing else, and has priority on its core: it measures the server, and not the load of its clients.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import ssl
import sys
import time

PACE = 0.003
"""Seconds between two requests. The latency of a delayed request counts from when it was due."""

PATIENCE = 30.0
"""Seconds to wait for an answer."""


def go_before_others(pid: int) -> None:
    """Raise the priority of a process (0: this one). Only root may do that."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


def connected(port: int, tls: bool) -> socket.socket:
    """Connect, and complete the handshake over TLS."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return sock
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def answer(sock: socket.socket, end: bytes) -> None:
    """Read up to the answer."""
    received = b""
    while end not in received:
        more = sock.recv(65536)
        if not more:
            raise SystemExit("the server has closed the connection")
        received += more


def ended(wait: float) -> bool:
    """Wait ``wait`` seconds, or until the standard input ends; return whether it has ended."""
    return bool(select.select([sys.stdin], [], [], max(0.0, wait))[0])


def main(port: str, text: str, *flags: str) -> None:
    go_before_others(0)
    sock = connected(int(port), "--tls" in flags)
    question = text.encode() + b"\n"
    end = b"pong" if text == "/ping" else question
    latencies: list[float] = []
    due, until = time.perf_counter(), math.inf
    while due < until:  # also those that are late, because this process was held up
        if until == math.inf and ended(due - time.perf_counter()):
            until = time.perf_counter()
            continue
        sock.sendall(question)
        answer(sock, end)
        if not latencies:
            print("begun", flush=True)
        latencies.append((time.perf_counter() - due) * 1000)
        due += PACE
    json.dump(latencies, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
