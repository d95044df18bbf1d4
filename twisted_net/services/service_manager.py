"""Tell the service manager how the service is: ready, reloading, stopping, alive.

This is systemd's protocol (sd_notify(3)), which other managers speak too: datagrams of
``NAME=VALUE`` lines to the Unix socket that ``NOTIFY_SOCKET`` names. Without that
variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from twisted.logger import Logger

from twisted_net.wire.numbers import MOST_SECONDS, parse_whole, shorten

_log = Logger()

_RETRY = 0.1  # seconds until what the manager could not take is sent again

_MOST_SILENCE = 10.0  # seconds; the status is no older

_SPARE = 10.0  # seconds that a process has to end after its last connection

_MOST_WAITING = 16  # datagrams; somebody may send one SIGHUP after another

_MOST_MICROSECONDS = int(MOST_SECONDS) * 1_000_000


class StateListener(Protocol):
    """What is told how a service is, such as :class:`ServiceManager`."""

    def ready(self, describe: Callable[[], str]) -> None:
        """The service is ready."""

    def reloading(self) -> AbstractContextManager[None]:
        """The service reloads, inside of the context."""

    def stopping(self, status: str, seconds: float) -> None:
        """The service stops, within these seconds."""

    def close(self) -> None:
        """The service has stopped."""


class ServiceManager:
    """Sends states of this process to its service manager.

    The socket is connected at once: later, ``--chroot`` may hide its path. It never blocks.

    :param clock: for the watchdog; a reactor that hangs sends no sign of life.
    :param environment: has ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    :param make_socket: for tests.
    """

    def __init__(
        self,
        clock: Any,
        environment: Mapping[str, str],
        make_socket: Callable[[int, int], socket.socket] = socket.socket,
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._make_socket = make_socket
        self._name = environment.get("NOTIFY_SOCKET", "")
        self._warned = False
        self._notify_socket = self._open() if self._name else None
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._describe: Callable[[], str] | None = None  # while it is ready
        self._status = ""
        self._stopping = False
        self._interval = _MOST_SILENCE
        self._watched = False
        self._calls: dict[Callable[[], None], Any] = {}

    def ready(self, describe: Callable[[], str]) -> None:
        """Say that the service is ready, and begin to send signs of life.

        :param describe: returns the status, a line for people.
        """
        if self._notify_socket is None or self._stopping or self._describe is not None:
            return
        self._describe = describe
        self._watch()
        self._send("READY=1", self._new_status(always=True))
        self._later(self._interval, self._ping)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the service reloads, and that it is ready again afterwards."""
        if self._describe is not None and not self._stopping:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            if self._describe is not None and not self._stopping:
                self._send("READY=1", self._new_status(always=True))

    def main_process(self, pid: int) -> None:
        """Say which process is the service's main one; the manager watches it from now on."""
        if self._notify_socket is not None:
            with suppress(OSError):  # now, because this process may be about to end
                self._send_now(self._notify_socket, f"MAINPID={pid}".encode())

    def stopping(self, status: str, seconds: float) -> None:
        """Say that the service stops.

        :param seconds: how long its connections may take; systemd waits for as long, even if
            ``TimeoutStopSec=`` is shorter.
        """
        self._stopping = True
        micros = int((seconds + _SPARE) * 1_000_000)
        self._send("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={micros}")

    def close(self) -> None:
        """Send nothing more."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        if self._notify_socket is not None:
            self._notify_socket.close()
            self._notify_socket = None

    def _open(self) -> socket.socket | None:
        if self._name[0] not in "/@":
            self._warn("must be a path or an abstract name, such as @name")
            return None
        made = self._make_socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            self._connect(made)
        except OSError as error:
            made.close()
            self._warn(error.strerror or str(error))
            return None
        return made

    def _connect(self, made: socket.socket) -> None:
        abstract = self._name[0] == "@"  # unix(7)
        made.connect("\0" + self._name[1:] if abstract else self._name)

    def _watch(self) -> None:
        """Find out whether, and how often, the manager wants a sign of life."""
        text = self._environment.get("WATCHDOG_USEC")
        owner = self._environment.get("WATCHDOG_PID", str(os.getpid()))
        if text is None or owner != str(os.getpid()):
            return  # it is another process's, such as that of a parent which has passed it on
        try:
            micros = parse_whole(text, 1, _MOST_MICROSECONDS)
        except ValueError as error:
            _log.warn("WATCHDOG_USEC {value}: {reason}", value=shorten(text), reason=str(error))
            return
        self._watched = True
        self._interval = min(micros / 2_000_000, _MOST_SILENCE)

    def _ping(self) -> None:
        self._later(self._interval, self._ping)
        if not self._waiting:  # else the manager does not read; signs of life would only pile up
            self._send("WATCHDOG=1" if self._watched else "", self._new_status())

    def _new_status(self, always: bool = False) -> str:
        if self._describe is None or self._stopping:
            return ""
        status = " ".join(self._describe().split())
        if status == self._status and not always:
            return ""
        self._status = status
        return f"STATUS={status}"

    def _send(self, *lines: str) -> None:
        message = "\n".join(filter(None, lines))
        if self._notify_socket is not None and message:
            self._waiting.append(message)
            if len(self._waiting) == 1:
                self._flush()

    def _flush(self) -> None:
        while self._waiting and self._notify_socket is not None:
            data = self._waiting[0].encode()
            try:
                self._send_now(self._notify_socket, data)
            except BlockingIOError:
                self._later(_RETRY, self._flush)
                return
            except OSError as error:
                if not self._warned:
                    self._warn(error.strerror or str(error))
                self._later(self._interval, self._flush)
                return
            self._waiting.popleft()

    def _send_now(self, to: socket.socket, data: bytes) -> None:
        try:
            to.send(data)
        except (ConnectionError, FileNotFoundError):
            self._connect(to)  # the manager has made its socket anew
            to.send(data)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            del self._calls[call]
            call()

        self._calls[call] = self._clock.callLater(seconds, run)

    def _warn(self, reason: str) -> None:
        self._warned = True
        _log.warn(
            "NOTIFY_SOCKET {name}: {reason}; the service manager is told nothing",
            name=self._name,
            reason=reason,
        )
