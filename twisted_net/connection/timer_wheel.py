"""A timer wheel: any number of timeouts for the price of one timer.

Time is a count of ticks, and the caller says when a tick has passed. Somebody who is heard from
has the current tick written into an attribute, and nothing more; whether a timeout has really
passed is looked at only when it could have, so a busy connection costs one look per timeout.
After Synapse's ``wheel_timer.py`` and the lazy timers of Netty's idle handler.
"""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class _Slot(dict["Watch[Any]", None]):
    """The watches that are looked at in one tick."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


_OVER, _FORGOTTEN = _Slot(-1), _Slot(-2)  # of a watch that is in none; they stay empty


class Timeout(Generic[Item]):
    """One timeout on a wheel.

    :ivar heard: the tick in which the item was last heard from; whoever hears it writes
        ``watch.heard = wheel.now``.
    :ivar item: whose timeout this is.
    :ivar then: whatever the wheel was given beside it, such as what to do about it.
    """

    # One stands for every open connection: it has no object of its own, not even a number.
    __slots__ = ("_slot", "_ticks", "heard", "item", "then")

    def __init__(self, item: Item, ticks: int, now: int, then: Any) -> None:
        self.item = item
        self.heard = now
        self.then = then
        self._ticks = ticks
        self._slot = _OVER

    @property
    def is_forgotten(self) -> bool:
        """Whether it was given up, also after its timeout had passed."""
        return self._slot is _FORGOTTEN


class TimerWheel(Generic[Item]):
    """The timeouts of many items.

    A timeout of ``n`` ticks passes with the tick that is the ``n + 1``-th after the one in which
    the item was last heard: the silence was then longer than ``n`` ticks and at most ``n + 1``.

    :ivar now: the current tick.
    """

    __slots__ = ("_slots", "now")

    def __init__(self) -> None:
        self.now = 0
        self._slots: dict[int, _Slot] = {}

    def __bool__(self) -> bool:
        """Whether anything is watched."""
        return bool(self._slots)

    def watch(self, item: Item, ticks: int, then: Any = None) -> Timeout[Item]:
        """Begin to watch ``item``, as if it had just been heard.

        :param then: kept beside it.
        :raises ValueError: less than one tick.
        """
        if ticks < 1:
            raise ValueError(f"a timeout has at least one tick, not {ticks}")
        watch = Timeout(item, ticks, self.now, then)
        self._place(watch)
        return watch

    def again(self, watch: Timeout[Item], ticks: int) -> None:
        """Watch once more what was over, as if it had just been heard.

        :raises ValueError: it is not over, or was forgotten.
        """
        if watch._slot is not _OVER:
            raise ValueError("only a watch that is over can begin again")
        watch.heard = self.now
        watch._ticks = ticks
        self._place(watch)

    def forget(self, watch: Timeout[Item]) -> None:
        """Watch no longer. Nothing happens where the watch is over already."""
        slot = watch._slot
        if slot.pop(watch, self) is None and not slot:
            self._slots.pop(slot.tick, None)
        watch._slot = _FORGOTTEN

    def tick(self) -> list[Timeout[Item]]:
        """Let a tick pass, and give the watches whose timeout passed with it. They are over."""
        self.now += 1
        expired = []
        for watch in self._slots.pop(self.now, ()):
            if watch.heard + watch._ticks < self.now:
                watch._slot = _OVER
                expired.append(watch)
            else:
                self._place(watch)
        return expired

    def _place(self, watch: Timeout[Item]) -> None:
        tick = watch.heard + watch._ticks + 1
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = _Slot(tick)
        slot[watch] = None
        watch._slot = slot


def ticks_for(seconds: float, tick: float) -> int:
    """How many ticks of ``tick`` seconds make a timeout of at least ``seconds`` (at least one)."""
    return max(1, math.ceil(seconds / tick))
