"""The sending half of a connection: the transport first, a bounded queue only behind a full one."""

from __future__ import annotations

from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport
from twisted.protocols.policies import ProtocolWrapper

from twisted_net.connection.inbound import BY_FULL_OUTPUT, Inbound, Settings
from twisted_net.connection.send_queue import SendQueue
from twisted_net.eager.transports import Eager
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED, SLOW, CloseReason

_NOWHERE = (0, 0)  # of who is not behind

_REFILL = 65536  # bytes given to a transport at a time: as many as Twisted's transports buffer


def unsent(transport: Any) -> int:
    """How many bytes a transport of Twisted's holds that the kernel has not taken yet.

    There is no public count. Where it cannot be had, it is 0.
    """
    transport = _descriptor(transport)
    try:
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    except AttributeError:
        return 0
    return waiting


def _descriptor(transport: Any) -> Any:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


class SendingSettings(Settings, TypingProtocol):
    """What a connection's sending half takes from its factory besides."""

    @property
    def budget(self) -> MemoryBudget[Outbound] | None:
        """What may wait for all the peers of the process together."""

    @property
    def full(self) -> set[Outbound]:
        """Those whose transport takes no more just now."""


class Outbound(Inbound):
    """What :class:`~twisted_net.connection.connection.Connection` does with what it sends.

    The attributes are described there.
    """

    bytes_sent = 0
    messages_sent = 0
    detail = ""

    # As in the other half, defaults stand on the class.
    _full = False  # the transport's buffer is full
    _eof_written = False  # nothing more will be sent, but the peer is still read
    _send_queue: SendQueue | None = None
    _waiting: list[Deferred[None]] | None = None
    broadcasts: tuple[Any, ...] = ()  # whose members it is: theirs to set
    _taken = 0  # how far the peer had taken what it was sent, at the last look
    _front = _NOWHERE  # which buffer its transport was sending then, and from where on
    _looks = 0  # in vain, one after another

    # What a subclass calls.

    def send(self, message: Any) -> bool:
        """Send a message.

        :return: whether more can be sent at once. False: what was sent waits in memory, so wait
            for :meth:`drained`; or the connection is ending, and nothing was sent.
        :raises LocalProtocolError: the framing cannot carry the message.
        """
        return self.send_encoded(self._framing.encode(message))

    def send_encoded(self, data: bytes, messages: int = 1) -> bool:
        """Send bytes that already are as the framing wants them; otherwise as :meth:`send`.

        :param messages: how many messages they carry.
        """
        if self.reason is not None or self._eof_written or not self._open:
            return False
        if not data:
            return not self._full
        if not self._full:
            self.bytes_sent += len(data)
            self.messages_sent += messages
            self.transport.write(data)
            return not self._full
        self._queue(data, messages)
        return False

    def send_at_once(self, data: bytes, messages: int = 1) -> None:
        """As :meth:`send_encoded`, where nothing more is to be sent until the event is over.

        So there is nothing to gather it with, and it need not be looked at again.
        """
        transport = self.transport
        # Wrappers, such as TLS, show what they wrap as if it were theirs: they are no Eager.
        if isinstance(transport, Eager) and transport.send_now(data):
            self.bytes_sent += len(data)
            self.messages_sent += messages
        else:
            self.send_encoded(data, messages)

    def drained(self) -> Deferred[None]:
        """Wait until the peer has taken what it was sent, so far that more can be sent.

        :return: fires then; fails with :exc:`CancelledError` if the connection ends before.
        """
        if self._full and self._open:
            waiting: Deferred[None] = Deferred()
            if self._waiting is None:
                self._waiting = []
            self._waiting.append(waiting)
            return waiting
        return succeed(None)

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        """End the connection once everything has been sent. The first call's reason stands.

        The peer then has ``close_grace`` seconds to read it and to close its side; what it still
        sends is read and forgotten, since unread bytes would make the kernel reset the connection
        and take the last words away. After that it is aborted.
        """
        if self._gone:
            self._end_gone(reason, detail)
        if self.reason is not None or not self._open:
            return
        self.reason = reason
        self.detail = detail
        if not self._delivering:
            self._inbox = None
        self._rewatch(self._give_up, self.factory.limits.close_grace)
        if not self._full and not self._send_queue:
            self._let_go()

    def abort(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        """End the connection at once; what has not been sent is lost."""
        if self._gone:
            self._end_gone(reason, detail)
        if not self._open:
            return
        if self.reason is None:
            self.reason = reason
            self.detail = detail
        self._clear_send_queue()
        self.transport.abortConnection()

    def write_eof(self) -> None:
        """Send no more, but go on reading (half-close). Over TLS, which has none, close."""
        if self._eof_written or self.reason is not None or not self._open:
            return
        if self._peer_done or not self._can_half_close():
            self.close(PEER_CLOSED if self._peer_done else CLOSED)
            return
        self._eof_written = True
        if not self._full and not self._send_queue:
            self.transport.loseWriteConnection()

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer, besides what its transport buffers."""
        return 0 if self._send_queue is None else self._send_queue.size

    def missed_notice(self, count: int) -> bytes:
        """Give what tells a slow peer how many messages it missed, encoded; empty: it is not told.

        For those whose ``overflow_policy`` drops messages.
        """
        return b""

    # The transport is a consumer and this is its producer: it says when its buffer is full.

    def pauseProducing(self) -> None:
        self._full = True
        self.factory.full.add(self)
        if self._begun and not self.reads_while_full:  # a handshake cannot go on unread
            self._hold(BY_FULL_OUTPUT)

    def resumeProducing(self) -> None:
        self._full = False
        if self._watch is not None and (self.reason is not None or self._held & BY_FULL_OUTPUT):
            # It reads. What it may have said nobody heard; while closing, its grace begins anew.
            self._watch.heard = self.factory.timers.wheel.now
        queue = self._send_queue
        while queue and not self._full:
            data, messages = queue.take(_REFILL)
            if self.factory.budget is not None:
                self.factory.budget.charge(self, -len(data))
            self.bytes_sent += len(data)
            self.messages_sent += messages
            self.transport.write(data)
        if self._full:
            return
        self.factory.full.discard(self)
        if queue is not None and queue.missed:
            notice = self.missed_notice(queue.take_missed())
            self.bytes_sent += len(notice)
            self.transport.write(notice)
        if self.reason is not None:
            self._let_go()
            return
        if not self._can_half_close():
            # Where the peer has ended TLS meanwhile, the transport waits for its producer to go,
            # and nothing else would wake it.
            self.transport.unregisterProducer()
            self.transport.registerProducer(self, True)
        if self._eof_written:
            self.transport.loseWriteConnection()
        self._release(BY_FULL_OUTPUT)
        # One at least, or whoever answers the peer would keep the others waiting for ever.
        waiting = self._waiting
        while waiting:
            waiting.pop(0).callback(None)
            if self._full:
                break

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so too."""

    def _queue(self, data: bytes, messages: int) -> None:
        limits, budget = self.factory.limits, self.factory.budget
        queue = self._send_queue
        if queue is None:
            queue = self._send_queue = SendQueue(limits.queue_limit, limits.overflow_policy)
        before = queue.size
        if not queue.put(data, messages):
            self.close(SLOW, f"{queue.size} bytes waited for it")
        elif budget is not None and budget.charge(self, queue.size - before):
            for worst in budget.shed():
                budget.forget(worst)
                worst.abort(SLOW, "it had the most bytes waiting, and there were too many in all")

    def look_for_progress(self, looks: int) -> None:
        """Abort a peer that has taken nothing of what waits for it, for so many looks."""
        held = unsent(self.transport)
        if not held and not self.queued:
            if self._front != _NOWHERE:  # else it has caught up already, as most always have
                self._front, self._looks = _NOWHERE, 0
            return
        # Over TLS the two numbers are not of the same bytes, and only the buffer itself tells.
        taken, descriptor = self.bytes_sent - held, _descriptor(self.transport)
        front = id(getattr(descriptor, "dataBuffer", None)), getattr(descriptor, "offset", 0)
        self._looks = 0 if taken > self._taken or front != self._front else self._looks + 1
        self._taken, self._front = taken, front
        if self._looks >= looks:
            self.abort(SLOW, f"it took nothing of {held + self.queued} bytes")

    # The end.

    def _can_half_close(self) -> bool:
        # Behind TLS, the descriptor's half-close would cut the TLS stream itself. (After startTLS()
        # a transport is no INegotiated.)
        transport = self.transport
        return IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(
            transport
        )

    def _let_go(self) -> None:
        """Everything is with the transport: begin the end."""
        transport = self.transport
        transport.unregisterProducer()
        if self._peer_done:
            transport.loseConnection()
            return
        transport.resumeProducing()  # it may be paused, and the peer's farewell is to be read
        if self._can_half_close():
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _give_up(self) -> None:
        """The grace is over. What the kernel has of the last words shall still reach the peer."""
        self._rewatch(self.abort, 0)  # within a second
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):  # TLS itself would wait for the peer's
            transport = transport.transport
        transport.loseConnection()

    def _clear_send_queue(self) -> None:
        if self._send_queue is not None:
            self._send_queue.clear()
            if self.factory.budget is not None:
                self.factory.budget.forget(self)

    def _end_gone(self, reason: CloseReason, detail: str) -> None:
        """The transport is gone already: only messages and hooks are to be ended."""
        raise NotImplementedError
