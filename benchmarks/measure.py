"""One sample: one server, one case, one window of time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.cases import WORKS, Case
from benchmarks.machine import (
    Cores,
    core_busy_seconds,
    cpu_seconds,
    queued_bytes,
    resident_bytes,
    slab_bytes,
)
from benchmarks.processes import Load, MeasureError, Server
from benchmarks.servers import ROOT, Peer, Setup
from twisted_net.chat.limits import ChatLimits

_CONNECT_TIMEOUT = 120.0  # seconds until the last of 15,000 members is connected
_HELD_P99 = 100.0  # ms
_HELD_STEPS = 4  # halvings between the last rate that was held and the first that was not
_HELD_LIMIT = 32_000  # messages a second; with 500 members 16 million deliveries


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds before the window, in it, and at most after it until everything has arrived."""

    warmup: float = 1.0
    seconds: float = 3.0
    drain: float = 5.0


@dataclass(slots=True)
class Sample:
    """The figures of one run, named as in :data:`benchmarks.cases.FIGURES`, and its faults."""

    figures: dict[str, float]
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs."""

    setup: Setup
    cores: Cores | None
    timing: Timing

    def start(self, peer: Peer, case: Case) -> Server:
        for left in self.setup.built.directory.glob("store.sqlite*"):
            left.unlink()  # every server begins with an empty store
        log = self.setup.built.directory / f"{peer.name}.log"
        core = self.cores.server if self.cores else None
        return Server(peer.name, peer.command(case, self.setup), core, log, ROOT)

    def window(self, case: Case) -> float:
        """Return the seconds of the window; with heartbeats, every member sends one in it."""
        beats = case.work == "idle" and case.form == "json"
        return max(self.timing.seconds, ChatLimits().heartbeat) if beats else self.timing.seconds

    def load(self, case: Case, port: int, form: str = "") -> Load:
        """Return the load generator.

        :param form: what the members speak if it is not the form of the case.
        """
        form = form or case.form
        options = {
            "port": port,
            "connections": case.members,
            "rate": case.rate,
            "size": case.size,
            "rooms": case.rooms,
            "json": int(form == "json"),
            "websocket": int(form == "websocket"),
            "tls": int(case.tls),
            "resume": int(case.work == "resumed"),
            "warmup": self.timing.warmup,
            "seconds": self.window(case),
            "drain": self.timing.drain,
        }
        command = [str(self.setup.built.load), WORKS[case.work].load]
        command += [f"{name}={value}" for name, value in options.items()]
        core = self.cores.load if self.cores else None
        return Load("the load generator", command, core, self.setup.built.directory / "load.log")


def measure(bench: Bench, peer: Peer, case: Case) -> Sample:
    """Start the server, load it, stop it.

    :raises MeasureError: the server or the load generator did not start, or ended.
    """
    if case.work == "held":
        return _highest_held(bench, peer, case)
    with bench.start(peer, case) as server:
        return _one_window(bench, server, case, peer.speaks)


def _one_window(bench: Bench, server: Server, case: Case, form: str) -> Sample:
    resident, slab, queued = resident_bytes(server.pid), slab_bytes(), queued_bytes()
    with bench.load(case, server.port, form) as load:
        load.wait_for("connected", _CONNECT_TIMEOUT)
        each_resident = (resident_bytes(server.pid) - resident) / case.members
        each_kernel = (slab_bytes() - slab + queued_bytes() - queued) / case.members
        load.go()
        load.wait_for("begin", bench.timing.warmup + 10)
        before = _clocks(bench, server, load)
        load.wait_for("end", bench.window(case) + 10)
        after = _clocks(bench, server, load)
        memory = resident_bytes(server.pid), max(0, queued_bytes() - queued)
        report = load.result(bench.timing.drain + 10)
        if not server.alive():
            raise server.failed("ended during the run")
    cpu, load_cpu, core, load_core, elapsed = (
        end - start for start, end in zip(before, after, strict=True)
    )
    figures = {
        "busy": cpu / elapsed,
        "cpu_share": cpu / elapsed,
        "load_busy": load_cpu / elapsed,
        "others": max(0.0, core - cpu, load_core - load_cpu) / elapsed,
        "per_s": report["done"] / elapsed,
        "rss_mb": memory[0] / 1e6,
        "rss_kb_each": each_resident / 1e3,
        "kernel_kb_each": each_kernel / 1e3,
        "kernel_mb": memory[1] / 1e6,
    }
    if "heartbeats" in report:
        figures["beats_per_s"] = report["heartbeats"] / elapsed
    if report["done"]:
        figures["cpu_us"] = cpu / report["done"] * 1e6
        figures["resumed"] = report["resumed"] / report["established"]
    for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms"):
        if name in report:
            figures[name] = report[name]
    return Sample(figures, _faults(case, report))


def _clocks(bench: Bench, server: Server, load: Load) -> list[float]:
    """Return seconds: CPU of server and load, how long their cores were busy, the time."""
    cores = (bench.cores.server, bench.cores.load) if bench.cores else ()
    work = [core_busy_seconds(core) for core in cores] or [0.0, 0.0]
    return [cpu_seconds(server.pid), cpu_seconds(load.pid), *work, time.monotonic()]


def _faults(case: Case, report: dict[str, float]) -> list[str]:
    sentences = {
        "missing": "{:,.0f} never came",
        "wrong": "{:,.0f} connections got what they should not have",
        "held_back": "{:,.0f} messages could not be sent: their sender was not read",
        "lost": "{:,.0f} connections were closed",
        "failed": "{:,.0f} connections failed",
    }
    return [text.format(report[name]) for name, text in sentences.items() if report.get(name)]


def _highest_held(bench: Bench, peer: Peer, case: Case) -> Sample:
    """Double the rate until it is not held, then halve the step between the two.

    Each rate gets a new server, because new members of a room are shown its history.
    """
    held, broken, best = 0, 0, Sample({})
    rate = case.rate
    for _ in range(20):
        sample = _at_rate(bench, peer, case, rate)
        if sample and not sample.faults and sample.figures["p99_ms"] < _HELD_P99:
            held, best = rate, sample
        else:
            broken = rate
        if broken == 0 and rate < _HELD_LIMIT:
            rate *= 2
            continue
        if broken == 0 or broken - held <= max(1, held >> _HELD_STEPS) or broken < 8:
            break
        rate = (held + broken) // 2
    best.figures.setdefault("per_s", 0.0)
    return best


def _at_rate(bench: Bench, peer: Peer, case: Case, rate: int) -> Sample | None:
    at_rate = Case("broadcast", case.members, rate, case.size, case.rooms, case.form, case.tls)
    with bench.start(peer, at_rate) as server:
        try:
            return _one_window(bench, server, at_rate, peer.speaks)
        except MeasureError:
            if not server.alive():
                raise
            return None
