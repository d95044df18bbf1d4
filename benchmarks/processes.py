"""The server and load generator processes of a measurement; each ends with its ``with`` block."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks.machine import listening_ports

_START_TIMEOUT = 20.0  # seconds that a server may take to listen
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class MeasureError(Exception):
    """A server or the load generator has failed; the text says which and why."""


class Process:
    """A child that is pinned to a core, and ends with this process or with its block.

    :ivar command: its command line.
    """

    def __init__(self, name: str, command: list[str], core: int | None, log: Path) -> None:
        self.name = name
        self.command = command
        self._core = core
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=self._stdout(log),
                stderr=log,
                preexec_fn=self._in_child,
                env=self._environment(),
                cwd=self._log.parent,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(3)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                pipe.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def _stdout(self, log: IO[bytes]) -> IO[bytes] | int:
        return log

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _in_child(self) -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})

    def failed(self, what: str) -> MeasureError:
        """Return an error with the end of the child's output."""
        said = self._log.read_text(errors="replace").strip().splitlines()
        return MeasureError(": ".join([f"{self.name} {what}", *said[-3:]]))


class Server(Process):
    """A server, which listens on :attr:`port` when the block begins."""

    port: int

    def __init__(
        self, name: str, command: list[str], core: int | None, log: Path, root: Path
    ) -> None:
        super().__init__(name, command, core, log)
        self._root = root

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.port = self._listening()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _environment(self) -> dict[str, str]:
        """Return an environment that uses this checkout, and not the installed package."""
        path = os.pathsep.join(filter(None, [str(self._root), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def _listening(self) -> int:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise self.failed(f"ended with status {self._child.returncode}")
            if ports := listening_ports(self.pid):
                return ports[-1]
            time.sleep(0.02)
        raise self.failed(f"did not listen within {_START_TIMEOUT:.0f} s")

    def alive(self) -> bool:
        return self._child.poll() is None


class Load(Process):
    """The load generator: its phases, and its final report."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._heard = b""
        return self

    def _stdout(self, log: IO[bytes]) -> int:
        return subprocess.PIPE

    def go(self) -> None:
        """Let it begin, after ``connected``."""
        assert self._child.stdin
        self._child.stdin.write(b"go\n")
        self._child.stdin.flush()

    def wait_for(self, phase: str, timeout: float) -> None:
        """Return when the phase begins.

        :raises MeasureError: it did not begin within ``timeout`` seconds, or the program ended.
        """
        line = self._line(timeout)
        if line != phase:
            raise self.failed(f"said {line!r} and not {phase!r}")

    def result(self, timeout: float) -> dict[str, float]:
        """Return the report."""
        found = json.loads(self._line(timeout))
        assert isinstance(found, dict)
        return found

    def _line(self, timeout: float) -> str:
        assert self._child.stdout
        pipe, deadline = self._child.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise self.failed(f"was silent for {timeout:.0f} s")
            data = os.read(pipe, 65536)
            if not data:
                raise self.failed("ended too early")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()
