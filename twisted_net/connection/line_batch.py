"""Write the log's lines about ended connections together, once a turn of the reactor.

Formatted and written as any other, such a line costs as much as everything else in a short
connection. So as long as the only observer of Twisted's log is one that writes text to a file, as
under ``twistd``, these lines are formatted here, and written together before the reactor waits
again. The file is the same, line by line.

No line is lost, and the order stays: every other line to that file, the end of the process and a
fork write first what waits. Only a process that is killed in the middle of a turn loses the lines
of that turn.

With any other observer, or several, each event goes to them at once, as usual.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from io import StringIO
from time import time
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import FileLogObserver, LogEvent, Logger, LogLevel, textFileLogObserver

from twisted_net.eager.privates import log_observers

_FormatEvent = Callable[[LogEvent], str | None]

_AS_TEXT: Any = textFileLogObserver(StringIO()).formatEvent  # all of these have the same code
_SAMPLE = "x"


class LineBatch:
    """The lines of one logger that wait to be written.

    :param logger: the lines look as if it had emitted them.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._lines: deque[str] = deque()  # threads may take from it
        self._observer: object = None  # the only one when a line was last to be added
        self._file: FileLogObserver | None = None  # the same, if it takes lines
        self._as_text: _FormatEvent = _AS_TEXT  # its own way to format
        self._second = -1
        self._prefixes: dict[Any, str] = {}  # of lines in this second, by level
        self._scheduled = False
        self._has_hooks = False

    def is_usable(self, clock: IReactorTime) -> bool:
        """Whether lines can be added now, in place of events.

        :param clock: the reactor, which has to run.
        """
        observers = log_observers()
        if len(observers) != 1 or not getattr(clock, "running", False):
            return False
        if observers[0] is not self._observer:
            self._use(observers[0])
        return self._file is not None

    def add(self, clock: IReactorTime, level: Any, text: str) -> bool:
        """Add the text of an event.

        :param level: its ``LogLevel``.
        :return: False if it has to be emitted as an event, because it may not fit into a line.
        """
        if not text.isascii() or "\n" in text:  # if it cannot be written, others are not lost
            return False
        now = time()
        if int(now) != self._second:
            self._second = int(now)
            self._prefixes.clear()
        prefix = self._prefixes.get(level)
        if prefix is None:
            prefix = self._prefixes[level] = self._prefix(level, now)
        self._lines.append(f"{prefix}{text}\n")
        if not self._scheduled:
            self._scheduled = True
            clock.callLater(0, self._end_turn)
        return True

    def flush(self) -> None:
        """Write what waits."""
        if not self._lines or self._file is None:
            return
        try:
            self._file({})  # it calls _format
        except Exception:
            self._logger.failure("Lines about ended connections cannot be written")

    def _end_turn(self) -> None:
        self._scheduled = False
        self.flush()

    def _use(self, observer: Any) -> None:
        """Add lines to what an observer writes, if that is text in a file."""
        self.flush()
        self._observer, self._file = observer, None
        self._second = -1
        if type(observer) is not FileLogObserver:
            return
        own = observer.formatEvent
        if isinstance(own, partial) and own.func == self._format:  # it has been used before
            own = own.args[0]
        if getattr(own, "__code__", None) is not _AS_TEXT.__code__:
            return
        self._as_text = own
        if self._prefix(LogLevel.info, 0.25) != self._prefix(LogLevel.info, 0.75):
            return  # its times are more exact than seconds
        self._file = observer
        self._scheduled = False
        observer.formatEvent = partial(self._format, own)
        if not self._has_hooks:
            self._has_hooks = True
            atexit.register(self.flush)
            os.register_at_fork(before=self.flush)

    def _prefix(self, level: Any, now: float) -> str:
        sample = {
            "log_level": level,
            "log_namespace": self._logger.namespace,
            "log_format": _SAMPLE,
            "log_time": now,
        }
        return (self._as_text(sample) or "").removesuffix(f"{_SAMPLE}\n")

    def _format(self, as_text: _FormatEvent, event: LogEvent) -> str | None:
        """Return what waits, and the text of an event behind it."""
        text = as_text(event) if event else None
        waiting = []
        while self._lines:
            try:
                waiting.append(self._lines.popleft())
            except IndexError:  # another thread was faster
                break
        return "".join(waiting) + (text or "") or None
