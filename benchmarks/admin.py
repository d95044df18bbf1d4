"""What an operator costs: ``python -m benchmarks.admin [--connections 10000]``.

A chat with many members and its operator's view are in this process, on connections in memory. Each
request goes through all of it, from its bytes to those of the answer. Nothing else runs meanwhile,
so its CPU time is the time for which the reactor is busy: in all, and in the longest of its turns,
because the view goes through many connections in several.
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


MOST_TURN = 5.0
"""Milliseconds."""


class Row(NamedTuple):
    """A request, and the most milliseconds that it may take with 10,000 connections."""

    path: str
    most: float


class Cost(NamedTuple):
    """Seconds of an answer: in all, and of its longest turn."""

    total: float
    turn: float


ROWS = (
    Row("/metrics", 5.0),
    Row("/connections", 2.0),
    Row("/connections?after=5000", 2.0),
    Row("/connections?sort=queued", 2.0),
    Row("/connections?sort=bytes_sent", 2.0),
    Row("/connections?room=lobby", 2.0),
    Row("/rooms", 2.0),
    Row("/readyz", 2.0),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 if a request took too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args(arguments)
    clock = TurningClock()
    gc.disable()  # it would look at all members again and again while they come
    ask = _view_of(clock, options.connections)
    gc.enable()
    gc.collect()
    gc.freeze()  # as the services do once they have started
    print(f"{options.connections} connections; milliseconds, medians of {options.rounds} rounds\n")
    status = 0
    factor = max(1.0, options.connections / 10_000)
    taken: dict[Row, list[Cost]] = {row: [] for row in ROWS}
    for _ in range(options.rounds):
        for row in ROWS:  # alternating
            costs = [_cost(clock, ask, row.path) for _ in range(10)]
            taken[row].append(Cost(*map(median, zip(*costs, strict=True))))
    for row, costs in taken.items():
        total, turn = (1000 * median(each) for each in zip(*costs, strict=True))
        most = row.most * factor
        is_slow = total > most or turn > MOST_TURN
        status = max(status, int(is_slow))
        verdict = "TOO SLOW" if is_slow else "ok"
        print(
            f"{row.path:30} {total:6.2f}  at most {most:<4g}"
            f"  longest turn {turn:5.2f}  at most {MOST_TURN:g}  {verdict}"
        )
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
        rooms = max(1, connections // 20)  # as large for each number, or it takes long to begin
        room = "lobby" if number % 100 == 0 else f"room-{number % rooms}"
        hello = f'{{"type":"hello","nick":"user-{number}","room":"{room}"}}\n'
        member.protocol.dataReceived(hello.encode())
        if number % 50 == 0:
            clock.advance(0)  # a Clock with many calls is slow
    for _ in range(3):
        clock.advance(1)
    resource = AdminResource(ServiceAnswers([view], Histogram()), clock)
    site: Any = AdminSite(resource, reactor=clock)

    def ask(path: str) -> Peer:
        peer = connect_peer(site, clock=clock, host=_HOST)
        peer.protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return peer

    answer = ask("/connections?limit=1000")
    answer.turn()
    if b'"total":%d' % connections not in answer.received:
        raise SystemExit(f"benchmarks.admin: the members have not come: {answer.received[-300:]!r}")
    return ask


class TurningClock(Clock):
    """A clock that can run one turn of a reactor. Twisted's own runs all turns of a moment."""

    def turn(self) -> bool:
        """Run the calls that are due, not those that they make. Return whether there were any."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return bool(due)


def _cost(clock: TurningClock, ask: Callable[[str], Peer], path: str) -> Cost:
    began = time.thread_time()  # whatever else this machine does
    ask(path)
    turns = [time.thread_time() - began]
    while True:
        began = time.thread_time()
        if not clock.turn():
            return Cost(sum(turns), max(turns))
        turns.append(time.thread_time() - began)


if __name__ == "__main__":
    sys.exit(main())
