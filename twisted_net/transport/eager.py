"""TCP and Unix transports that try the socket before they wait for it.

A stock transport queues what it is given, asks the reactor to be told when the socket takes more,
and sends in the next turn: one ``send`` and two changes of the poller a write, although the socket
would have taken the bytes at once. A transport of this module sends first, and asks the poller
only for what was not taken.

It sends when the event is over that caused the writing, not in the middle of :meth:`write`. Sent
one by one, the second of two small writes would wait for the peer's acknowledgement of the first
(RFC 896), which a peer delays by up to 40 ms: stock transports send both together, and so do
these. Gathered so, everything else is as in stock too: a producer is paused by the same write, a
Unix descriptor travels with the bytes written beside it, an error shows in a later turn, and what
was written by a ``dataReceived`` that raised is not sent.

* With the ``eager`` reactor (:mod:`twisted_net.transport.reactor`), every stock listening and
  connecting call makes these transports, and the event that ends is the turn.
* With another reactor that is made of Twisted's own parts (epoll, poll, select, kqueue, asyncio),
  :func:`twisted_net.transport.calls.eager` gives one whose calls make them, and the event is one
  transport's ``dataReceived``. What is written outside of any, by a timer for example, is sent at
  once over TCP, which is why ``TCP_NODELAY`` is on there, as asyncio has it for the same reason;
  Unix transports then queue as stock ones do, since a descriptor may follow.
* With any other (IOCP, or a test's), that function changes nothing.

After libuv's ``uv_try_write`` and the transports of asyncio, which send inside ``write``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from errno import ENOBUFS, EPIPE, EWOULDBLOCK
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet import main, tcp, unix
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()

SLICE = 512
"""Transports flushed before the poller is asked again: about two milliseconds of sending."""


LARGE = 8192
"""Bytes that need not be gathered with others, and are better sent while they are in the cache."""


class Gather:
    """The transports of one reactor that have bytes to send when the event is over.

    :ivar open: whether an event is going on, whose end will flush. Otherwise nothing is gathered.
    :ivar lasting: whether it is always open, since the reactor itself flushes once a turn.
    :ivar waiting: the transports, each once.
    :ivar large: those that have much to send, and do when the event is over even if it is a turn.
    """

    __slots__ = ("large", "lasting", "open", "waiting")

    def __init__(self, lasting: bool = False) -> None:
        self.lasting = lasting
        self.open = lasting
        self.waiting: list[Eager] = []
        self.large: list[Eager] = []

    def flush(self, at_most: int | None = None) -> None:
        """Send what the first ``at_most`` waiting transports have; without it, all of them."""
        if self.large:
            self.flush_large()
        waiting = self.waiting
        if at_most is None or len(waiting) <= at_most:
            self.waiting = []
        else:
            self.waiting = waiting[at_most:]
            del waiting[at_most:]
        _flush(waiting)

    def flush_large(self) -> None:
        """Send what those have that have much."""
        large, self.large = self.large, []
        _flush(large)

    def settle(self) -> None:
        """Hand every waiting transport to the reactor, as if it had never been gathered."""
        waiting = self.large + self.waiting
        self.waiting, self.large = [], []
        for transport in waiting:
            transport.settle_gathered()


def _flush(transports: list[Eager]) -> None:
    for transport in transports:
        try:
            transport.flush_gathered()
        except Exception:
            _log.failure("Cannot send what {transport} has gathered", transport=transport)


_gathers: WeakKeyDictionary[Any, Gather] = WeakKeyDictionary()


def _gather_of(reactor: Any) -> Gather:
    gather = getattr(reactor, "gather", None)
    if not isinstance(gather, Gather):
        gather = _gathers.get(reactor)
        if gather is None:
            gather = _gathers[reactor] = Gather()
    return gather


class Eager(tcp.Connection):
    """What the transports of this module have over stock ones; see there.

    The queue is stock's own (``_tempDataBuffer``, ``dataBuffer``, ``offset``), so that either
    this class or stock's ``doWrite`` can take it from any state in which the other leaves it.

    :cvar at_once: whether to send inside of ``write`` where nothing gathers.
    """

    at_once = True

    # Defaults stand on the class, so that an idle connection carries none of them.
    _gather: Gather
    _gathered = False  # waits in _gather
    _is_plain = False  # it has a push producer, and nothing is ending or encrypted
    _broken = False  # a send has taken the socket's error, which a read would have shown
    _tempDataBuffer: list[bytes]

    def write(self, data: bytes) -> None:
        if (
            not isinstance(data, bytes)
            or not data
            or self.TLS
            or not self.connected
            or self._writeDisconnected
        ):
            super().write(data)  # refused, encrypted or dropped
            return
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        if not self._gathered:
            self._send_soon(1)
        elif self.producer is not None:
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        if (
            not isinstance(iovec, list | tuple)
            or not iovec
            or self.TLS
            or not self.connected
            or self._writeDisconnected
            or not all(isinstance(piece, bytes) for piece in iovec)
        ):
            super().writeSequence(iovec)
            return
        self._tempDataBuffer.extend(iovec)
        self._tempDataLen += sum(map(len, iovec))
        if not self._gathered:
            self._send_soon(len(iovec))
        elif self.producer is not None:
            self._pause_producer()

    def send_now(self, data: bytes) -> bool:
        """As :meth:`write`, but at once, where that is as good.

        It is for one who writes nothing more until the event is over, so that there is nothing to
        gather, and who is a push producer, which hears of what could not be sent.

        :return: False: nothing was done, since something waits, is ending, or is to be encrypted.
        """
        if not self._is_plain or self._tempDataLen or self.dataBuffer:
            return False
        try:
            sent = self.socket.send(data)
        except OSError as error:
            self.keep(error.errno)
            sent = 0
        if sent < len(data):
            self.dataBuffer = data
            self.offset = sent
            self.startWriting()
            self._maybePauseProducer()
        return True

    def _send_soon(self, added: int) -> None:
        """Send when the event is over, unless that is for stock to do."""
        if self.producer is not None and self._pause_producer():
            return
        if self.dataBuffer or len(self._tempDataBuffer) > added:
            self.startWriting()  # older bytes wait for the poller already
        elif self._gather.open:
            self._gathered = True
            if self._tempDataLen < LARGE:
                self._gather.waiting.append(self)
            else:
                self._gather.large.append(self)
        elif self.at_once:
            self._gathered = True
            self.flush_gathered()
        else:
            self.startWriting()

    def _pause_producer(self) -> bool:
        """Pause the producer if the queue is full.

        :return: whether it is to hear when all is sent: stock's ``doWrite`` tells it.
        """
        self._maybePauseProducer()
        if self.producer is None or (self.streamingProducer and not self.producerPaused):
            return False
        self._gathered = False
        self.startWriting()
        return True

    def flush_gathered(self) -> None:
        """Send what the socket takes, and leave the rest to stock's ``doWrite``."""
        if not self._gathered:
            return
        self._gathered = False
        queue = self._tempDataBuffer
        if self.dataBuffer or not queue or self._aborting:  # doWrite was here, or nothing will be
            return
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            if len(data) <= self.SEND_LIMIT:
                sent = self.socket.send(data)
            else:  # a giant write keeps the others waiting no longer than in stock
                sent = self.socket.send(memoryview(data)[: self.SEND_LIMIT])
        except OSError as error:
            self.keep(error.errno)
            sent = 0
        queue.clear()
        self._tempDataLen = 0
        if sent < len(data):
            # As doWrite leaves it: nothing is copied, however much it is.
            self.dataBuffer = data
            self.offset = sent
            self.startWriting()

    def settle_gathered(self) -> None:
        """Wait for the poller instead."""
        if self._gathered:
            self._gathered = False
            self.startWriting()

    def keep(self, errno: int | None) -> None:
        """Let an error of sending show in a later turn, as the end of the connection."""
        # The kernel tells most errors once. EPIPE it repeats, and reading has an answer of its own.
        if errno not in (EWOULDBLOCK, ENOBUFS, EPIPE):
            self._broken = True
            self.doWrite = lost  # type: ignore[method-assign]

    # What decides what is to happen when all is sent: stock's doWrite knows, and is to do it.

    def loseConnection(self) -> None:
        self._is_plain = False
        self.settle_gathered()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        self._is_plain = False
        self.settle_gathered()
        super().loseWriteConnection()

    def abortConnection(self) -> None:
        self._is_plain = False
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        self._is_plain = False
        super().connectionLost(reason)

    def startTLS(self, *arguments: Any, **keywords: Any) -> None:
        self._is_plain = False
        super().startTLS(*arguments, **keywords)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.settle_gathered()
        super().registerProducer(producer, streaming)
        self._is_plain = bool(
            streaming and self.producer is producer and not self.TLS and not self._aborting
        )

    def unregisterProducer(self) -> None:
        self._is_plain = False
        super().unregisterProducer()

    def stopWriting(self) -> None:
        self._gathered = False  # what is queued waits until somebody starts writing again
        super().stopWriting()

    def doRead(self) -> Any:  # as untyped as one of the two that stock inherits
        if not self._gather.open:
            return self._read_gathering()
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as error:
            return None if error.errno == EWOULDBLOCK else main.CONNECTION_LOST
        if data:
            self.protocol.dataReceived(data)
            return None
        return main.CONNECTION_LOST if self._broken else main.CONNECTION_DONE

    def _read_gathering(self) -> Any:
        """Read, and gather meanwhile, where the reactor does not."""
        gather = self._gather
        gather.open = True
        try:
            return self.doRead()
        except BaseException:
            self._gathered = False  # the reactor will close this: what is queued is dropped
            raise
        finally:
            gather.open = False
            gather.flush()


def lost() -> ConnectionLost:
    """Stand in for ``doWrite`` of a transport whose end is known, and shows in a later turn."""
    return main.CONNECTION_LOST


class _EagerUNIX(Eager):
    """Unix transports carry descriptors as well, each beside a byte of the queue."""

    at_once = False

    _sendmsgQueue: list[int]

    def flush_gathered(self) -> None:
        if self._sendmsgQueue:
            self.settle_gathered()
        else:
            super().flush_gathered()

    def send_now(self, data: bytes) -> bool:
        return not self._sendmsgQueue and super().send_now(data)

    def doRead(self) -> Any:  # as untyped as one of the two that stock inherits
        if not self._gather.open:
            return self._read_gathering()
        why = super(Eager, self).doRead()  # stock's, which receives descriptors
        return main.CONNECTION_LOST if self._broken and why is main.CONNECTION_DONE else why


# The transports, and what makes them.


class EagerServer(Eager, tcp.Server):
    """An accepted or adopted TCP connection."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: tcp.Port,
        sessionno: int,
        reactor: Any,
    ) -> None:
        self._gather = gather = _gather_of(reactor)
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        if not gather.lasting:
            self.setTcpNoDelay(True)


class EagerClient(Eager, tcp.Client):
    """A TCP connection that this side has opened."""

    def __init__(
        self, host: str, port: int, bindAddress: Any, connector: Any, reactor: Any
    ) -> None:
        self._gather = _gather_of(reactor)
        super().__init__(host, port, bindAddress, connector, reactor)

    def _connectDone(self) -> None:
        if not self._gather.lasting:
            self.setTcpNoDelay(True)
        super()._connectDone()


class EagerUNIXServer(_EagerUNIX, unix.Server):
    """An accepted or adopted Unix connection."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        self._gather = _gather_of(reactor)
        super().__init__(sock, protocol, client, server, sessionno, reactor)


class EagerUNIXClient(_EagerUNIX, unix.Client):
    """A Unix connection that this side has opened."""

    def __init__(self, filename: Any, connector: Any, reactor: Any, checkPID: Any = 0) -> None:
        self._gather = _gather_of(reactor)
        super().__init__(filename, connector, reactor, checkPID)


class EagerPort(tcp.Port):
    """A TCP port whose connections are eager. Takes what stock's does."""

    transport = EagerServer


class EagerUNIXPort(unix.Port):
    """A Unix port whose connections are eager. Takes what stock's does."""

    transport = EagerUNIXServer


class EagerConnector(tcp.Connector):
    """Connects by :class:`EagerClient`."""

    def _makeTransport(self) -> EagerClient:
        return EagerClient(self.host, self.port, self.bindAddress, self, self.reactor)


class EagerUNIXConnector(unix.Connector):
    """Connects by :class:`EagerUNIXClient`."""

    def _makeTransport(self) -> Any:
        return EagerUNIXClient(self.address, self, self.reactor, self.checkPID)
