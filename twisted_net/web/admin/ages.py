"""Remembers when connections began, without storing a time in each. Pure.

Connections have rising numbers. So it is enough to note now and then how many there have been: a
connection began between the note before its number and the note after it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

MOST_NOTES = 4096
"""Notes, 16 bytes each. When there are more, those are dropped that are closer together than they
need to be. About 2,000 are left, however long the process runs."""

EXACT = 64
"""An age is exact to this part of itself, at least."""


class Ages:
    """When connections began, as exact as the notes are frequent.

    Times are in seconds, from any clock that is not set.

    :param began: the time at which the count was 0.
    """

    def __init__(self, began: float) -> None:
        self._counts = array("Q", [0])
        self._times = array("d", [began])

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, count: int, now: float) -> None:
        """Note that there have been ``count`` connections up to now."""
        if count == self._counts[-1]:
            return
        self._counts.append(count)
        self._times.append(now)
        if len(self._counts) > MOST_NOTES:
            self._thin_out(now)

    def _thin_out(self, now: float) -> None:
        """Drop each note between two others that are close together for their age."""
        times = self._times
        kept = [0]
        for at in range(1, len(times) - 1):
            if (times[at + 1] - times[kept[-1]]) * EXACT > now - times[at + 1]:
                kept.append(at)
        kept.append(len(times) - 1)
        self._counts = array("Q", [self._counts[at] for at in kept])
        self._times = array("d", [times[at] for at in kept])

    def age(self, number: int, now: float) -> float:
        """Return the seconds since the connection with this number began.

        It is too short by the time between two notes, at most, or by a part of it: :data:`EXACT`.
        """
        at = bisect_left(self._counts, number)
        if at == len(self._counts):  # it began after the last note
            return 0.0
        return max(0.0, now - self._times[at])
