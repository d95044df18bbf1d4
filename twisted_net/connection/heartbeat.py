"""A peer that falls silent is asked for a sign of life, once, and then taken for gone."""

from __future__ import annotations

from twisted_net.connection.connection import Connection
from twisted_net.connection.inbound import BY_FULL_OUTPUT
from twisted_net.policy.close_reasons import IDLE

_SPREAD = 0.25
_GOLDEN = (5**0.5 - 1) / 2
"""Of which the multiples' fractions lie as evenly as can be, however many they are."""


class Heartbeat(Connection):
    """A connection that can have a heartbeat, without a timer of its own or work per byte."""

    shared_keys = (*Connection.shared_keys, "_heartbeat", "_asked_at")

    _heartbeat = 0.0
    _asked_at = -1  # how many bytes had come when the peer was last asked

    def start_heartbeat(self, seconds: float) -> None:
        """Ask for a sign of life after so many seconds of silence, and close (``idle``) after as
        many again. This takes the place of the idle timeout.

        The first time is up to a quarter earlier, for each connection by another part of it:
        those that came together are not asked together for ever.
        """
        self._heartbeat = seconds
        self._rewatch(self._quiet, seconds * (1 - _SPREAD * (self.id * _GOLDEN % 1)))

    def send_ping(self) -> None:
        """Send what the peer has to answer."""
        raise NotImplementedError

    def _quiet(self) -> None:
        if self.reason is not None:
            return
        listens = not self._held & ~BY_FULL_OUTPUT
        if listens and self._asked_at == self.bytes_received:
            self.close(IDLE)
            return
        if listens:
            self._asked_at = self.bytes_received
            self.send_ping()
        if self.reason is None and self._watch is not None:  # asking may have ended it
            self.factory.timers.restart(self._watch, self._heartbeat)
