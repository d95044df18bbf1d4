"""A timer wheel: any number of timeouts for the price of one timer.

Time is a count of ticks, and the caller says when a tick has passed. Somebody who is heard from
has the current tick written into an attribute, and nothing more; whether a timeout has really
passed is looked at only when it could have, so a busy connection costs one look per timeout.
After Synapse's ``wheel_timer.py`` and the lazy timers of Netty's idle handler.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

Item = TypeVar("Item")


_OVER, _FORGOTTEN = -1, -2  # in place of a slot


class Watch(Generic[Item]):
    """One timeout on a wheel.

    :ivar heard: the tick in which the item was last heard from; whoever hears it writes
        ``watch.heard = wheel.now``.
    :ivar item: whose timeout this is.
    """

    __slots__ = ("_due", "_ticks", "heard", "item")

    def __init__(self, item: Item, ticks: int, now: int) -> None:
        self.item = item
        self.heard = now
        self._ticks = ticks
        self._due = _OVER  # the slot that it stands in, if it is in one

    @property
    def is_forgotten(self) -> bool:
        """Whether it was given up, also after its timeout had passed."""
        return self._due == _FORGOTTEN


class Wheel(Generic[Item]):
    """The timeouts of many items.

    A timeout of ``n`` ticks passes with the tick that is the ``n + 1``-th after the one in which
    the item was last heard: the silence was then longer than ``n`` ticks and at most ``n + 1``.

    :ivar now: the current tick.
    """

    __slots__ = ("_slots", "now")

    def __init__(self) -> None:
        self.now = 0
        self._slots: dict[int, dict[Watch[Item], None]] = {}

    def __bool__(self) -> bool:
        """Whether anything is watched."""
        return bool(self._slots)

    def watch(self, item: Item, ticks: int) -> Watch[Item]:
        """Begin to watch ``item``, as if it had just been heard.

        :raises ValueError: less than one tick.
        """
        if ticks < 1:
            raise ValueError(f"a timeout has at least one tick, not {ticks}")
        watch = Watch(item, ticks, self.now)
        self._place(watch)
        return watch

    def forget(self, watch: Watch[Item]) -> None:
        """Watch no longer. Nothing happens where the watch is over already."""
        slot = self._slots.get(watch._due)
        if slot is not None:
            slot.pop(watch, None)
            if not slot:
                del self._slots[watch._due]
        watch._due = _FORGOTTEN

    def tick(self) -> list[Watch[Item]]:
        """Let a tick pass, and give the watches whose timeout passed with it. They are over."""
        self.now += 1
        expired = []
        for watch in self._slots.pop(self.now, ()):
            if watch.heard + watch._ticks < self.now:
                watch._due = _OVER
                expired.append(watch)
            else:
                self._place(watch)
        return expired

    def _place(self, watch: Watch[Item]) -> None:
        watch._due = watch.heard + watch._ticks + 1
        self._slots.setdefault(watch._due, {})[watch] = None


def ticks_for(seconds: float, tick: float) -> int:
    """How many ticks of ``tick`` seconds make a timeout of at least ``seconds`` (at least one)."""
    return max(1, math.ceil(seconds / tick))
