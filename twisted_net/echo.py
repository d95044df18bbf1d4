"""Echo: send every byte back unchanged (RFC 862)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.wire.framing import Raw


class EchoProtocol(Connection):
    """Send back everything received. While the peer does not read, stop reading from it."""

    framing = Raw

    def message_received(self, message: bytes) -> None:
        self.send_encoded(message)

    def save_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        """Do nothing: there is nothing besides the connection."""


class EchoFactory(ConnectionFactory):
    """Make echo connections. Takes the same arguments as :class:`ConnectionFactory`."""

    protocol = EchoProtocol
