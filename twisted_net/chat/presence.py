"""Who came and who went, gathered for a moment.

Somebody who came and went within it (a health check, a port scan) is not mentioned.
"""

from __future__ import annotations

import math


class Presence:
    """The arrivals and departures of one room that have not been told yet."""

    __slots__ = ("_came", "_left")

    def __init__(self) -> None:
        self._came: dict[str, float] = {}  # when
        self._left: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._came or self._left)

    def came(self, name: str, now: float = 0.0) -> None:
        """``name`` has come."""
        self._came[name] = now

    def left(self, name: str, now: float = 0.0) -> None:
        """``name`` has gone; if its coming was not told, nothing is."""
        if name in self._came:
            del self._came[name]
        else:
            self._left[name] = now

    def renamed(self, old: str, new: str) -> bool:
        """``old`` is now ``new``.

        :return: whether the others know ``old``, and so must be told.
        """
        if old not in self._came:
            return True
        self._came[new] = self._came.pop(old)
        return False

    def introduce(self, name: str) -> bool:
        """``name`` is about to speak.

        :return: whether it has just come, and that is to be told before.
        """
        return self._came.pop(name, None) is not None

    def has_left(self, name: str) -> bool:
        """Whether the departure of ``name`` is still to be told."""
        return name in self._left

    def take(self, until: float = math.inf) -> tuple[list[str], list[str]]:
        """Give who has left and who has come until then; what is later stays to be told.

        Whoever has left is to be told first: somebody may have come under the same name.
        """
        gone = [name for name, when in self._left.items() if when <= until]
        # Nobody comes under a name whose bearer's end has not been told.
        come = [
            name
            for name, when in self._came.items()
            if when <= until and (name not in self._left or name in gone)
        ]
        for name in gone:
            del self._left[name]
        for name in come:
            del self._came[name]
        return gone, come
