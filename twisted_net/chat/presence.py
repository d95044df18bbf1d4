"""Who came and who went, gathered for a moment.

Somebody who came and went within it (a health check, a port scan) is not mentioned.
"""

from __future__ import annotations

import math


class Presence:
    """The arrivals and departures of one room that have not been told yet.

    :ivar arrivals: names, and when each has come.
    :ivar departures: likewise.
    """

    __slots__ = ("arrivals", "departures")

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}  # when
        self.departures: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.arrivals or self.departures)

    def came(self, name: str, now: float = 0.0) -> None:
        """``name`` has come."""
        self.arrivals[name] = now

    def left(self, name: str, now: float = 0.0) -> None:
        """``name`` has gone; if its coming was not told, nothing is."""
        if name in self.arrivals:
            del self.arrivals[name]
        else:
            self.departures[name] = now

    def renamed(self, old: str, new: str) -> bool:
        """``old`` is now ``new``.

        :return: whether the others know ``old``, and so must be told.
        """
        if old not in self.arrivals:
            return True
        self.arrivals[new] = self.arrivals.pop(old)
        return False

    def introduce(self, name: str) -> bool:
        """``name`` is about to speak.

        :return: whether it has just come, and that is to be told before.
        """
        return self.arrivals.pop(name, None) is not None

    def has_left(self, name: str) -> bool:
        """Whether the departure of ``name`` is still to be told."""
        return name in self.departures

    def take(self, until: float = math.inf) -> tuple[list[str], list[str]]:
        """Give who has left and who has come until then; what is later stays to be told.

        Whoever has left is to be told first: somebody may have come under the same name.
        """
        gone = [name for name, when in self.departures.items() if when <= until]
        # Nobody comes under a name whose bearer's end has not been told.
        come = [
            name
            for name, when in self.arrivals.items()
            if when <= until and (name not in self.departures or name in gone)
        ]
        for name in gone:
            del self.departures[name]
        for name in come:
            del self.arrivals[name]
        return gone, come
