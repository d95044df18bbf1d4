"""TCP transports whose bytes OpenSSL reads and writes after TLS has been started on them.

Until then they behave like other eager transports. :class:`twisted_net.eager.tls.EagerTLS` starts
TLS on them.
"""

from __future__ import annotations

from errno import ENOBUFS, EWOULDBLOCK
from typing import Any, Protocol

from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from twisted_net.eager.key_sharing import share_keys
from twisted_net.eager.ports import (
    SHARED_KEYS,
    EagerClient,
    EagerConnector,
    EagerPort,
    EagerServer,
)
from twisted_net.eager.transports import Eager, lost


class TLS(Protocol):
    """The TLS state that reads and writes the bytes of a transport.

    :ivar shutdown_due: close_notify must be sent after everything else.
    """

    shutdown_due: bool

    def ready(self) -> bool:
        """Whether the handshake has succeeded or failed."""

    def handshake(self) -> ConnectionLost | ConnectionDone | None:
        """Continue the handshake."""

    def readable(self) -> ConnectionLost | ConnectionDone | None:
        """Read what has arrived, and deliver it."""

    def readable_aside(self) -> ConnectionLost | ConnectionDone | None:
        """Do the same while output is unsent."""

    def attach(self) -> None:
        """Let OpenSSL read and write the socket again."""

    def over(self) -> bool:
        """Whether TLS has ended, so that nothing more can be written."""

    def encrypt(self, data: bytes | memoryview) -> int | ConnectionLost:
        """Send what the socket takes."""

    def send_shutdown(self) -> None:
        """Send close_notify now."""

    def leave_socket(self) -> None:
        """Detach from the socket, which is about to be closed."""


class OnSocket(Eager):
    """A TCP transport whose bytes OpenSSL reads and writes.

    :ivar tls: its TLS state; None if Twisted's TLS runs above this transport.
    """

    tls: TLS | None = None
    blocked = False  # OpenSSL must read before it can write
    unread = False  # OpenSSL must write before it can continue reading
    rest = b""  # records that were made aside, and must be sent before OpenSSL has the socket again
    halted = False  # it is not read: its protocol has paused it

    def doRead(self) -> Any:
        if self.tls is None or not self._batch.open:
            return super().doRead()
        tls = self.tls
        why = tls.readable_aside() if self.dataBuffer or self.rest else tls.readable()
        if self.blocked and self.connected:
            self.blocked = False
            self.startWriting()
        if why is main.CONNECTION_DONE and self._broken:
            return main.CONNECTION_LOST
        return why

    def doWrite(self) -> Any:
        tls = self.tls
        if tls is None:
            return super().doWrite()
        if not self.disconnecting and not tls.ready():
            self.stopWriting()
            return tls.handshake()
        if self.unread and not self.halted:
            self.unread = False
            why = self.doRead()
            if why is not None or not self.connected:
                return why
        if self.rest:
            try:
                sent = self.socket.send(self.rest)
            except OSError as error:
                return None if error.errno in (EWOULDBLOCK, ENOBUFS) else main.CONNECTION_LOST
            self.rest = self.rest[sent:]
            if self.rest:
                return None
            tls.attach()
        why = super().doWrite()
        if why is None and self.disconnecting and tls.over() and not self.unsent():
            self.startWriting()  # a producer was resumed, but cannot write: close in the next turn
        if self.blocked and self.connected:
            self.stopWriting()
        if tls.shutdown_due and not self.unsent():
            tls.send_shutdown()
            if tls.shutdown_due:
                return None
        return why

    def stopReading(self) -> None:
        self.halted = True
        super().stopReading()

    def startReading(self) -> None:
        self.halted = False
        super().startReading()

    def free(self) -> bool:
        return self.tls is None and super().free()  # OpenSSL may have to read first

    def flush_batched(self) -> None:
        tls = self.tls
        if tls is None:
            super().flush_batched()
            return
        if not self._in_batch:
            return
        self._in_batch = False
        queue = self._tempDataBuffer
        if self.dataBuffer or not queue or self._aborting:
            return
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        sent = self.writeSomeData(data)
        if not isinstance(sent, int):
            self.doWrite = lost  # type: ignore[method-assign]
            sent = 0
        queue.clear()
        self._tempDataLen = 0
        if sent < len(data):
            self.dataBuffer = data
            self.offset = sent
            self._room = 0
            if not self.blocked:
                self.startWriting()
        elif tls.shutdown_due:
            tls.send_shutdown()

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        tls = self.tls
        if tls is None:
            return super().writeSomeData(data)
        if not data:
            return 0
        return tls.encrypt(
            data if len(data) <= self.SEND_LIMIT else memoryview(data)[: self.SEND_LIMIT]
        )

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the socket has not taken yet."""
        return self._tempDataLen + len(self.dataBuffer) - self.offset + len(self.rest)

    def unsent(self) -> bool:
        """Whether any written bytes are unsent."""
        return bool(self._tempDataLen or self.dataBuffer or self.rest)

    def connectionLost(self, reason: Failure) -> None:
        if self.tls is not None and self.connected:
            self.tls.leave_socket()
        super().connectionLost(reason)


class EagerTLSServer(OnSocket, EagerServer):
    """An accepted TCP connection with TLS on it."""


share_keys(EagerTLSServer, (*SHARED_KEYS, "tls", "halted"))


class EagerTLSClient(OnSocket, EagerClient):
    """An outgoing TCP connection with TLS on it."""


class EagerTLSPort(EagerPort):
    """A TCP port whose connections run TLS on the socket."""

    transport = EagerTLSServer
    _type = "TLS"


def enable_tls(port: Any) -> Any:
    """Let connections that a port will accept run TLS on the socket, if it is an EagerPort.

    :return: the port.
    """
    if type(port) is EagerPort:
        port.transport = EagerTLSServer
    return port


class EagerTLSConnector(EagerConnector):
    """Connects with :class:`EagerTLSClient`."""

    def _makeTransport(self) -> EagerTLSClient:
        return EagerTLSClient(self.host, self.port, self.bindAddress, self, self.reactor)
