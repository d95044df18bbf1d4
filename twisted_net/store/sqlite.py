"""The rooms' logs in an SQLite file, on a thread of its own: they outlive the process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from twisted_net.store.interface import StoreError, Subscriber
from twisted_net.store.local import LocalSubscribers
from twisted_net.store.log import Appended, Bounds, Message, Page, Position
from twisted_net.store.sqlite_log import Batch, SqliteLog

FILE_BOUNDS = Bounds(count=100_000, bytes=64 << 20, age=0.0, rooms=10_000)
"""What a file keeps unless told otherwise: disks are larger than memories."""

SWEEP = 60.0
"""Seconds between two looks for what has become too old, in rooms where nothing happens."""

Result = TypeVar("Result")


class Worker(Protocol):
    """Runs jobs elsewhere, one after another."""

    def run(self, job: Callable[[], Result]) -> Deferred[Result]:
        """Run a job after those before it; fires with what it gives, or fails with it."""

    def stop(self) -> Deferred[None]:
        """Finish the jobs and end."""


class ThreadWorker:
    """One thread.

    :param reactor: in whose thread the results arrive.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._stopped: Deferred[None] = Deferred()
        # A daemon: a reactor that has crashed shall not keep the process alive.
        threading.Thread(target=self._work, name="store", daemon=True).start()

    def run(self, job: Callable[[], Result]) -> Deferred[Result]:
        result: Deferred[Result] = Deferred()
        self._jobs.put((job, result))
        return result

    def stop(self) -> Deferred[None]:
        self._jobs.put(None)
        return self._stopped

    def _work(self) -> None:
        for job, result in iter(self._jobs.get, None):
            try:
                value: Any = job()
            except Exception:
                value = Failure()  # type: ignore[no-untyped-call]
            self._reactor.callFromThread(result.callback, value)
        self._reactor.callFromThread(self._stopped.callback, None)


class SqliteStore(LocalSubscribers):
    """See :class:`~twisted_net.store.interface.Store`.

    What is appended within a turn of the reactor, and while a commit is under way, is one commit.

    :param path: the file.
    :param clock: the reactor whose turns count.
    :param worker: makes what the file is read and written by, when the store starts: a process
        may have forked before.
    :param now: gives the time, in seconds since 1970.
    :param token: gives a random text, never the same: a room's epoch.
    :param power_safe: as for :class:`SqliteLog`, and so are the bounds.
    """

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        worker: Callable[[], Worker],
        now: Callable[[], float],
        token: Callable[[], str],
        bounds: Bounds = FILE_BOUNDS,
        power_safe: bool = False,
    ) -> None:
        super().__init__()
        self._open: Callable[[], SqliteLog] = lambda: SqliteLog(path, token, bounds, power_safe)
        self._clock = clock
        self._make_worker = worker
        self._now = now
        self._log: SqliteLog | None = None
        self._worker: Worker | None = None
        self._waiting: list[tuple[Batch, Deferred[Appended]]] = []
        self._committing = False
        self._sweeping: IDelayedCall | None = None

    def start(self) -> None:
        self._log = self._open()
        self._worker = self._make_worker()
        self._sweeping = self._clock.callLater(SWEEP, self._sweep)

    def stop(self) -> Deferred[None]:
        if self._worker is None or self._log is None:
            return succeed(None)
        if self._waiting:
            self._commit()
        if self._sweeping is not None:
            self._sweeping.cancel()
        log, worker = self._log, self._worker
        closed = worker.run(log.close)
        self._log = self._worker = self._sweeping = None

        def stop(result: object) -> Deferred[None]:
            return worker.stop()

        return closed.addBoth(stop)

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        if self._worker is None:
            return fail(StoreError("the store is closed"))
        result: Deferred[Appended] = Deferred()
        self._waiting.append(((room, messages), result))
        if not self._committing:
            self._committing = True
            self._clock.callLater(0, self._commit)
        return result

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        return self._run(lambda log: log.since(room, epoch, offset, limit, self._now()))

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        return self._run(lambda log: log.before(room, offset, limit, self._now()))

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        opened = self._run(lambda log: log.open_room(room, self._now()))

        def subscribed(position: Position) -> Position:
            self.subscribers.setdefault(room, []).append(deliver)
            return position

        return opened.addCallback(subscribed)

    def _run(self, job: Callable[[SqliteLog], Result]) -> Deferred[Result]:
        log, worker = self._log, self._worker
        if log is None or worker is None:
            return fail(StoreError("the store is closed"))
        if self._waiting:
            self._commit()  # a read sees every append before it
        return worker.run(lambda: job(log))

    def _commit(self) -> None:
        log, worker = self._log, self._worker
        if log is None or worker is None:
            return
        waiting, self._waiting = self._waiting, []
        self._committing = bool(waiting)
        if not waiting:
            return
        requests = [request for request, _ in waiting]
        now = self._now()
        commit = worker.run(lambda: log.append(requests, now))

        def committed(results: list[Appended]) -> None:
            for ((room, _), result), appended in zip(waiting, results, strict=True):
                self.publish(room, appended.epoch, appended.fresh)
                result.callback(appended)

        def failed(reason: Failure) -> None:
            for _, result in waiting:
                result.errback(reason)

        commit.addCallbacks(committed, failed)
        commit.addBoth(lambda _: self._commit())  # what has come meanwhile

    def _sweep(self) -> None:
        busy = frozenset(self.subscribers)
        swept = self._run(lambda log: log.sweep(self._now(), busy))

        def again(more: bool | Failure) -> None:
            if self._worker is not None:
                self._sweeping = self._clock.callLater(0.1 if more is True else SWEEP, self._sweep)

        self._sweeping = None
        swept.addBoth(again)
