"""Limits how often a user may do what costs others something: join, change a name or a topic."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, Literal, TypeAlias

from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import RequestError
from twisted_net.policy.rate import TokenBuckets
from twisted_net.wire.text import counted

RequestKind: TypeAlias = Literal["joins", "nicks", "topics", "new_rooms"]
"""The field of :class:`ChatLimits` that has the number."""

_TEXT: dict[RequestKind, str] = {
    "joins": "You join rooms too often.",
    "nicks": "You change your name too often.",
    "topics": "You change topics too often.",
    "new_rooms": "You make new rooms too often.",
}

_FIELD: dict[RequestKind, str] = {
    "joins": "room",
    "nicks": "nick",
    "topics": "topic",
    "new_rooms": "room",
}

_MOST = 10_000  # users whose requests are counted; see TokenBuckets


class RequestRates:
    """Counts the requests of each user. Times are seconds of any clock.

    :param limits: how many a minute are allowed.
    """

    __slots__ = ("_buckets", "_limits")

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._buckets: TokenBuckets[tuple[RequestKind, Hashable]] = TokenBuckets(self._size, _MOST)

    def __len__(self) -> int:
        """Return the number of counts that are kept."""
        return len(self._buckets)

    def change(self, limits: ChatLimits) -> None:
        """Allow other numbers from now on. Whoever had too many may go on at once."""
        self._limits = limits
        self._buckets = TokenBuckets(self._size, _MOST)

    def count(self, who: Hashable, kind: RequestKind, now: float) -> None:
        """Count a request of a user or a person.

        :raises RequestError: ``rate-limited``: there were too many. The request does not count.
        """
        if not getattr(self._limits, kind):
            return
        wait = self._buckets.wait((kind, who), now)
        if wait:
            seconds = math.ceil(wait)
            text = f"{_TEXT[kind]} Try again in {counted(seconds, 'second')}."
            raise RequestError("rate-limited", text, _FIELD[kind], retry_after=seconds)
        self._buckets.take((kind, who), now)

    def export_state(self, now: float) -> list[Any]:
        """Return all counts, for :meth:`restore_state`."""
        return self._buckets.export_state(now)

    def export_of(self, who: Hashable, now: float) -> list[Any]:
        """Return the counts of one user."""
        found = ((kind, self._buckets.export_of((kind, who), now)) for kind in _TEXT)
        return [[kind, bucket] for kind, bucket in found if bucket is not None]

    def restore_state(
        self, kind: RequestKind, who: Hashable, state: Sequence[float], now: float
    ) -> None:
        """Go on counting where another process has stopped."""
        if getattr(self._limits, kind):
            self._buckets.restore_state((kind, who), state, now)

    def forget(self, who: Hashable) -> None:
        """Forget somebody who is gone."""
        for kind in _TEXT:
            self._buckets.forget((kind, who))

    def _size(self, key: tuple[RequestKind, Hashable]) -> tuple[float, int]:
        kind = key[0]
        most = getattr(self._limits, kind)
        # Who connects again joins all rooms again, at once.
        return most / 60, max(most, self._limits.rooms) if kind == "joins" else most
