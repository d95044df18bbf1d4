"""Remembers when connections began, without storing a time in each. Pure.

Connections have rising numbers. So it is enough to note now and then how many there have been: a
connection began between the note before its number and the note after it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

MOST_NOTES = 8192
"""Notes that are kept, 16 bytes each. Beyond, every second one of the older half is dropped. Then
the ages of the oldest connections are less exact."""


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
            half = len(self._counts) // 2
            self._counts[:half] = self._counts[:half:2]
            self._times[:half] = self._times[:half:2]

    def age(self, number: int, now: float) -> float:
        """Return the seconds since the connection with this number began.

        It is at most as much too short as the time between two notes.
        """
        at = bisect_left(self._counts, number)
        if at == len(self._counts):  # it began after the last note
            return 0.0
        return max(0.0, now - self._times[at])
