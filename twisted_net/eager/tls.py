"""TLS on the socket itself.

Twisted's TLS moves every record through two memory buffers and a transport. Here OpenSSL reads and
writes the socket. To everybody else it is Twisted's: :class:`EagerTLS` is a
``BufferingTLSTransport`` over a TCP transport, made by a ``TLSMemoryBIOFactory``, and all that does
not move bytes is inherited. What is written waits as plain text in the TCP transport's queue, whose
rules for producers, closing and errors are stock's, and becomes records when it is sent: all that
is written in a turn together, as Twisted's own aggregates small writes.

It is for listening and connecting by ``listenSSL`` and ``connectSSL``, and for our own endpoints,
behind a PROXY header too. ``startTLS`` and TLS over anything but an eager TCP transport are
Twisted's, and so is a connection whose creator makes something unusual. Import this file only where
:mod:`~twisted_net.eager.privates` finds what it needs; ``reactor_interfaces.tls_factory`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
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
"""Records read for one event: 64 KiB, as stock reads from a socket."""

_TRUST = 8
"""After looking for another record in vain, so many full ones are taken for the last."""


class EagerTLS(BufferingTLSTransport):
    """What a protocol has for its transport: Twisted's own, but for the moving of bytes.

    :ivar shutdown_due: our farewell (close_notify) is to be sent when everything else is.
    """

    factory: EagerTLSFactory
    transport: OnSocket

    # Small writes are gathered by the transport.
    _aggregator = _NullAggregator()

    shutdown_due = False
    _alone = 0  # how many more full records are taken for the last that has come
    _flows = False  # what is written goes to the transport, without further questions

    def __init__(self, factory: Any, wrappedProtocol: Any) -> None:
        # Past the other one's, which makes what gathers there.
        TLSMemoryBIOProtocol.__init__(self, factory, wrappedProtocol)

    def makeConnection(self, transport: Any) -> None:
        connection: Any = None
        if self._is_next_to(transport):
            connection = self.factory._creatorCallable(self)
        if not openssl.can_put_on(connection):
            self._become_stock()
            self.makeConnection(transport)
            return
        transport.tls = self
        self._tlsConnection = connection
        self._appSendBuffer: list[bytes] = []
        ProtocolWrapper.makeConnection(self, transport)
        if self.factory.is_client:  # a server has nothing to say before it has read
            self._checkHandshakeStatus()

    def _is_next_to(self, transport: Any) -> bool:
        """Whether nobody else looks at what comes from the socket."""
        if not isinstance(transport, OnSocket):
            return False
        protocol = transport.protocol
        # Twisted's client endpoints put one before it that only passes everything on.
        return protocol is self or getattr(protocol, "_wrappedProtocol", None) is self

    def _become_stock(self) -> None:
        self.__class__ = BufferingTLSTransport  # type: ignore[assignment]
        BufferingTLSTransport.__init__(self, self.factory, self.wrappedProtocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._flows = False
        if not self._lostTLSConnection:
            # No farewell has come: to whoever trusts TLS, this is no clean end.
            self._lostTLSConnection = True
            if self._reason is None:
                self._reason = Failure(main.CONNECTION_LOST)
        super().connectionLost(reason)

    # The handshake.

    def _checkHandshakeStatus(self) -> None:
        """Begin. An error shows in a later turn."""
        if self.handshake() is main.CONNECTION_LOST:
            self.transport.doWrite = lost  # type: ignore[method-assign]
            self.transport.startWriting()

    def ready(self) -> bool:
        """Whether the handshake is over, one way or the other."""
        return self._handshakeDone or self._lostTLSConnection

    def dataReceived(self, data: bytes) -> None:
        """Take what was read before the socket is OpenSSL's: a hello behind a PROXY header.

        The answer comes from memory, too. If the socket does not take it all, stock goes on.
        """
        if self._aborted:
            return
        connection, transport = self._tlsConnection, self.transport
        connection.bio_write(data)
        self._shake()
        answer = openssl.from_memory(connection)
        if not answer:
            return
        try:
            sent = transport.socket.send(answer)
        except OSError as error:
            if error.errno not in (EWOULDBLOCK, ENOBUFS):
                transport.keep(error.errno)
                transport.startWriting()
                return
            sent = 0
        if sent < len(answer):
            transport.tls = None
            self._become_stock()
            transport.write(answer[sent:])

    def handshake(self) -> ConnectionLost | ConnectionDone | None:
        """Go on with the handshake.

        :return: why the connection is over, if it is.
        """
        if self._aborted:
            return None
        if not openssl.is_on(self._tlsConnection):
            openssl.put_on(self._tlsConnection, self.transport.socket)
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
        """Read what has come, and deliver it.

        :return: why the connection is over, if it is.
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
                # A full record was the last one. Whoever sends such one by one does it again.
                self._alone = _TRUST if looked else 0
                break
            except WantWriteError:
                self.transport.unread = True
                self.transport.startWriting()
                break
            except ZeroReturnError:  # the peer's farewell: answer it, and close
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except SysCallError as error:
                return _why(error)
            except Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)
                if len(data) < openssl.RECORD:  # if there is more, the poller says so
                    break
                if self._alone:
                    self._alone -= 1
                    break
        return None

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

        :return: how many bytes, or why the connection is over.
        """
        try:
            return openssl.write(self._tlsConnection, data)
        except WantWriteError:
            return 0
        except WantReadError:
            self.transport.blocked = True
            return 0
        except SysCallError as error:
            self.transport.keep(error.args[0])
            return main.CONNECTION_LOST
        except Error:
            self._tlsShutdownFinished(Failure())
            return len(data)  # nobody will ever take it

    # The end.

    def loseConnection(self) -> None:
        self._flows = False
        super().loseConnection()

    def abortConnection(self) -> None:
        self._flows = False
        super().abortConnection()

    def _shutdownTLS(self) -> None:
        """Send our farewell, after all that is to be sent before."""
        if self._aborted:
            return
        self.shutdown_due = True
        if not self.transport.unsent():
            self.send_shutdown()

    def send_shutdown(self) -> None:
        """Send our farewell now; if the peer's has come, close."""
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
        """The socket is about to be closed."""
        openssl.take_off(self._tlsConnection)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._flows = False
        super()._tlsShutdownFinished(reason)

    def _flushSendBIO(self) -> None:
        """Nothing to do: OpenSSL has sent it."""


share_keys(
    EagerTLS,
    (
        *("wrappedProtocol", "factory", "_connectWrapped", "_tlsConnection", "_appSendBuffer"),
        *("__provides__", "connected", "transport", "_producer", "_handshakeDone", "_flows"),
        *("_alone", "disconnecting", "_lostTLSConnection", "_reason"),
    ),
)


class EagerTLSFactory(TLSMemoryBIOFactory):
    """Makes :class:`EagerTLS`. Takes what stock's does.

    :ivar into: what its connections, all of one reactor, read into.
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
