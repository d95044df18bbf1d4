"""Carries the log of a worker: events as JSON lines on its standard output, and back again."""

from __future__ import annotations

import sys
from datetime import datetime
from time import time as current_time
from typing import Any

from twisted.logger import (
    FileLogObserver,
    InvalidLogLevelError,
    LogEvent,
    LogLevel,
    globalLogPublisher,
)

from twisted_net.services.log_format import OWN_MESSAGE, OWN_TRACEBACK, json_observer
from twisted_net.wire.json_values import make_decoder
from twisted_net.wire.text import printable

_decode = make_decoder(finite=True, unique=False)

_KNOWN = ("time", "level", "namespace", "message", "traceback")


def make_worker_observer() -> FileLogObserver:
    """Return the observer of a worker's ``twistd``."""
    return json_observer(sys.stdout)


class WorkerLog:
    """Writes what a worker has logged to the log of this process.

    As text, each message begins with the worker's number: ``[worker 2] ...``. As JSON, it is as the
    worker has written it, with the field ``worker``.

    :param number: the worker's.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def add(self, line: bytes) -> None:
        """Write a line of its standard output."""
        try:
            event = _decode(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("message"), str):
            self.add_text(line, LogLevel.info)  # somebody has used print()
            return
        self._emit(
            str(event.get("namespace") or ""),
            _level(event.get("level")),
            event["message"],
            event.get("traceback"),
            {name: value for name, value in event.items() if name not in _KNOWN},
            _seconds(event.get("time")),
        )

    def add_text(self, line: bytes, level: Any = LogLevel.warn) -> None:
        """Write a line that is no event, such as one of its standard error."""
        text = printable(line.decode(errors="replace")).rstrip()
        if text:
            self._emit(__name__, level, text, None, {}, None)

    def _emit(
        self,
        namespace: str,
        level: Any,
        message: str,
        traceback: object,
        more: dict[str, Any],
        time: float | None,
    ) -> None:
        # Not through a Logger: a field may have the name of one of its arguments.
        event: LogEvent = {name: value for name, value in more.items() if name[:4] != "log_"}
        event |= {
            "log_namespace": namespace or __name__,
            "log_level": level,
            "log_time": current_time() if time is None else time,
            "log_format": "[worker {worker}] {log_text}",
            "log_text": message,
            "worker": self._number,
            OWN_MESSAGE: message,
        }
        if isinstance(traceback, str):
            event |= {OWN_TRACEBACK: traceback, "log_text": f"{message}\n{traceback}"}
        globalLogPublisher(event)


def _level(name: object) -> Any:
    try:
        return LogLevel.levelWithName(str(name))
    except InvalidLogLevelError:
        return LogLevel.info


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
