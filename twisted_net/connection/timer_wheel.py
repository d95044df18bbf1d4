"""A timer wheel: run any number of timeouts with a single timer.

Time is a count of ticks, and the caller reports each tick. To postpone a timeout, the caller writes
the current tick to an attribute and does nothing else. The wheel checks whether a timeout has
passed only at the earliest tick at which it could have, so a busy connection costs one check per
timeout. Modeled on Synapse's ``wheel_timer.py`` and the lazy timers of Netty's idle handler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class _Slot(dict["Timeout[Any]", None]):
    """The timeouts that are checked in one tick."""

    __slots__ = ("tick",)

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


_OVER, _CANCELLED = _Slot(-1), _Slot(-2)  # for timeouts that are in no slot; both stay empty


class Timeout(Generic[Item]):
    """One timeout on a wheel.

    :ivar heard: the tick in which the item was last active; the caller sets ``timeout.heard =
        wheel.now``.
    :ivar item: the object that this timeout belongs to.
    :ivar then: an extra value given to the wheel, such as the function to call.
    """

    # Every open connection has one of these, so it holds no objects of its own, not even a number.
    __slots__ = ("_slot", "_ticks", "heard", "item", "then")

    def __init__(self, item: Item, ticks: int, now: int, then: Any) -> None:
        self.item = item
        self.heard = now
        self.then = then
        self._ticks = ticks
        self._slot = _OVER

    @property
    def is_cancelled(self) -> bool:
        """Whether the timeout was cancelled, before or after it passed."""
        return self._slot is _CANCELLED


class TimerWheel(Generic[Item]):
    """The timeouts of many items.

    A timeout of ``n`` ticks passes in tick ``n + 1`` after the one in which the item was last
    active. The silence was then longer than ``n`` ticks and at most ``n + 1``.

    :ivar now: the current tick.
    """

    __slots__ = ("_slots", "now")

    def __init__(self) -> None:
        self.now = 0
        self._slots: dict[int, _Slot] = {}

    def __bool__(self) -> bool:
        """Return whether any timeout is running."""
        return bool(self._slots)

    def start(self, item: Item, ticks: int, then: Any = None) -> Timeout[Item]:
        """Start a timeout for ``item``, as if it were active now.

        :param then: an extra value to keep with the timeout.
        :raises ValueError: if ``ticks`` is less than one.
        """
        if ticks < 1:
            raise ValueError(f"a timeout must be at least one tick, not {ticks}")
        timeout = Timeout(item, ticks, self.now, then)
        self._place(timeout)
        return timeout

    def export_state(self, timeout: Timeout[Item]) -> list[int]:
        """Return the length and the age of a running timeout in ticks."""
        return [timeout._ticks, self.now - timeout.heard]

    def restore_state(self, item: Item, state: Sequence[int], then: Any = None) -> Timeout[Item]:
        """Start a timeout for ``item`` that has run for a while on another wheel.

        :param state: as from :meth:`export_state`.
        """
        ticks, age = state
        timeout = Timeout(item, ticks, self.now - min(age, ticks), then)
        self._place(timeout)
        return timeout

    def restart(self, timeout: Timeout[Item], ticks: int) -> None:
        """Start an expired timeout again, as if its item were active now.

        :raises ValueError: if the timeout is still running, or was cancelled.
        """
        if timeout._slot is not _OVER:
            raise ValueError("only an expired timeout can be restarted")
        timeout.heard = self.now
        timeout._ticks = ticks
        self._place(timeout)

    def cancel(self, timeout: Timeout[Item]) -> None:
        """Cancel a timeout. It may have expired already."""
        slot = timeout._slot
        if slot.pop(timeout, self) is None and not slot:
            self._slots.pop(slot.tick, None)
        timeout._slot = _CANCELLED

    def tick(self) -> list[Timeout[Item]]:
        """Advance time by one tick, and return the timeouts that expire with it."""
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
    """Return the number of ticks for a timeout of at least ``seconds``; at least one.

    :param tick: the seconds in one tick.
    """
    return max(1, math.ceil(seconds / tick))
