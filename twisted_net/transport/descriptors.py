"""How many connections the process may have: each takes a file descriptor."""

from __future__ import annotations

import resource

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
