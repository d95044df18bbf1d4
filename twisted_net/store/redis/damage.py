"""Tells, once each, what is in Redis and cannot be read. Readers go on without it."""

from __future__ import annotations

from twisted.logger import Logger

_MOST = 1000

_log = Logger()

_told: set[tuple[str, bytes]] = set()


def note_damage(what: str, name: bytes) -> None:
    """Log that something in Redis is damaged.

    :param what: its kind, for operators.
    :param name: its name there.
    """
    if (what, name) in _told:
        return
    if len(_told) >= _MOST:
        _told.clear()
    _told.add((what, name))
    shown = name.decode("utf-8", "backslashreplace")
    _log.error("Redis has {what} that is damaged, and is left out: {name!r}", what=what, name=shown)
