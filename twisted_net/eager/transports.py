"""TCP and Unix transports that try the socket before they wait for it.

Twisted's transports queue what is written, register with the poller, and send in the next turn.
Each write costs one ``send`` and two changes of the poller, although the socket would have taken
the bytes at once. The transports of this module send first, and register with the poller only for
bytes that the socket did not take.

They do not send inside :meth:`write`, but when the event that caused the write ends. If each write
were sent by itself, the second of two small writes would wait for the peer's acknowledgement of
the first (RFC 896), which the peer may delay by up to 40 ms. Twisted's transports send both
together, and so do these. Batching also keeps the rest of Twisted's behaviour: the same write
pauses a producer, a Unix descriptor travels with the bytes written beside it, an error is reported
in a later turn, and what was written by a ``dataReceived`` that raised is not sent.

* With the ``eager`` reactor (:mod:`twisted_net.eager.reactor`), all of Twisted's listening and
  connecting methods make these transports, and a batch lasts one turn.
* With another reactor that is built from Twisted's own parts (epoll, poll, select, kqueue,
  asyncio), :func:`twisted_net.eager.reactor_interfaces.eager` returns a view of the reactor that
  makes these transports. A batch lasts one ``dataReceived`` of one transport. Over TCP, writes
  outside of it, by a timer for example, are sent at once. That is why ``TCP_NODELAY`` is on there;
  asyncio sets it for the same reason. Unix transports then queue as Twisted's do, since a
  descriptor may follow.
* With any other reactor (IOCP, or one for tests), that function changes nothing. Other reactors use
  their own transports.

Modelled on libuv's ``uv_try_write`` and asyncio's transports, which send inside ``write``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from errno import ENOBUFS, EPIPE, EWOULDBLOCK
from functools import partial
from itertools import repeat
from operator import methodcaller
from socket import socket
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from twisted_net.eager.key_sharing import Fileno
from twisted_net.eager.write_batch import LARGE, WriteBatch

_IN_LANE = -1  # as the room of a transport: any write has to be checked
_NO_QUEUE: Any = ()  # of a transport in a lane; a tuple, so that nothing can be added to it

_send = socket.send  # called with the socket, which is quicker than looking its method up


class Eager(tcp.Connection):
    """What these transports add to Twisted's; see the module documentation.

    The queue is Twisted's own (``_tempDataBuffer``, ``dataBuffer``, ``offset``), so this class and
    Twisted's ``doWrite`` can each continue from any state that the other leaves.

    :cvar at_once: whether to send inside ``write`` while no batch is open.
    :ivar closer: the user of this transport, if it closes in its own way. Its method
        ``close_from_outside`` is asked first whenever somebody calls :meth:`loseConnection`; if it
        returns False, this transport closes. Its method ``starting_tls`` is given what starts TLS,
        whenever somebody calls :meth:`startTLS`. If it is also the protocol, its
        ``ends_with_peer`` is asked when the peer has sent its last byte and nothing is to be sent.
        For its method ``leave_lane``, see :meth:`join_lane`.
    """

    at_once = True
    closer: Any = None

    # Class attributes, so that an idle connection stores none of them.
    fileno: Any = Fileno()
    _batch: WriteBatch
    _in_batch = False  # this transport is in the batch
    _room = 0  # see _find_room()
    _is_plain = False  # it has a push producer, and is neither closing nor encrypted
    _broken = False  # a send has consumed the socket's error, which a read would have reported
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
        """Write data that needs further checks."""
        if self._room == _IN_LANE:
            self._tell_lane()
        if (
            not isinstance(data, bytes)
            or not data
            or self.TLS
            or not self.connected
            or self._writeDisconnected
        ):
            super().write(data)  # an error, encrypted, or dropped
            return
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        if not self._in_batch:
            self._send_soon(1)
        elif self.producer is not None:
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        if self._room == _IN_LANE:
            self._tell_lane()
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
        """Send ``data`` at once if nothing is queued, otherwise do nothing.

        For a push producer that writes nothing more during this event: batching would not help,
        and the producer is told about bytes that could not be sent.

        :return: False if nothing was done, because the transport is not :meth:`free`.
        """
        if not self.free():
            return False
        send_to_all([self], data)
        return True

    def free(self) -> bool:
        """Whether the queue is empty, and the transport is neither closing nor encrypted."""
        return self._is_plain and not self._tempDataLen and not self.dataBuffer

    def queue_rest(self, data: bytes, sent: int) -> None:
        """Leave to ``doWrite`` what the socket did not take."""
        self.dataBuffer = data
        self.offset = sent
        self.startWriting()
        self._maybePauseProducer()

    def queue_after(self, data: bytes, sent: int, errno: int | None) -> None:
        """Go on after a ``send`` that did not take everything.

        :param sent: the bytes that it took; 0 if it failed.
        :param errno: why it failed; None if it did not.
        """
        if errno is not None:
            self.defer_error(errno)
        self.queue_rest(data, sent)

    # Lanes.

    def join_lane(self) -> bool:
        """Let the user of this transport send on its socket, by :func:`send_on`, without asking.

        That goes on until something else happens to the transport: a write, a producer, or its end.
        Just before, :attr:`closer` is told by its method ``leave_lane``.

        :return: False if nothing was done, because the transport is not :meth:`free`.
        """
        if self.closer is None or not self.free() or type(self.socket) is not socket:
            return False
        self._room = _IN_LANE
        self._tempDataBuffer = _NO_QUEUE  # a list each would be a twentieth of an idle member
        return True

    def leave_lane(self) -> None:
        """Note that the user does not send on the socket any more."""
        if self._room == _IN_LANE:
            self._room = 0
            self._tempDataBuffer = []

    def _tell_lane(self) -> None:
        self.leave_lane()
        self.closer.leave_lane()

    def _no_room(self) -> None:
        """Check each write from now on."""
        if self._room == _IN_LANE:
            self._tell_lane()
        self._room = 0

    def _no_longer_plain(self) -> None:
        self._is_plain = False
        if self._room == _IN_LANE:
            self._tell_lane()

    def _send_soon(self, added: int) -> None:
        """Send when the event ends, unless Twisted's ``doWrite`` has to send."""
        if self.producer is not None and self._pause_producer():
            return
        if self.dataBuffer or len(self._tempDataBuffer) > added:
            self.startWriting()  # older bytes wait for the poller
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
        """Compute the queue size below which :meth:`write` needs no checks and pauses no producer.

        It holds while only :meth:`flush_batched` sends. It is reset when the transport starts or
        stops waiting for the poller, when TLS begins, when a producer is registered, and when the
        connection is lost.
        """
        if self._batch.always_open:
            self._room = min(LARGE, self.bufferSize + 1, self.SEND_LIMIT + 1)

    def _pause_producer(self) -> bool:
        """Pause the producer if the queue is full.

        :return: whether the producer must be told when all is sent, which Twisted's ``doWrite``
            does.
        """
        self._maybePauseProducer()
        if self.producer is None or (self.streamingProducer and not self.producerPaused):
            return False
        self._in_batch = False
        self.startWriting()
        return True

    def flush_batched(self) -> None:
        """Send what the socket takes, and leave the rest to Twisted's ``doWrite``."""
        if not self._in_batch:
            return
        self._in_batch = False
        queue = self._tempDataBuffer
        size = self._tempDataLen
        small = size < self._room
        if not small and (self.dataBuffer or not queue or self._aborting):
            return  # doWrite has sent it, or nothing will be sent
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            if small or size <= self.SEND_LIMIT:
                sent = self.socket.send(data)
            else:  # a huge write blocks others no longer than with Twisted's transports
                sent = self.socket.send(memoryview(data)[: self.SEND_LIMIT])
        except OSError as error:
            self.defer_error(error.errno)
            sent = 0
        queue.clear()
        self._tempDataLen = 0
        if sent < size:
            # The same state as doWrite leaves. Nothing is copied, whatever its size.
            self.dataBuffer = data
            self.offset = sent
            self.startWriting()

    def leave_to_poller(self) -> None:
        """Leave the batch and wait for the poller."""
        if self._in_batch:
            self._in_batch = False
            self.startWriting()

    def defer_error(self, errno: int | None) -> None:
        """Report a send error in a later turn, as the end of the connection."""
        # The kernel reports most errors once. It repeats EPIPE, and reading reports its own result.
        if errno not in (EWOULDBLOCK, ENOBUFS, EPIPE):
            self._broken = True
            self.doWrite = lost  # type: ignore[method-assign]

    # What decides what happens when all is sent. Twisted's doWrite knows, so it has to send.

    def loseConnection(self) -> None:
        if self.closer is not None and self.closer.close_from_outside():
            return
        self._no_longer_plain()
        self.leave_to_poller()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        self._no_longer_plain()
        self.leave_to_poller()
        super().loseWriteConnection()

    def abortConnection(self) -> None:
        self._no_longer_plain()
        super().abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._room or self._in_batch:
            self._no_room()
            self.leave_to_poller()
        super().registerProducer(producer, streaming)
        if not streaming or self.producer is not producer or self.TLS or self._aborting:
            self._is_plain = False
            return
        self._is_plain = True
        if not (
            self._tempDataLen
            or self.dataBuffer
            or not self.connected
            or self.disconnecting
            or self._writeDisconnecting
            or self._writeDisconnected
        ):
            self._find_room()

    def unregisterProducer(self) -> None:
        self._no_longer_plain()
        super().unregisterProducer()

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        if self.closer is None:
            self._start_tls(ctx, normal)
        else:
            self.closer.starting_tls(partial(self._start_tls, ctx, normal))

    def _start_tls(self, ctx: Any, normal: bool) -> None:
        self._is_plain = False
        self._no_room()
        super().startTLS(ctx, normal)

    def startWriting(self) -> None:
        self._no_room()
        super().startWriting()

    def stopWriting(self) -> None:
        self._no_room()
        self._in_batch = False  # what is queued waits until startWriting() is called again
        super().stopWriting()

    def connectionLost(self, reason: Failure) -> None:
        self._is_plain = False
        self._no_room()
        super().connectionLost(reason)

    def readConnectionLost(self, reason: Failure) -> None:
        if self.ends_with_peer():
            self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)

    def ends_with_peer(self) -> bool:
        """Return whether the end of the peer's input ends the connection at once.

        Otherwise the protocol is told of a half-close, closes, and that takes two more turns.
        """
        closer = self.closer
        protocol: Any = self.protocol
        return bool(
            closer is not None
            and protocol is closer
            and not self._tempDataLen
            and not self.dataBuffer
            and not self.disconnecting
            and not self._writeDisconnecting
            and protocol.ends_with_peer()
        )

    def doRead(self) -> Any:  # untyped, like one of the two that Twisted inherits
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
        """Read, and batch writes meanwhile, with a reactor that does not batch."""
        batch = self._batch
        batch.open = True
        try:
            return self.doRead()
        except BaseException:
            self._in_batch = False  # the reactor closes this transport: its queue is dropped
            raise
        finally:
            batch.open = False
            batch.flush()


def send_to_all(transports: Sequence[Eager], data: bytes) -> None:
    """Send the same data to transports that are :meth:`~Eager.free`, as :meth:`~Eager.send_now`."""
    sending = map(methodcaller("send", data), [transport.socket for transport in transports])
    for place, sent, errno in _send_each(sending, len(data)):
        transports[place].queue_after(data, sent, errno)


def send_on(sockets: Sequence[socket], data: bytes) -> list[tuple[int, int, int | None]]:
    """Send the same data on sockets of transports that are in lanes; see :meth:`~Eager.join_lane`.

    :return: for each socket that did not take everything, its place, the bytes that it took, and
        why it failed, for :meth:`~Eager.queue_after`.
    """
    return _send_each(map(_send, sockets, repeat(data)), len(data))


def _send_each(sending: Iterator[int], size: int) -> list[tuple[int, int, int | None]]:
    """Send, and return as :func:`send_on` does.

    No Python code runs between one ``send`` and the next. The kernel's work evicts the interpreter
    from the processor's caches, and running Python in between would pay for that each time.
    """
    taken: list[int] = []
    errors: dict[int, int | None] = {}
    while True:
        try:
            taken.extend(sending)  # it keeps the results before an exception
            break
        except OSError as error:
            errors[len(taken)] = error.errno
            taken.append(0)
    if taken.count(size) == len(taken):
        return []
    return [(at, sent, errors.get(at)) for at, sent in enumerate(taken) if sent < size]


def lost() -> ConnectionLost:
    """Replace ``doWrite`` of a transport that has failed, to report the end in a later turn."""
    return main.CONNECTION_LOST


class EagerUNIX(Eager):
    """A Unix transport, which also sends descriptors, each beside a byte of the queue."""

    at_once = False

    _sendmsgQueue: list[int]

    def flush_batched(self) -> None:
        if self._sendmsgQueue:
            self.leave_to_poller()
        else:
            super().flush_batched()

    def free(self) -> bool:
        return not self._sendmsgQueue and super().free()

    def doRead(self) -> Any:  # untyped, like one of the two that Twisted inherits
        if not self._batch.open:
            return self._read_batching()
        why = super(Eager, self).doRead()  # Twisted's, which receives descriptors
        return main.CONNECTION_LOST if self._broken and why is main.CONNECTION_DONE else why
