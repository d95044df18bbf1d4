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

* With the ``eager`` reactor (:mod:`twisted_net.eager.reactor`), every stock listening and
  connecting call makes these transports, and the event that ends is the turn.
* With another reactor that is made of Twisted's own parts (epoll, poll, select, kqueue, asyncio),
  :func:`twisted_net.eager.reactor_interfaces.eager` gives one whose calls make them, and the event
  is one transport's ``dataReceived``. What is written outside of any, by a timer for example, is
  sent at once over TCP, which is why ``TCP_NODELAY`` is on there, as asyncio has it for the same
  reason; Unix transports then queue as stock ones do, since a descriptor may follow.
* With any other (IOCP, or a test's), that function changes nothing.

After libuv's ``uv_try_write`` and the transports of asyncio, which send inside ``write``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import ENOBUFS, EPIPE, EWOULDBLOCK
from operator import methodcaller
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from twisted_net.eager.key_sharing import Fileno
from twisted_net.eager.write_batch import LARGE, WriteBatch


class Eager(tcp.Connection):
    """What the transports of this module have over stock ones; see there.

    The queue is stock's own (``_tempDataBuffer``, ``dataBuffer``, ``offset``), so that either
    this class or stock's ``doWrite`` can take it from any state in which the other leaves it.

    :cvar at_once: whether to send inside of ``write`` where nothing gathers.
    """

    at_once = True

    # Defaults stand on the class, so that an idle connection carries none of them.
    fileno: Any = Fileno()
    _batch: WriteBatch
    _in_batch = False  # waits in _gather
    _room = 0  # see _find_room()
    _is_plain = False  # it has a push producer, and nothing is ending or encrypted
    _broken = False  # a send has taken the socket's error, which a read would have shown
    _tempDataBuffer: list[bytes]

    def write(self, data: bytes) -> None:
        if type(data) is bytes and data:
            size = self._tempDataLen + len(data)
            if size < self._room:
                self._tempDataBuffer.append(data)
                self._tempDataLen = size
                if not self._in_batch:
                    self._in_batch = True
                    self._batch.waiting.append(self)
                return
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write what may not be gathered without further questions."""
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
        if not self._in_batch:
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
        if not self._in_batch:
            self._send_soon(len(iovec))
        elif self.producer is not None:
            self._pause_producer()

    def send_now(self, data: bytes) -> bool:
        """As :meth:`write`, but at once, where that is as good.

        It is for one who writes nothing more until the event is over, so that there is nothing to
        gather, and who is a push producer, which hears of what could not be sent.

        :return: False: nothing was done, since it is not :meth:`free`.
        """
        if not self.free():
            return False
        send_to_all([self], data)
        return True

    def free(self) -> bool:
        """Whether nothing waits, is ending, or is to be encrypted."""
        return self._is_plain and not self._tempDataLen and not self.dataBuffer

    def queue_rest(self, data: bytes, sent: int) -> None:
        """Leave to ``doWrite`` what the socket did not take."""
        self.dataBuffer = data
        self.offset = sent
        self.startWriting()
        self._maybePauseProducer()

    def _send_soon(self, added: int) -> None:
        """Send when the event is over, unless that is for stock to do."""
        if self.producer is not None and self._pause_producer():
            return
        if self.dataBuffer or len(self._tempDataBuffer) > added:
            self.startWriting()  # older bytes wait for the poller already
        elif self._batch.open:
            self._in_batch = True
            self._find_room()
            if self._tempDataLen < LARGE:
                self._batch.waiting.append(self)
            else:
                self._batch.large.append(self)
        elif self.at_once:
            self._in_batch = True
            self.flush_batched()
        else:
            self.startWriting()

    def _find_room(self) -> None:
        """Work out below how many bytes in the queue :meth:`write` has nothing to ask or to tell.

        That holds while nothing is sent but by :meth:`flush_batched`: until the poller is to be
        asked for writing (or no more), TLS begins, a producer comes, or the connection is lost.
        """
        if self._batch.always_open:
            self._room = min(LARGE, self.bufferSize + 1, self.SEND_LIMIT + 1)

    def _pause_producer(self) -> bool:
        """Pause the producer if the queue is full.

        :return: whether it is to hear when all is sent: stock's ``doWrite`` tells it.
        """
        self._maybePauseProducer()
        if self.producer is None or (self.streamingProducer and not self.producerPaused):
            return False
        self._in_batch = False
        self.startWriting()
        return True

    def flush_batched(self) -> None:
        """Send what the socket takes, and leave the rest to stock's ``doWrite``."""
        if not self._in_batch:
            return
        self._in_batch = False
        queue = self._tempDataBuffer
        size = self._tempDataLen
        small = size < self._room
        if not small and (self.dataBuffer or not queue or self._aborting):
            return  # doWrite was here, or nothing will be
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            if small or size <= self.SEND_LIMIT:
                sent = self.socket.send(data)
            else:  # a giant write keeps the others waiting no longer than in stock
                sent = self.socket.send(memoryview(data)[: self.SEND_LIMIT])
        except OSError as error:
            self.keep(error.errno)
            sent = 0
        queue.clear()
        self._tempDataLen = 0
        if sent < size:
            # As doWrite leaves it: nothing is copied, however much it is.
            self.dataBuffer = data
            self.offset = sent
            self.startWriting()

    def leave_to_poller(self) -> None:
        """Wait for the poller instead."""
        if self._in_batch:
            self._in_batch = False
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
        self.leave_to_poller()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        self._is_plain = False
        self.leave_to_poller()
        super().loseWriteConnection()

    def abortConnection(self) -> None:
        self._is_plain = False
        super().abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._room = 0
        self.leave_to_poller()
        super().registerProducer(producer, streaming)
        self._is_plain = bool(
            streaming and self.producer is producer and not self.TLS and not self._aborting
        )

    def unregisterProducer(self) -> None:
        self._is_plain = False
        super().unregisterProducer()

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        self._is_plain, self._room = False, 0
        super().startTLS(ctx, normal)

    def startWriting(self) -> None:
        self._room = 0
        super().startWriting()

    def stopWriting(self) -> None:
        self._room = 0
        self._in_batch = False  # what is queued waits until somebody starts writing again
        super().stopWriting()

    def connectionLost(self, reason: Failure) -> None:
        self._is_plain, self._room = False, 0
        super().connectionLost(reason)

    def doRead(self) -> Any:  # as untyped as one of the two that stock inherits
        if not self._batch.open:
            return self._read_batching()
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as error:
            return None if error.errno == EWOULDBLOCK else main.CONNECTION_LOST
        if data:
            self.protocol.dataReceived(data)
            return None
        return main.CONNECTION_LOST if self._broken else main.CONNECTION_DONE

    def _read_batching(self) -> Any:
        """Read, and gather meanwhile, where the reactor does not."""
        batch = self._batch
        batch.open = True
        try:
            return self.doRead()
        except BaseException:
            self._in_batch = False  # the reactor will close this: what is queued is dropped
            raise
        finally:
            batch.open = False
            batch.flush()


def are_free(transports: Sequence[Any]) -> list[bool]:
    """Tell for each transport whether :func:`send_to_all` may send to it."""
    # Wrappers, such as TLS, show what they wrap as if it were theirs: they are no Eager.
    return [isinstance(transport, Eager) and transport.free() for transport in transports]


def send_to_all(transports: Sequence[Eager], data: bytes) -> None:
    """Send the same to transports that are :meth:`~Eager.free`, as :meth:`~Eager.send_now` does.

    Not a line of Python lies between one ``send`` and the next: the kernel's part of a ``send``
    takes the interpreter out of the processor's caches, and many would each time pay for that.
    """
    taken: list[int] = []
    sending = map(methodcaller("send", data), [transport.socket for transport in transports])
    while True:
        try:
            taken.extend(sending)  # it keeps what came before one that raises
            break
        except OSError as error:
            transports[len(taken)].keep(error.errno)
            taken.append(0)
    size = len(data)
    if taken.count(size) < len(taken):
        for transport, sent in zip(transports, taken, strict=True):
            if sent < size:
                transport.queue_rest(data, sent)


def lost() -> ConnectionLost:
    """Stand in for ``doWrite`` of a transport whose end is known, and shows in a later turn."""
    return main.CONNECTION_LOST


class EagerUNIX(Eager):
    """Unix transports carry descriptors as well, each beside a byte of the queue."""

    at_once = False

    _sendmsgQueue: list[int]

    def flush_batched(self) -> None:
        if self._sendmsgQueue:
            self.leave_to_poller()
        else:
            super().flush_batched()

    def free(self) -> bool:
        return not self._sendmsgQueue and super().free()

    def doRead(self) -> Any:  # as untyped as one of the two that stock inherits
        if not self._batch.open:
            return self._read_batching()
        why = super(Eager, self).doRead()  # stock's, which receives descriptors
        return main.CONNECTION_LOST if self._broken and why is main.CONNECTION_DONE else why
