"""What an operator costs: ``python -m benchmarks.admin [--connections 10000]``.

A chat with many members and its operator's view are in this process, on connections in memory. Each
request goes through all of it, from its bytes to those of the answer. Nothing else runs meanwhile,
so its CPU time is the time for which the reactor is busy.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from twisted_net.chat.protocol import ChatFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.admin.answers import ServiceAnswers
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.site import AdminResource, AdminSite
from twisted_net.web.admin.views import ChatServiceView

_HOST = IPv4Address("TCP", "127.0.0.1", 9191)


class Row(NamedTuple):
    """A request, and the most milliseconds that it may take."""

    path: str
    most: float


ROWS = (
    Row("/metrics", 5.0),
    Row("/connections", 2.0),
    Row("/connections?after=5000", 2.0),
    Row("/connections?sort=queued", 2.0),
    Row("/connections?sort=bytes_sent", 2.0),
    Row("/connections?room=lobby", 2.0),
    Row("/readyz", 2.0),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 if a request took too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args(arguments)
    clock = Clock()
    ask = _view_of(clock, options.connections)
    gc.collect()
    gc.freeze()  # as the services do once they have started
    print(f"{options.connections} connections; milliseconds, medians of {options.rounds} rounds\n")
    status = 0
    taken: dict[Row, list[float]] = {row: [] for row in ROWS}
    for _ in range(options.rounds):
        for row in ROWS:  # alternating
            taken[row].append(median(_seconds(ask, row.path) for _ in range(10)))
    for row, seconds in taken.items():
        milliseconds = median(seconds) * 1000
        is_slow = milliseconds > row.most
        status = max(status, int(is_slow))
        verdict = "TOO SLOW" if is_slow else "ok"
        print(f"{row.path:32} {milliseconds:6.2f}  at most {row.most:g}  {verdict}")
    return status


def _view_of(clock: Clock, connections: int) -> Callable[[str], Peer]:
    """Return a function that asks for a path of the view of a chat with this many members."""
    factory = ChatFactory(clock=clock)
    factory.startFactory()
    service = ListenerService(factory, [])
    service.running = 1
    view = ChatServiceView("netchat", service, appends=Histogram())
    view.start()
    for number in range(connections):
        member = Peer(clock)
        member.protocol = factory.buildProtocol(member.getPeer())
        member.protocol.makeConnection(member)
        room = "lobby" if number % 100 == 0 else f"room-{number % 500}"
        hello = f'{{"type":"hello","nick":"user-{number}","room":"{room}"}}\n'
        member.protocol.dataReceived(hello.encode())
    for _ in range(3):
        clock.advance(1)
    site: Any = AdminSite(AdminResource(ServiceAnswers([view], Histogram())), reactor=clock)  # type: ignore[no-untyped-call]

    def ask(path: str) -> Peer:
        peer = connect_peer(site, clock=clock, host=_HOST)
        peer.protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return peer

    answer = ask("/connections?limit=1000")
    answer.turn()
    if b'"total":%d' % connections not in answer.received:
        raise SystemExit(f"benchmarks.admin: the members have not come: {answer.received[-300:]!r}")
    return ask


def _seconds(ask: Callable[[str], Peer], path: str) -> float:
    began = time.thread_time()  # whatever else this machine does
    ask(path)
    return time.thread_time() - began


if __name__ == "__main__":
    sys.exit(main())
