"""Batches the joins and leaves of a room for a short delay before they are announced.

A user who joins and leaves within that delay (a health check, a port scan) is not announced, unless
somebody was told a list of the members meanwhile: who keeps that list has to hear of the leave. The
caller decides how long the delay of each is. Times are those at which it is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence


class Presence:
    """The joins and leaves of one room that are not announced yet.

    :ivar arrivals: the names of users who joined, each with the time from which to announce it.
    :ivar departures: the same for users who left.
    :ivar unlisted: those of the arrivals who are in no list that somebody else was told.
    """

    __slots__ = ("arrivals", "departures", "unlisted")

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        self.departures: dict[str, float] = {}
        self.unlisted: dict[str, None] = {}

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
        rest.unlisted.update(self.unlisted)
        for name in gone:
            rest.left(name, due)
        unlisted = dict.fromkeys(rest.unlisted, now)
        return [
            {name: max(0.0, when - now) for name, when in each.items()}
            for each in (rest.arrivals, rest.departures, unlisted)
        ]

    def restore_state(self, state: Sequence[Mapping[str, float]], now: float) -> None:
        """Go on where another process has stopped."""
        arrivals, departures, *unlisted = state  # an earlier version does not know who is in lists
        for into, left in ((self.arrivals, arrivals), (self.departures, departures)):
            into.update((name, now + seconds) for name, seconds in left.items())
        self.unlisted.update((name, None) for names in unlisted for name in names)

    def came(self, name: str, due: float = 0.0) -> None:
        """Record that ``name`` joined."""
        self.arrivals[name] = due
        self.unlisted[name] = None

    def listed(self, to: str = "") -> None:
        """Record that somebody was told who is in the room.

        :param to: the name of the user who was told. To be in one's own list tells nobody else.
        """
        if self.unlisted:
            self.unlisted = {to: None} if to in self.unlisted else {}

    def hasten(self, name: str, due: float) -> None:
        """Announce the join of ``name`` from ``due`` on, if it is not announced yet."""
        if name in self.arrivals:
            self.arrivals[name] = min(due, self.arrivals[name])

    def left(self, name: str, due: float = 0.0) -> None:
        """Record that ``name`` left. If nobody has heard of the join, announce neither."""
        if not self._forget(name):
            self.departures[name] = due

    def _forget(self, name: str) -> bool:
        """Drop the pending join of ``name``. Return whether nobody has heard of it."""
        is_new = name in self.unlisted
        self.unlisted.pop(name, None)
        self.arrivals.pop(name, None)
        return is_new

    def renamed(self, old: str, new: str) -> bool:
        """Record that ``old`` is now called ``new``.

        :return: whether to announce it, because ``old`` was announced before. Otherwise ``new``
            will join, and ``old`` leave if it is in a list.
        """
        due = self.arrivals.get(old)
        if due is None:
            return True
        if not self._forget(old):
            self.departures[old] = due
        self.came(new, due)
        return False

    def introduce(self, name: str) -> bool:
        """Drop the pending join of ``name``, which is about to send a message.

        :return: whether there was one; announce it before the message.
        """
        self.unlisted.pop(name, None)
        return self.arrivals.pop(name, None) is not None

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
            self.unlisted.pop(name, None)
        return gone, come
