"""A process that this one has started before it became new code."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.process import ProcessReader, registerReapProcessHandler
from twisted.internet.process import unregisterReapProcessHandler as unregister
from twisted.python.failure import Failure

from twisted_net.services.workers.spawning import WorkerProcess


class AdoptedProcess:
    """Stands for the process, as the transport of its protocol does that has started it.

    :param protocol: hears of it.
    :param pid: its process id. It is still a child of this process.
    :param pipes: the descriptors of its standard output and error, by 1 and 2.
    """

    def __init__(
        self, reactor: Any, protocol: WorkerProcess, pid: int, pipes: dict[int, int]
    ) -> None:
        self.pid: int | None = pid
        self._protocol = protocol
        self._status: int | None = None
        protocol.transport = self
        self.pipes: dict[int, Any] = {
            name: ProcessReader(reactor, self, name, descriptor)  # type: ignore[no-untyped-call]
            for name, descriptor in pipes.items()
        }

    def watch(self) -> None:
        """Begin to wait for its end, which may have been while there was nobody to hear of it."""
        registerReapProcessHandler(self.pid, self)  # type: ignore[no-untyped-call]

    def signalProcess(self, name: str) -> None:
        """Send a signal.

        :raises ProcessExitedAlready: it has ended.
        """
        if self.pid is None:
            raise ProcessExitedAlready
        os.kill(self.pid, signal.Signals[f"SIG{name}"])

    # For Twisted.

    def reapProcess(self) -> None:
        pid, status = 0, 0
        with suppress(ChildProcessError):
            assert self.pid is not None
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            unregister(pid, self)  # type: ignore[no-untyped-call]
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        self.pid = None
        self._status = status
        self._end_if_over()

    def childDataReceived(self, name: int, data: bytes) -> None:
        receive = self._protocol.outReceived if name == 1 else self._protocol.errReceived
        receive(data)

    def childConnectionLost(self, name: int, reason: Failure) -> None:
        os.close(self.pipes.pop(name).fileno())
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._status is None or self.pipes:
            return
        code = os.waitstatus_to_exitcode(self._status)
        error = (
            ProcessTerminated(code if code > 0 else None, -code if code < 0 else None, self._status)  # type: ignore[no-untyped-call]
            if code
            else ProcessDone(self._status)  # type: ignore[no-untyped-call]
        )
        self._protocol.processEnded(Failure(error))  # type: ignore[no-untyped-call]
