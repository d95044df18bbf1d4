"""Decides when a worker that has died is started again, and when to give up. Pure."""

from __future__ import annotations

from twisted_net.policy.backoff import Backoff, Delays

QUICK = 5.0
"""Seconds. A worker that dies sooner has died of its start, or of what all its clients do."""

MOST_QUICK_DEATHS = 5
"""Quick deaths, without a worker in between that has lived longer, that end the service. systemd
gives up after 5 starts in 10 seconds (``StartLimitBurst=``)."""

RESTARTS = Backoff(first=0.1, longest=10.0)
"""The delays before a worker is started again."""


class Deaths:
    """Counts quick deaths of all workers.

    :param delays: chooses how long to wait.
    :param most: quick deaths in a row that are too many.
    """

    def __init__(self, delays: Delays = RESTARTS, most: int = MOST_QUICK_DEATHS) -> None:
        self._delays = delays
        self._most = most
        self._failed_starts = 0
        self.quick = 0

    def died(self, lifetime: float, jitter: float) -> float | None:
        """Count a death.

        :param lifetime: how long the worker lived, in seconds.
        :param jitter: a random number from 0 to 1.
        :return: the seconds until it is started again; None if it is a crash loop.
        """
        self.quick = self.quick + 1 if lifetime < QUICK else 0
        if self.quick >= self._most:
            return None
        return self._delays.delay(self.quick + 1, jitter)

    def failed_to_start(self, jitter: float) -> float:
        """Count a start that has failed while others serve, for example as Redis is away.

        That is no crash loop: who is connected to the others stays.

        :return: the seconds until it is tried again.
        """
        self._failed_starts += 1
        return self._delays.delay(self._failed_starts + 1, jitter)

    def survived(self) -> None:
        """A worker that was started again has lived long enough."""
        self.quick = self._failed_starts = 0
