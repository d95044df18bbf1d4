"""How many workers ``--workers`` asks for."""

from __future__ import annotations

import os

from twisted_net.wire.numbers import parse_whole

MOST_WORKERS = 1024
"""More is a mistake: no machine of today has as many cores."""


def parse_workers(text: str) -> int:
    """Return the number of workers; ``auto`` means one for each CPU that this process may use.

    :raises ValueError: it is no such number.
    """
    if text == "auto":
        return available_cpus()
    try:
        return parse_whole(text, 1, MOST_WORKERS)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
