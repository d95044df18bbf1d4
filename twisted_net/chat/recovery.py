"""How a client that comes back gets what it missed: once, in order, or a plain no."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_net.store.log import Kept, Page


def merge(page: Page | None, live: Sequence[Kept]) -> list[Kept] | None:
    """Put together what was read from a log and what was heard while it was read.

    :param page: what the store gave for everything after the client's position; None where it
        could not give all of it.
    :param live: what came since before the log was read, in order.
    :return: everything after the client's position, without a gap or a repetition; None where
        that cannot be had.
    """
    if page is None:
        return None
    merged = list(page.kept)
    top = page.top
    for kept in live:
        if kept.offset <= top:
            continue  # the log had it already
        if kept.offset != top + 1:
            return None
        merged.append(kept)
        top = kept.offset
    return merged
