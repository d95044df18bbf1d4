"""Remembers what connections that have ended leave behind: totals, and the last hundred of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import user_for_log

REMEMBERED = 100
"""Ended connections that are shown."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that has ended.

    :ivar at: when, in seconds since 1970.
    :ivar seconds: how long it was open.
    """

    id: int
    peer: IAddress
    name: str
    form: str
    reason: str
    detail: str
    at: float
    seconds: float
    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int


class Endings:
    """Observes the factories of one service.

    :param now: returns the time, in seconds since 1970.
    :ivar last: the last ended connections, the newest last.
    :ivar handshakes: completed TLS handshakes, by version.
    :ivar bytes_received: of ended connections only, as the other three.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: dict[Connection, Callable[[Ended], None]] = {}
        self.last: deque[Ended] = deque(maxlen=REMEMBERED)
        self.handshakes: Counter[str] = Counter()
        self.bytes_received = self.bytes_sent = 0
        self.messages_received = self.messages_sent = 0

    def tell(self, connection: Connection, ended: Callable[[Ended], None]) -> None:
        """Call ``ended`` when a connection ends. One call for each connection."""
        self._told[connection] = ended

    def forget(self, connection: Connection) -> None:
        """Undo :meth:`tell`."""
        self._told.pop(connection, None)

    # For the factory.

    def handshake_completed(self, connection: Connection, /) -> None:
        self.handshakes[tls_version(connection.transport) or "unknown"] += 1

    def connection_gone(self, connection: Connection, /) -> None:
        self.bytes_received += connection.bytes_received
        self.bytes_sent += connection.bytes_sent
        self.messages_received += connection.messages_received
        self.messages_sent += connection.messages_sent
        if connection.reason is None and connection in self._told:  # it goes on as another
            self._told.pop(connection)(self._record(connection, "upgraded"))

    def connection_ended(self, connection: Connection, /) -> None:
        reason = connection.reason
        ended = self._record(connection, "" if reason is None else reason.code)
        if connection.factory.counts_ends:
            self.last.append(ended)
        told = self._told.pop(connection, None)
        if told is not None:
            told(ended)

    def _record(self, connection: Connection, reason: str) -> Ended:
        return Ended(
            connection.id,
            connection.peer,
            user_for_log(connection),
            connection.form,
            reason,
            connection.detail,
            self._now(),
            connection.factory.age(connection.id),
            connection.bytes_received,
            connection.bytes_sent,
            connection.messages_received,
            connection.messages_sent,
        )


def tls_version(transport: Any) -> str:
    """Return the version of TLS that a connection uses, such as ``TLSv1.3``; empty for none."""
    find = getattr(transport, "getHandle", None)
    handle = None if find is None else find()
    return handle.get_protocol_version_name() if isinstance(handle, SSL.Connection) else ""
