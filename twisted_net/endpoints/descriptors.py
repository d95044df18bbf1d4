"""File descriptors: how many connections the process may have, and what if there are no more."""

from __future__ import annotations

import resource
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from twisted_net.connection.rejection import RejectionLog
from twisted_net.eager.privates import log_of_port, set_log_of_port

RESERVE = 64
"""Descriptors kept back: for listeners, logs, a store, name look-ups, and those refused."""


def most_connections(each: int = 1) -> int:
    """Give how many connections the limit on file descriptors allows, less the reserve.

    :param each: descriptors that one connection takes.
    :return: at least 1; 0 where there is no limit, as :class:`AdmissionRules` wants it.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 0
    return max(1, (limit - min(RESERVE, limit // 2)) // each)


def log_rarely(port: Any, clock: IReactorTime) -> None:
    """Let a port tell the log once a minute that it could not accept, not several times for each.

    Out of descriptors, Twisted closes those who come, and goes on. Whatever is no port of
    Twisted's stays as it is.
    """
    logger = log_of_port(port)
    if logger is None:
        return
    rejections = RejectionLog("Connections that could not be accepted")

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "address" in event:  # of somebody whom it closed
            rejections.count("EMFILE", clock.seconds())
        elif "acceptError" in event:
            rejections.count(str(event["acceptError"]), clock.seconds())

    set_log_of_port(port, Logger(namespace=logger.namespace, observer=observe))
