"""The ids of delivered private messages: who repeats one has only missed its ack."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

_MOST_SENDERS = 1000
"""Senders whose ids are kept, those who sent last. One who is gone may still come back."""

_MOST_IDS = 100
"""The last ids of a sender that are kept: as many as may be on their way when a connection breaks.
ChatClient repeats those alone."""


class DeliveredIds:
    """The last ids of the last senders, each a pair of a sender's origin and an id."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, dict[str, None]] = OrderedDict()

    def __contains__(self, item: tuple[str, str]) -> bool:
        origin, id = item
        return id in self._ids.get(origin, ())

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))

    def of(self, origin: str) -> list[str]:
        """Return the ids of a sender, the oldest first."""
        return list(self._ids.get(origin, ()))

    def export_state(self) -> list[Any]:
        """Return all ids, for :meth:`restore_state`."""
        return [[origin, list(ids)] for origin, ids in self._ids.items()]

    def restore_state(self, state: Iterable[Any]) -> None:
        """Remember what another process has delivered."""
        for origin, ids in state:
            self._ids[origin] = dict.fromkeys(ids)

    def add(self, origin: str, id: str) -> None:
        """Remember an id. Forget the oldest if there are too many."""
        ids = self._ids.setdefault(origin, {})
        self._ids.move_to_end(origin)
        ids[id] = None
        if len(ids) > _MOST_IDS:
            del ids[next(iter(ids))]
        if len(self._ids) > _MOST_SENDERS:
            self._ids.popitem(last=False)
