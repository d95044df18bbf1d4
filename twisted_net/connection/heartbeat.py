"""Pings to a peer that falls silent; one that does not answer is taken for gone."""

from __future__ import annotations

from twisted_net.connection.connection import Connection

_SPREAD = 0.25
_GOLDEN = (5**0.5 - 1) / 2
"""Of which the multiples' fractions lie as evenly as can be, however many they are."""


class Heartbeat(Connection):
    """A connection that can have a heartbeat, without a timer of its own or work per byte."""

    shared_keys = (*Connection.shared_keys, "idle_timeout", "_pinged_at")

    _pinged_at: int | None = (
        None  # bytes received when the peer was last pinged; None: no heartbeat
    )

    def start_heartbeat(self, seconds: float) -> None:
        """Ping the peer after so many seconds of silence, and close it (``idle``) after as many
        again. This takes the place of the idle timeout.

        The first time is up to a quarter earlier, for each connection by another part of it:
        those that came together are not pinged together for ever.
        """
        self._pinged_at = -1
        self.set_idle_timeout(seconds, seconds * (1 - _SPREAD * (self.id * _GOLDEN % 1)))

    def send_ping(self) -> None:
        """Send what the peer has to answer."""
        raise NotImplementedError

    def idle_expired(self) -> bool:
        if self._pinged_at is None or self._pinged_at == self.bytes_received:
            return False
        self._pinged_at = self.bytes_received
        self.send_ping()
        return True
