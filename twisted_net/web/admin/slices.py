"""Works through many connections without holding up the reactor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

SLICE = 2500
"""Connections that are looked at in one turn of the reactor, which takes about a millisecond."""

ItemT = TypeVar("ItemT")


class Slices:
    """Cuts the work for one answer into turns of the reactor.

    What is at most :data:`SLICE` items in all is done at once.

    :param clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left = SLICE

    async def of(self, items: Sequence[ItemT]) -> AsyncIterator[Sequence[ItemT]]:
        """Give the items in parts, each in a turn of its own if this one has done enough."""
        for start in range(0, len(items), SLICE):
            part = items[start : start + SLICE]
            if self._left < len(part):
                waiting: Deferred[None] = deferLater(self._clock, 0)
                await waiting
                self._left = SLICE
            self._left -= len(part)
            yield part
