"""Ping silent peers, and close those that do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted_net.connection.connection import Connection

_SPREAD = 0.25
_GOLDEN = (5**0.5 - 1) / 2
"""The golden ratio. The fractional parts of its multiples are spread as evenly as possible, however
many there are."""


class Heartbeat(Connection):
    """A connection with an optional heartbeat, without a timer of its own or work per byte."""

    shared_keys = (*Connection.shared_keys, "idle_timeout", "_pinged_at")

    _pinged_at: int | None = None  # bytes received at the last ping; None: no heartbeat

    def start_heartbeat(self, seconds: float) -> None:
        """Ping the peer after ``seconds`` of silence, and close it after the same time again.

        The reason is then ``idle``. The heartbeat replaces the idle timeout.

        The first ping comes up to a quarter earlier. Each connection has a different offset, so
        that connections opened together are not always pinged together.
        """
        self._pinged_at = -1
        self.set_idle_timeout(seconds, seconds * (1 - _SPREAD * (self.id * _GOLDEN % 1)))

    def export_state(self) -> dict[str, Any]:
        return {**super().export_state(), "pinged_at": self._pinged_at}

    def continue_on(self, transport: Any, state: Mapping[str, Any]) -> None:
        if state["pinged_at"] is not None:
            self._pinged_at = state["pinged_at"]
        super().continue_on(transport, state)

    def send_ping(self) -> None:
        """Send a message that the peer has to answer."""
        raise NotImplementedError

    def idle_expired(self) -> bool:
        if self._pinged_at is None or self._pinged_at == self.bytes_received:
            return False
        self._pinged_at = self.bytes_received
        self.send_ping()
        return True
