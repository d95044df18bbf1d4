"""TLS on the socket itself.

Twisted's TLS copies every record through two memory buffers and a transport. Here OpenSSL reads and
writes the socket. To other code it looks like Twisted's: :class:`EagerTLS` is a
``BufferingTLSTransport`` over a TCP transport, made by a ``TLSMemoryBIOFactory``. It inherits
everything that does not move bytes. Writes wait as plain text in the queue of the TCP transport,
with Twisted's rules for producers, closing and errors. They become records when they are sent: all
writes of a turn together, as Twisted's own code aggregates small writes.

It works for ``listenSSL`` and ``connectSSL``, and for our own endpoints, also behind a PROXY
header. Twisted's TLS is used for ``startTLS``, for TLS over anything but an eager TCP transport,
and for connections whose creator returns something unusual. Import this file only if
:mod:`~twisted_net.eager.privates` finds what it needs, as ``reactor_interfaces.tls_factory`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from errno import ENOBUFS, EWOULDBLOCK
from typing import Any

from OpenSSL.SSL import Error, SysCallError, WantReadError, WantWriteError, ZeroReturnError
from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
    _NullAggregator,
)
from twisted.python.failure import Failure

from twisted_net.eager import openssl
from twisted_net.eager.key_sharing import share_keys
from twisted_net.eager.tls_sockets import OnSocket
from twisted_net.eager.transports import lost

_RECORDS = 4
"""Records read in one event: 64 KiB, as much as Twisted reads from a socket."""

_TRUST = 8
"""How many full records end a read, after an attempt to read another one has found nothing."""


class EagerTLS(BufferingTLSTransport):
    """The transport of a protocol: Twisted's own, except for how bytes move.

    :ivar shutdown_due: close_notify must be sent after everything else.
    """

    factory: EagerTLSFactory
    transport: OnSocket

    # The TCP transport batches small writes.
    _aggregator = _NullAggregator()

    shutdown_due = False
    _alone = 0  # how many more full records to take for the last one that has arrived
    _flows = False  # writes go straight to the transport

    def __init__(self, factory: Any, wrappedProtocol: Any) -> None:
        # Skip BufferingTLSTransport.__init__, which makes an aggregator.
        TLSMemoryBIOProtocol.__init__(self, factory, wrappedProtocol)

    def makeConnection(self, transport: Any) -> None:
        connection: Any = None
        if self._is_next_to(transport):
            connection = self.factory._creatorCallable(self)
        if not openssl.can_attach(connection):
            self._become_stock()
            self.makeConnection(transport)
            return
        transport.tls = self
        self._tlsConnection = connection
        self._appSendBuffer: list[bytes] = []
        ProtocolWrapper.makeConnection(self, transport)
        if self.factory.is_client:  # a server reads before it writes
            self._checkHandshakeStatus()

    def _is_next_to(self, transport: Any) -> bool:
        """Whether no other protocol sees the bytes of the socket."""
        if not isinstance(transport, OnSocket):
            return False
        protocol = transport.protocol
        # Twisted's client endpoints insert a protocol that only passes everything on.
        return protocol is self or getattr(protocol, "_wrappedProtocol", None) is self

    def _become_stock(self) -> None:
        self.__class__ = BufferingTLSTransport  # type: ignore[assignment]
        BufferingTLSTransport.__init__(self, self.factory, self.wrappedProtocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._flows = False
        if not self._lostTLSConnection:
            # No close_notify has arrived. For protocols that rely on TLS, this is not a clean end.
            self._lostTLSConnection = True
            if self._reason is None:
                self._reason = Failure(main.CONNECTION_LOST)
        super().connectionLost(reason)

    # The handshake.

    def _checkHandshakeStatus(self) -> None:
        """Begin the handshake. An error is reported in a later turn."""
        if self.handshake() is main.CONNECTION_LOST:
            self.transport.doWrite = lost  # type: ignore[method-assign]
            self.transport.startWriting()

    def ready(self) -> bool:
        """Whether the handshake has succeeded or failed."""
        return self._handshakeDone or self._lostTLSConnection

    def dataReceived(self, data: bytes) -> None:
        """Take bytes read before OpenSSL had the socket: a ClientHello after a PROXY header.

        The answer comes from the memory buffer too. If the socket does not take all of it, the
        connection becomes one of Twisted's.
        """
        if self._aborted:
            return
        connection, transport = self._tlsConnection, self.transport
        connection.bio_write(data)
        self._shake()
        answer = openssl.pending_output(connection)
        if not answer:
            return
        try:
            sent = transport.socket.send(answer)
        except OSError as error:
            if error.errno not in (EWOULDBLOCK, ENOBUFS):
                transport.defer_error(error.errno)
                transport.startWriting()
                return
            sent = 0
        if sent < len(answer):
            transport.tls = None
            self._become_stock()
            transport.write(answer[sent:])

    def handshake(self) -> ConnectionLost | ConnectionDone | None:
        """Continue the handshake.

        :return: why the connection has ended, if it has.
        """
        if self._aborted:
            return None
        if not openssl.is_attached(self._tlsConnection):
            openssl.attach_socket(self._tlsConnection, self.transport.socket)
        return self._shake()

    def _shake(self) -> ConnectionLost | ConnectionDone | None:
        try:
            openssl.do_handshake(self._tlsConnection)
        except WantReadError:
            return None
        except WantWriteError:
            self.transport.startWriting()
            return None
        except SysCallError as error:
            return _why(error)
        except Error:
            self._tlsShutdownFinished(Failure())
            return None
        self._handshakeDone = True
        self._flows = not self.disconnecting
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()
        if self._appSendBuffer:
            self._unbufferPendingWrites()
        return None

    # Reading.

    def readable(self) -> ConnectionLost | ConnectionDone | None:
        """Read what has arrived, and deliver it.

        :return: why the connection has ended, if it has.
        """
        if not self._handshakeDone:
            why = self.handshake()
            if why is not None or not self._handshakeDone:
                return why
        connection, into = self._tlsConnection, self.factory.into
        for looked in range(_RECORDS):
            if self._lostTLSConnection:
                break
            try:
                data = openssl.read(connection, into)
            except WantReadError:
                # A full record was the last one. A peer that sends such records does so again.
                self._alone = _TRUST if looked else 0
                break
            except WantWriteError:
                self.transport.unread = True
                self.transport.startWriting()
                break
            except ZeroReturnError:  # close_notify: answer it, and close
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except SysCallError as error:
                return _why(error)
            except Error:
                self._tlsShutdownFinished(Failure())
                return main.CONNECTION_LOST  # no more can be sent, so do not wait until it can
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)
                # If there is more, the poller reports it, to a protocol that has paused when it
                # reads again. A close_notify would end the connection meanwhile.
                if len(data) < openssl.RECORD or self.transport.halted:
                    break
                if self._alone:
                    self._alone -= 1
                    break
        return None

    def readable_aside(self) -> ConnectionLost | ConnectionDone | None:
        """Read through memory while output is unsent.

        OpenSSL cannot answer a KeyUpdate while it holds a part of a record: the next one would be
        a fatal error. So it finishes the record in memory, and gets the socket back when all that
        it has made there is sent.

        :return: why the connection has ended, if it has.
        """
        connection, transport = self._tlsConnection, self.transport
        if not self._handshakeDone:
            return self.readable()
        try:
            data = transport.socket.recv(_RECORDS * openssl.RECORD)
        except OSError as error:
            return None if error.errno == EWOULDBLOCK else main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if openssl.is_attached(connection):
            openssl.move_to_memory(connection)
            unsent = memoryview(transport.dataBuffer)[transport.offset :]
            if unsent:
                with suppress(Error):  # doWrite meets it again, and reports it
                    transport.offset += openssl.write(connection, unsent[: openssl.RECORD])
        connection.bio_write(data)
        while not self._lostTLSConnection:
            try:
                data = openssl.read(connection, self.factory.into)
            except WantReadError:
                break
            except ZeroReturnError:
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)
        transport.rest += openssl.pending_output(connection)
        if self._lostTLSConnection and self._reason is not None:
            with suppress(OSError):  # the alert, if there is room for it
                transport.socket.send(transport.rest)
            return main.CONNECTION_LOST
        if not transport.rest:
            self.attach()
        return None

    def attach(self) -> None:
        """Let OpenSSL read and write the socket again."""
        if self.transport.connected and not openssl.is_attached(self._tlsConnection):
            openssl.attach_socket(self._tlsConnection, self.transport.socket)

    def over(self) -> bool:
        """Whether TLS has ended, so that nothing more can be written."""
        return self._lostTLSConnection

    # Writing.

    def write(self, data: bytes) -> None:
        if self._flows and isinstance(data, bytes):
            self.transport.write(data)
        elif not self.disconnecting or self._producer is not None:
            self._write(data + b"")

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def _write(self, data: bytes) -> None:
        if not data or self._lostTLSConnection:
            return
        if self._handshakeDone:
            self.transport.write(bytes(data))
        else:
            self._bufferedWrite(data)

    def encrypt(self, data: bytes | memoryview) -> int | ConnectionLost:
        """Send what the socket takes.

        :return: the number of bytes sent, or why the connection has ended.
        """
        if self.transport.rest:
            return 0  # it must be sent first
        if self._lostTLSConnection and self._reason is not None:
            return len(data)  # after an error, it can never be sent
        try:
            return openssl.write(self._tlsConnection, data)
        except WantWriteError:
            return 0
        except WantReadError:
            self.transport.blocked = True
            return 0
        except SysCallError as error:
            self.transport.defer_error(error.args[0])
            return main.CONNECTION_LOST
        except Error:
            self._tlsShutdownFinished(Failure())
            return len(data)  # it can never be sent

    # The end.

    def loseConnection(self) -> None:
        self._flows = False
        super().loseConnection()

    def abortConnection(self) -> None:
        self._flows = False
        super().abortConnection()

    def _shutdownTLS(self) -> None:
        """Send close_notify after everything that was written before."""
        if self._aborted:
            return
        self.shutdown_due = True
        if not self.transport.unsent():
            self.send_shutdown()

    def send_shutdown(self) -> None:
        """Send close_notify now. If the peer's has arrived, close."""
        try:
            over = openssl.shutdown(self._tlsConnection)
        except WantWriteError:
            self.transport.startWriting()
            return
        except Error:
            over = False
        self.shutdown_due = False
        if over:
            self.transport.loseConnection()

    def leave_socket(self) -> None:
        """Detach from the socket, which is about to be closed."""
        openssl.detach_socket(self._tlsConnection)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._flows = False
        super()._tlsShutdownFinished(reason)

    def _flushSendBIO(self) -> None:
        """Do nothing: OpenSSL has sent it."""


share_keys(
    EagerTLS,
    (
        *("wrappedProtocol", "factory", "_connectWrapped", "_tlsConnection", "_appSendBuffer"),
        *("__provides__", "connected", "transport", "_producer", "_handshakeDone", "_flows"),
        *("_alone", "disconnecting", "_lostTLSConnection", "_reason"),
    ),
)


class EagerTLSFactory(TLSMemoryBIOFactory):
    """Makes :class:`EagerTLS`. Takes the same arguments as Twisted's.

    :ivar into: the buffer for reading, shared by its connections, which belong to one reactor.
    """

    protocol = EagerTLS

    def __init__(
        self, contextFactory: Any, isClient: bool, wrappedFactory: Any, clock: Any = None
    ) -> None:
        super().__init__(contextFactory, isClient, wrappedFactory, clock)
        self.is_client = isClient
        self.into = openssl.buffer()


def _why(error: SysCallError) -> ConnectionLost | ConnectionDone:
    return main.CONNECTION_DONE if error.args[0] == -1 else main.CONNECTION_LOST
