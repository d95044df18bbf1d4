"""Ends peers that take nothing of what waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_net.policy.wheel import Watch
from twisted_net.transport.outbound import Outbound
from twisted_net.transport.ticker import Ticker

_LOOKS = 3  # at each connection within its stall timeout, to see whether its peer makes progress

AT_ONCE, PAUSE = 256, 0.02
"""Connections that are looked at in one turn of the reactor, and the seconds until the next ones
are. Each takes a microsecond: of ten thousand in one turn, everybody would notice."""


class StallCheck:
    """Looks at the connections of a factory, so many times within their stall timeout.

    :param connections: the open ones, by their number.
    :param seconds: the stall timeout.
    """

    __slots__ = ("_call", "_clock", "_connections", "_every", "_left", "_round", "_ticker")

    def __init__(
        self,
        clock: IReactorTime,
        ticker: Ticker,
        connections: Mapping[int, Outbound],
        seconds: float,
    ) -> None:
        self._clock = clock
        self._ticker = ticker
        self._connections = connections
        self._every = seconds / _LOOKS
        self._round: Watch[Callable[[], None]] | None = None  # the next one
        self._left: Iterator[int] = iter(())  # who are still to be looked at in this one
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """There is a connection. Nothing happens where there was one already."""
        if self._round is None:
            self._round = self._ticker.watch(self._begin_round, self._every)

    def end(self) -> None:
        """There is none any more."""
        if self._round is not None:
            self._ticker.forget(self._round)
            self._round = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _begin_round(self) -> None:
        self._round = self._ticker.watch(self._begin_round, self._every)
        if self._call is None:  # there may be so many that the last round is not over
            self._left = iter(list(self._connections))
            self._look()

    def _look(self) -> None:
        now = list(islice(self._left, AT_ONCE))
        # First this: a look can end the last connection.
        more = len(now) == AT_ONCE
        self._call = self._clock.callLater(PAUSE, self._look) if more else None
        for number in now:
            connection = self._connections.get(number)
            if connection is not None:
                connection.look_for_progress(_LOOKS)
