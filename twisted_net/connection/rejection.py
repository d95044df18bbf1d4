"""What happens to those who may not connect: a word, and a line in the log now and then."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

_log = Logger()

LOG_EVERY = 60.0
"""Seconds between two lines about refusals: a flood shall not fill the log as well."""


class RejectingProtocol(Protocol):
    """Says why, and closes. It stands for a peer that never was a connection.

    Over TLS nothing is said and the peer is reset: for words a handshake would have to come first,
    which costs a hundred times as much as the refusal, and may never come.

    :ivar last_words: what it says; may be nothing.
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
    """Counts refusals, and tells the log of the first at once and of the others once a minute.

    :param what: what the line in the log begins with.
    """

    def __init__(self, what: str = "Refused connections") -> None:
        self._what = what
        self._counts: dict[str, int] = {}
        self._told_at = float("-inf")

    def count(self, why: str, now: float) -> None:
        """Count one."""
        self._counts[why] = self._counts.get(why, 0) + 1
        if not 0 <= now - self._told_at < LOG_EVERY:
            self._told_at = now
            counts = ", ".join(f"{why} {count}" for why, count in self._counts.items())
            _log.info("{what} since the last line: {counts}", what=self._what, counts=counts)
            self._counts.clear()
