"""Keeps the signals to stop until it is known which process goes on, and passes them on to it.

The old process ends as soon as the new one has taken over. A signal to stop that came just before
would end with it, and the service would run on.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Handles SIGINT and SIGTERM between :meth:`begin` and :meth:`end`."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came: list[int] = []

    def begin(self) -> None:
        """Keep the signals from now on."""
        if threading.current_thread() is threading.main_thread():  # else others have the handlers
            for number in _STOPPING:
                self._before[number] = signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)

    def end(self, pid: int) -> None:
        """Restore the handlers, and pass on what has come.

        :param pid: the process that goes on.
        """
        for number, before in self._before.items():
            if signal.getsignal(number) == self:
                # None: the handler was not installed from Python.
                signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before.clear()
        came, self._came = self._came, []
        for number in came:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
