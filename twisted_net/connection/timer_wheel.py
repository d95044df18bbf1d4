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


class _Slot(dict["Timeout[Any]", None]):
    """The watches that are looked at in one tick."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


_OVER, _CANCELLED = _Slot(-1), _Slot(-2)  # of a timeout that is in none; they stay empty


class Timeout(Generic[Item]):
    """One timeout on a wheel.

    :ivar heard: the tick in which the item was last heard from; whoever hears it writes
        ``timeout.heard = wheel.now``.
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
    def is_cancelled(self) -> bool:
        """Whether it was given up, also after its timeout had passed."""
        return self._slot is _CANCELLED


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

    def start(self, item: Item, ticks: int, then: Any = None) -> Timeout[Item]:
        """Begin to timeout ``item``, as if it had just been heard.

        :param then: kept beside it.
        :raises ValueError: less than one tick.
        """
        if ticks < 1:
            raise ValueError(f"a timeout has at least one tick, not {ticks}")
        timeout = Timeout(item, ticks, self.now, then)
        self._place(timeout)
        return timeout

    def restart(self, timeout: Timeout[Item], ticks: int) -> None:
        """Watch once more what was over, as if it had just been heard.

        :raises ValueError: it is not over, or was forgotten.
        """
        if timeout._slot is not _OVER:
            raise ValueError("only a timeout that is over can begin again")
        timeout.heard = self.now
        timeout._ticks = ticks
        self._place(timeout)

    def cancel(self, timeout: Timeout[Item]) -> None:
        """Watch no longer. Nothing happens where the timeout is over already."""
        slot = timeout._slot
        if slot.pop(timeout, self) is None and not slot:
            self._slots.pop(slot.tick, None)
        timeout._slot = _CANCELLED

    def tick(self) -> list[Timeout[Item]]:
        """Let a tick pass, and give the watches whose timeout passed with it. They are over."""
        self.now += 1
        expired = []
        for timeout in self._slots.pop(self.now, ()):
            if timeout.heard + timeout._ticks < self.now:
                timeout._slot = _OVER
                expired.append(timeout)
            else:
                self._place(timeout)
        return expired

    def _place(self, timeout: Timeout[Item]) -> None:
        tick = timeout.heard + timeout._ticks + 1
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = _Slot(tick)
        slot[timeout] = None
        timeout._slot = slot


def ticks_for(seconds: float, tick: float) -> int:
    """How many ticks of ``tick`` seconds make a timeout of at least ``seconds`` (at least one)."""
    return max(1, math.ceil(seconds / tick))
