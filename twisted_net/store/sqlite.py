"""A store in an SQLite file, which survives the end of the process. It works in its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.store.interface import StoreError, Subscriber
from twisted_net.store.local import LocalSubscribers
from twisted_net.store.log import Appended, Bounds, Message, Page, Position
from twisted_net.store.sqlite_log import Batch, SqliteLog

FILE_BOUNDS = Bounds(count=100_000, bytes=64 << 20, age=0.0, rooms=10_000)
"""The default bounds of a file. They are larger than those of memory, as disks are larger."""

SWEEP = 60.0
"""Seconds between two sweeps, which delete what is beyond the bounds in quiet rooms, too."""

CHECK = 1.0
"""Seconds until a store that could not write tries again by itself."""

Result = TypeVar("Result")

_log = Logger()


class Worker(Protocol):
    """Runs jobs one after another, outside of the reactor's thread."""

    def run(self, job: Callable[[], Result]) -> Deferred[Result]:
        """Run a job after all earlier ones.

        :return: fires with the job's result, or fails with its exception.
        """

    def stop(self) -> Deferred[None]:
        """Complete all jobs and stop."""


class ThreadWorker:
    """Runs jobs in one thread.

    :param reactor: the results are delivered in its thread.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._stopped: Deferred[None] = Deferred()
        # A daemon thread, so that it does not keep the process alive if the reactor crashes.
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
    """A :class:`~twisted_net.store.interface.Store` in an SQLite file.

    All appends of one turn of the reactor are one commit, and so are all appends that arrive during
    a commit.

    :param path: the file.
    :param clock: the reactor.
    :param worker: makes the worker that reads and writes the file. It is called when the store
        starts, because the process may fork before that.
    :param now: returns the time, in seconds since 1970.
    :param token: returns a random text for a room's epoch, different each time.
    :param bounds: the bounds of the store.
    :param power_safe: as for :class:`SqliteLog`.
    :ivar trouble: why nothing can be written now; empty if it can. After a failure, the store tries
        by itself each :data:`CHECK` seconds, without anybody's message.
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
        self._opening: list[str] = []  # rooms whose subscriptions are on their way
        self._sweeping: IDelayedCall | None = None
        self._path = path
        self._checking: IDelayedCall | None = None
        self._is_checked = False  # whether the worker is about to try
        self.trouble = ""

    def start(self) -> None:
        try:
            self._log = self._open()
        except StoreError as error:
            self.trouble = str(error)
            raise
        self.trouble = ""
        self._worker = self._make_worker()
        self._sweeping = self._clock.callLater(SWEEP, self._sweep)

    def stop(self) -> Deferred[None]:
        if self._worker is None or self._log is None:
            return succeed(None)
        if self._waiting:
            self._commit()
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._checking is not None:
            self._checking.cancel()
        log, worker = self._log, self._worker
        closed = worker.run(log.close)
        self._log = self._worker = self._sweeping = self._checking = None

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
        self._opening.append(room)
        opened = self._write(lambda log: log.open_room(room, self._now()))

        def done(result: Position | Failure) -> Position | Failure:
            self._opening.remove(room)
            if not isinstance(result, Failure):
                self.subscribers.setdefault(room, []).append(deliver)
            return result

        return opened.addBoth(done)

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        return self._write(lambda log: log.put(kind, key, value))

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        return self._run(lambda log: log.values(kind))

    def _run(self, job: Callable[[SqliteLog], Result]) -> Deferred[Result]:
        log, worker = self._log, self._worker
        if log is None or worker is None:
            return fail(StoreError("the store is closed"))
        if self._waiting:
            self._commit()  # a read sees every append before it
        return worker.run(lambda: job(log))

    def _write(self, job: Callable[[SqliteLog], Result]) -> Deferred[Result]:
        written = self._run(job)
        written.addBoth(self._note)
        return written

    def _note(self, result: Result) -> Result:
        """Note whether something could be written."""
        if self._worker is None:
            return result  # it is closed, and says so
        if not isinstance(result, Failure):
            if self.trouble:
                self.trouble = ""
                _log.info("The store works: {path}", path=self._path)
        elif isinstance(result.value, StoreError):
            text = result.getErrorMessage()
            if not self.trouble:
                _log.error("The store is in trouble. {path}: {text}", path=self._path, text=text)
            self.trouble = text
            if self._checking is None and not self._is_checked:
                self._checking = self._clock.callLater(CHECK, self._check)
        return result

    def _check(self) -> None:
        """Try to write. It waits for the worker, and never blocks the reactor."""

        def checked(result: object) -> None:
            self._is_checked = False
            self._note(result)

        self._checking = None
        if not self._is_checked:
            self._is_checked = True
            self._run(lambda log: log.check()).addBoth(checked)

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
        commit.addBoth(self._note)

        def committed(results: list[Appended]) -> None:
            for ((room, _), result), appended in zip(waiting, results, strict=True):
                self.publish(room, appended.epoch, appended.fresh)
                result.callback(appended)

        def failed(reason: Failure) -> None:
            for _, result in waiting:
                result.errback(reason)

        commit.addCallbacks(committed, failed)
        commit.addBoth(lambda _: self._commit())  # the appends that arrived meanwhile

    def _sweep(self) -> None:
        busy = frozenset((*self.subscribers, *self._opening))
        swept = self._run(lambda log: log.sweep(self._now(), busy))

        def again(more: bool | Failure) -> None:
            if self._worker is not None:
                if isinstance(more, Failure) and self._checking is None:
                    self._check()  # perhaps nothing can be written, and nobody has tried
                self._sweeping = self._clock.callLater(0.1 if more is True else SWEEP, self._sweep)

        self._sweeping = None
        swept.addBoth(again)
