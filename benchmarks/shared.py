"""What two processes on one Redis give, beside one in memory: ``python -m benchmarks.shared``.

*Deliveries*: a room at one rate, served by one process with ``memory:``, and by two workers on one
Redis, in turns. What a process can deliver a second is what it delivers in a second of its own CPU
time. So two workers can deliver as many times more as the busiest of them uses less CPU time for
the same messages. That keeps the load generator and Redis out of the figure, which have to run on
the same machine. The rate is so low that each message is a round of its own in both: at a higher
one, each batches as many messages as its time allows, and a second of CPU time is no measure.

The server has one core, for both workers too, and the load generator and Redis have the other. So
each worker counts as if it had a core of its own, and nobody measures the load generator's work in
the caches.

*Acks*: members who await the ack of a message before they send the next; the median of their
latency.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.build import Built, build
from benchmarks.machine import choose_cores, cpu_seconds, describe, family
from benchmarks.processes import Load, MeasureError, Server
from benchmarks.servers import ROOT, twistd_command

LEAST_RATIO = 1.7
MOST_MILLISECONDS = 1.0

ONE, TWO = "one process, memory:", "two workers, redis:"


class Window(NamedTuple):
    """What was measured.

    :ivar done: deliveries or acks a second.
    :ivar cpu: seconds of CPU time a second, of each process that served members.
    :ivar redis: the same, of Redis.
    """

    done: float
    p50_ms: float
    cpu: list[float]
    redis: float
    faults: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared", description=__doc__)
    parser.add_argument("--members", type=int, default=5000, metavar="N")
    parser.add_argument("--rate", type=int, default=10, metavar="N", help="messages a second")
    parser.add_argument("--waiting", type=int, default=4, metavar="N", help="members awaiting acks")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=3, metavar="S")
    options = parser.parse_args(arguments)
    for name in ("redis-server", "cc"):
        if shutil.which(name) is None:
            raise SystemExit(f"benchmarks.shared: {name} is not installed")
    with tempfile.TemporaryDirectory() as directory:
        built = build(Path(directory))
        print(f"{describe()}; medians of {options.rounds} rounds\n")
        is_wrong = [_deliveries(built, options), _acks(built, options)]
    return int(any(is_wrong))


def _deliveries(built: Built, options: argparse.Namespace) -> bool:
    work = ["broadcast", f"connections={options.members}", f"rate={options.rate}", "size=100"]
    taken = _in_turns(built, work, options)
    print(f"deliveries, {options.members} members, {options.rate} messages a second of 100 B")
    able = {name: [each.done / max(each.cpu) for each in rows] for name, rows in taken.items()}
    for name, rows in taken.items():
        cores = ", ".join(
            f"{median(part):.0%}" for part in zip(*(each.cpu for each in rows), strict=True)
        )
        redis = f", Redis {median(each.redis for each in rows):.0%}" if name == TWO else ""
        print(
            f"  {name:22} {median(each.done for each in rows):9,.0f} a second, at most "
            f"{median(able[name]):9,.0f} of a core that {cores} busy{redis}"
        )
    ratios = [two / one for one, two in zip(able[ONE], able[TWO], strict=True)]
    missed = median(ratios) < LEAST_RATIO
    print(f"  ratio {_spread(ratios)}, at least {LEAST_RATIO}  {_verdict(missed)}\n")
    return missed


def _acks(built: Built, options: argparse.Namespace) -> bool:
    work = ["acked", f"connections={options.waiting}", "rate=0", "size=100", "json=1"]
    taken = _in_turns(built, work, options)
    print(f"acks, {options.waiting} members who await theirs")
    for name, rows in taken.items():
        print(f"  {name:22} p50 {median(each.p50_ms for each in rows):6.2f} ms")
    more = [two.p50_ms - one.p50_ms for one, two in zip(taken[ONE], taken[TWO], strict=True)]
    missed = median(more) > MOST_MILLISECONDS
    print(f"  more {_spread(more)} ms, at most {MOST_MILLISECONDS:g}  {_verdict(missed)}")
    return missed


def _in_turns(
    built: Built, work: list[str], options: argparse.Namespace
) -> dict[str, list[Window]]:
    """Measure both servers, ``options.rounds`` times, and name what went wrong."""
    taken: dict[str, list[Window]] = {ONE: [], TWO: []}
    for _ in range(options.rounds):
        for name, rows in taken.items():
            with _served(built, name) as (server, redis):
                rows.append(_window(built, work, options, server, redis))
            if rows[-1].faults:
                print(f"  {name}: {rows[-1].faults}")
    return taken


@contextmanager
def _served(built: Built, name: str) -> Iterator[tuple[Server, int | None]]:
    """Run a server, and Redis if it needs it."""
    cores = choose_cores()
    core = cores.server if cores else None
    command = [*twistd_command("eager"), "netchat", "--port", "0", "--interface", "127.0.0.1"]
    if name == ONE:
        with Server(name, command, core, built.directory / "one.log", ROOT) as server:
            yield server, None
        return
    with _redis(built.directory) as (redis, port):
        command += ["--workers", "2", "--store", f"redis://127.0.0.1:{port}"]
        log = built.directory / "two.log"
        with Server(name, command, core, log, ROOT) as server:
            _wait_until(lambda: log.read_text().count(" serves, pid ") == 2, "the workers")
            yield server, redis


@contextmanager
def _redis(directory: Path) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", directory], stdout=subprocess.DEVNULL)
    if cores := choose_cores():
        os.sched_setaffinity(process.pid, {cores.load})
    try:
        _wait_until(lambda: _listens(port), "redis-server")
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        if time.monotonic() > deadline:
            raise MeasureError(f"waited 20 s for {what}")
        time.sleep(0.02)


def _window(
    built: Built,
    work: list[str],
    options: argparse.Namespace,
    server: Server,
    redis: int | None,
) -> Window:
    more = ["rooms=1", "warmup=1", f"seconds={options.seconds}", "drain=5", f"port={server.port}"]
    command = [str(built.load), *work, *more]
    cores = choose_cores()
    with Load(
        "the load generator", command, cores.load if cores else None, built.directory / "load.log"
    ) as load:
        load.wait_for("connected", 60)
        load.go()
        load.wait_for("begin", 20)
        serving = _serving(server)
        before = _clocks(serving, redis)
        load.wait_for("end", options.seconds + 10)
        after = _clocks(serving, redis)
        report = load.result(20)
    *cpu, of_redis, elapsed = (end - start for start, end in zip(before, after, strict=True))
    faults = [f"{report[name]:,.0f} {name}" for name in ("missing", "wrong", "lost", "failed")
              if report.get(name)]  # fmt: skip
    return Window(
        report["done"] / elapsed,
        report["p50_ms"],
        [each / elapsed for each in cpu],
        of_redis / elapsed,
        ", ".join(faults),
    )


def _serving(server: Server) -> list[int]:
    """Return the processes that serve members: the workers, or the server alone."""
    return [pid for pid in family(server.pid) if pid != server.pid] or [server.pid]


def _clocks(pids: list[int], redis: int | None) -> list[float]:
    used = [cpu_seconds(pid) for pid in pids]
    return [*used, cpu_seconds(redis) if redis else 0.0, time.monotonic()]


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def _verdict(missed: bool) -> str:
    return "MISSED" if missed else "ok"


if __name__ == "__main__":
    sys.exit(main())
