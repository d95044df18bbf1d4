"""The supervisor becomes new code, with its listening sockets and its workers.

It executes its command line again (execve(2)), and so keeps its process id, which the pid file and
systemd know, and its child processes. Workers do not notice it. New connections wait in the kernel
until the new code accepts them.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_net.endpoints.listening import ListenerService
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.services.reexec import HELD_BACK, KeptDescriptors, SelfReplacement
from twisted_net.services.upgrading import Launch
from twisted_net.services.workers.pool import WorkerPool
from twisted_net.services.workers.supervisor_upgrade import ServiceEnds
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.wire.text import noun_for

_log = Logger()

ADMIN_SECONDS = 2.0
"""Seconds that operators' connections have until the supervisor becomes new code."""

Export = Callable[[Callable[[int], int]], dict[str, Any]]


class SupervisorReexec:
    """Lets the supervisor become new code.

    :param launch: how this process was started.
    :param services: returns the service of the supervisor, and that of operators if there is one.
    :param pool: the workers.
    :param export: returns the rest of the state. It is called with what returns the number that a
        descriptor will have; it may raise ValueError or OSError.
    """

    def __init__(
        self,
        reactor: Any,
        launch: Launch,
        services: Callable[[], Mapping[str, ListenerService]],
        pool: WorkerPool,
        export: Export,
    ) -> None:
        self._reactor = reactor
        self._launch = launch
        self._services = services
        self._pool = pool
        self._export = export
        self._replacement = SelfReplacement(launch.command)
        self._checking: Deferred[None] | None = None

    # The old code.

    async def check(self) -> None:
        """Find out whether the new code starts.

        :raises UpgradeFailed: it does not.
        """
        self._checking = Deferred.fromCoroutine(self._check())
        try:
            await self._checking
        except CancelledError:
            raise ServiceEnds from None
        finally:
            self._checking = None

    async def _check(self) -> None:
        await self._pool.settle()
        state = self._export_all(lambda number: number)
        await self._replacement.check(self._reactor, state)

    def stop(self) -> None:
        """End the trial of the new code, or do not begin it: the service ends."""
        if self._checking is not None:
            self._checking.cancel()

    async def become(self) -> None:
        """Become new code, once operators have got their answers.

        :raises UpgradeFailed: it could not be started.
        """
        await deferLater(self._reactor, 0)  # who has asked for it gets the answer first
        service, *others = self._services().values()
        for each in others:
            each.pause_accepting()
            await self._close(each)
        kept = KeptDescriptors(self._replacement.first)
        try:
            await self._pool.settle()
            if service.running and not service.is_draining:
                self._replacement.become(self._export_all(kept.keep), kept)
        except UpgradeFailed:
            kept.close()
            for each in others:
                each.resume_accepting()
            raise

    async def _close(self, service: ListenerService) -> None:
        """Close the connections of operators: they are not kept."""
        service.factory.close(DRAINING)
        closed = service.factory.wait_closed()
        late = self._reactor.callLater(ADMIN_SECONDS, service.factory.abort, DRAINING)
        await closed
        if late.active():
            late.cancel()

    def _export_all(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return the state. Nothing changes.

        :raises UpgradeFailed: something cannot be passed on now.
        """
        try:
            sockets = {
                name: {
                    label: keep(port.fileno())  # type: ignore[attr-defined]
                    for label, port in service.ports_by_label.items()
                    if port in service.ports
                }
                for name, service in self._services().items()
            }
            return {**self._export(keep), "sockets": sockets, "pool": self._pool.export_state(keep)}
        except (ValueError, OSError) as error:
            raise UpgradeFailed(str(error)) from None

    # The new code.

    def inherit_sockets(self) -> None:
        """Let the services listen on the sockets that this process had before, if it had any."""
        if self._launch.saved is None:
            return
        inherited = self._launch.saved.values["sockets"]
        for name, service in self._services().items():
            known = inherited.pop(name, {})
            sockets = {label: socket.socket(fileno=each) for label, each in known.items()}
            for each in sockets.values():
                each.set_inheritable(False)
            service.inherit(sockets)

    def go_on(self, state: Mapping[str, Any], count: Callable[[], object]) -> None:
        """Go on with the workers, once this process handles signals.

        :param count: called when the workers are known, before they are heard.
        """
        for service in self._services().values():
            service.take_over_paths()
        # Later, as signals have waited until they are handled. A new worker would inherit that.
        self._reactor.callLater(0, self._go_on, state, count)

    def _go_on(self, state: Mapping[str, Any], count: Callable[[], object]) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        pool = self._pool
        pool.adopt(state["pool"])
        count()
        pool.resume_adopted()
        running = len(pool.running)
        _log.info(
            f"Upgrade: this supervisor goes on with {{count}} {noun_for(running, 'worker')} "
            f"and {{connections}} {noun_for(pool.connections, 'connection')}",
            count=running,
            connections=pool.connections,
        )
