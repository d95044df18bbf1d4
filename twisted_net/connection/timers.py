"""Drives a timer wheel by a reactor's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import call
from types import MethodType
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.timer_wheel import Timeout, TimerWheel, ticks_for

TICK = 0.5
"""Seconds in a tick. A timeout is at most two ticks, one second, late; in a crowd, three."""

CALLS_PER_TURN, CALLING_SECONDS = 256, 0.001
"""Timeouts that are called in one turn of the reactor, at most, and for how long. A thousand silent
peers whose time is up together are closed evenly over a tick: the others shall not wait until the
last of them is. To ask them for a sign of life takes much less, so many are asked together."""

_log = Logger()


def reactor_clock(clock: IReactorTime | None) -> IReactorTime:
    """Give ``clock``, or the reactor if it is None. Call it late: it may install the reactor."""
    if clock is not None:
        return clock
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


class Timers:
    """Timeouts for any number of items, by one timer that runs only while something is watched.

    :param clock: the time, in seconds.
    :ivar wheel: the wheel; ``timeout.heard = ticker.wheel.now`` puts a timeout off.
    """

    __slots__ = ("_call", "_clock", "_due", "_each", "_expired", "_rest", "wheel")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._expired: deque[Timeout[Any]] = deque()
        self._rest: IDelayedCall | None = None
        self._each = 0.0  # seconds of the tick for each of the crowd
        self.wheel: TimerWheel[Any] = TimerWheel()

    def start(self, expired: Callable[[], None], seconds: float) -> Timeout[Callable[[], None]]:
        """Call ``expired`` after more than ``seconds`` of silence, at most a second late."""
        ticks = ticks_for(seconds, TICK)
        if isinstance(expired, MethodType):  # in its two halves, which are there anyway
            timeout = self.wheel.start(expired.__self__, ticks, expired.__func__)
        else:
            timeout = self.wheel.start(expired, ticks, call)
        if self._call is None:
            self._run()
        return timeout

    def restart(self, timeout: Timeout[Any], seconds: float) -> None:
        """Watch once more, for so long, after ``timeout`` was over."""
        self.wheel.restart(timeout, ticks_for(seconds, TICK))
        if self._call is None:
            self._run()

    def _run(self) -> None:
        self._due = self._clock.seconds() + TICK
        self._call = self._clock.callLater(TICK, self._tick)

    def cancel(self, timeout: Timeout[Callable[[], None]]) -> None:
        """Watch no longer. The timer stops with the last timeout."""
        self.wheel.cancel(timeout)
        if not self.wheel and self._call is not None and self._call.active():
            self._call.cancel()
            self._call = None

    def _tick(self) -> None:
        # A process that was stopped for a while did not listen: its peers' bytes still wait to be
        # read. So a late tick counts as one, and the wheel's time stands still for the rest.
        now = self._clock.seconds()
        self._due = now + TICK if now - self._due >= TICK else self._due + TICK
        # Set before anything is called: a call may timeout or forget, and find the timer running.
        self._call = self._clock.callLater(self._due - now, self._tick)
        self._expired.extend(self.wheel.tick())
        self._each = TICK / max(1, len(self._expired))
        if self._rest is None:
            self._call_expired()
        if not self.wheel and self._call is not None and self._call.active():
            self._call.cancel()
            self._call = None

    def _call_expired(self) -> None:
        """Call some of those whose timeout has passed, and the rest later."""
        self._rest = None
        called, began = 0, self._clock.seconds()
        while self._expired and called < CALLS_PER_TURN:
            if called and self._clock.seconds() - began >= CALLING_SECONDS:
                break
            called += 1
            timeout = self._expired.popleft()
            if timeout.is_cancelled:  # it ended in the meantime
                continue
            try:
                timeout.then(timeout.item)
            except Exception:
                _log.failure("A timeout's call failed")
        if self._expired:
            pause = began + called * self._each - self._clock.seconds()
            self._rest = self._clock.callLater(max(0.0, pause), self._call_expired)
