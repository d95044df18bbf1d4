"""Check a chat of several processes while processes, Redis and the network between them fail.

``python -m tests.live.chaos --processes 3 --clients 300 --rooms 20 --messages 30000`` starts
processes of ``twistd netchat`` and one Redis with an append-only file. Between each process and
Redis is a network of the test's own; that of the first process has TLS. Clients talk in rooms, and
come back with ``since`` to any of the processes. Meanwhile:

- processes are killed with ``kill -9``, stopped for a while, and upgraded (``--upgrades``);
- with ``--workers N``, each of them is a supervisor with N workers; workers are killed, stopped and
  asked to end, too, and those of a supervisor that was killed have to end by themselves;
- Redis is restarted, killed with ``kill -9``, stopped for 5 seconds, and ends all connections;
- the network is cut, silent, slow, and corrupted, with TLS and without;
- clients are disconnected.

At the end it checks that every acked message is in the store where its ack says, that all clients
have seen it exactly once and in order, unless they were told ``recovered: false``, and that no
offset was used twice in an epoch. It prints its counts and the first violation with the history of
the client. The exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.threads import deferToThread

from tests.live.chaos_witness import Violation, Witness, check
from tests.live.faulty_network import FaultyNetwork
from tests.live.recovery import Server
from tests.live.redis_server import Asking, RedisServer, free_port
from tests.live.test_tls import Certificates
from twisted_net.store.interface import LEASE_SECONDS

PREFIX = "netchat"
REDIS_STOPPED = 5.0
"""Seconds for which Redis is stopped."""

LONG_STOP = LEASE_SECONDS + 5.0
"""The most seconds for which a process is stopped."""

_SERVES = re.compile(r"Worker \d+ serves, pid (\d+)")

SETTLING = 60.0
"""Seconds that everything has at the end to be well again."""


@dataclass
class Plan:
    """The size of a run.

    :ivar seconds: the time over which messages and faults are spread.
    :ivar faults: how many there are of each kind.
    :ivar cuts: how often each client is disconnected.
    :ivar workers: the workers of each process; 0 for none.
    :ivar upgrades: whether processes are upgraded with SIGUSR2.
    :ivar losses: whether Redis also loses all that it has. What was acked may be gone then, but
        everybody has to be told.
    :ivar fsync: Redis' setting ``appendfsync``.
    :ivar only: the kinds of faults, with commas between them; empty for all.
    """

    processes: int = 3
    workers: int = 0
    clients: int = 300
    rooms: int = 20
    messages: int = 30_000
    faults: int = 4
    cuts: int = 2
    seconds: float = 150.0
    seed: int = 1
    upgrades: bool = False
    losses: bool = False
    fsync: str = "always"
    only: str = ""


@dataclass
class Account:
    """The result of a run."""

    acked: int = 0
    unacked: int = 0
    again: int = 0
    seen: int = 0
    recovered: int = 0
    told: int = 0
    gaps: int = 0
    restarts: int = 0
    stored: int = 0
    epochs: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.acked} messages acked, {self.unacked} not, {self.again} sent again,"
            f" {self.stored} stored, {self.seen} seen; clients recovered {self.recovered} times,"
            f" were told that they have not {self.told} times, asked for {self.gaps} gaps;"
            f" {self.epochs} epochs; {self.restarts} starts by the supervisor;"
            f" faults: {faults or 'none'};"
            f" {len(self.violations)} violations; {self.seconds:.0f} s"
        )

    def report(self) -> str:
        """Return the counts, and the first violation with its history."""
        lines = [str(self)]
        for violation in self.violations[:1]:
            lines += [f"first violation: {violation.text}"]
            lines += [f"    {line}" for line in violation.history]
        lines += [f"  {violation.text}" for violation in self.violations[1:20]]
        return "\n".join(lines)


class Cluster:
    """Redis, the networks to it, and the processes; and how each of them fails."""

    def __init__(self, reactor: Any, plan: Plan, chance: random.Random, directory: Path) -> None:
        self._reactor = reactor
        self._chance = chance
        self.directory = directory
        certificates = Certificates(directory)
        tls = free_port()
        self.redis = RedisServer(
            *(directory / "redis", "appendonly yes", f"appendfsync {plan.fsync}"),
            *(f"tls-port {tls}", "tls-auth-clients no"),
            *(f'tls-cert-file "{certificates.cert}"', f'tls-key-file "{certificates.key}"'),
        )
        self.network = FaultyNetwork(plan.seed, [tls, *[self.redis.port] * (plan.processes - 1)])
        self.processes: list[Server] = []
        for number, port in enumerate(self.network.ports):
            url = f"redis://127.0.0.1:{port}?prefix={PREFIX}"
            if not number:
                url = url.replace("redis", "rediss", 1) + f"&cafile={certificates.ca}"
            where = directory / f"process{number}"
            where.mkdir()
            flags = ("--workers", str(plan.workers)) * bool(plan.workers)
            self.processes.append(Server(free_port(), url, where, where / "pid", flags))
        self.restarts = 0
        self._orphans: set[int] = set()
        self._is_down: set[Server] = set()
        self._supervising = LoopingCall(self._supervise)
        self._supervising.clock = reactor
        self._locks: dict[object, DeferredLock] = {}
        self.faults: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self.kill_process,
            "stop": self.stop_process,
            "redis-restart": self.restart_redis,
            "redis-kill": self.kill_redis,
            "redis-stop": self.stop_redis,
            "redis-disconnect": self.disconnect_redis,
            "cut": self.cut,
            "silence": self.silence,
            "slow": self.slow,
            "corrupt": self.corrupt,
        }
        if plan.workers:
            self.faults["worker-kill"] = lambda: self._signal_worker(signal.SIGKILL)
            self.faults["worker-end"] = lambda: self._signal_worker(signal.SIGTERM)
            self.faults["worker-stop"] = self.stop_worker
            self.faults["reload"] = self.reload_process
        if plan.upgrades:
            self.faults["upgrade"] = self.upgrade_process
        if plan.seconds > 2 * LONG_STOP:
            self.faults["stop-long"] = self.stop_process_for_long
        if plan.losses:
            self.faults["redis-loss"] = self.lose_everything

    def start(self) -> None:
        """Start the processes; clients try until they listen."""
        for process in self.processes:
            process.start()
        self._supervising.start(1.0)

    def _supervise(self) -> None:
        """Start processes that have ended, as a service manager does.

        One that finds no Redis when it starts ends.
        """
        for process in self.processes:
            if process not in self._is_down and not process.is_running():
                self.restarts += 1
                process.start()

    def end(self) -> None:
        """End everything, also what is stopped: SIGKILL needs no SIGCONT."""
        self._supervising.stop()
        for process in self.processes:
            process.end(signal.SIGKILL)
            for worker in workers_of(process):
                _kill(worker, signal.SIGKILL)
        self.redis.kill()
        self.network.end()

    async def _alone(self, target: object, fault: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let one thing have one fault at a time."""
        lock = self._locks.setdefault(target, DeferredLock())
        await lock.run(lambda: Deferred.fromCoroutine(fault()))

    async def _pause(self, least: float, most: float) -> None:
        await deferLater(self._reactor, self._chance.uniform(least, most))

    # Processes.

    async def kill_process(self) -> None:
        """Kill a process, and start it again."""
        process = self._chance.choice(self.processes)

        async def fault() -> None:
            self._is_down.add(process)
            workers = workers_of(process)
            process.end(signal.SIGKILL)
            self._orphans.update(workers)
            await self._pause(0.0, 3.0)
            process.start()
            self._is_down.discard(process)
            await self._pause(3.0, 5.0)  # let it get up before anything else

        await self._alone(process, fault)

    async def stop_process(self) -> None:
        """Stop a process for a while."""
        await self._stop_process(1.0, 6.0)

    async def stop_process_for_long(self) -> None:
        """Stop a process until the others take it for dead."""
        await self._stop_process(LEASE_SECONDS + 1, LONG_STOP)

    async def _stop_process(self, least: float, most: float) -> None:
        process = self._chance.choice(self.processes)

        async def fault() -> None:
            process.signal(signal.SIGSTOP)
            try:
                await self._pause(least, most)
            finally:
                process.signal(signal.SIGCONT)

        await self._alone(process, fault)

    async def reload_process(self) -> None:
        """Let a process read its configuration again."""
        self._chance.choice(self.processes).signal(signal.SIGHUP)

    async def _signal_worker(self, number: int) -> None:
        workers = workers_of(self._chance.choice(self.processes))
        if workers:
            _kill(self._chance.choice(workers), number)

    async def stop_worker(self) -> None:
        """Stop a worker for a while; others of the same process go on."""
        workers = workers_of(self._chance.choice(self.processes))
        if workers:
            worker = self._chance.choice(workers)
            _kill(worker, signal.SIGSTOP)
            try:
                await self._pause(1.0, 6.0)
            finally:
                _kill(worker, signal.SIGCONT)

    def left_orphans(self) -> list[int]:
        """Return the workers that still run although their supervisor was killed."""
        return [each for each in self._orphans if _is_worker(each)]

    async def upgrade_process(self) -> None:
        """Let a process put new code in its place."""
        process = self._chance.choice(self.processes)

        async def fault() -> None:
            process.signal(signal.SIGUSR2)
            await self._pause(4.0, 6.0)

        await self._alone(process, fault)

    # Redis.

    async def _redis(self, fault: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self._alone(self.redis, fault)

    async def restart_redis(self) -> None:
        """End Redis properly, and start it again."""
        await self._end_redis(self.redis.stop)

    async def kill_redis(self) -> None:
        """Kill Redis, and start it again."""
        await self._end_redis(self.redis.kill)

    async def _end_redis(self, end: Callable[[], None]) -> None:
        async def fault() -> None:
            await deferToThread(end)
            await self._pause(0.0, 3.0)
            await deferToThread(self.redis.start)

        await self._redis(fault)

    async def lose_everything(self) -> None:
        """Let Redis forget everything."""

        async def fault() -> None:
            await deferToThread(self.redis.ask, "FLUSHALL")

        await self._redis(fault)

    async def stop_redis(self) -> None:
        """Stop Redis for a while: its connections stay, but it does not answer."""

        async def fault() -> None:
            self.redis.signal(signal.SIGSTOP)
            try:
                await deferLater(self._reactor, REDIS_STOPPED)
            finally:
                self.redis.signal(signal.SIGCONT)

        await self._redis(fault)

    async def disconnect_redis(self) -> None:
        """Let Redis end all connections."""

        def disconnect() -> None:
            with Asking(self.redis.port) as asking:
                asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
                asking.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        async def fault() -> None:
            await deferToThread(disconnect)

        await self._redis(fault)

    # The network.

    async def _disturb(self, link: int, disturb: Callable[[int], None], most: float) -> None:
        async def fault() -> None:
            disturb(link)
            try:
                await self._pause(1.0, most)
            finally:
                self.network.heal(link)

        await self._alone(link, fault)

    def _any_link(self) -> int:
        return self._chance.randrange(len(self.processes))

    async def cut(self) -> None:
        """Cut the network of a process: connections end, and none is accepted."""
        await self._disturb(self._any_link(), self.network.cut, 5.0)

    async def silence(self) -> None:
        """Let nothing through, and not even say so."""
        await self._disturb(self._any_link(), self.network.silence, 8.0)

    async def slow(self) -> None:
        """Delay everything."""
        delay = self._chance.uniform(0.05, 0.5)
        await self._disturb(self._any_link(), lambda link: self.network.slow(link, delay), 5.0)

    async def corrupt(self) -> None:
        """Change bytes on the way. Where there is TLS, it notices that; else the store does."""
        await self._disturb(self._any_link(), self.network.corrupt, 5.0)

    # The end.

    def logs(self, rooms: list[str]) -> dict[str, dict[int, str]]:
        """Read the texts that the store has."""
        found: dict[str, dict[int, str]] = {}
        with Asking(self.redis.port) as asking:
            for room in rooms:
                entries = asking.ask("XRANGE", f"{{{PREFIX}:{room}}}:log", "-", "+")
                found[room] = {
                    int(id.partition(b"-")[0]): json.loads(fields[1])[1] for id, fields in entries
                }
        return found

    def mistakes(self) -> list[Violation]:
        """Return what the logs of the processes say about mistakes in the code."""
        found = [
            Violation(f"worker {pid} has outlived its supervisor") for pid in self.left_orphans()
        ]
        for number, process in enumerate(self.processes):
            lines = process.log().splitlines()
            for at, line in enumerate(lines):
                if "Traceback" in line:
                    what = f"process {number} has logged a traceback"
                    found.append(Violation(what, lines[max(0, at - 3) : at + 40]))
        return found


def workers_of(process: Server) -> list[int]:
    """Return the workers of a process that run."""
    pids = {int(pid) for pid in _SERVES.findall(process.log())}
    return sorted(filter(_is_worker, pids))


def _is_worker(pid: int) -> bool:
    """Whether there is a worker with this number; another process may have got it."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"services.workers.program" in command


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def run(reactor: Any, plan: Plan, directory: Path) -> Account:
    """Do the whole run, and return the result."""
    chance = random.Random(plan.seed)
    account = Account()
    began = time.monotonic()
    cluster = Cluster(reactor, plan, chance, directory)
    ports = [process.port for process in cluster.processes]
    witnesses = [
        Witness(reactor, number, f"r{number % plan.rooms}", ports, chance)
        for number in range(plan.clients)
    ]
    try:
        cluster.start()
        for witness in witnesses:
            witness.client.startService()
        await _until(reactor, lambda: all(each.is_in for each in witnesses), SETTLING)
        await _happen(reactor, plan, chance, cluster, witnesses, account)
        rooms = sorted({witness.room for witness in witnesses})
        logs: dict[str, dict[int, str]] = await deferToThread(cluster.logs, rooms)
        await _until(reactor, lambda: _are_level(witnesses, logs), SETTLING)
        await _until(reactor, lambda: not cluster.left_orphans(), SETTLING)
        account.restarts = cluster.restarts
        account.stored = sum(map(len, logs.values()))
        account.violations = cluster.mistakes() + check(witnesses, logs, plan.losses)
    finally:
        await DeferredList([witness.client.stopService() for witness in witnesses])
        cluster.end()
    _count(account, witnesses)
    account.seconds = time.monotonic() - began
    return account


async def _happen(
    reactor: Any,
    plan: Plan,
    chance: random.Random,
    cluster: Cluster,
    witnesses: list[Witness],
    account: Account,
) -> None:
    """Send messages, and let things fail, spread over the time. Wait until all is acked."""
    start = time.monotonic()
    last = start + plan.seconds + SETTLING
    running: list[Deferred[Any]] = []

    async def fail(name: str) -> None:
        account.faults[name] += 1
        await cluster.faults[name]()

    async def disconnect(witness: Witness) -> None:
        account.faults["client"] += 1
        witness.client.cut()

    async def say() -> None:
        await chance.choice(witnesses).say(lambda: time.monotonic() > last)

    happenings: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = []
    happenings += [(chance.random(), say) for _ in range(plan.messages)]
    for witness in witnesses * plan.cuts:
        happenings.append((chance.random(), lambda who=witness: disconnect(who)))  # type: ignore[misc]
    names = [name for name in plan.only.split(",") if name] or list(cluster.faults)
    faults = names * plan.faults
    chance.shuffle(faults)
    for number, name in enumerate(faults):
        when = 0.02 + 0.9 * (number + chance.random()) / len(faults)
        happenings.append((when, lambda name=name: fail(name)))  # type: ignore[misc]
    happenings.sort(key=lambda happening: happening[0])
    for when, happen in happenings:
        ahead = start + when * plan.seconds - time.monotonic()
        if ahead > 0:
            await deferLater(reactor, ahead)
        running.append(Deferred.fromCoroutine(happen()))
    for result, value in await DeferredList(running, consumeErrors=True):
        if not result:
            value.raiseException()


def _are_level(witnesses: list[Witness], logs: dict[str, dict[int, str]]) -> bool:
    """Whether all clients are in their rooms, and have seen the last message of the log."""
    return all(
        each.is_in and each.stretches[-1].end == max(logs[each.room], default=0)
        for each in witnesses
    )


async def _until(reactor: Any, true: Callable[[], bool], seconds: float) -> None:
    """Wait for something; the check finds what is wrong if it does not happen."""
    last = time.monotonic() + seconds
    while not true() and time.monotonic() < last:
        await deferLater(reactor, 0.1)


def _count(account: Account, witnesses: list[Witness]) -> None:
    epochs = set()
    for witness in witnesses:
        account.acked += len(witness.acked)
        account.unacked += len(witness.unacked)
        account.again += witness.again
        account.recovered += witness.recovered
        account.told += witness.told
        account.gaps += witness.gaps
        account.seen += sum(len(stretch.texts) for stretch in witness.stretches)
        epochs |= {(witness.room, stretch.epoch) for stretch in witness.stretches}
    account.epochs = len(epochs)


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Parse the flags, run, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, value in vars(Plan()).items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--keep", help="a directory for the logs, which stays")
    flags = vars(parser.parse_args(arguments))
    keep = flags.pop("keep")

    async def go() -> None:
        directory = Path(keep or tempfile.mkdtemp(prefix="chaos-")).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        try:
            account = await run(reactor, Plan(**flags), directory)
        finally:
            if not keep:
                shutil.rmtree(directory)
        print(account.report())
        if account.violations:
            raise SystemExit(1)

    return Deferred.fromCoroutine(go())


if __name__ == "__main__":
    react(main, sys.argv[1:])
