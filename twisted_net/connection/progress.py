"""How much of what a peer is sent it has taken."""

from __future__ import annotations

from typing import NamedTuple

from twisted_net.connection.connection import Connection
from twisted_net.eager.privates import send_position, unsent


class SendProgress(NamedTuple):
    """How far a peer has come.

    :ivar taken: the bytes that it has taken of what it was sent.
    :ivar position: the buffer that its transport is sending, and the offset in it.
    """

    taken: int
    position: tuple[int, int]

    def is_after(self, before: SendProgress) -> bool:
        """Return whether the peer has taken anything since ``before``."""
        # Over TLS, ``taken`` subtracts encrypted bytes from plain bytes, so only the buffer
        # position shows progress.
        return self.taken > before.taken or self.position != before.position


def bytes_waiting(connection: Connection) -> int:
    """Return the bytes that the peer has not taken yet."""
    return connection.write_buffer_size


def send_progress(connection: Connection) -> SendProgress:
    """Return how far the peer has come now."""
    transport = connection.transport
    return SendProgress(connection.bytes_sent - unsent(transport), send_position(transport))
