"""Recovers the messages that a client missed: all of them, once and in order, or none."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_net.store.log import Page, StoredMessage


def merge(page: Page | None, live: Sequence[StoredMessage]) -> list[StoredMessage] | None:
    """Merge the messages that were read from a log with those that arrived while it was read.

    :param page: the store's answer for all messages after the client's position; None if it could
        not return all of them.
    :param live: the messages that arrived since before the log was read, in order.
    :return: all messages after the client's position, without gaps or duplicates; None if some of
        them are missing.
    """
    if page is None:
        return None
    merged = list(page.stored)
    top = page.top
    for stored in live:
        if stored.offset <= top:
            continue  # a duplicate: the page has it
        if stored.offset != top + 1:
            return None
        merged.append(stored)
        top = stored.offset
    return merged
