"""Keeps one worker running for each number."""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.logger import Logger

from twisted_net.services.workers.deaths import MOST_QUICK_DEATHS, QUICK, Deaths
from twisted_net.services.workers.handle import Spawn, WorkerHandle, describe_end
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.worker_upgrade import WorkerUpgrade
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.wire.text import noun_for

_log = Logger()

_CHECK_EVERY = 1.0
"""Seconds between two questions whether a worker answers."""

SETTLE_SECONDS = 10.0
"""Seconds that a worker may take to end after it has said its last."""

WORKER_END_SECONDS = 5.0
"""Seconds that a worker has to end after its last connection; then it is killed."""


class PoolObserver(Protocol):
    """Observes workers, for operators."""

    def worker_ready(self, worker: WorkerHandle, /) -> None:
        """A worker has begun to serve."""

    def worker_adopted(self, worker: WorkerHandle, /) -> None:
        """A worker is heard again, after the supervisor has become new code."""

    def metrics_known(self, worker: WorkerHandle, families: list[dict[str, Any]], /) -> None:
        """A worker has told its last metrics."""

    def worker_gone(self, worker: WorkerHandle, /) -> None:
        """A worker has ended."""

    def export_state(self) -> dict[str, Any]:
        """Return what it needs to go on, after the supervisor has become new code."""

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        """Go on with it."""


class WorkerPool:
    """Starts workers, again when they die, and new ones in their place.

    :param clock: the reactor.
    :param count: how many workers there are.
    :param settings: makes the settings of a worker from its number.
    :param spawn: starts a process.
    :param drain: seconds that a worker's connections have when it is told to stop.
    :param overlaps: whether two workers may serve with the same store at the same time. If not, a
        worker that was asked to end is followed by another one only after its end.
    :param changed: called when a worker begins to serve, or has ended.
    :param gone: called with each worker that has ended.
    :param left: called with a worker and the addresses of connections that have ended.
    :param succeeded: called with each worker that goes on with the connections of another one.
    :param stayed: called with each worker whose successor has its connections, but for some.
    :param failed: called with the line for the operator when the service cannot go on.
    :param jitter: returns random numbers from 0 to 1.
    :ivar drain: as the argument; it may be changed.
    :ivar workers: the workers that serve, or will, by their numbers.
    :ivar retired: workers that serve their last connections.
    :ivar starts: how many processes were started.
    :ivar observer: is told about workers, if somebody observes them.
    :ivar is_stopping: whether all are to end.
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
        succeeded: Callable[[WorkerHandle], object],
        stayed: Callable[[WorkerHandle], object],
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
        self._succeeded = succeeded
        self._stayed = stayed
        self._fail = failed
        self._deaths = deaths or Deaths()
        self._jitter = jitter
        self._calls: set[Any] = set()
        self.is_stopping = False
        self._last_death = -math.inf
        self._is_proven = False  # a worker has lived for some seconds
        self._upgrades: dict[int, WorkerUpgrade] = {}
        self._adopted: list[tuple[WorkerHandle, dict[str, Any]]] = []

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

    # Going on after the supervisor has become new code.

    async def settle(self) -> None:
        """Wait for the end of those workers that are about to end: only this process hears it.

        :raises UpgradeFailed: it takes too long.
        """
        while ending := [each for each in self.everybody if each.why_it_is_lost]:
            worker, why = ending[0], ending[0].why_it_is_lost
            ended = worker.wait_ended()
            ended.addTimeout(SETTLE_SECONDS, self._clock)
            try:
                await ended
            except WaitedTooLong:
                raise UpgradeFailed(f"worker {worker.number} does not end: {why}") from None

    def export_state(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what :meth:`adopt` needs. Nothing changes.

        :param keep: returns the number that a descriptor will have.
        :raises ValueError: a worker cannot be passed on now; the text says why.
        """
        workers = []
        for each in self.everybody:
            try:
                workers.append({**each.export_state(keep), "is_retired": each in self.retired})
            except ValueError as error:
                raise ValueError(f"worker {each.number}: {error}") from None
        return {
            "workers": workers,
            "starts": self.starts,
            "is_proven": self._is_proven,
            "has_served": self.has_served,
        }

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Know workers that run; :meth:`resume_adopted` follows."""
        self._later(_CHECK_EVERY, self._check)
        self.starts, self.has_served = state["starts"], state["has_served"]
        self._is_proven = state["is_proven"]
        for known in state["workers"]:
            worker = WorkerHandle(known["number"], self._clock, self)
            worker.restore_state(known)
            if known["is_retired"]:
                self.retired.append(worker)
            else:
                self.workers[worker.number] = worker
            self._adopted.append((worker, known))

    def resume_adopted(self) -> None:
        """Hear the workers of :meth:`adopt`, and start those that are missing."""
        adopted, self._adopted = self._adopted, []
        for worker, known in adopted:
            worker.adopt(known)
            if self.observer is not None:
                self.observer.worker_adopted(worker)
            if known["is_retired"]:
                self._later(self.drain + WORKER_END_SECONDS, self._kill, worker)
            elif worker.number > self.count:  # there are to be fewer now
                self._retire(worker)
            else:
                self._later(QUICK, self._note_survival, worker)
        for number in range(1, self.count + 1):
            if number not in self.workers:
                self._start(number)
        self._changed()

    def stop(self) -> Deferred[None]:
        """Let all workers close their connections and end.

        :return: fires when all have ended.
        """
        self.is_stopping = True
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

    def upgrade_worker(self, number: int) -> Deferred[None]:
        """Start a new process, which goes on with a worker's connections.

        :return: fires when it does; fails with :exc:`UpgradeFailed`, and the old process goes on.
        """
        return Deferred.fromCoroutine(self._upgrade(number))

    async def _upgrade(self, number: int) -> None:
        before = self.workers.get(number)
        if before is None or not before.ready or self.is_stopping:
            raise UpgradeFailed("it does not serve now")
        successor = WorkerHandle(number, self._clock, self, before)
        self.retired.append(successor)  # until it serves: it gets no connections
        try:
            self._spawn_process(successor)
        except OSError as error:
            self._forget(successor)
            raise UpgradeFailed(f"its new process cannot be started: {_why(error)}") from None
        attempt = self._upgrades[number] = WorkerUpgrade(self._clock, before, successor)
        serves = await attempt.wait()
        if self._upgrades.get(number) is attempt:
            del self._upgrades[number]
        if before.has_ended:  # only now it is known who has its connections
            self._ended(before)
        if not serves:
            self._restart_if_moved(before, successor)
            raise attempt.failure()

    def _restart_if_moved(self, before: WorkerHandle, successor: WorkerHandle) -> None:
        """Start a worker in place of two: the new one has died with what the old one gave it."""
        if before.has_moved and self.workers.get(before.number) is before:
            self._log_death(successor)
            self._retire(before)
            self._start_later(successor)
            self._changed()

    def _succeed(self, successor: WorkerHandle) -> None:
        """Let a new process take the place of the old one, which has given it everything."""
        before = successor.predecessor
        assert before is not None
        successor.succeed()
        self._succeeded(successor)
        if self.is_stopping:
            return
        self.retired.remove(successor)
        self.workers[successor.number] = successor
        self.retired.append(before)
        self._later(self.drain + WORKER_END_SECONDS, self._kill, before)

    async def _restart(self, number: int) -> bool:
        """Let a worker end, and start another one."""
        before = self.workers.get(number)
        if before is None:
            return False  # it is being started again anyway
        self._retire(before)
        self._changed()
        await before.wait_ended()
        if self.is_stopping:
            return True
        return await self._start(number).wait_ready()

    def _start(self, number: int) -> WorkerHandle:
        worker = self.workers[number] = WorkerHandle(number, self._clock, self)
        try:
            self._spawn_process(worker)
        except OSError as error:
            self._forget(worker)
            self._fail(f"worker {number} cannot be started: {_why(error)}")
        return worker

    def _spawn_process(self, worker: WorkerHandle) -> None:
        self.starts += 1
        settings = self._settings(worker.number)
        worker.start(
            self._spawn, replace(settings, succeeds=True) if worker.predecessor else settings
        )

    def _retire(self, worker: WorkerHandle) -> None:
        if worker not in self.retired:
            self.retired.append(worker)
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]
        worker.stop()
        self._later(self.drain + WORKER_END_SECONDS, self._kill, worker)

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
        if worker.predecessor is not None:
            self._succeed(worker)
        _log.info("Worker {worker} serves, pid {pid}", worker=worker.number, pid=worker.pid)
        if len(self.workers) == self.count and all(each.ready for each in self.running):
            self.has_served = True
        self._later(QUICK, self._note_survival, worker)
        if self.observer is not None:
            self.observer.worker_ready(worker)
        self._changed()

    def connections_left(self, worker: WorkerHandle, addresses: list[str | None]) -> None:
        self._left(worker, addresses)

    def worker_moved(self, worker: WorkerHandle) -> None:
        self._stayed(worker)
        if worker.number in self._upgrades:
            self._upgrades[worker.number].old_has_said()
        if worker.successor is not None and worker.successor.has_ended:
            self._restart_if_moved(worker, worker.successor)

    def worker_stayed(self, worker: WorkerHandle, reason: str) -> None:
        if worker.number in self._upgrades:
            self._upgrades[worker.number].stays(reason)

    def worker_leaving(self, worker: WorkerHandle) -> None:
        if self.is_stopping or self.workers.get(worker.number) is not worker:
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
        attempt = self._upgrades.get(worker.number)
        if attempt is not None and self.workers.get(worker.number) is worker:
            attempt.old_has_ended()  # who has its connections is not known yet
            self._changed()
        else:
            self._ended(worker)

    def _ended(self, worker: WorkerHandle) -> None:
        number, was_first = worker.number, self.workers.get(worker.number) is worker
        self._forget(worker)
        self._gone(worker)
        if self.observer is not None:
            self.observer.worker_gone(worker)
        if worker.successor is not None:
            worker.successor.predecessor = None
        self._changed()
        if self.is_stopping:
            return
        if not was_first:
            if worker.was_stopped:
                _log.info("Worker {worker} has ended, after its last connection", worker=number)
            return  # or it could not go on with another one, which is told there
        goes_on = worker.status > 0 and not worker.has_served and self._others_serve()
        if worker.status > 0 and not goes_on and not self._is_proven and worker.lifetime < QUICK:
            # Its own line says why it cannot start, such as a store that is not there.
            reason = worker.complaints[-1] if worker.complaints else ""
            self._fail(reason or f"worker {number} {describe_end(worker.status)}")
            return
        self._log_death(worker)
        self._start_later(worker, failed_to_start=goes_on)

    def _start_later(self, dead: WorkerHandle, failed_to_start: bool = False) -> None:
        self._last_death = self._clock.seconds()
        delay: float | None
        if failed_to_start:
            delay = self._deaths.failed_to_start(self._jitter())
        else:
            delay = self._deaths.died(dead.lifetime, self._jitter())
        if delay is None:
            self._fail(
                f"{MOST_QUICK_DEATHS} workers in a row have died within {QUICK:g} s of their "
                f"start, the last one {describe_end(dead.status)}"
            )
            return
        self._later(delay, self._start, dead.number)

    def _others_serve(self) -> bool:
        """Whether the service has begun, and somebody serves."""
        return self.has_served and any(each.ready for each in self.running)

    def _log_death(self, worker: WorkerHandle) -> None:
        _log.error(
            "Worker {worker} {how}, after {seconds} s, with {connections} "
            f"{noun_for(worker.connections, 'connection')}{{why}}",
            worker=worker.number,
            how=describe_end(worker.status),
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


def _why(error: OSError) -> str:
    return error.strerror or str(error)
