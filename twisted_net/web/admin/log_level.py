"""Changes which events Twisted's log writes, while it runs."""

from __future__ import annotations

from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)
from zope.interface import implementer

from twisted_net.eager.privates import log_observers

LEVELS = tuple(level.name for level in LogLevel.iterconstants())
"""The names of all levels, from the least to the greatest."""

_CHANGES = "twisted_net.changes"

changes = Logger(namespace=_CHANGES)
"""Logs what operators do. Its lines are written at every level: who raises the level, or does
something while it is high, has a line, too."""


@implementer(ILogObserver)
class LevelFilter:
    """Passes on events of a level and above, and what operators do.

    :ivar observer: gets them.
    :ivar level: the least level, one of Twisted's ``LogLevel``.
    """

    def __init__(self, observer: Any, level: Any) -> None:
        self.observer = observer
        self.level = level
        predicate: Any = LogLevelFilterPredicate(defaultLogLevel=level)
        predicate.setLogLevelForNamespace(_CHANGES, LogLevel.debug)
        self._filter = FilteringLogObserver(observer, [predicate])

    def __call__(self, event: LogEvent) -> None:
        self._filter(event)


def log_level() -> Any:
    """Return the least level that is logged."""
    found = [each.level for each in log_observers() if isinstance(each, LevelFilter)]
    return found[0] if found else LogLevel.debug


def set_log_level(level: Any) -> bool:
    """Log events of this level and above alone, from now on.

    :return: False if the observers of the log are not known.
    """
    observers = list(log_observers())
    for each in observers:
        own = each.observer if isinstance(each, LevelFilter) else each
        globalLogPublisher.removeObserver(each)
        globalLogPublisher.addObserver(own if level is LogLevel.debug else LevelFilter(own, level))
    return bool(observers)
