"""Who came and who went, told in few lines.

Arrivals and departures are gathered for a moment. Somebody who came and went within it (a health
check, a port scan) is not mentioned; more than a handful are summed up, so that a thousand people
who come at once cost each of them a line and not a thousand.
"""

from __future__ import annotations

import math

NAMED_AT_MOST = 5
"""So many arrivals or departures of one moment are told by name; more are counted."""


class Presence:
    """The arrivals and departures of one room that have not been told yet."""

    __slots__ = ("_came", "_left", "_room")

    def __init__(self, room: str) -> None:
        self._room = room
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

    def introduce(self, name: str) -> str | None:
        """``name`` is about to speak: give the line to be told before, if there is one."""
        if name not in self._came:
            return None
        del self._came[name]
        return self._line(name, "joined")

    def has_left(self, name: str) -> bool:
        """Whether the departure of ``name`` is still to be told."""
        return name in self._left

    def take(self, until: float = math.inf) -> tuple[list[str], list[str]]:
        """Give who has left and who has come until then; what is later stays to be told."""
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

    def tell(self) -> list[tuple[str, str]]:
        """Give the lines to be told, each after whom it is about, and begin anew.

        A line about several people is about nobody: an empty name. Departures come first:
        somebody may have come under the name of one who has left.
        """
        gone, come = self.take()
        return self._lines(gone, "left") + self._lines(come, "joined")

    def _lines(self, names: list[str], verb: str) -> list[tuple[str, str]]:
        if len(names) > NAMED_AT_MOST:
            return [("", self._line(f"{len(names)} people", verb))]
        return [(name, self._line(name, verb)) for name in names]

    def _line(self, who: str, verb: str) -> str:
        return f"* {who} {verb} {self._room}."
