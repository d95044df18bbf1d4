"""One attempt to let a new process go on with a worker's connections, as the supervisor sees it.

The supervisor starts the new process, and passes on the socket between both. The rest is their
business; see :mod:`twisted_net.upgrade`. The new one says when it serves. If it ends before, the
old one says why it goes on.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from twisted_net.services.workers.handle import WorkerHandle, describe_end
from twisted_net.upgrade.frames import UpgradeFailed

UPGRADE_SECONDS = 90.0
"""Seconds that an upgrade of a worker may take. The old worker itself gives up before."""

ORPHAN_SECONDS = 20.0
"""Seconds that one of both processes has to end, or to say what it does, after the end of the other
one."""


class WorkerUpgrade:
    """Waits until it is known which process goes on.

    :param clock: the reactor.
    :param before: the old process.
    :param successor: the new one, which was started.
    """

    def __init__(self, clock: Any, before: WorkerHandle, successor: WorkerHandle) -> None:
        self._clock = clock
        self._before = before
        self._successor = successor
        self._why = ""
        self._has_said: Deferred[None] = Deferred()

    async def wait(self) -> bool:
        """Begin, and return whether the new process goes on. Otherwise it has ended."""
        if not self._before.pass_on(self._successor):
            self.stays("it takes nothing at the moment")
        late = self._clock.callLater(UPGRADE_SECONDS, self._give_up)
        serves = await self._successor.wait_ready()
        if late.active():
            late.cancel()
        if not (serves or self._why or self._before.has_ended):
            self._has_said.addTimeout(ORPHAN_SECONDS, self._clock)
            with suppress(WaitedTooLong):
                await self._has_said
        return serves

    def stays(self, reason: str) -> None:
        """The old process goes on."""
        self._why = self._why or reason
        self._successor.signal(signal.SIGKILL)  # the old one may have no right to do it
        self.old_has_said()

    def old_has_said(self) -> None:
        """The old process has said what it does, or has ended."""
        if not self._has_said.called:
            self._has_said.callback(None)

    def old_has_ended(self) -> None:
        """The new process may have its connections. If not, it hears this end, and ends too."""
        self.old_has_said()
        self._clock.callLater(ORPHAN_SECONDS, self._give_up)

    def failure(self) -> UpgradeFailed:
        """Return why the new process does not go on."""
        before, successor = self._before, self._successor
        why = self._why or f"the new process {describe_end(successor.status)}"
        if before.has_ended:
            why = f"it {describe_end(before.status)}"
        said = successor.complaints[-1] if successor.complaints else ""
        return UpgradeFailed(f"{why}: {said}" if said else why)

    def _give_up(self) -> None:
        before, successor = self._before, self._successor
        if not successor.has_served and not successor.has_ended and not before.has_moved:
            self._why = self._why or "the new process took too long"
            successor.signal(signal.SIGKILL)
