"""An upgrade in place with workers: first they, one after another, and then the supervisor itself.

Workers come first because each of them can go on if its new code cannot. What comes last cannot be
undone: the supervisor becomes new code, which has served with all workers by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_net.services.workers.pool import WorkerPool
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.wire.text import counted, noun_for

_log = Logger()


class ServiceEnds(UpgradeFailed):
    """The service ends, so the upgrade does, too."""

    def __init__(self) -> None:
        super().__init__("the service ends")


class Replaceable(Protocol):
    """Lets this process become new code."""

    async def check(self) -> None:
        """Find out whether the new code would start.

        :raises UpgradeFailed: it would not.
        """

    async def become(self) -> None:
        """Become new code. It returns only if the service ends meanwhile.

        :raises UpgradeFailed: it could not be started.
        """


class SupervisorUpgrade:
    """Upgrades the workers and the supervisor, as often as somebody asks.

    :param name: the service's.
    :param pool: the workers.
    :param is_ready: returns whether the service is ready.
    :param reexec: lets this process become new code.
    """

    def __init__(
        self, name: str, pool: WorkerPool, is_ready: Callable[[], bool], reexec: Replaceable
    ) -> None:
        self._name = name
        self._pool = pool
        self._is_ready = is_ready
        self._reexec = reexec
        self._is_running = False

    def start(self) -> Deferred[str]:
        """Begin.

        :return: fires with what was done, one sentence, just before the supervisor becomes new
            code; fails with :exc:`UpgradeFailed`.
        """
        return Deferred.fromCoroutine(self._logged())

    async def _logged(self) -> str:
        try:
            return await self._run()
        except UpgradeFailed as error:
            _log.error("Upgrade failed: {reason}", reason=str(error))
            raise

    async def _run(self) -> str:
        if self._is_running:
            raise UpgradeFailed("an upgrade is running already")
        if not self._is_ready():
            raise UpgradeFailed(f"{self._name} is not ready")
        self._is_running = True
        try:
            await self._upgrade_workers()
            await self._check()
        except BaseException:
            self._is_running = False
            raise
        Deferred.fromCoroutine(self._become())
        done = f"All {self._pool.count} workers and the supervisor run the new code"
        were = "was" if self._pool.connections == 1 else "were"
        return f"{done}; {counted(self._pool.connections, 'connection')} {were} kept."

    async def _upgrade_workers(self) -> None:
        pool = self._pool
        _log.info(
            f"Upgrade: starting the new code of {{count}} {noun_for(pool.count, 'worker')}",
            count=pool.count,
        )
        for done, number in enumerate(range(1, pool.count + 1)):
            try:
                await pool.upgrade_worker(number)
            except UpgradeFailed as error:
                if pool.is_stopping:
                    raise ServiceEnds from None
                raise UpgradeFailed(
                    f"worker {number} goes on with its old code: {error} "
                    f"({done} of {pool.count} workers were upgraded)"
                ) from None
            _log.info("Upgrade: worker {worker} runs the new code", worker=number)

    async def _check(self) -> None:
        try:
            await self._reexec.check()
        except ServiceEnds:
            raise
        except UpgradeFailed as error:
            raise UpgradeFailed(
                f"the supervisor goes on with its old code: {error} "
                f"(all {self._pool.count} workers were upgraded)"
            ) from None

    async def _become(self) -> None:
        try:
            await self._reexec.become()
        except UpgradeFailed as error:
            self._is_running = False
            _log.error(
                "Upgrade failed: the supervisor goes on with its old code: {reason} "
                "(all {count} workers were upgraded)",
                reason=str(error),
                count=self._pool.count,
            )
        except Exception:
            self._is_running = False
            _log.failure("Upgrade failed: the supervisor goes on with its old code")


def ignore_failure(failure: Any) -> None:
    """Ignore that an upgrade has failed: the log says so."""
    failure.trap(UpgradeFailed)
