"""Batches the joins and leaves of a room for a short delay before they are announced.

A user who joins and leaves within that delay (a health check, a port scan) is not announced. The
caller decides how long the delay of each is. Times are those at which it is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence


class Presence:
    """The joins and leaves of one room that are not announced yet.

    :ivar arrivals: the names of users who joined, each with the time from which to announce it.
    :ivar departures: the same for users who left.
    """

    __slots__ = ("arrivals", "departures")

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        self.departures: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Return whether there is anything to announce."""
        return bool(self.arrivals or self.departures)

    def export_state(self, now: float, gone: Iterable[str], due: float) -> list[dict[str, float]]:
        """Return what is pending, with the seconds that are left, for :meth:`restore_state`.

        :param gone: the names of users who do not move with the room.
        :param due: when to announce that they have left.
        """
        rest = Presence()
        rest.arrivals.update(self.arrivals)
        rest.departures.update(self.departures)
        for name in gone:
            rest.left(name, due)
        return [
            {name: max(0.0, when - now) for name, when in each.items()}
            for each in (rest.arrivals, rest.departures)
        ]

    def restore_state(self, state: Sequence[Mapping[str, float]], now: float) -> None:
        """Go on where another process has stopped."""
        for into, left in zip((self.arrivals, self.departures), state, strict=True):
            into.update((name, now + seconds) for name, seconds in left.items())

    def came(self, name: str, due: float = 0.0) -> None:
        """Record that ``name`` joined."""
        self.arrivals[name] = due

    def hasten(self, name: str, due: float) -> None:
        """Announce the join of ``name`` from ``due`` on, if it is not announced yet."""
        if name in self.arrivals:
            self.arrivals[name] = min(due, self.arrivals[name])

    def left(self, name: str, due: float = 0.0) -> None:
        """Record that ``name`` left. If the join is not announced yet, announce neither."""
        if name in self.arrivals:
            del self.arrivals[name]
        else:
            self.departures[name] = due

    def renamed(self, old: str, new: str) -> bool:
        """Record that ``old`` is now called ``new``.

        :return: whether to announce it, because ``old`` was announced before.
        """
        if old not in self.arrivals:
            return True
        self.arrivals[new] = self.arrivals.pop(old)
        return False

    def introduce(self, name: str) -> bool:
        """Drop the pending join of ``name``, which is about to send a message.

        :return: whether there was one; announce it before the message.
        """
        return self.arrivals.pop(name, None) is not None

    def former(self, own: str = "") -> list[str]:
        """Return the names of users who left, whose leaves are not announced yet.

        :param own: a name that is left out, because the user who is told has it now.
        """
        return [name for name in self.departures if name != own]

    def difference(self, own: str = "") -> int:
        """Return how many more users have been announced than there are.

        :param own: the name of the user who is told, and needs no announcement of it.
        """
        unknown = len(self.arrivals) - (own in self.arrivals)
        return len(self.departures) - (own in self.departures) - unknown

    def take_leave(self, name: str) -> bool:
        """Drop the pending leave of ``name``.

        :return: whether there was one; announce it now.
        """
        return self.departures.pop(name, None) is not None

    def take(self, until: float = math.inf) -> tuple[list[str], list[str]]:
        """Return who left and who joined up to ``until``, and drop them from what is pending.

        Announce the leaves first: another user may have joined under the same name.
        """
        gone = [name for name, when in self.departures.items() if when <= until]
        # Hold back a join while the leave of the name's former user is still pending.
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
