"""Echo: every byte comes back as it came (RFC 862)."""

from __future__ import annotations

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.wire.framing import Raw


class EchoProtocol(Connection):
    """Sends back what it receives. While the peer does not read, it is not read either."""

    framing = Raw

    def message_received(self, message: bytes) -> None:
        self.send_encoded(message)


class EchoFactory(ConnectionFactory):
    """Makes echo connections; takes what :class:`ConnectionFactory` takes."""

    protocol = EchoProtocol
