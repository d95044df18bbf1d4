"""Starts the process of a worker, and hears what it writes and how it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.reactors import getReactorTypes
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_net.eager.reactor_interfaces import plain
from twisted_net.endpoints.descriptors import keep_high_descriptors
from twisted_net.services.workers.handoff import make_pair
from twisted_net.services.workers.settings import (
    CONTROL_FD,
    HANDOFF_FD,
    PYTHONPATH,
    SETTINGS_FD,
    WorkerSettings,
    write_settings,
)

_PROGRAM = "twisted_net.services.workers.program"

_OF_SUPERVISOR = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
"""What systemd tells the process that it has started, and no other."""

DESCRIPTORS_PER_WORKER = 4
"""File descriptors that the supervisor has for each: two sockets, and the pipes of its output."""

_LONGEST_LINE = 1 << 20

_ROOM = 1 << 20
"""Bytes that a worker may write while the supervisor becomes new code."""


def reactor_flags(reactor: Any) -> tuple[str, ...]:
    """Return the flag of ``twistd`` that asks for a reactor of the same kind, if there is one."""
    module = type(plain(reactor)).__module__
    names = [
        each.shortName for each in getReactorTypes() if getattr(each, "moduleName", "") == module
    ]
    return tuple(f"--reactor={name}" for name in names[:1])


@dataclass(frozen=True, slots=True)
class WorkerEnds:
    """The supervisor's ends of what connects it with a worker.

    :ivar handoff: of a worker that is to go on with another one: what that one is given.
    """

    control: socket.socket
    handoff: socket.socket


class WorkerProcess(ProcessProtocol):
    """The process of a worker.

    :param wrote: called with each line of its standard output.
    :param complained: called with each line of its standard error.
    :param ended: called with its status, or minus the signal that has ended it.
    """

    transport: Any = None

    def __init__(
        self,
        wrote: Callable[[bytes], object],
        complained: Callable[[bytes], object],
        ended: Callable[[int], object],
    ) -> None:
        self._wrote = LineSplitter(wrote)
        self._complained = LineSplitter(complained)
        self._ended = ended

    @property
    def pid(self) -> int | None:
        """The process id; None if it has ended."""
        pid: int | None = getattr(self.transport, "pid", None)
        return pid

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(signal.Signals(number).name.removeprefix("SIG"))

    # Going on after the supervisor has become new code.

    def export_state(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what was read of a line, and the pipes, which get room for what is written.

        :param keep: returns the number that a descriptor will have.
        """
        pipes = {name: each.fileno() for name, each in self.transport.pipes.items()}
        for each in pipes.values():
            with suppress(OSError):  # then a worker waits that logs very much meanwhile
                fcntl.fcntl(each, fcntl.F_SETPIPE_SZ, _ROOM)
        return {
            "lines": [self._wrote.rest, self._complained.rest],
            "pipes": [[name, keep(each)] for name, each in pipes.items()],
        }

    def restore_state(self, state: Mapping[str, Any]) -> dict[int, int]:
        """Go on in the middle of a line, and return the pipes."""
        for splitter, rest in zip((self._wrote, self._complained), state["lines"], strict=True):
            splitter.add(rest)
        for _, each in state["pipes"]:
            os.set_inheritable(each, False)
        return dict(state["pipes"])

    # For the reactor.

    def outReceived(self, data: bytes) -> None:
        self._wrote.add(data)

    def errReceived(self, data: bytes) -> None:
        self._complained.add(data)

    def processEnded(self, reason: Failure) -> None:
        self._wrote.end()
        self._complained.end()
        value = reason.value
        assert isinstance(value, ProcessDone | ProcessTerminated)
        self._ended(-value.signal if value.signal else value.exitCode or 0)


class LineSplitter:
    """Splits what a process writes into lines.

    :param add_line: called with each line, without its end.
    """

    def __init__(self, add_line: Callable[[bytes], object]) -> None:
        self._add_line = add_line
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def rest(self) -> bytes:
        """The bytes of a line whose end has not come."""
        return b"".join(self._pieces)

    def add(self, data: bytes) -> None:
        """Add bytes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._pieces.append(line)
            self.end()
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > _LONGEST_LINE:
                self.end()

    def end(self) -> None:
        """End a line, even if no line feed does."""
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if line:
            self._add_line(line)


def worker_environment(own: Mapping[str, str], path: Sequence[str]) -> dict[str, str]:
    """Return the environment of a worker.

    :param own: that of this process.
    :param path: where this process finds modules. The worker must find the same.
    """
    kept = {
        name: value
        for name, value in own.items()
        if name not in _OF_SUPERVISOR and not name.startswith("LISTEN_")
    }
    return kept | {PYTHONPATH: os.pathsep.join(path)}


class Spawner:
    """Starts workers.

    :param reactor: the reactor.
    :param directory: where they start: the supervisor's own directory when it was started.
    """

    def __init__(self, reactor: Any, directory: str) -> None:
        self._reactor = reactor
        self._directory = directory

    def spawn(self, process: WorkerProcess, settings: WorkerSettings) -> WorkerEnds:
        """Start a worker.

        :raises OSError: it cannot be started.
        """
        # With -P, Python would not find a module that happens to be in the working directory.
        command = (sys.executable, "-P", "-m", _PROGRAM)
        environment = worker_environment(os.environ, sys.path)
        # Pairs, of which one end each is the worker's.
        control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        handoff, its_handoff = socket.socketpair() if settings.succeeds else make_pair()
        reading = write_settings(settings)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            keep_high_descriptors()
            self._reactor.spawnProcess(
                process,
                command[0],
                command,
                env=environment,
                path=self._directory,
                childFDs={
                    0: nothing,
                    1: "r",
                    2: "r",
                    CONTROL_FD: its_control.fileno(),
                    HANDOFF_FD: its_handoff.fileno(),
                    SETTINGS_FD: reading,
                },
            )
        except BaseException:
            control.close()
            handoff.close()
            raise
        finally:
            its_control.close()
            its_handoff.close()
            os.close(reading)
            os.close(nothing)
        return WorkerEnds(control, handoff)
