"""The service of the supervisor: it accepts, and keeps its workers running."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import Listener, ListenerService, ListenFailed
from twisted_net.policy.admission import Admission
from twisted_net.policy.close_reasons import CLOSED, CloseReason
from twisted_net.policy.ranges import Network
from twisted_net.services import early_signals
from twisted_net.services.config_reloader import ConfigReloader, change_rules
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.reloader import NOTHING_TO_READ, READING, SignalHandler
from twisted_net.services.service_manager import ServiceManager
from twisted_net.services.starting import (
    StartError,
    begin_log_level,
    fail_late,
    second_signal,
    settle,
)
from twisted_net.services.upgrading import Launch
from twisted_net.services.workers.dispatcher import Dispatcher
from twisted_net.services.workers.handle import ANSWER_SECONDS, Spawn
from twisted_net.services.workers.pool import WORKER_END_SECONDS, WorkerPool
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.sockets import AcceptingSockets
from twisted_net.services.workers.supervisor_reexec import SupervisorReexec
from twisted_net.services.workers.supervisor_upgrade import SupervisorUpgrade, ignore_failure
from twisted_net.web.admin.log_level import changes, set_log_level
from twisted_net.wire.text import counted

_log = Logger()

NEW_TICKET_KEY_EVERY = 12 * 60 * 60
"""Seconds between two keys of session tickets, as for a service without workers."""


class AbortingFactory(ConnectionFactory):
    """Stands for the connections of all workers: a second signal aborts them.

    :param name: the service's name, for the log.
    :param abort: aborts them.
    :param admission: decides which clients may connect.
    """

    def __init__(
        self, name: str, abort: Callable[[], object], clock: Any, admission: Admission
    ) -> None:
        super().__init__(clock=clock, admission=admission)
        self._name = name
        self._abort_all = abort

    def logPrefix(self) -> str:
        return self._name

    def abort(self, reason: CloseReason = CLOSED) -> None:
        self._abort_all()


@dataclass(frozen=True, slots=True)
class SupervisorParts:
    """What a supervisor is made of.

    :ivar command: the service's name.
    :ivar sockets: what accepts; ``listeners`` were made with it.
    :ivar listeners: where to listen.
    :ivar settings: makes the settings of a worker from its number.
    :ivar spawn: starts the process of a worker.
    :ivar count: how many workers there are.
    :ivar admission: decides who may connect.
    :ivar trusted: the proxies, whose clients' addresses only workers learn.
    :ivar drain: seconds that connections have when the service stops.
    :ivar options: the command line, whose file may be read again.
    :ivar overlaps: whether a worker and its successor may run at the same time.
    :ivar identity: returns what all workers have, for :func:`make_supervisor` of new code.
    :ivar launch: how this process was started.
    :ivar renew_ticket_key: makes a new key of session tickets for all workers, in hexadecimal
        digits; None if they have none in common, or a file has it.
    """

    command: str
    sockets: AcceptingSockets
    listeners: Sequence[Listener]
    settings: Callable[[int], WorkerSettings]
    spawn: Spawn
    count: int
    admission: Admission
    trusted: Sequence[Network | str]
    drain: float
    options: Any
    overlaps: bool = True
    renew_ticket_key: Callable[[], str] | None = None
    identity: Callable[[], dict[str, Any]] = dict
    launch: Launch = field(default_factory=Launch)


class Supervisor(ListenerService):
    """Accepts connections, and hands them to workers in turn.

    :param reactor: the reactor.
    :ivar pool: its workers.
    :ivar admission: decides who may connect.
    :ivar admin: shows the workers to operators; it starts and stops with the service.
    """

    admin: ListenerService | None = None

    def __init__(self, reactor: Any, parts: SupervisorParts) -> None:
        super().__init__(
            AbortingFactory(parts.command, self._abort_connections, reactor, parts.admission),
            parts.listeners,
            parts.drain,
        )
        self.command = parts.command
        self.admission = parts.admission
        self.pool = WorkerPool(
            *(reactor, parts.count, parts.settings, parts.spawn),
            drain=parts.drain,
            overlaps=parts.overlaps,
            changed=self._workers_changed,
            gone=lambda worker: self._dispatcher.worker_gone(worker),
            left=lambda worker, addresses: self._dispatcher.left(worker, addresses),
            succeeded=lambda worker: self._dispatcher.succeeded(worker),
            stayed=lambda worker: self._dispatcher.stayed(worker),
            failed=self._fail,
        )
        self._reactor = reactor
        self._sockets = parts.sockets
        self._dispatcher = Dispatcher(
            *(reactor, lambda: self.pool.running, parts.admission, parts.trusted),
            hold=lambda holds: self._accept_or_hold(holds),
        )
        self._options = parts.options
        self._config: ConfigReloader | None = None
        if parts.options.config_path is not None:
            self._config = ConfigReloader(parts.options, self._apply_flags)
        self._renew_ticket_key = parts.renew_ticket_key
        self._holds = self._has_failed = False
        self._call: Any = None
        self._signals: list[SignalHandler] = []
        self._manager = ServiceManager(reactor, os.environ)
        self._identity = parts.identity
        self._launch = parts.launch
        self._reexec = SupervisorReexec(
            reactor, parts.launch, self._services, self.pool, self._export_state
        )
        self._upgrade = SupervisorUpgrade(
            parts.command, self.pool, lambda: self.ready and not self.is_draining, self._reexec
        )
        parts.sockets.use(self._dispatcher.accepted)

    @property
    def ready(self) -> bool:
        """Whether it listens, all workers have served, and one does now."""
        return (
            super().ready
            and self.pool.has_served
            and any(worker.ready for worker in self.pool.running)
        )

    @property
    def not_ready(self) -> str:
        if self.is_draining or not super().ready:
            return super().not_ready
        if not self.pool.has_served:
            return "waits for its workers to start"
        return "" if self.ready else "has no worker that serves"

    def privilegedStartService(self) -> None:
        self._reexec.inherit_sockets()
        try:
            super().privilegedStartService()
            if self.admin is not None:
                self.admin.privilegedStartService()
        except ListenFailed as error:
            raise StartError(f"{self.command}: {error}").show() from None

    def startService(self) -> None:
        self._reexec.inherit_sockets()  # twist begins here
        try:
            super().startService()
            if self.admin is not None:
                self.admin.startService()
        except ListenFailed as error:
            raise StartError(f"{self.command}: {error}").show() from None
        self._launch.restore_pid_file()
        settle()
        begin_log_level(self._options["log-level"])
        self._reactor.callWhenRunning(self._start_workers)
        early_signals.started(self._reactor)

    def stopService(self) -> Deferred[None]:
        self._manager.stopping(f"Stopping; {self._describe()}", self.drain + WORKER_END_SECONDS)
        if self._call is not None and self._call.active():
            self._call.cancel()
        for handler in self._signals:
            handler.restore()
        self._signals.clear()
        self._reexec.stop()
        stopped = Deferred.fromCoroutine(self._stop_all(super().stopService))
        if not stopped.called:
            second_signal.begin(self)
        return stopped.addBoth(self._has_stopped)

    def begin_drain(self) -> Deferred[None]:
        """Stop accepting, and let the workers close all connections, but stay running.

        :return: fires when it has stopped accepting.
        """
        draining = super().begin_drain()
        for worker in self.pool.everybody:
            worker.tell("drain")
        return draining

    def listen_failed_late(self, failure: ListenFailed) -> None:
        self._fail(str(failure))

    def listening_late(self) -> None:
        self._workers_changed()

    async def _stop_all(self, stop_listening: Callable[[], Deferred[None]]) -> None:
        await stop_listening()
        self._dispatcher.close()
        await self.pool.stop()
        if self.admin is not None:  # last, so that operators can see how the connections end
            await self.admin.stopService()

    def _has_stopped(self, result: Any) -> Any:
        self._manager.close()
        second_signal.end(self)
        return result

    def _start_workers(self) -> None:
        if not self.running:
            return
        for number, call in (
            (signal.SIGHUP, self._hung_up),
            (signal.SIGUSR2, self._upgrade_signalled),
        ):
            self._signals.append(SignalHandler(self._reactor, number, call))
        saved, self._launch.saved = self._launch.saved, None
        if self._renew_ticket_key is not None:
            renew_in = NEW_TICKET_KEY_EVERY if saved is None else saved.values["renew_in"]
            self._call = self._reactor.callLater(renew_in, self._new_ticket_key)
        if saved is None:
            self.pool.start()
        else:
            self._go_on(saved.values)

    def _workers_changed(self) -> None:
        self._accept_or_hold(self._holds)
        if self.ready:
            self._manager.ready(self._describe)

    def _accept_or_hold(self, holds: bool) -> None:
        self._holds = holds
        if holds or not any(worker.ready for worker in self.pool.running):
            self._sockets.pause()
        else:
            self._sockets.resume()

    def _describe(self) -> str:
        count, pool = self.pool.connections, self.pool
        serving = sum(worker.ready for worker in pool.running)
        return f"{counted(count, 'connection')}, {serving} of {counted(pool.count, 'worker')}"

    def _abort_connections(self) -> None:
        for worker in self.pool.everybody:
            worker.tell("abort")

    def _fail(self, line: str) -> None:
        """End the service with one line, and status 1."""
        if self._has_failed:
            return
        self._has_failed = True
        if not line.startswith(f"{self.command}: "):
            line = f"{self.command}: {line}"
        _log.error("{line}", line=line)
        fail_late(self._reactor, line)

    # Signals.

    def _hung_up(self) -> None:
        self.reload("SIGHUP").addErrback(_was_logged)

    def reload(self, why: str) -> Deferred[str]:
        """Read the ``--config`` file again, and let all workers do so, and read certificates.

        One line in the log says what has changed, and which workers have not done so.

        :param why: what asks for it, for the log.
        :return: fires with that line when all have, or have not answered in time; fails with
            :exc:`ReloadError` if the file is wrong, and nothing of it is obeyed. The workers read
            the certificates all the same.
        """
        return Deferred.fromCoroutine(self._reload(why))

    async def _reload(self, why: str) -> str:
        with self._manager.reloading():
            told, error = [], None
            try:
                if self._config is not None:
                    told.append(self._config.reload())
            except ReloadError as wrong:
                error = wrong
            used = [each.certificates for each in self.listeners if each.certificates is not None]
            if any(each.from_disk for each in used):
                told.append(READING)
            workers = self.pool.everybody
            asked = [each.reload(config=error is None) for each in workers]
            for each in asked:
                each.addTimeout(ANSWER_SECONDS, self._reactor)
            results = await DeferredList(asked, consumeErrors=True)
        failures = [
            f"not in worker {worker.number}: {_why(failure)}"
            for worker, (is_done, failure) in zip(workers, results, strict=True)
            if not is_done and not worker.is_gone
        ]
        if error is not None:
            text = "; ".join([f"{error}; nothing has changed", *failures])
            _log.error("{why}: {text}", why=why, text=text)
            raise error
        text = "; ".join([*(told or [NOTHING_TO_READ]), *failures])
        level = LogLevel.warn if failures else LogLevel.info
        changes.emit(level, "{why}: {text}", why=why, text=text)
        return text

    def _apply_flags(self, before: Any, now: Any, changed: Collection[str]) -> None:
        """Obey what concerns this process: who may connect, the log, and the end."""
        change_rules(self.admission, before, now, changed)
        if "max-connections" in changed and now["max-connections"] is None:
            most = now.rules().max_connections  # of each worker
            self.admission.change(max_connections=most * self.pool.count)
        if "log-level" in changed:
            set_log_level(LogLevel.levelWithName(now["log-level"]))
        self.drain = self.pool.drain = now["drain"]

    # An upgrade in place.

    def upgrade(self) -> Deferred[str]:
        """Let new code go on in place of all workers, and of this process.

        :return: fires with what was done, one sentence, and the supervisor becomes new code right
            after that; fails with :exc:`UpgradeFailed`.
        """
        return self._upgrade.start()

    def _upgrade_signalled(self) -> None:
        self.upgrade().addErrback(ignore_failure)

    def _services(self) -> dict[str, ListenerService]:
        return {"service": self} | ({} if self.admin is None else {"admin": self.admin})

    def _export_state(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what new code needs, besides sockets and workers."""
        now, observer = self._reactor.seconds(), self.pool.observer
        return {
            **self._identity(),
            "renew_in": 0 if self._call is None else self._call.getTime() - now,
            "admission": self.admission.export_state(now),
            "waiting": self._dispatcher.export_state(keep),
            "shown": None if observer is None else observer.export_state(),
        }

    def _go_on(self, state: Mapping[str, Any]) -> None:
        """Go on where this process has stopped before it became new code."""
        self.admission.restore_state(state["admission"], self._reactor.seconds())
        if self.pool.observer is not None and state["shown"] is not None:
            self.pool.observer.restore_state(state["shown"])

        def count() -> None:
            self._dispatcher.restore_state(state["waiting"], self.pool.everybody)

        self._reexec.go_on(state, count)

    def _new_ticket_key(self) -> None:
        assert self._renew_ticket_key is not None
        self._call = self._reactor.callLater(NEW_TICKET_KEY_EVERY, self._new_ticket_key)
        key = self._renew_ticket_key()
        for worker in self.pool.everybody:
            worker.tell("ticket-key", key=key)


def _why(failure: Failure) -> str:
    """Return why a worker has not done what all do."""
    is_late = isinstance(failure.value, WaitedTooLong)
    return "it does not answer" if is_late else failure.getErrorMessage()


def _was_logged(failure: Failure) -> None:
    """A wrong file has its line in the log."""
    if not isinstance(failure.value, ReloadError):
        _log.failure("The files could not be read again", failure)
