"""Reactor time that goes on evenly when somebody sets the clock.

Twisted's reactors take their time from the system's clock. If that is set back by an hour, no
delayed call is run for an hour, so no timeout passes. If it is set forward, all run at once.
"""

from __future__ import annotations

from time import monotonic, time
from typing import Any


def make_steady(reactor: Any) -> None:
    """Let a reactor's time go on evenly from now on.

    It begins with the system's time, so calls that are pending already stay due, and programs that
    show it as a date are right as long as nobody sets the clock. A reactor that has its own source
    of time keeps it.
    """
    if getattr(reactor, "seconds", None) is not time:
        return
    ahead = time() - monotonic()
    reactor.seconds = lambda: ahead + monotonic()
