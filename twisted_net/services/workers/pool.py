"""Keeps one worker running for each number."""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from twisted_net.services.workers.deaths import MOST_QUICK_DEATHS, QUICK, Deaths
from twisted_net.services.workers.handle import Spawn, WorkerHandle
from twisted_net.services.workers.settings import WorkerSettings

_log = Logger()

_CHECK_EVERY = 1.0
"""Seconds between two questions whether a worker answers."""

WORKER_START_SECONDS = 60.0
"""Seconds that a successor has until it serves; then the old worker stays."""

WORKER_END_SECONDS = 5.0
"""Seconds that a worker has to end after its last connection; then it is killed."""


class PoolObserver(Protocol):
    """Observes workers, for operators."""

    def worker_ready(self, worker: WorkerHandle, /) -> None:
        """A worker has begun to serve."""

    def metrics_known(self, worker: WorkerHandle, families: list[dict[str, Any]], /) -> None:
        """A worker has told its last metrics."""

    def worker_gone(self, worker: WorkerHandle, /) -> None:
        """A worker has ended."""


class WorkerPool:
    """Starts workers, again when they die, and new ones in their place.

    :param clock: the reactor.
    :param count: how many workers there are.
    :param settings: makes the settings of a worker from its number.
    :param spawn: starts a process.
    :param drain: seconds that a worker's connections have when it is told to stop.
    :param overlaps: whether a worker and its successor may run at the same time. If not, new
        connections wait until the old one has ended, and the new one serves.
    :param changed: called when a worker begins to serve, or has ended.
    :param gone: called with each worker that has ended.
    :param left: called with a worker and the addresses of connections that have ended.
    :param failed: called with the line for the operator when the service cannot go on.
    :param jitter: returns random numbers from 0 to 1.
    :ivar drain: as the argument; it may be changed.
    :ivar workers: the workers that serve, or will, by their numbers.
    :ivar retired: workers that serve their last connections.
    :ivar starts: how many processes were started.
    :ivar observer: is told about workers, if somebody observes them.
    :ivar has_served: whether all numbers have had a worker that serves.
    """

    def __init__(
        self,
        clock: Any,
        count: int,
        settings: Callable[[int], WorkerSettings],
        spawn: Spawn,
        *,
        drain: float,
        overlaps: bool = True,
        changed: Callable[[], object],
        gone: Callable[[WorkerHandle], object],
        left: Callable[[WorkerHandle, list[str | None]], object],
        failed: Callable[[str], object],
        deaths: Deaths | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.count = count
        self.workers: dict[int, WorkerHandle] = {}
        self.retired: list[WorkerHandle] = []
        self.has_served = False
        self.starts = 0
        self.observer: PoolObserver | None = None
        self._clock = clock
        self._settings = settings
        self._spawn = spawn
        self.drain = drain
        self._overlaps = overlaps
        self._changed = changed
        self._gone = gone
        self._left = left
        self._fail = failed
        self._deaths = deaths or Deaths()
        self._jitter = jitter
        self._calls: set[Any] = set()
        self._stopping = False
        self._last_death = -math.inf
        self._is_proven = False  # a worker has lived for some seconds
        self._is_replacing = False

    @property
    def running(self) -> list[WorkerHandle]:
        """The workers, in the order of their numbers, without the retired."""
        return [self.workers[number] for number in sorted(self.workers)]

    @property
    def everybody(self) -> list[WorkerHandle]:
        """All workers, those too that serve their last connections."""
        return [*self.running, *self.retired]

    @property
    def connections(self) -> int:
        """The open connections of all workers, as of their last answers."""
        return sum(worker.connections for worker in self.everybody)

    def start(self) -> None:
        """Start all workers."""
        self._later(_CHECK_EVERY, self._check)
        for number in range(1, self.count + 1):
            self._start(number)

    def stop(self) -> Deferred[None]:
        """Let all workers close their connections and end.

        :return: fires when all have ended.
        """
        self._stopping = True
        for call in list(self._calls):
            call.cancel()
        self._calls.clear()
        waiting = []
        for worker in self.everybody:
            waiting.append(worker.wait_ended())
            self._retire(worker)
        return DeferredList(waiting).addCallback(self._all_ended)

    def _all_ended(self, results: object) -> None:
        for call in list(self._calls):
            call.cancel()
        self._calls.clear()

    def replace_worker(self, number: int) -> Deferred[bool]:
        """Start a successor of a worker. Once it serves, the old one ends.

        The listening sockets stay with the supervisor, so that nobody is refused. The old worker
        closes its connections as when the service stops.

        :return: fires when the old worker has ended; with False if the successor cannot serve, and
            the old one goes on.
        """
        return Deferred.fromCoroutine(self._replace(number))

    async def replace_all(self) -> bool:
        """Replace all workers, one after another. The first that cannot serve ends this.

        :return: whether all were replaced.
        """
        if self._is_replacing or self._stopping:
            _log.warn("The workers are being replaced already, or end")
            return False
        self._is_replacing = True
        try:
            _log.info("The workers are replaced, one after another")
            for number in sorted(self.workers):
                if not await self.replace_worker(number) or self._stopping:
                    _log.error("Worker {worker} is not replaced; no others are", worker=number)
                    return False
            _log.info("All workers are replaced")
            return True
        finally:
            self._is_replacing = False

    async def _replace(self, number: int) -> bool:
        if not self._overlaps:
            return await self._restart(number)
        successor = WorkerHandle(number, self._clock, self)
        self.retired.append(successor)  # until it serves: it is no one's first choice
        if not self._spawn_process(successor):
            return False
        self._later(WORKER_START_SECONDS, self._give_up, successor)
        if not await successor.wait_ready():
            return False
        if self._stopping:
            return True
        self.retired.remove(successor)
        before = self.workers.get(number)
        self.workers[number] = successor
        self._changed()
        if before is not None:
            self._retire(before)
            await before.wait_ended()
        return True

    async def _restart(self, number: int) -> bool:
        """Let a worker end, and start another one."""
        before = self.workers.get(number)
        if before is None:
            return False  # it is being started again anyway
        self._retire(before)
        self._changed()
        await before.wait_ended()
        if self._stopping:
            return True
        return await self._start(number).wait_ready()

    def _start(self, number: int) -> WorkerHandle:
        worker = self.workers[number] = WorkerHandle(number, self._clock, self)
        self._spawn_process(worker)
        return worker

    def _spawn_process(self, worker: WorkerHandle) -> bool:
        self.starts += 1
        try:
            worker.start(self._spawn, self._settings(worker.number))
        except OSError as error:
            why = error.strerror or str(error)
            self._forget(worker)
            self._fail(f"worker {worker.number} cannot be started: {why}")
            return False
        return True

    def _retire(self, worker: WorkerHandle) -> None:
        if worker not in self.retired:
            self.retired.append(worker)
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]
        worker.stop()
        self._later(self.drain + WORKER_END_SECONDS, self._kill, worker)

    def _give_up(self, successor: WorkerHandle) -> None:
        if not successor.has_served and not successor.has_ended:
            _log.error("Worker {worker} takes too long to start", worker=successor.number)
            successor.signal(signal.SIGKILL)

    def _forget(self, worker: WorkerHandle) -> None:
        if worker in self.retired:
            self.retired.remove(worker)
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]

    def _kill(self, worker: WorkerHandle) -> None:
        if not worker.has_ended:
            _log.warn("Worker {worker} does not end; it is killed", worker=worker.number)
            worker.signal(signal.SIGKILL)

    def _check(self) -> None:
        self._later(_CHECK_EVERY, self._check)
        for worker in self.everybody:
            worker.check()

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        def run() -> None:
            self._calls.discard(pending)
            call(*arguments)

        pending = self._clock.callLater(seconds, run)
        self._calls.add(pending)

    # What workers do.

    def worker_ready(self, worker: WorkerHandle) -> None:
        _log.info("Worker {worker} serves, pid {pid}", worker=worker.number, pid=worker.pid)
        if len(self.workers) == self.count and all(each.ready for each in self.running):
            self.has_served = True
        self._later(QUICK, self._note_survival, worker)
        if self.observer is not None:
            self.observer.worker_ready(worker)
        self._changed()

    def connections_left(self, worker: WorkerHandle, addresses: list[str | None]) -> None:
        self._left(worker, addresses)

    def worker_leaving(self, worker: WorkerHandle) -> None:
        if self._stopping or self.workers.get(worker.number) is not worker:
            return  # it is told to stop anyway
        _log.info("Worker {worker} was asked to end; it is replaced", worker=worker.number)
        if self._overlaps:
            self._retire(worker)
            self._start(worker.number)
            self._changed()
        else:
            Deferred.fromCoroutine(self._restart(worker.number))

    def metrics_known(self, worker: WorkerHandle, families: list[dict[str, Any]]) -> None:
        if self.observer is not None:
            self.observer.metrics_known(worker, families)

    def worker_ended(self, worker: WorkerHandle, status: int) -> None:
        number, was_first = worker.number, self.workers.get(worker.number) is worker
        self._forget(worker)
        self._gone(worker)
        if self.observer is not None:
            self.observer.worker_gone(worker)
        self._changed()
        if self._stopping:
            return
        if not was_first:  # a retired one, or a successor that could not start
            if worker.was_stopped:
                _log.info("Worker {worker} has ended, after its last connection", worker=number)
            else:
                self._log_death(worker, status)
            return
        goes_on = status > 0 and not worker.has_served and self._others_serve()
        if status > 0 and not goes_on and not self._is_proven and worker.lifetime < QUICK:
            # Its own line says why it cannot start, such as a store that is not there.
            reason = worker.complaints[-1] if worker.complaints else ""
            self._fail(reason or f"worker {number} {_how(status)}")
            return
        self._log_death(worker, status)
        self._last_death = self._clock.seconds()
        delay: float | None
        if goes_on:
            delay = self._deaths.failed_to_start(self._jitter())
        else:
            delay = self._deaths.died(worker.lifetime, self._jitter())
        if delay is None:
            self._fail(
                f"{MOST_QUICK_DEATHS} workers in a row have died within {QUICK:g} s of their "
                f"start, the last one {_how(status)}"
            )
            return
        self._later(delay, self._start, number)

    def _others_serve(self) -> bool:
        """Whether the service has begun, and somebody serves."""
        return self.has_served and any(each.ready for each in self.running)

    def _log_death(self, worker: WorkerHandle, status: int) -> None:
        _log.error(
            "Worker {worker} {how}, after {seconds} s, with {connections} connections{why}",
            worker=worker.number,
            how=_how(status),
            seconds=round(worker.lifetime, 1),
            connections=worker.connections,
            why=": " + worker.complaints[-1] if worker.complaints else "",
        )

    def _note_survival(self, worker: WorkerHandle) -> None:
        if worker.has_ended:
            return
        self._is_proven = True
        if worker.started_at > self._last_death:
            self._deaths.survived()


def _how(status: int) -> str:
    """Say how a process has ended."""
    if status >= 0:
        return f"has ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
