"""Tell connections that a reactor closes when it stops from those that their peers reset.

A reactor that stops reports both as ``ConnectionLost``.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet, ref

_watched: WeakSet[Any] = WeakSet()
_told_to_stop: WeakSet[Any] = WeakSet()


def watch_stop(reactor: Any) -> None:
    """Notice when this reactor stops. Do nothing for a clock that is no reactor."""
    add_trigger = getattr(reactor, "addSystemEventTrigger", None)
    if add_trigger is not None and reactor not in _watched:
        _watched.add(reactor)
        add_trigger("before", "shutdown", _note, ref(reactor))


def has_stopped(reactor: Any) -> bool:
    """Whether a reactor has stopped, and what it now reports as lost was closed by itself."""
    return not getattr(reactor, "running", True) and reactor in _told_to_stop


def _note(watched: ref[Any]) -> None:
    reactor = watched()
    if reactor is not None:
        _told_to_stop.add(reactor)
