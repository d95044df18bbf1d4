"""Measures how long the reactor's turns take, by a sample twice a second."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_net.web.admin.histogram import Histogram

EVERY = 0.5
"""Seconds between two samples. They cost the same whether the server is busy or not."""


class TurnProbe:
    """Samples the reactor.

    A call without a delay runs in the next turn, after everything of this one. So the time until
    then is that of a turn. If the sample itself comes late, the reactor was busy for longer than
    that, and the delay counts instead.

    :ivar turns: the seconds of the sampled turns.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.turns = Histogram()
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to sample."""
        self.stop()
        self._due = self._clock.seconds() + EVERY
        self._call = self._clock.callLater(EVERY, self._begin)

    def stop(self) -> None:
        """Stop sampling."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _begin(self) -> None:
        now = self._clock.seconds()
        self._call = self._clock.callLater(0, self._end, now, now - self._due)

    def _end(self, began: float, late: float) -> None:
        self._call = None
        self.turns.observe(max(self._clock.seconds() - began, late))
        self.start()
