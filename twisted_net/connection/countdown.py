"""Give each of many items the same short time, with one timer for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Item = TypeVar("Item")


class Countdown(Generic[Item]):
    """Calls a function for each item a fixed time after :meth:`start`, unless it is stopped.

    It is exact, where :class:`~twisted_net.connection.timers.Timers` are up to a second late. An
    item that has expired or was stopped leaves nothing behind.

    The function is called one turn of the reactor after the time is over. On a busy machine, what
    came in time may not have been read: a reactor runs its timers before it reads.

    :param seconds: the time that each item has.
    :param expired: called with an item whose time is over.
    """

    __slots__ = ("_call", "_due", "_expired", "_seconds")

    def __init__(self, seconds: float, expired: Callable[[Item], None]) -> None:
        self._seconds = seconds
        self._expired = expired
        self._due: dict[Item, float] = {}  # in the order of their ends, as all have the same time
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return the number of items whose time is running."""
        return len(self._due)

    def start(self, item: Item, clock: IReactorTime) -> None:
        """Start the time of an item, or start it again."""
        self._due.pop(item, None)
        due = self._due[item] = clock.seconds() + self._seconds
        if self._call is not None and self._call.getTime() > due:  # the clock was set back
            self._call.cancel()
            self._call = None
        self._schedule(clock)

    def change(self, seconds: float, clock: IReactorTime) -> None:
        """Give each item another time, also those whose time is running. 0 stops all of those."""
        later, self._seconds = seconds - self._seconds, seconds
        self._due = {item: due + later for item, due in self._due.items()} if seconds else {}
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._schedule(clock)

    def left(self, item: Item, clock: IReactorTime) -> float | None:
        """Return the seconds that an item has left; None if its time is not running."""
        due = self._due.get(item)
        return None if due is None else min(max(0.0, due - clock.seconds()), self._seconds)

    def restore(self, left: Mapping[Item, float], clock: IReactorTime) -> None:
        """Start the time of items that had some of it left in another process."""
        now = clock.seconds()
        for item, seconds in sorted(left.items(), key=itemgetter(1)):
            self._due[item] = now + seconds
        self._schedule(clock)
        self._schedule(clock)

    def stop(self, item: Item) -> None:
        """Stop the time of an item, if it is running."""
        self._due.pop(item, None)
        if not self._due and self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self, clock: IReactorTime) -> None:
        if self._due and self._call is None:
            now = clock.seconds()
            wait = min(max(0.0, next(iter(self._due.values())) - now), self._seconds)
            self._call = clock.callLater(wait, self._read_first, clock)

    def _read_first(self, clock: IReactorTime) -> None:
        self._call = clock.callLater(0, self._run, clock)

    def _run(self, clock: IReactorTime) -> None:
        self._call = None
        now = clock.seconds()
        while self._due:
            item, due = next(iter(self._due.items()))
            if now < due <= now + self._seconds:  # if it is later, the clock was set back
                break
            del self._due[item]
            self._expired(item)
        self._schedule(clock)
