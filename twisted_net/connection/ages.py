"""Remembers when connections began, without a time in each of them. Pure.

Connections have rising numbers. So it is enough to note now and then how many there have been: a
connection began after the last note of fewer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

GAP = 0.1
"""Seconds between two notes, at least. So ages are exact to this."""

EXACT = 64
"""The age of an old connection is exact to this part of itself, at least."""

MOST_NOTES = 4096
"""Notes, 16 bytes each. When there are more, those are dropped that are closer together than they
need to be. About 2,000 are left, however long the process runs."""


class Ages:
    """When connections began.

    Times are in seconds, from any clock. If it is set back, ages are too short.
    """

    __slots__ = ("_counts", "_times", "due")

    def __init__(self) -> None:
        self._counts = array("Q")
        self._times = array("d")
        self.due = 0.0  # a note before this time would say nothing new

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, count: int, now: float) -> None:
        """Note that there have been ``count`` connections until now. The next one begins now."""
        self.due = now + GAP
        if self._counts and self._counts[-1] == count:
            self._times[-1] = now
            return
        self._counts.append(count)
        self._times.append(now)
        if len(self._counts) > MOST_NOTES:
            self._thin_out(now)

    def age(self, number: int, now: float) -> float:
        """Return the seconds since the connection with this number began.

        It is too long by :data:`GAP`, or by a part of itself (:data:`EXACT`), at most.
        """
        counts = self._counts
        at = len(counts) - 1
        if at >= 0 and counts[at] >= number:  # most are younger than that
            at = bisect_left(counts, number) - 1
        return max(0.0, now - self._times[at]) if at >= 0 else 0.0

    def export_state(self, now: float) -> list[list[float]]:
        """Return the notes, for :meth:`restore_state`: counts, and how old each note is."""
        return [list(self._counts), [now - time for time in self._times]]

    def restore_state(self, state: Sequence[Sequence[float]], now: float) -> None:
        """Take the notes of another process, whose clock may be another."""
        counts, ages = state
        self._counts = array("Q", map(int, counts))
        self._times = array("d", [now - age for age in ages])

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
