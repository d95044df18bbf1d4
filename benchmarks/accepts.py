"""How fairly worker processes share new connections, by the way in which they accept.

``python -m benchmarks.accepts`` starts four workers and makes 1,000 connections, all at once and
one after another. It prints how many the busiest worker has, as a multiple of the average.

=============  =====================================================================================
way            who accepts
=============  =====================================================================================
``reuseport``  each worker, on a socket of its own on the same port (``SO_REUSEPORT``)
``shared``     each worker, on one socket that all have inherited; all are woken up
``exclusive``  the same, but only one or a few are woken up (``EPOLLEXCLUSIVE``)
``handed``     a supervisor, which hands each connection to the next worker, as ``--workers`` does
=============  =====================================================================================

``shared`` and ``exclusive`` are run twice: each time it is woken up, a worker accepts all that
wait, up to 16, or only one.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from twisted_net.services.workers.handoff import ADMITTED, hand_over, make_pair
from twisted_net.services.workers.rotation import Rotation

LOCALHOST = "127.0.0.1"
PATIENCE = 60.0  # seconds that all connections may take

Accept = Callable[[], socket.socket | None]


def listening(*, reuse_port: bool = False, port: int = 0) -> socket.socket:
    """Return a listening socket that does not block."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((LOCALHOST, port))
    made.listen(1024)
    made.setblocking(False)
    return made


def accept_from(source: socket.socket) -> Accept:
    """Return a function that accepts one connection; it returns None if there is none."""

    def accept() -> socket.socket | None:
        try:
            return source.accept()[0]
        except BlockingIOError:
            return None

    return accept


def take_from(source: socket.socket) -> Accept:
    """Return a function that takes one connection from a supervisor."""

    def take() -> socket.socket | None:
        try:
            _, descriptors, _, _ = socket.recv_fds(source, 16, 1)
        except BlockingIOError:
            return None
        return socket.socket(fileno=descriptors[0]) if descriptors else None

    return take


def work(number: int, source: socket.socket, accept: Accept, events: int, most: int) -> None:
    """Serve for ever: answer each byte with the worker's number.

    :param events: what to wait for on ``source``.
    :param most: connections that are accepted each time.
    """
    poller = select.epoll()
    poller.register(source, events)
    clients: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poller.poll():
            client = clients.get(descriptor)
            if client is not None:
                if client.recv(100):
                    client.send(bytes([number]))
                else:
                    poller.unregister(descriptor)
                    clients.pop(descriptor).close()
                continue
            for _ in range(most):
                client = accept()
                if client is None:
                    break
                client.setblocking(False)
                clients[client.fileno()] = client
                poller.register(client, select.EPOLLIN)


def supervise(source: socket.socket, ends: Sequence[socket.socket]) -> None:
    """Accept for ever, and hand over to each worker in turn."""
    rotation: Rotation[socket.socket] = Rotation(lambda _: True)
    poller = select.epoll()
    poller.register(source, select.EPOLLIN)
    accept = accept_from(source)
    while True:
        poller.poll()
        client = accept()
        while client is not None:
            while not any(hand_over(end, client, 0, ADMITTED) for end in rotation.candidates(ends)):
                time.sleep(0.001)
            client.close()
            client = accept()


class Workers:
    """Processes that accept in one way, for a ``with`` statement.

    :ivar port: where they listen.
    """

    def __init__(self, way: str, count: int, most: int) -> None:
        self._pids: list[int] = []
        self.port = 0
        getattr(self, f"_{way}")(count, most)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self, run: Callable[[], None]) -> None:
        pid = os.fork()
        if pid:
            self._pids.append(pid)
            return
        try:
            run()
        finally:
            os._exit(1)

    def _reuseport(self, count: int, most: int) -> None:
        sources = []
        for _ in range(count):
            source = listening(reuse_port=True, port=self.port)
            self.port = source.getsockname()[1]
            sources.append(source)
        for number, source in enumerate(sources):
            self._serve(number, source, accept_from(source), select.EPOLLIN, most)
        for source in sources:
            source.close()

    def _shared(self, count: int, most: int, events: int = select.EPOLLIN) -> None:
        with listening() as source:
            self.port = source.getsockname()[1]
            for number in range(count):
                self._serve(number, source, accept_from(source), events, most)

    def _exclusive(self, count: int, most: int) -> None:
        self._shared(count, most, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _handed(self, count: int, most: int) -> None:
        pairs = [make_pair() for _ in range(count)]
        with listening() as source:
            self.port = source.getsockname()[1]
            self._fork(lambda: supervise(source, [ours for ours, _ in pairs]))
        for number, (_, its) in enumerate(pairs):
            self._serve(number, its, take_from(its), select.EPOLLIN, most)
        for ours, its in pairs:
            ours.close()
            its.close()

    def _serve(
        self, number: int, source: socket.socket, accept: Accept, events: int, most: int
    ) -> None:
        self._fork(lambda: work(number, source, accept, events, most))


def at_once(port: int, count: int) -> Counter[int]:
    """Make connections at once, and return how many each worker has."""
    poller = select.epoll()
    clients = {}
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((LOCALHOST, port))
        clients[client.fileno()] = client
        poller.register(client, select.EPOLLOUT)
    counts: Counter[int] = Counter()
    until = time.monotonic() + PATIENCE
    while counts.total() < count:
        if time.monotonic() > until:
            raise TimeoutError(f"only {counts.total()} of {count} connections were served")
        for descriptor, event in poller.poll(1):
            client = clients[descriptor]
            if event & select.EPOLLOUT:
                client.send(b"?")
                poller.modify(descriptor, select.EPOLLIN)
            else:
                counts[client.recv(1)[0]] += 1
                poller.unregister(descriptor)
    for client in clients.values():
        client.close()
    return counts


def one_by_one(port: int, count: int) -> Counter[int]:
    """Make connections, each after the answer to the one before."""
    clients = []
    counts: Counter[int] = Counter()
    for _ in range(count):
        client = socket.create_connection((LOCALHOST, port), PATIENCE)
        client.send(b"?")
        counts[client.recv(1)[0]] += 1
        clients.append(client)
    for client in clients:
        client.close()
    return counts


COMINGS: dict[str, Callable[[int, int], Counter[int]]] = {
    "at once": at_once,
    "one by one": one_by_one,
}
WAYS = (
    *(("reuseport", 16), ("shared", 16), ("shared", 1)),
    *(("exclusive", 16), ("exclusive", 1), ("handed", 16)),
)


def busiest(counts: Counter[int], workers: int) -> float:
    """Return what the busiest worker has, as a multiple of the average."""
    return max(counts.values()) * workers / counts.total()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accepts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    print(
        f"The busiest of {options.workers} workers with {options.connections} connections, as a "
        f"multiple of the average: median and worst of {options.rounds} rounds.\n"
    )
    print(f"{'way':10} {'a time':>6}  " + "  ".join(f"{each:>16}" for each in COMINGS))
    for way, most in WAYS:
        cells = []
        for come in COMINGS.values():
            found = []
            for _ in range(options.rounds):
                with Workers(way, options.workers, most) as workers:
                    counts = come(workers.port, options.connections)
                found.append(busiest(counts, options.workers))
            cells.append(f"{median(found):7.2f} {max(found):8.2f}")
        print(f"{way:10} {most:6}  " + "  ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
