"""What happens to those who may not connect: a word, and a line in the log now and then."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from twisted_net.policy.closing import Reason

_log = Logger()

LOG_EVERY = 60.0
"""Seconds between two lines about refusals: a flood shall not fill the log as well."""


class RefusedProtocol(Protocol):
    """Says why, and closes. It stands for a peer that never was a connection.

    Over TLS nothing is said: whoever puts TLS before a factory closes such a peer instead.
    """

    transport: Any

    def __init__(self, last_words: bytes) -> None:
        self._last_words = last_words

    def connectionMade(self) -> None:
        self.transport.write(self._last_words)
        self.transport.loseConnection()


class Refusals:
    """Counts refusals, and tells the log of the first at once and of the others once a minute."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._told_at = float("-inf")

    def count(self, reason: Reason, now: float) -> None:
        """Count one."""
        self._counts[reason.code] = self._counts.get(reason.code, 0) + 1
        if not 0 <= now - self._told_at < LOG_EVERY:
            self._told_at = now
            counts = ", ".join(f"{code} {count}" for code, count in self._counts.items())
            _log.info("Refused connections since the last line: {counts}", counts=counts)
            self._counts.clear()
