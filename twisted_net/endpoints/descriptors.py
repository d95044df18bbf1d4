"""The limit on file descriptors: how many connections it allows, what is logged at the limit, and
what is above it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from twisted_net.connection.rejection import RejectionLog
from twisted_net.eager.privates import log_of_port, set_log_of_port

RESERVE = 64
"""Descriptors kept free for listeners, logs, a store, name lookups and rejected connections."""

_FIRST_DESCRIPTORS = 1024
"""Those that are looked at if the system does not list them, as with ``--chroot``."""


def most_connections(each: int = 1) -> int:
    """Return how many connections the limit on file descriptors allows, minus the reserve.

    :param each: descriptors that one connection takes.
    :return: at least 1; 0 if there is no limit, as in :class:`AdmissionRules`.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 0
    return max(1, (limit - min(RESERVE, limit // 2)) // each)


def open_descriptors() -> Iterable[int]:
    """Return the descriptors that are open now, and perhaps some that are not."""
    try:
        return [int(each) for each in os.listdir("/dev/fd")]
    except OSError:
        return range(_FIRST_DESCRIPTORS)


def keep_high_descriptors() -> None:
    """Let child processes not inherit descriptors above the limit.

    A shell may have opened them before the limit was lowered. Twisted closes them in a child by
    posix_spawn(3), which refuses numbers above the limit: no child could be started.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for each in open_descriptors():
        if each >= limit != resource.RLIM_INFINITY:
            with suppress(OSError):  # it is not open
                os.set_inheritable(each, False)


def log_rarely(port: Any, clock: IReactorTime) -> None:
    """Make a port log failed accepts once a minute, not several times for each.

    Without free descriptors, Twisted closes new connections and continues. Ports that are not
    Twisted's are left unchanged.
    """
    logger = log_of_port(port)
    if logger is None:
        return
    rejections = RejectionLog("Connections that could not be accepted")

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "address" in event:  # the port closed this peer
            rejections.count("EMFILE", clock.seconds())
        elif "acceptError" in event:
            rejections.count(str(event["acceptError"]), clock.seconds())

    set_log_of_port(port, Logger(namespace=logger.namespace, observer=observe))
