"""Reject clients that may not connect: tell them why, and log a summary from time to time."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

_log = Logger()

LOG_EVERY = 60.0
"""The seconds between two log lines about rejections, so that a flood does not fill the log."""


class RejectingProtocol(Protocol):
    """Send the reason for the rejection and close. Used in place of a :class:`Connection`.

    Over TLS, the peer is reset without a message. A message would need a handshake first, which
    costs a hundred times as much as the rejection and may never finish.

    :ivar last_words: the bytes to send; may be empty.
    """

    transport: Any

    def __init__(self, last_words: bytes = b"") -> None:
        self.last_words = last_words

    def connectionMade(self) -> None:
        transport = self.transport
        if ISSLTransport.providedBy(transport):
            transport.abortConnection()
        else:
            transport.write(self.last_words)
            transport.loseConnection()


class RejectionLog:
    """Count rejections. Log the first one at once, and the following ones once a minute.

    :param what: the start of the log line.
    """

    def __init__(self, what: str = "Refused connections") -> None:
        self._what = what
        self._counts: dict[str, int] = {}
        self._told_at = float("-inf")

    def count(self, why: str, now: float) -> None:
        """Count one rejection.

        :param why: the code of the reason.
        :param now: the current time in seconds.
        """
        self._counts[why] = self._counts.get(why, 0) + 1
        if not 0 <= now - self._told_at < LOG_EVERY:
            self._told_at = now
            counts = ", ".join(f"{why} {count}" for why, count in self._counts.items())
            _log.info("{what} since the last line: {counts}", what=self._what, counts=counts)
            self._counts.clear()
