"""Start the new code of an upgrade, as a rule with the command line of this process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from twisted_net.upgrade import launcher
from twisted_net.upgrade.frames import FrameSocket
from twisted_net.upgrade.new_process import UPGRADE_VARIABLE

FIRST_ACTIVATED = 3
"""The first socket of systemd's (``SD_LISTEN_FDS_START`` in sd_listen_fds(3))."""

END_SECONDS = 2.0
"""Seconds for which the end of a killed process is waited for."""


class Successor(Protocol):
    """A process that is to go on with another one.

    :ivar frames: the Unix socket to it.
    :ivar pid: its id; set to what it says itself.
    """

    frames: FrameSocket
    pid: int

    def end(self) -> str:
        """End it, because it will not go on. Return what it has said last; may be empty."""

    def status(self, wait: float) -> str:
        """Return how it has ended, after at most ``wait`` seconds; empty if that is unknown."""

    def forget(self) -> None:
        """Close what only this process needs: the other one goes on."""


def copy_activated() -> list[int]:
    """Return copies of the sockets that systemd has passed to this process, in order.

    Whoever listens on them closes them, and the next process needs them again.
    """
    variables = _listen_variables()
    if variables.get("LISTEN_PID") != str(os.getpid()):
        return []
    try:
        count = int(variables.get("LISTEN_FDS", ""))
        return [os.dup(FIRST_ACTIVATED + number) for number in range(count)]
    except (ValueError, OSError):  # Twisted's endpoints report it
        return []


def _listen_variables() -> dict[str, str]:
    """Return the variables with which systemd has started this process: Twisted deletes some."""
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = (each.partition(b"=") for each in file.read().split(b"\0"))
            found = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    except OSError:
        return {}
    return {name: value for name, value in found.items() if name.startswith("LISTEN_")}


@dataclass(slots=True)
class StartCommand:
    """How to start the new code: the command line of this process, as a rule.

    :ivar words: the program and its arguments.
    :ivar directory: where it starts.
    :ivar environment: its environment.
    :ivar activated: copies of the sockets that systemd has passed to this process.
    :ivar listen_variables: the variables that name them.
    """

    words: Sequence[str] = field(default_factory=lambda: [sys.executable, *sys.orig_argv[1:]])
    directory: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    activated: Sequence[int] = field(default_factory=copy_activated)
    listen_variables: Mapping[str, str] = field(default_factory=_listen_variables)


class NewProgram:
    """A program that was started to go on with this process.

    :param command: how to start it.
    :raises OSError: it cannot be started.
    :ivar frames: the Unix socket to it.
    :ivar pid: the process, as far as it is known.
    """

    def __init__(self, command: StartCommand) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("upgrades in place need Linux")
        ours, theirs = socket.socketpair()
        # Why it cannot start is for the log of the old process as well. The new one writes to the
        # real standard error when it goes on.
        self._said = os.memfd_create("stderr")
        error = os.dup(2)
        passed: tuple[int, ...] = (theirs.fileno(), error)
        environment = dict(command.environment)
        environment.pop("WATCHDOG_PID", None)  # systemd's watchdog is for the service's process
        environment[UPGRADE_VARIABLE] = ",".join(map(str, passed))
        words = list(command.words)
        if command.activated:
            numbers = ",".join(map(str, command.activated))
            words = [sys.executable, launcher.__file__, numbers, *words]
            passed = (*passed, *command.activated)
            environment |= command.listen_variables
        try:
            self._process = subprocess.Popen(
                words,
                cwd=command.directory,
                env=environment,
                stderr=self._said,
                pass_fds=passed,
            )
        except BaseException:
            os.close(self._said)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(error)
        self.frames = FrameSocket(ours)
        self.pid = self._process.pid  # of twistd's first process, until it says its own

    def end(self) -> str:
        """End it, and return what it has said last; may be empty."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self.frames.deadline = time.monotonic() + END_SECONDS
        with suppress(EOFError, OSError):
            while True:  # until nobody has the other end any more
                self.frames.receive()
        self.frames.close()
        try:
            return self._last_line()
        finally:
            os.close(self._said)

    def status(self, wait: float) -> str:
        """Return how it has ended: it has closed its end of the socket."""
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(wait)
            return f"signal {-status}" if status < 0 else f"status {status}"
        return ""

    def forget(self) -> None:
        """Close what only this process needs."""
        self.frames.close()
        os.close(self._said)

    def _last_line(self) -> str:
        size = os.fstat(self._said).st_size
        text = os.pread(self._said, 4096, max(0, size - 4096)).decode(errors="replace")
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
