"""Run a timer wheel on a reactor's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import call
from types import MethodType
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.connection.blocking import BlockWatch, watch_of
from twisted_net.connection.timer_wheel import Timeout, TimerWheel, ticks_for

TICK = 0.5
"""The seconds in a tick. A timeout is at most two ticks, or one second, late. When many expire
together, it is at most three ticks late."""

CALLS_PER_TURN, CALLING_SECONDS = 256, 0.001
"""The most timeouts called in one turn of the reactor, and the most seconds spent on them. When a
thousand silent peers expire together, closing them is spread evenly over one tick, so that other
connections do not have to wait for the last of them. Pings cost much less, so more of them fit in
one turn."""

_log = Logger()


def reactor_clock(clock: IReactorTime | None) -> IReactorTime:
    """Return ``clock``, or the reactor if it is None.

    Call this late: it may install the reactor.
    """
    if clock is not None:
        return clock
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


class Timers:
    """Run any number of timeouts on one timer, which runs only while there are timeouts.

    :param clock: the clock, in seconds.
    :ivar wheel: the timer wheel; set ``timeout.heard = timers.wheel.now`` to postpone a timeout.
    """

    __slots__ = (
        *("_call", "_clock", "_continuation", "_due", "_each", "_expired", "_ticks", "_watch"),
        "wheel",
    )

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._expired: deque[Timeout[Any]] = deque()
        self._continuation: IDelayedCall | None = None
        self._watch: BlockWatch | None = None  # while the timer runs on a reactor
        self._each = 0.0  # seconds of the tick for each timeout that expired in it
        self._ticks: dict[float, int] = {}  # for the few lengths that are in use
        self.wheel: TimerWheel[Any] = TimerWheel()

    def start(self, expired: Callable[[], None], seconds: float) -> Timeout[Callable[[], None]]:
        """Call ``expired`` after more than ``seconds`` of silence.

        The call is at most a second late, or one and a half in a crowd; see :data:`TICK`.
        """
        ticks = self._ticks.get(seconds)
        if ticks is None:
            if len(self._ticks) > 64:
                self._ticks.clear()
            ticks = self._ticks[seconds] = ticks_for(seconds, TICK)
        # A timeout keeps the two parts of a method, which exist already, and not the method object.
        if type(expired) is MethodType:
            timeout = self.wheel.start(expired.__self__, ticks, expired.__func__)
        else:
            timeout = self.wheel.start(expired, ticks, call)
        self._keep_running()
        return timeout

    def export_state(self, timeout: Timeout[Any]) -> list[int]:
        """Return how long a running timeout is and has run, for :meth:`restore_state`."""
        return self.wheel.export_state(timeout)

    def restore_state(
        self, expired: Callable[[], None], state: Sequence[int]
    ) -> Timeout[Callable[[], None]]:
        """Start a timeout that has run for a while in another process."""
        # As in start(): both parts of a method, and not the method object.
        if type(expired) is MethodType:
            timeout = self.wheel.restore_state(expired.__self__, state, expired.__func__)
        else:
            timeout = self.wheel.restore_state(expired, state, call)
        self._keep_running()
        return timeout

    def restart(self, timeout: Timeout[Any], seconds: float) -> None:
        """Start an expired ``timeout`` again, for ``seconds``."""
        self.wheel.restart(timeout, ticks_for(seconds, TICK))
        self._keep_running()

    def _keep_running(self) -> None:
        """Let the timer run, and not wait if somebody has set the clock back meanwhile."""
        latest = self._clock.seconds() + 2 * TICK
        if self._call is None:
            self._watch = watch_of(self._clock)
            if self._watch is not None:
                self._watch.begin()
            self._run()
        elif self._due > latest:
            self._call.cancel()
            self._run()
        rest = self._continuation
        if rest is not None and rest.getTime() > latest:
            rest.cancel()
            self._continuation = self._clock.callLater(0, self._call_expired)

    def _run(self) -> None:
        self._due = self._clock.seconds() + TICK
        self._call = self._clock.callLater(TICK, self._tick)

    def cancel(self, timeout: Timeout[Callable[[], None]]) -> None:
        """Cancel a timeout. The timer stops with the last timeout."""
        self.wheel.cancel(timeout)
        self._stop_if_unused()

    def _stop_if_unused(self) -> None:
        if not self.wheel and self._call is not None and self._call.active():
            self._call.cancel()
            self._call = None
            if self._watch is not None:
                self._watch.end()

    def _tick(self) -> None:
        # A process that was suspended could not read, and its peers' bytes may still wait in the
        # kernel. So a late tick counts as one tick, and the wheel does not catch up. An early tick
        # is one after the clock was set back.
        if self._watch is not None:
            self._watch.beat()
        now = self._clock.seconds()
        self._due = self._due + TICK if 0 <= now - self._due < TICK else now + TICK
        # Schedule before calling anything: a call may start or cancel timeouts, and must find the
        # timer running.
        self._call = self._clock.callLater(self._due - now, self._tick)
        self._expired.extend(self.wheel.tick())
        self._each = TICK / max(1, len(self._expired))
        if self._continuation is None:
            self._call_expired()
        self._stop_if_unused()

    def _call_expired(self) -> None:
        """Call some of the expired timeouts, and schedule the rest."""
        self._continuation = None
        called, began = 0, self._clock.seconds()
        while self._expired and called < CALLS_PER_TURN:
            if called and self._clock.seconds() - began >= CALLING_SECONDS:
                break
            called += 1
            timeout = self._expired.popleft()
            if timeout.is_cancelled:  # cancelled after it expired
                continue
            try:
                timeout.then(timeout.item)
            except Exception:
                _log.failure("A timeout's call failed")
        if self._expired:
            pause = began + called * self._each - self._clock.seconds()
            pause = min(max(0.0, pause), TICK)  # the clock may be set meanwhile
            self._continuation = self._clock.callLater(pause, self._call_expired)
