"""How a client that comes back gets what it missed: once, in order, or a plain no."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_net.store.log import Page, StoredMessage


def merge(page: Page | None, live: Sequence[StoredMessage]) -> list[StoredMessage] | None:
    """Put together what was read from a log and what was heard while it was read.

    :param page: what the store gave for everything after the client's position; None where it
        could not give all of it.
    :param live: what came since before the log was read, in order.
    :return: everything after the client's position, without a gap or a repetition; None where
        that cannot be had.
    """
    if page is None:
        return None
    merged = list(page.stored)
    top = page.top
    for stored in live:
        if stored.offset <= top:
            continue  # the log had it already
        if stored.offset != top + 1:
            return None
        merged.append(stored)
        top = stored.offset
    return merged
