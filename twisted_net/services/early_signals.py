"""Signals that come before the service can obey them.

``twistd`` imports, reads the command line, and perhaps waits for a store, before its reactor runs.

* SIGHUP and SIGUSR2 would end the process. They are noted, and whoever handles them later is told:
  :func:`note_signals`, :func:`take_noted`.
* SIGINT and SIGTERM end the process at once: with one line instead of a traceback, without its pid
  file, and with the status of the signal: :func:`end_on_signals`, :func:`started`.

This module is imported first of all, so it imports little itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Protocol

_NOTED = (signal.SIGHUP, signal.SIGUSR2)
_ENDING = (signal.SIGINT, signal.SIGTERM)


class EndedBySignal(SystemExit, Exception):
    """A signal ends the process before its service runs.

    twistd does not catch SystemExit. Because it is an Exception too, twistd removes its pid file,
    and the parent of a daemon shows its text.
    """

    def __init__(self, number: int) -> None:
        super().__init__(1)
        self._number = number

    def __str__(self) -> str:
        return f"received {signal.Signals(self._number).name}"


class NotedSignal:
    """A handler that notes that its signal has come.

    :ivar has_come: whether it has, and nobody has obeyed it.
    """

    def __init__(self) -> None:
        self.has_come = False
        self._is_over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.has_come = not self._is_over

    def end(self) -> None:
        """Note nothing more, because the signal has its handlers by now."""
        self._is_over = True
        self.has_come = False


class _Reactor(Protocol):
    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., Any], *args: object
    ) -> Any: ...

    def callWhenRunning(self, callable: Callable[..., Any], *args: object) -> Any: ...


class EndingSignals:
    """Handles SIGINT and SIGTERM until the reactor does.

    :param name: what the line begins with.
    :param show: shows the line.
    :param die: ends the process, as the signal would; called when Python has ended.
    """

    def __init__(
        self, name: str, show: Callable[[str], object], die: Callable[[int], object]
    ) -> None:
        self._name = name
        self._show = show
        self._die = die
        self._before: dict[int, Any] = {}
        self._came: int | None = None
        self._is_started = False

    def begin(self) -> None:
        """Handle the signals that have no handler but Python's own."""
        for number in _ENDING:
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._came is not None and not self._is_started:
            self._die(number)  # it was asked before, and has not ended yet
            return
        self._came = number
        if not self._is_started:
            self._show(f"{self._name}: received {signal.Signals(number).name}, shutting down")
            self._end()

    def started(self, reactor: _Reactor) -> None:
        """Leave the signals to the reactor, which runs soon.

        One that comes until then stops the service in good order.

        :raises EndedBySignal: one has come, and somebody has caught the error of it.
        """
        if self._came is not None:
            self._end()
        self._is_started = True
        reactor.addSystemEventTrigger("before", "startup", self._hand_over, reactor)

    def _hand_over(self, reactor: _Reactor) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self:
                signal.signal(number, before)
        if self._came is not None:
            reactor.callWhenRunning(os.kill, os.getpid(), self._came)

    def _end(self) -> None:
        assert self._came is not None
        atexit.register(self._die, self._came)
        raise EndedBySignal(self._came)


_endings: list[EndingSignals] = []
_is_left_to_system = [False]


def note_signals() -> None:
    """Let this process outlive SIGHUP and SIGUSR2, from now until it ends, and note them.

    A handler that is installed already stays. Programs that this process starts end as usual: a
    handler, unlike SIG_IGN, is not inherited by them.
    """
    for number in _NOTED:
        if in_main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, NotedSignal())


def end_on_signals(name: str) -> None:
    """Let SIGINT and SIGTERM end this process with one line, until :func:`started`.

    :param name: the service's name.
    """
    if in_main_thread() and not _endings and not _is_left_to_system[0]:
        _endings.append(EndingSignals(name, _show, _die))
        _endings[0].begin()


def leave_endings_to_system() -> None:
    """Let SIGTERM end this process at once, although nothing says so.

    That is for workers: the supervisor knows, and many that start at the same time would take long
    to handle it.
    """
    _is_left_to_system[0] = True


def started(reactor: _Reactor) -> None:
    """Leave SIGINT and SIGTERM to the reactor, once the service has started.

    :raises EndedBySignal: one has come.
    """
    while _endings:
        _endings.pop().started(reactor)


def in_main_thread() -> bool:
    """Whether this is the thread in which Python handles signals."""
    return threading.current_thread() is threading.main_thread()


def _show(line: str) -> None:
    # Not with print(), which may be at work when the signal comes. The log may have replaced
    # sys.stderr; there is none if the descriptor was closed when Python started.
    if sys.__stderr__ is not None:
        with suppress(OSError):
            os.write(sys.__stderr__.fileno(), f"{line}\n".encode())


def _die(number: int) -> None:
    with suppress(OSError, ValueError, AttributeError):  # it may be closed
        sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
