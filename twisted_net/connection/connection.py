"""A connection: framing, backpressure, timeouts, counters, and one reason for its end.

How a connection lives:

1. The factory makes it, and Twisted calls ``makeConnection`` with the transport. Over TLS, the
   connection waits for the handshake, at most ``handshake_timeout`` seconds. So it does after
   :meth:`Connection.start_tls`.
2. :meth:`Connection.connected` is called, and the connection is open.
3. Bytes from the transport go through the framing. Each complete message goes to
   :meth:`Connection.message_received`, one at a time. While an asynchronous handler runs, the next
   message waits and the peer is not read.
4. :meth:`Connection.send` writes to the transport. While the transport is full, it writes to a
   bounded send queue. When the queue is full, the overflow policy applies.
5. The peer, a limit or :meth:`Connection.close` ends the connection, for one reason. What was sent
   before still goes out; then the peer has ``close_grace`` seconds to close its side.
   ``transport.loseConnection()`` does the same, whoever calls it.
6. :meth:`Connection.disconnected` is called with the reason, and the factory forgets the
   connection.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ProcessExitedAlready,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProcessTransport,
    IProtocol,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from twisted_net.connection.addresses import (
    address_of,
    export_address,
    format_address,
    restore_address,
)
from twisted_net.connection.flushes import Flushes
from twisted_net.connection.incoming import ConnectionClosed, Incoming
from twisted_net.connection.lanes import NOWHERE, Membership
from twisted_net.connection.mistakes import GENERATOR_HINT, check_class, explain
from twisted_net.connection.send_queue import SendQueue
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.tls_layers import (
    awaits_handshake,
    check_start_tls,
    is_plain_client,
    is_wrapper,
    lowest_transport,
    report_handshake,
    undo_start_tls,
    uses_tls,
)
from twisted_net.eager.key_sharing import share_keys
from twisted_net.eager.moving import can_move, release
from twisted_net.eager.privates import inner_protocol, unsent
from twisted_net.eager.transports import Eager
from twisted_net.policy.close_reasons import (
    BAD_INPUT,
    CLOSED,
    FAILED,
    HANDSHAKE,
    IDLE,
    PEER_CLOSED,
    PEER_RESET,
    REASONS,
    SLOW,
    UNFINISHED,
    CloseReason,
)
from twisted_net.policy.limits import Limits, at_least
from twisted_net.policy.rate import TokenBucket
from twisted_net.tls.key_pairs import handshake_text
from twisted_net.wire.framing import (
    Framing,
    FramingFactory,
    Lines,
    LocalProtocolError,
    MovableFraming,
    Raw,
    RemoteProtocolError,
    TooLong,
    as_bytes,
)

if TYPE_CHECKING:

    class _Base:
        """Twisted's protocol without its attribute ``connected``, which is a hook in this class.

        With the attribute, every subclass would need a type-checker ignore.
        """

        def makeConnection(self, transport: Any) -> None: ...
        def connectionMade(self) -> None: ...
        def dataReceived(self, data: bytes) -> None: ...
        def connectionLost(self, reason: Failure = connectionDone) -> None: ...
        def logPrefix(self) -> str: ...
else:
    _Base = Protocol

_log = Logger()

_REFILL = 65536  # bytes given to a transport at a time; Twisted's transports buffer as many


class State(enum.Enum):
    """The state of a connection."""

    NEW = "it has no transport yet"
    HANDSHAKING = "it has a transport; over TLS, or after start_tls(), it waits for the handshake"
    OPEN = "connected() was called; messages come and go"
    CLOSING = "it has a reason to end; what was sent still goes out"
    DRAINING_INPUT = "the transport is gone; what was received is still delivered"
    CLOSED = "it has ended"

    following: tuple[State, ...]
    """The states that may follow it, as in :data:`TRANSITIONS`."""


TRANSITIONS = {
    State.NEW: (State.HANDSHAKING,),
    State.HANDSHAKING: (
        State.OPEN,
        State.CLOSING,
        State.CLOSED,
    ),
    State.OPEN: (
        State.HANDSHAKING,  # start_tls()
        State.CLOSING,
        State.DRAINING_INPUT,
        State.CLOSED,
    ),
    State.CLOSING: (State.CLOSED,),
    State.DRAINING_INPUT: (State.CLOSED,),
    State.CLOSED: (),
}
"""Which states may follow each state. Any other transition is a bug in this package."""

for _state, _following in TRANSITIONS.items():
    _state.following = _following  # to look a state up in a mapping takes a call in Python

# Kept as globals because they are looked up many times per message.
_OPEN, _HANDSHAKING, _CLOSING = State.OPEN, State.HANDSHAKING, State.CLOSING

_WITH_TRANSPORT = (State.HANDSHAKING, State.OPEN, State.CLOSING)

# How an alert and a ClientHello begin (RFC 8446, 5.1): a server of TLS answers plain text with the
# one, and a client of TLS begins with the other.
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")

# What another process can be given of messages that wait: no other class is told apart by JSON.
_MOVABLE_MESSAGES = (bytes, str, int, float, bool, type(None), dict, list, TooLong)

_TOO_EARLY = "the connection has no transport yet; send in connected(), or after it was called"


class _NoFraming:
    """Stands for the framing until there is a transport."""

    pending = False

    def feed(self, data: bytes, /) -> list[Any]:
        return []

    def encode(self, message: Any, /) -> bytes:
        raise LocalProtocolError(_TOO_EARLY)


class PauseReason:
    """Why a connection is not read: the bits of one number. It is read while no bit is set."""

    APPLICATION = 1  # pause() was called
    FULL_OUTPUT = 2  # the peer does not read what it is sent
    HANDLER = 4  # an asynchronous handler is running: messages are handled one at a time
    RATE = 8  # the peer sends faster than it may
    TLS = 16  # start_tls() was called: until the handshake is done, nothing is protected
    LOOP = 32  # a loop over the messages is busy with one, or was left
    MOVE = 64  # another process is about to go on with the connection

    BUSY = HANDLER | LOOP  # a message is being handled, and its answer may still come


@implementer(IProtocol, IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Connection(_Base):
    """A connection to one peer. Subclass it, set :attr:`framing`, and override the three hooks.

    The hooks are :meth:`connected`, :meth:`message_received` and :meth:`disconnected`. Messages
    arrive one at a time and in order: if :meth:`message_received` is ``async``, the next message
    waits until it has finished, and the peer is not read meanwhile. A hook that raises closes only
    this connection (``failed``); the connection's number and the traceback are logged.

    Further hooks are optional: :meth:`idle_expired`, :meth:`eof_received`,
    :meth:`handshake_failed`, :meth:`missed_notice` and :meth:`name_for_log`. Classes that build on
    this one may also use :attr:`state`, :attr:`ready`, :attr:`is_full`, :attr:`eof_written`,
    :attr:`is_listening`, :meth:`fail`, :meth:`call_hook`, :meth:`set_idle_timeout`,
    :meth:`start_handshake_timeout`, :meth:`waits_for_reader`, :meth:`has_more_time`,
    :meth:`overdue_answer` and :attr:`is_incomplete`. With :meth:`save_state` and
    :meth:`load_state`, an upgrade in place moves the connections of a class to the new process.

    :cvar framing: makes the connection's framing: a class of the library, one of your own, or any
        callable that takes ``max_size``, such as ``partial(LengthPrefixed, 2)``.
    :cvar reads_while_full: whether to read from a peer that does not read what it is sent. Leave it
        False if messages cause answers: then such a peer costs bounded memory.
    :cvar sent_framing: decodes what this side sends, for an operator who looks on. By default,
        :attr:`framing` decodes both directions.
    :cvar waits_for_handshake: whether :meth:`connected` is called only after a TLS handshake, and
        not before it.
    :ivar factory: the factory that made the connection.
    :ivar transport: the Twisted transport.
    :ivar id: the connection's number within its factory, from 1.
    :ivar host: the local address. It is kept after the end, as is the remote address, :attr:`peer`.
    :ivar state: see :class:`State`.
    :ivar ready: whether :meth:`connected` was called.
    :ivar bytes_received: the bytes read from the peer. There are also :attr:`messages_received`,
        and :attr:`bytes_sent` and :attr:`messages_sent` for what was given to the transport.
    :ivar is_full: whether the transport's buffer is full: what is sent waits in the send queue.
    :ivar eof_written: whether :meth:`write_eof` was called: nothing more can be sent.
    :ivar idle_timeout: the idle limit of this connection in seconds, set by
        :meth:`set_idle_timeout`; 0 means no limit, None the factory's.
    :ivar reason: why the connection is ending or has ended; None while it is open.
    :ivar detail: more about the reason, for the log; may be empty.
    :ivar refusal: the reason to close with as soon as it is open, because the client may not stay;
        None if it is welcome.
    """

    _closes_on_eof: ClassVar[bool] = True  # nothing of that is overridden

    framing: ClassVar[FramingFactory] = Lines
    sent_framing: ClassVar[FramingFactory | None] = None
    reads_while_full: ClassVar[bool] = False
    waits_for_handshake: ClassVar[bool] = True

    factory: Any  # a ConnectionFactory; Any, so that a subclass can narrow the type
    transport: Any  # no single type covers what Twisted's transports provide
    host: IAddress
    id: int

    # Defaults are on the class, so that a quiet connection does not store them.
    state = State.NEW
    ready = False
    bytes_received = 0
    messages_received = 0
    is_full = False
    eof_written = False
    reason: CloseReason | None = None
    detail = ""
    idle_timeout: float | None = None
    place: str | None = None  # the address that admission counts it under; "" for a Unix socket
    refusal: CloseReason | None = None
    membership: Membership = NOWHERE  # set by the broadcasts that it is a member of
    own_bytes_sent = 0  # with those of the membership, these are all; so, too, the messages
    own_messages_sent = 0
    _peer: IAddress | None = None  # set when the transport is gone, or if a proxy has told it
    _framing: Framing[Any] = _NoFraming()
    _is_unframed = False  # open, and each read is a message, until the last byte has arrived
    _pause_reasons = 0
    _eof_received = False  # the peer has sent its last byte
    _eof_reported = False  # and eof_received() was called
    _inbox: list[Any] | None = None  # messages that wait or are being delivered
    _delivering = False
    _protocol_error: RemoteProtocolError | None = None
    _idle_timer: Timeout[Callable[[], None]] | None = None  # the idle limit; in CLOSING, the grace
    _deadline: Timeout[Callable[[], None]] | None = None  # for the handshake or a message
    _bucket: TokenBucket | None = None
    _rate_call: IDelayedCall | None = None  # ends a pause for the rate
    _running_hook: Deferred[Any] | None = None
    _send_queue: SendQueue | None = None
    _waiting_ready: list[Deferred[None]] | None = None
    _full_below: bool | None = None  # during start_tls(): whether the transport is full
    _loss: BaseException | None = None  # what those that waited for the handshake were told
    _waiting_drained: list[Deferred[None]] | None = None
    _flushes: Flushes | None = None
    _incoming: Incoming | None = None

    # The attributes that every instance gets sooner or later. With those of subclasses, at most
    # thirty: see share_keys().
    shared_keys: ClassVar[tuple[str, ...]] = (
        *("factory", "place", "transport", "state", "host", "id", "_framing", "_idle_timer"),
        *("ready", "own_bytes_sent", "own_messages_sent", "bytes_received", "messages_received"),
        *("_inbox", "_delivering", "_deadline", "reason", "_pause_reasons", "is_full"),
        *("eof_written", "_is_unframed"),
    )

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        check_class(cls, Connection)
        share_keys(cls, cls.shared_keys)
        cls._closes_on_eof = all(
            getattr(cls, name) is getattr(Connection, name)
            for name in ("eof_received", "readConnectionLost", "close")
        )

    # The hooks.

    def connected(self) -> Coroutine[Any, Any, Any] | Deferred[Any] | None:
        """Called when the peer is connected. Over TLS, the handshake is done."""

    def message_received(self, message: Any, /) -> Coroutine[Any, Any, Any] | Deferred[Any] | None:
        """Called with each message from the peer."""

    def disconnected(self, reason: CloseReason, /) -> None:
        """Called once, when the connection has ended, if :meth:`connected` was called."""

    def idle_expired(self) -> bool | None:
        """Called when the peer was silent for the idle limit.

        Override it to ping, to say goodbye, to set another limit, or to stay. It is not called
        while this side does not read, or before :meth:`connected`.

        :return: True to keep the connection and start the idle limit again. Otherwise the
            connection is closed (``idle``), after what the hook has sent.
        """

    def eof_received(self) -> None:
        """Called once, when the peer has sent its last byte and its messages are handled. Closes.

        Override it to keep sending to a peer that has only half-closed. Then the connection stays
        until this side closes it, or its idle limit passes. TLS has no half-close: there, the end
        of the peer's input is the end of the connection, and this is not called.
        """
        self.close(PEER_CLOSED)

    def handshake_failed(self, reason: CloseReason, /) -> None:
        """Called if the TLS handshake fails and :meth:`connected` was never called."""

    def missed_notice(self, count: int) -> bytes:
        """Return a notice for a slow peer about the messages that the overflow policy dropped.

        :param count: the number of dropped messages.
        :return: the encoded notice; if empty, nothing is sent.
        """
        return b""

    def has_more_time(self) -> bool:
        """Called when more of an incomplete message has arrived, but not its end.

        :return: True to start its time limit again. By default, it is one limit for the whole
            message.
        """
        return False

    def overdue_answer(self) -> bytes:
        """Called when the connection closes because a message, or a handshake of its class's own,
        is not complete in time.

        :return: what to send before, encoded; if empty, nothing.
        """
        return b""

    def name_for_log(self) -> str:
        """Return the name of the user or program at the other end, for the log.

        :return: the name; if empty, the log has only the address.
        """
        return ""

    # What a subclass calls.

    @property
    def peer(self) -> IAddress:
        """The remote address."""
        # The transport keeps the parts of the address, so the connection does not.
        return self._peer or address_of(self.transport.getPeer)

    @peer.setter
    def peer(self, address: IAddress) -> None:
        """Set the address of the client, if a proxy that is trusted has told it."""
        self._peer = address

    @property
    def queued(self) -> int:
        """The bytes in the send queue, not counting the transport's own buffer."""
        return 0 if self._send_queue is None else self._send_queue.size

    @property
    def form(self) -> str:
        """What the peer speaks: one of few words, because it is the label of a metric."""
        return "bytes"

    @property
    def missed(self) -> int:
        """The messages that the overflow policy has dropped since the last notice to the peer."""
        return 0 if self._send_queue is None else self._send_queue.missed

    @property
    def bytes_sent(self) -> int:
        """The bytes given to the transport, and to its socket by broadcasts."""
        return self.own_bytes_sent + self.membership.bytes_sent

    @property
    def messages_sent(self) -> int:
        """The messages in :attr:`bytes_sent`."""
        return self.own_messages_sent + self.membership.messages_sent

    @property
    def broadcasts(self) -> tuple[Any, ...]:
        """The broadcasts that it is a member of, in the order in which it was added."""
        return self.membership.broadcasts

    def leave_lane(self) -> None:
        """Called by the transport: it can no longer be sent to like the other members of a
        broadcast. See :mod:`twisted_net.connection.lanes`."""
        self.membership.remove(self)

    @property
    def write_buffer_size(self) -> int:
        """All bytes that the kernel has not taken yet: those of the send queue and the transport.

        Over TLS, the transport's may be encrypted already.
        """
        return unsent(self.transport) + self.queued

    @property
    def is_paused(self) -> bool:
        """Whether :meth:`pause` was called, and not :meth:`resume`. Other pauses do not count."""
        return bool(self._pause_reasons & PauseReason.APPLICATION)

    @property
    def is_readable(self) -> bool:
        """Whether the peer can still send: neither it nor this side has finished."""
        return self.state in (_OPEN, _HANDSHAKING) and not self._eof_received

    @property
    def is_writable(self) -> bool:
        """Whether more can be sent: :meth:`write_eof` was not called, and nobody closes."""
        return self.state in (_OPEN, _HANDSHAKING) and not self.eof_written

    @property
    def is_listening(self) -> bool:
        """Whether silence is the peer's own doing.

        True while the peer is read, and while it is not read only because it does not read either.
        """
        return not self._pause_reasons & ~(PauseReason.FULL_OUTPUT | PauseReason.TLS)

    @property
    def is_encrypted(self) -> bool:
        """Whether messages arrive over TLS: the connection is open and its handshake is done."""
        is_open = self.state is _OPEN or self.state is State.DRAINING_INPUT
        return is_open and uses_tls(self.transport)

    @property
    def is_incomplete(self) -> bool:
        """Whether a message has begun to arrive, but is not complete."""
        return self._framing.pending

    def send(self, message: Any) -> bool:
        """Send a message.

        :return: True if more can be sent at once. False if the message waits in memory, so wait for
            :meth:`drained`; or if the connection is ending, and nothing was sent.
        :raises LocalProtocolError: if the framing cannot carry the message, or there is no
            transport yet.
        """
        return self.send_encoded(self._framing.encode(message))

    def send_encoded(self, data: bytes, messages: int = 1) -> bool:
        """Send bytes that are already framed. Otherwise like :meth:`send`.

        :param messages: the number of messages in ``data``.
        :raises LocalProtocolError: if ``data`` is not bytes, or there is no transport yet.
        """
        if type(data) is not bytes:
            data = as_bytes(data)
        state = self.state
        if (state is not _OPEN and state is not _HANDSHAKING) or self.eof_written:
            if state is State.NEW:
                raise LocalProtocolError(_TOO_EARLY)
            return False
        if not data:
            return not self.is_full
        if not self.is_full:
            self.own_bytes_sent += len(data)
            self.own_messages_sent += messages
            self.transport.write(data)
            return not self.is_full
        self._enqueue(data, messages)
        return False

    def send_last(self, data: bytes) -> None:
        """Send what the peer gets before the connection closes, such as a close frame.

        It is no message, and it is never dropped, however much waits.
        """
        if self.is_full and self.state in _WITH_TRANSPORT and not self.eof_written:
            self._enqueue(data, 0, is_last=True)
        else:
            self.send_encoded(data, 0)

    def send_at_once(self, data: bytes, messages: int = 1) -> None:
        """Like :meth:`send_encoded`, but write to the socket now, without batching.

        Use it if nothing more is sent during the current event.
        """
        if type(data) is not bytes:
            data = as_bytes(data)
        transport = self.transport
        # Wrappers, such as TLS, expose the attributes of what they wrap, but are not instances of
        # Eager.
        if isinstance(transport, Eager) and transport.send_now(data):
            self.own_bytes_sent += len(data)
            self.own_messages_sent += messages
        else:
            self.send_encoded(data, messages)

    def drained(self) -> Deferred[None]:
        """Wait until the peer has read enough that more can be sent.

        :return: fires then; fails with :exc:`CancelledError` if the connection ends before.
        """
        if not self.is_full or self.state not in _WITH_TRANSPORT:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if self._waiting_drained is None:
            self._waiting_drained = []
        self._waiting_drained.append(waiting)
        return waiting

    def flushed(self) -> Deferred[None]:
        """Wait until the kernel has taken everything that was sent before.

        That is when this process no longer holds it. Only an answer tells that the peer has it.
        Messages that the overflow policy drops are not waited for.

        :return: fires then, in a later turn of the reactor; fails with :exc:`CancelledError` if the
            connection ends before, or has ended, and with :exc:`LocalProtocolError` if there is no
            transport yet.
        """
        if self.state is State.NEW:
            return fail(LocalProtocolError(_TOO_EARLY))
        if self.state not in _WITH_TRANSPORT:
            return fail(CancelledError())
        if self.state is _HANDSHAKING:  # TLS keeps it until the handshake is done
            return self.wait_ready().addCallbacks(lambda _: self.flushed(), _cancelled)
        if self._flushes is None:
            self._flushes = Flushes(self, self.factory.clock)
        return self._flushes.add()

    def wait_ready(self) -> Deferred[None]:
        """Wait until the connection is open. Over TLS, wait for the handshake.

        :return: fires then; if the connection ends first, fails with Twisted's reason.
        """
        if self.ready and self.state is not _HANDSHAKING:
            return succeed(None)
        if self.state not in _WITH_TRANSPORT:
            return fail(ConnectionLost())
        if self._waiting_ready is None:
            self._waiting_ready = []
        waiting: Deferred[None] = Deferred()
        self._waiting_ready.append(waiting)
        return waiting

    def start_tls(
        self,
        context: (
            IOpenSSLServerConnectionCreator | IOpenSSLClientConnectionCreator | CertificateOptions
        ),
    ) -> None:
        """Start TLS on a connection that began in plain text, as for STARTTLS (RFC 3207).

        Call it when both sides have agreed on it: a server has just sent its go-ahead, a client has
        received one. What was sent before goes out in plain text. What is sent from now on is
        encrypted; it waits in the send queue until the handshake is done, as does
        :meth:`wait_ready`. The handshake may take ``handshake_timeout`` seconds; if it fails, the
        connection ends (``handshake``).

        Nothing that the peer sent in plain text is delivered after this call. If there is something
        already, the peer has not waited for TLS, or somebody on the way has added it: the
        connection is aborted (``bad-input``; RFC 3207, section 6, and RFC 2595, section 2.2).
        ``transport.startTLS()`` does the same, without checking its arguments first.

        :param context: for a server, a :class:`~twisted_net.Certificates`, or Twisted's
            ``CertificateOptions``. For a client, what Twisted's ``optionsForClientTLS`` returns.
        :raises LocalProtocolError: if there is no transport yet, the connection is ending, it uses
            TLS already, or the transport cannot start TLS.
        :raises TypeError: if ``context`` is something else.
        """
        if self.state is State.NEW:
            raise LocalProtocolError("start_tls(): the connection has no transport yet")
        if self.state is not _OPEN and self.state is not _HANDSHAKING:
            raise LocalProtocolError("start_tls(): the connection is closing or has ended")
        check_start_tls(self.transport, context)
        self.transport.startTLS(context)

    def pause(self) -> None:
        """Stop reading from the peer until :meth:`resume`. No messages are delivered meanwhile."""
        self._pause_reading(PauseReason.APPLICATION)

    def resume(self) -> None:
        """Read from the peer again."""
        self._resume_reading(PauseReason.APPLICATION)

    def __aiter__(self) -> Incoming:
        """Return the messages from now on, for ``async for message in connection``.

        They no longer go to :meth:`message_received`. While the loop is busy, the peer is not read.
        The loop may run in a hook, such as ``async def connected``, or in any other coroutine, on
        any reactor. ``aiter(connection)`` keeps messages for a loop that begins later.

        The loop ends when the peer has sent its last message, or when this side has closed. It
        raises :exc:`ConnectionClosed` if the connection ends for another reason, such as a reset or
        a limit, or in the middle of a message. A hook may let that pass. After ``break``, the
        connection is not read until another loop begins, or ``aiter(connection).close()`` gives
        the messages back to :meth:`message_received`.

        :raises LocalProtocolError: if there is no transport yet.
        """
        if self._incoming is not None:
            return self._incoming
        if self.state is State.NEW:
            raise LocalProtocolError(_TOO_EARLY)
        incoming = Incoming(
            partial(self._resume_reading, PauseReason.LOOP),
            partial(self._pause_reading, PauseReason.LOOP),
            self._end_loop,
        )
        if self.state is State.CLOSED:
            assert self.reason is not None
            incoming.end(self.reason, self.detail, cut=self._is_cut())
        elif self._eof_reported:
            incoming.end(PEER_CLOSED, cut=self._framing.pending)
        else:
            self._incoming = incoming
            self.message_received = incoming.receive  # type: ignore[method-assign]
            self._pause_reading(PauseReason.LOOP)
            # The hook that runs may be the one that loops, and takes one message at a time as well.
            self._pause_reasons &= ~PauseReason.HANDLER
        return incoming

    def _end_loop(self) -> None:
        """Give messages to the hook again. Without a loop, do nothing."""
        if self._incoming is not None:
            self._incoming = None
            del self.message_received
            self._resume_reading(PauseReason.LOOP)

    def _is_cut(self) -> bool:
        return self.reason is PEER_CLOSED and self._framing.pending

    def touch(self) -> None:
        """Restart the idle limit, as if the peer had sent something now."""
        if self._idle_timer is not None and self.reason is None:
            self._idle_timer.heard = self.factory.timers.wheel.now

    def set_idle_timeout(self, seconds: float | None, first: float | None = None) -> None:
        """Set the idle limit of this connection, in place of the factory's, and restart it.

        It may be called at any time, such as after a login. Once the connection is closing, nothing
        changes.

        :param seconds: the seconds of silence until :meth:`idle_expired` is called; 0 means no
            limit, None the factory's.
        :param first: the seconds until the first call, if different.
        :raises ValueError: if a value is invalid.
        """
        for name, value in ("idle_timeout", seconds), ("first", first):
            if value is not None:
                at_least(name, value, 0)
        self.idle_timeout = seconds
        self._restart_idle_limit(self._idle_seconds() if first is None else first)

    def _restart_idle_limit(self, wait: float) -> None:
        if self.state is State.DRAINING_INPUT:
            self._set_timer(self._drain_expired, self._drain_seconds())
        elif self.state is _OPEN or self.state is _HANDSHAKING:
            if wait:
                self._set_timer(self._idle_timer_expired, wait)
            else:
                self._stop_timer()

    def limits_changed(self, before: Limits) -> None:
        """Obey the factory's limits as they are now; see :meth:`ConnectionFactory.change_limits`.

        :param before: the limits so far.
        """
        limits = self.factory.limits
        if limits.idle_timeout != before.idle_timeout and self.idle_timeout is None:
            self._restart_idle_limit(limits.idle_timeout)
        if self._send_queue is not None:
            self._send_queue.change(limits.queue_limit, limits.overflow_policy)
        if (limits.rate, limits.burst) != (before.rate, before.burst):
            self._bucket = TokenBucket(limits.rate, limits.burst) if limits.rate else None
            self._is_unframed = (
                self.state is _OPEN
                and not self._eof_received
                and type(self._framing) is Raw
                and self._bucket is None
            )
            if self._rate_call is not None:  # it waits as long as the old rate wants
                self._rate_call.cancel()
                self._rate_pause_over()

    def _idle_seconds(self) -> float:
        own = self.idle_timeout
        return self.factory.limits.idle_timeout if own is None else own

    def _drain_seconds(self) -> float:
        return self._idle_seconds() or self.factory.limits.close_grace

    def set_framing(self, framing: Framing[Any]) -> None:
        """Read and send with another framing from now on, as after an upgrade.

        A message that had begun is dropped. Messages that the old framing has completed are still
        delivered. Call it from a hook, or from the framing itself.
        """
        self._framing = framing
        self._is_unframed = self.state is _OPEN and type(framing) is Raw and self._bucket is None

    def detach(self) -> Any:
        """Give the transport up and return it, for another protocol.

        This connection ends without a hook and without a line in the log. Nothing may wait to be
        sent. It is for :meth:`ConnectionFactory.continue_as`.
        """
        transport = self.transport
        self._give_back_closing()
        transport.unregisterProducer()
        self._peer = self.peer
        if self._inbox is not None:
            self._inbox.clear()  # it may be just now that a message of it is delivered
        self._release()
        return transport

    def start_handshake_timeout(self) -> None:
        """Limit the wait for a TLS handshake to ``handshake_timeout`` seconds."""
        seconds = self.factory.limits.handshake_timeout
        if seconds and self._deadline is None:
            self._deadline = self.factory.timers.start(self._handshake_expired, seconds)

    def stop_handshake_timeout(self) -> None:
        """Stop the handshake timeout: the handshake is done, or no longer expected."""
        self._cancel_deadline()

    def write_eof(self) -> None:
        """Stop sending but keep reading (half-close). Over TLS, which has no half-close, close."""
        if self.eof_written or self.reason is not None or self.state not in _WITH_TRANSPORT:
            return
        if self._eof_received or not self.can_write_eof():
            self.close(PEER_CLOSED if self._eof_received else CLOSED)
            return
        self.eof_written = True
        if not self.is_full and not self._send_queue:
            self.transport.loseWriteConnection()

    def can_write_eof(self) -> bool:
        """Return whether this connection can half-close. Over TLS it cannot."""
        # Under TLS, half-closing the socket would cut the TLS stream itself.
        transport = self.transport
        return IHalfCloseableDescriptor.providedBy(transport) and not uses_tls(transport)

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        """Close the connection once everything has been sent. The first call's reason stands.

        The peer then has ``close_grace`` seconds to read the rest and to close its side. What it
        still sends is read and dropped, because unread bytes would make the kernel reset the
        connection and lose the last messages. After the grace, the connection is aborted.
        """
        if self.state is State.DRAINING_INPUT:
            self._end_input(reason, detail)
        if self.state is not _OPEN and self.state is not _HANDSHAKING:
            return
        self._begin_closing(reason, detail)
        if not self._delivering:
            self._inbox = None
        self._set_timer(self._close_expired, self.factory.limits.close_grace)
        if not self.is_full and not self._send_queue:
            self._close_transport()

    def abort(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        """Close the connection at once. Unsent data is lost."""
        if self.state is State.DRAINING_INPUT:
            self._end_input(reason, detail)
        if self.state not in _WITH_TRANSPORT:
            return
        if self.state is not _CLOSING:
            self._begin_closing(reason, detail)
        self._clear_send_queue()
        self._give_back_closing()
        self._abort_transport()

    def fail(self, failure: Failure) -> None:
        """Close the connection because a hook failed, and log the traceback.

        :param failure: the failure. A :exc:`RemoteProtocolError` is the peer's fault: its code
            becomes the reason, and no traceback is logged.
        """
        error = failure.value
        if isinstance(error, RemoteProtocolError):
            self.close(REASONS[error.code], str(error))
            return
        hint = explain(error)
        _log.failure(
            "Connection {id} from {peer}: a hook failed{hint}",
            failure,
            id=self.id,
            peer=format_address(self.peer),
            hint=hint,
        )
        if self.state is State.DRAINING_INPUT:
            self.reason = FAILED
        self.close(FAILED, failure.getErrorMessage() + hint)

    def call_hook(self, hook: Callable[..., Any], *arguments: Any) -> None:
        """Call a hook. It may be asynchronous; if it raises, the connection closes."""
        try:
            result = hook(*arguments)
        except Exception:
            self.fail(Failure())  # type: ignore[no-untyped-call]
        else:
            if result is not None:
                self._wait_for(result)

    # The beginning.

    def makeConnection(self, transport: Any) -> None:
        # Twisted's own method would set the attribute ``connected``, which is a hook here.
        if not hasattr(self.factory, "limits"):
            name = type(self).__name__
            raise TypeError(
                f"{name} needs a factory with limits; make it with "
                f"ConnectionFactory.forProtocol({name}), not with {_name_of(self.factory)}"
            )
        self.transport = transport
        self._enter(_HANDSHAKING)
        # Instance attributes are found in a third of the time, and their places exist anyway.
        self.reason = self._deadline = self._inbox = self._idle_timer = None
        self._delivering = self.is_full = self.eof_written = self.ready = False
        self._pause_reasons = 0
        self.bytes_received = self.messages_received = self.own_bytes_sent = (
            self.own_messages_sent
        ) = 0
        self.connectionMade()

    def connectionMade(self) -> None:
        transport = self.transport
        is_plain = isinstance(transport, Eager) and not transport.TLS
        # Twisted's client endpoints put a protocol of their own in front of this one. It passes on
        # only the last of the interfaces that it checks for.
        before = getattr(transport, "protocol", None)
        if before is not self and not is_wrapper(before) and inner_protocol(before) is self:
            alsoProvides(before, IHalfCloseableProtocol, IHandshakeListener)
        factory = self.factory
        limits = factory.limits
        self.host = factory.host(address_of(transport.getHost))
        self.id = factory.opened(self)
        # Looked up on the class, so that a function there does not become a method.
        self._framing = type(self).framing(max_size=limits.max_message)
        idle = limits.idle_timeout if self.idle_timeout is None else self.idle_timeout
        if idle:
            self._idle_timer = factory.timers.start(self._idle_timer_expired, idle)
        if limits.rate:
            self._bucket = TokenBucket(limits.rate, limits.burst)
        transport.registerProducer(self, True)
        if is_plain:  # the usual case, without looking for layers
            transport.closer = self
            self._open()
            return
        self._take_over_closing()
        if not awaits_handshake(transport):
            self._open()
            return
        self.start_handshake_timeout()
        if not self.waits_for_handshake:
            self.ready = True
            self.call_hook(self.connected)

    def _take_over_closing(self) -> None:
        """Let ``loseConnection`` of the transport close this connection, whoever calls it.

        A transport waits for its producer, which is this connection, and TLS does not tell it.
        Likewise, let ``startTLS`` tell this connection.
        """
        transport = lowest_transport(self.transport)
        if isinstance(transport, Eager):
            transport.closer = self
            return
        with suppress(AttributeError):  # it has slots: no method of it can be replaced
            own = transport.loseConnection
            transport.loseConnection = partial(self._close_from_outside, own)
            if hasattr(type(transport), "startTLS"):
                own = transport.startTLS
                transport.startTLS = partial(self._start_tls_from_outside, own)

    def _give_back_closing(self) -> None:
        """Undo :meth:`_take_over_closing`: from now on, or after the end, the transport closes."""
        self.leave_lane()
        transport = lowest_transport(self.transport)
        if isinstance(transport, Eager):
            transport.closer = None
            return
        with suppress(AttributeError):  # it was given back before
            del transport.loseConnection
        with suppress(AttributeError):
            del transport.startTLS

    def _close_from_outside(self, transports_own: Callable[..., None], *arguments: Any) -> None:
        if not self.close_from_outside():
            transports_own(*arguments)

    def close_from_outside(self) -> bool:
        """Close this connection, because somebody closes its transport.

        :return: whether this connection closes or is closing. If not, the transport has to close.
        """
        is_ours = self.state in _WITH_TRANSPORT
        self.close()  # if it is closing already, its grace goes on
        return is_ours

    def ends_with_peer(self) -> bool:
        """Return whether this connection ends if its peer sends nothing more.

        Asked by the transport, which then ends without asking for a half-close first.
        """
        return (
            self._closes_on_eof
            and self.state is _OPEN
            and self._inbox is None
            and not self._pause_reasons
            and not self._send_queue
            and not self.is_full
            and self._protocol_error is None
        )

    def _lose_transport(self) -> None:
        self._give_back_closing()
        self.transport.loseConnection()

    def _start_tls_from_outside(
        self, transports_own: Callable[..., None], *arguments: Any, **named: Any
    ) -> None:
        self.starting_tls(partial(transports_own, *arguments, **named))

    def starting_tls(self, start: Callable[[], None]) -> None:
        """Call ``start``, which starts TLS on the transport, and wait for the handshake.

        Meanwhile, the peer is read even if this connection has paused, and nothing is given to the
        transport: Twisted's TLS would pause this connection after the first write.
        """
        if self.state is not _OPEN:
            start()
            return
        if self._send_queue is not None:
            self._send_queued(self._send_queue, all_of_it=True)
        transport, was_full = self.transport, self.is_full
        lowest = lowest_transport(transport)
        self._enter(_HANDSHAKING)
        self._is_unframed = False
        self._cancel_deadline()
        self._pause_reasons |= PauseReason.TLS
        if not was_full:
            self.pauseProducing()
        self._full_below = False  # TLS does not pass on the end of a pause from before it
        above = getattr(lowest, "protocol", self)
        if above is not self:
            report_handshake(above, self.handshakeCompleted)
        try:
            start()
        except BaseException:
            undo_start_tls(lowest, above)
            transport.unregisterProducer()  # Twisted may have done so
            transport.registerProducer(self, True)
            self._full_below = was_full
            self._open()
            raise
        transport.resumeProducing()  # the handshake must be read, whatever has paused
        self.start_handshake_timeout()
        self._refuse_plain()

    def _refuse_plain(self) -> None:
        """Abort if something came in plain text behind the request for TLS."""
        waits = self._inbox is not None and not self._delivering
        if waits or self._framing.pending or self._protocol_error is not None:
            self.abort(BAD_INPUT, "more came in plain text behind the request for TLS")

    def handshakeCompleted(self) -> None:
        observer = self.factory.observer
        if observer is not None:
            observer.handshake_completed(self)
        if self.state is _HANDSHAKING:
            self._open()
        elif self._full_below is not None:
            self._end_start_tls()

    def _end_start_tls(self) -> None:
        """Send what was held back since start_tls()."""
        full, self._full_below = self._full_below, None
        if full is False:
            self.resumeProducing()

    def _open(self) -> None:
        self._enter(_OPEN)
        self._is_unframed = type(self._framing) is Raw and self._bucket is None
        if self._deadline is not None:
            self._cancel_deadline()
        if self._pause_reasons:  # during the handshake, the transport is read nevertheless
            self._pause_reasons &= ~PauseReason.TLS
            if self._pause_reasons:
                self.transport.pauseProducing()
        if self._full_below is not None:
            self._end_start_tls()
        if not self.ready:
            self.become_ready()
        elif self._waiting_ready is not None:
            self._tell_ready()

    def become_ready(self) -> None:
        """Call :meth:`connected`: the transport is there, and over TLS the handshake is done.

        A class that has a handshake of its own overrides this, and calls it when that is done.
        """
        self.ready = True
        self.call_hook(self.connected)
        if self._waiting_ready is not None:
            self._tell_ready()

    def _tell_ready(self) -> None:
        waiting, self._waiting_ready = self._waiting_ready, None
        for each in waiting or ():
            each.callback(None)

    def _handshake_expired(self) -> None:
        self._deadline = None
        answer = self.overdue_answer() if self.state is _OPEN else b""
        if answer:
            self.send_encoded(answer, 0)
            self.close(HANDSHAKE, "it took too long")
        else:
            self.abort(HANDSHAKE, "it took too long")

    def _enter(self, state: State) -> None:
        if state not in self.state.following:
            raise AssertionError(f"{self.state.name} cannot become {state.name}")
        self.state = state

    # From bytes to messages to the handler.

    def dataReceived(self, data: bytes) -> None:
        if not self._is_unframed or self._pause_reasons or self._inbox is not None or not data:
            self._feed(data)
            return
        # The same as _feed and _deliver for a single message, in one step.
        if self._idle_timer is not None:
            self._idle_timer.heard = self.factory.timers.wheel.now
        self.bytes_received += len(data)
        later: list[Any] = []
        self._inbox = later  # receives what arrives while the handler runs
        self._delivering = True
        self.messages_received += 1
        try:
            result = self.message_received(data)
        except Exception:
            self.fail(Failure())  # type: ignore[no-untyped-call]
        else:
            if result is not None:
                self._wait_for(result)
        self._delivering = False
        if later or not self._is_unframed:
            self._deliver()
        else:
            self._inbox = None

    def _feed(self, data: bytes) -> None:
        if self.reason is not None:
            return
        if self._idle_timer is not None:
            self._idle_timer.heard = self.factory.timers.wheel.now
        received = self.bytes_received
        self.bytes_received = received + len(data)
        if not received and data[:2] in _TLS_RECORDS and self._refuse_tls():
            return
        if self.state is _HANDSHAKING:  # a wrapper above TLS did not report the handshake
            self._open()
        framing = self._framing
        was_pending = self._deadline is not None and framing.pending
        try:
            messages = framing.feed(data)
        except RemoteProtocolError as error:
            messages = error.messages
            # The traceback would keep the fed data and this connection alive.
            self._protocol_error = error.with_traceback(None)
        if framing.pending:
            self._expect_rest(was_pending and not messages)
        if self._inbox is None:
            self._inbox = messages
        else:
            self._inbox += messages
        self._deliver()

    def _refuse_tls(self) -> bool:
        """Close if the framing is one of text, which cannot begin as the peer has begun."""
        if getattr(self._framing, "is_text", False):
            self.close(BAD_INPUT, "it speaks TLS, and this side does not")
        return self.reason is not None

    def _deliver(self) -> None:
        """Pass the messages in the inbox to the handler, one at a time, until it must stop."""
        if self._delivering or self._inbox is None:
            return
        self._delivering = True
        inbox = self._inbox
        position = 0
        # The handler may pause, close, or cause more to arrive, so check all three each time.
        while position < len(inbox) and not self._pause_reasons and self.reason is None:
            message = inbox[position]
            position += 1
            self.messages_received += 1
            if self._bucket is not None:
                self.count_by_rate()
            self.call_hook(self.message_received, message)
        self._delivering = False
        if position < len(inbox) and self.reason is None:
            del inbox[:position]
            if self._pause_reasons & PauseReason.TLS:
                self._refuse_plain()
            return
        self._inbox = None
        if (
            self._protocol_error is not None
            or self._eof_received
            or self.state is State.DRAINING_INPUT
        ):
            self._after_last_message()

    def _after_last_message(self) -> None:
        """Handle the end of the input: the peer's last message has been delivered."""
        if self._pause_reasons & PauseReason.BUSY:
            return  # its answer is still to come
        if self.state is State.DRAINING_INPUT:
            if self.reason is None:
                self.reason = PEER_CLOSED
            self._end()
        elif self._protocol_error is not None:
            self.close(REASONS[self._protocol_error.code], str(self._protocol_error))
        elif self._eof_received and not self._eof_reported:
            self._eof_reported = True
            self.call_hook(self.eof_received)
            if self._incoming is not None:
                self._incoming.end(PEER_CLOSED, cut=self._framing.pending)

    def _wait_for(self, result: object) -> None:
        """Deliver nothing until an asynchronous hook has finished."""
        hook = Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result
        if isinstance(hook, Generator):
            name = type(self).__name__
            error = TypeError(f"{name}: a hook returned a generator; {GENERATOR_HINT}")
            self.fail(Failure(error))  # type: ignore[no-untyped-call]
        if not isinstance(hook, Deferred):
            return
        if hook.called and not hook.paused:  # it has finished already
            hook.addErrback(self.fail)
            return
        if self._incoming is None:  # a loop takes one message at a time, and this hook may be it
            self._pause_reading(PauseReason.HANDLER)
        self._running_hook = hook

        def finished(result: Any) -> None:
            self._running_hook = None
            # A hook has not failed if it was stopped because the connection ended, or told so.
            if isinstance(result, Failure) and not (
                (
                    isinstance(result.value, (CancelledError, ConnectionClosed))
                    and self.reason is not None
                )
                or result.value is self._loss
            ):
                self.fail(result)
            self._resume_reading(PauseReason.HANDLER)

        hook.addBoth(finished)

    # Pausing and resuming reading.

    def _pause_reading(self, why: int) -> None:
        # A closing connection is still read: the peer's end must be noticed. So is one that waits
        # for its handshake, which could not go on.
        if not self._pause_reasons and not self._eof_received and self.state is _OPEN:
            self.transport.pauseProducing()
        self._pause_reasons |= why

    def _resume_reading(self, why: int) -> None:
        if not self._pause_reasons & why:
            return
        self._pause_reasons &= ~why
        if self._pause_reasons:
            return
        self.touch()  # the silence was our doing
        if self._deadline is not None and self.reason is None and self.state is not _HANDSHAKING:
            self._deadline.heard = self.factory.timers.wheel.now
        self._deliver()
        if self._pause_reasons:
            return
        if self._inbox is None and (
            self._protocol_error or self._eof_received or self.state is State.DRAINING_INPUT
        ):
            self._after_last_message()
        elif not self._eof_received and (self.state is _OPEN or self.state is _HANDSHAKING):
            self.transport.resumeProducing()

    def count_by_rate(self) -> None:
        """Count a message, or what costs as much, such as a ping that the framing answers.

        If it was the last one allowed for now, pause until the next is allowed.
        """
        bucket, clock = self._bucket, self.factory.clock
        if bucket is None:
            return
        bucket.take(1, clock.seconds())
        delay = bucket.wait(1, clock.seconds())
        if self._rate_call is not None:  # several pings came at once
            self._rate_call.reset(delay)
        elif delay:
            self._pause_reading(PauseReason.RATE)
            self._rate_call = clock.callLater(delay, self._rate_pause_over)

    def _rate_pause_over(self) -> None:
        self._rate_call = None
        self._resume_reading(PauseReason.RATE)

    # Timeouts.

    def _set_timer(self, expired: Callable[[], None], seconds: float) -> None:
        self._stop_timer()
        self._idle_timer = self.factory.timers.start(expired, seconds)

    def _stop_timer(self) -> None:
        if self._idle_timer is not None:
            self.factory.timers.cancel(self._idle_timer)
            self._idle_timer = None

    def _idle_timer_expired(self) -> None:
        timer = self._idle_timer
        if self.reason is not None or timer is None:
            return
        # The peer may have sent something if it was not being read.
        stays = not self.is_listening or (self.ready and self._asks_to_stay())
        if self.reason is not None or self._idle_timer is not timer:
            return  # the hook has closed the connection, or has set another limit
        if not stays:
            self.close(IDLE)
            return
        seconds = self._idle_seconds()
        if seconds:
            self.factory.timers.restart(timer, seconds)

    def _asks_to_stay(self) -> bool:
        try:
            stays = self.idle_expired()
            if not isinstance(stays, (bool, type(None))):
                name = type(self).__name__
                raise TypeError(f"{name}.idle_expired() must return True or False, not {stays!r}")
            return bool(stays)
        except Exception:
            self.fail(Failure())  # type: ignore[no-untyped-call]
            return False

    def _expect_rest(self, goes_on: bool) -> None:
        """Start the timeout for an incomplete message.

        :param goes_on: whether the same message was incomplete before.
        """
        if self._deadline is not None:
            if not goes_on or self.has_more_time():
                self._deadline.heard = self.factory.timers.wheel.now
        elif self.factory.limits.message_timeout:
            self._deadline = self.factory.timers.start(
                self._message_expired, self.factory.limits.message_timeout
            )

    def _message_expired(self) -> None:
        """Close the connection if a message is still incomplete after its time limit."""
        self._deadline = None
        if not self._framing.pending or self.reason is not None:
            return
        if self._pause_reasons:  # the rest may have arrived, but the peer is not being read
            self._expect_rest(False)
        else:
            self.send_encoded(self.overdue_answer(), 0)
            self.close(UNFINISHED)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self.factory.timers.cancel(self._deadline)
            self._deadline = None

    # The transport is a consumer and this is its producer: it reports when its buffer is full.

    def pauseProducing(self) -> None:
        if self._full_below is not None:
            self._full_below = True
            return
        self.is_full = True
        self.factory.full.add(self)
        if self.ready and not self.reads_while_full:
            self._pause_reading(PauseReason.FULL_OUTPUT)

    def resumeProducing(self) -> None:
        if self._full_below is not None:
            self._full_below = False
            return
        self.is_full = False
        if self._idle_timer is not None and (
            self.reason is not None or self._pause_reasons & PauseReason.FULL_OUTPUT
        ):
            # The peer reads. While paused, its messages were not seen; while closing, the grace
            # starts again.
            self._idle_timer.heard = self.factory.timers.wheel.now
        if self._flushes is not None:
            self._flushes.emptied()
        queue = self._send_queue
        if queue is not None:
            self._send_queued(queue)
        if self.is_full:
            return
        self.factory.full.discard(self)
        if queue is not None and queue.missed:
            self.factory.dropped += queue.missed
            missed = queue.take_missed()
            if self.reason is None:  # otherwise its last words are sent already
                notice = self.missed_notice(missed)
                self.own_bytes_sent += len(notice)
                self.transport.write(notice)
        if self.reason is not None:
            self._close_transport()
            return
        if not self.can_write_eof():
            # If the peer has closed TLS meanwhile, the transport waits for its producer to
            # unregister, and nothing else would wake it.
            self.transport.unregisterProducer()
            self.transport.registerProducer(self, True)
        if self.eof_written:
            self.transport.loseWriteConnection()
        self._resume_reading(PauseReason.FULL_OUTPUT)
        # Wake at least one. Otherwise a handler that keeps the transport full could starve the
        # others.
        waiting = self._waiting_drained
        while waiting:
            waiting.pop(0).callback(None)
            if self.is_full:
                break

    def stopProducing(self) -> None:
        """Do nothing: connectionLost follows."""

    def _send_queued(self, queue: SendQueue, all_of_it: bool = False) -> None:
        budget = self.factory.budget
        while queue and (all_of_it or not self.is_full):
            data, messages = queue.take(_REFILL)
            if budget is not None:
                budget.charge(self, -len(data))
            self.own_bytes_sent += len(data)
            self.own_messages_sent += messages
            self.transport.write(data)

    def _enqueue(self, data: bytes, messages: int, is_last: bool = False) -> None:
        limits, budget = self.factory.limits, self.factory.budget
        queue = self._send_queue
        if queue is None:
            queue = self._send_queue = SendQueue(limits.queue_limit, limits.overflow_policy)
        before = queue.size
        if not queue.put(data, messages, is_last):
            self.close(SLOW, f"{queue.size} bytes waited for it")
        elif budget is not None and budget.charge(self, queue.size - before):
            for worst in budget.shed():
                budget.forget(worst)
                worst.abort(SLOW, "it had the most bytes waiting, and there were too many in all")

    def _clear_send_queue(self) -> None:
        if self._send_queue is not None:
            self._send_queue.clear()
            if self.factory.budget is not None:
                self.factory.budget.forget(self)

    # The end.

    def readConnectionLost(self) -> None:
        """The peer has sent its last byte. Handle its remaining messages, then close."""
        self._eof_received = True
        self._is_unframed = False
        if self.reason is not None:
            if not self.is_full and not self._send_queue:  # all data is with the transport
                self._lose_transport()
        elif self._inbox is None and not self._pause_reasons & PauseReason.BUSY:
            self._after_last_message()

    def writeConnectionLost(self) -> None:
        """This side's last byte is on its way.

        Do nothing: the peer or the grace ends the connection.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_unframed = False
        if isinstance(self.transport, Eager):
            self.transport.closer = None  # it keeps the address
        else:
            self._peer = self.peer
            self._give_back_closing()
        if self._waiting_ready is not None:
            waiting, self._waiting_ready = self._waiting_ready, None
            self._loss = reason.value
            for each in waiting:
                each.errback(reason)
        clean = isinstance(reason.value, ConnectionDone)
        if self._flushes is not None:
            self._flushes.end(clean and not self.write_buffer_size)
        if clean and self.state is _OPEN and self._has_input():
            # TLS has no half-close, so a peer that has just sent its last messages ends this way.
            self._drain_input()
            return
        if self.reason is None:
            ours = None if clean else self.factory.own_end(reason)
            awaits = self._pause_reasons & PauseReason.TLS or awaits_handshake(self.transport)
            if ours is not None:
                self.reason, self.detail = CLOSED, ours
            elif self.state is _HANDSHAKING and awaits and not clean:
                self.reason, self.detail = HANDSHAKE, handshake_text(reason.value)
            else:
                self.reason = PEER_CLOSED if clean else PEER_RESET
        self._end()

    def _has_input(self) -> bool:
        """Return whether messages are still to be handled, or one is being handled."""
        return self._inbox is not None or bool(self._pause_reasons & PauseReason.BUSY)

    def _drain_input(self) -> None:
        """Deliver what was received, although the transport is gone.

        An application that has paused has the idle limit, or else the grace, to resume.
        """
        self._enter(State.DRAINING_INPUT)
        self._clear_send_queue()
        self._set_timer(self._drain_expired, self._drain_seconds())
        if self.is_full:  # no transport will report that it is not
            self.is_full = False
            self.factory.full.discard(self)
            waiting, self._waiting_drained = self._waiting_drained, None
            for each in waiting or ():
                each.callback(None)
            self._resume_reading(PauseReason.FULL_OUTPUT)

    def _drain_expired(self) -> None:
        """End the connection if the application has paused it for too long."""
        timer = self._idle_timer
        if timer is None or self.state is not State.DRAINING_INPUT:
            return
        if self._pause_reasons & PauseReason.APPLICATION:
            self._end_input(IDLE, "it stayed paused after its peer had closed")
        elif self._idle_seconds():
            self._idle_timer_expired()  # a subclass may limit other pauses
        else:
            self.factory.timers.restart(timer, self._drain_seconds())

    def _begin_closing(self, reason: CloseReason, detail: str) -> None:
        self._enter(_CLOSING)
        self._is_unframed = False
        self.reason = reason
        self.detail = detail

    def _close_transport(self) -> None:
        """Half-close or close the transport: it has been given everything."""
        transport = self.transport
        transport.unregisterProducer()
        if self._eof_received:
            self._lose_transport()
            return
        transport.resumeProducing()  # it may be paused, and the peer's end must be noticed
        if self.can_write_eof():
            transport.loseWriteConnection()
        else:
            self._lose_transport()

    def waits_for_reader(self) -> bool:
        """Called when the grace has passed. Return True to start it again."""
        return False

    def _abort_transport(self) -> None:
        transport = self.transport
        abort = getattr(transport, "abortConnection", None)
        if abort is not None:
            abort()
        elif IProcessTransport.providedBy(transport):
            with suppress(ProcessExitedAlready):
                transport.signalProcess("KILL")
            transport.loseConnection()
        else:  # standard input and output
            self.factory.clock.callLater(0, self._break_transport)  # as others do: never at once

    def _break_transport(self) -> None:
        if self.state is not State.CLOSED:
            self.transport.connectionLost(Failure(ConnectionAborted()))  # type: ignore[no-untyped-call]

    def _close_expired(self) -> None:
        """End the grace. What the kernel has of the last messages should still reach the peer."""
        if self.waits_for_reader():
            self._set_timer(self._close_expired, self.factory.limits.close_grace)
            return
        self._set_timer(self.abort, 0)  # within a second
        self._give_back_closing()
        transport = self.transport
        while is_wrapper(transport):  # TLS itself would wait for the peer to close
            transport = transport.transport
        transport.loseConnection()

    def _end_input(self, reason: CloseReason, detail: str) -> None:
        """End a connection whose transport is gone: drop its messages and end its hooks."""

        def end() -> None:
            if self.state is State.DRAINING_INPUT:
                self._end()

        if self.reason is None:
            self.reason, self.detail = reason, detail
        self.factory.clock.callLater(0, end)  # the caller may be the hook itself

    def _end(self) -> None:
        reason = self.reason
        assert reason is not None
        if not self.bytes_received and self.bytes_sent and not self.detail:
            self._suspect_tls(reason)
        self._release()
        try:
            self._call_last_hook(reason)
        finally:  # a SystemExit too must not leave the connection with the factory
            self.factory.ended(self)

    def _release(self) -> None:
        """Free what an ended connection holds, and cancel what it waits for."""
        self._enter(State.CLOSED)
        # Setting an attribute that it does not have yet would cost a connection a dictionary.
        if self._idle_timer is not None:
            self._stop_timer()
        if self._deadline is not None:
            self._cancel_deadline()
        if self._rate_call is not None:
            self._rate_call.cancel()
            self._rate_call = None
        self._inbox = None
        if self._send_queue is not None:
            self._clear_send_queue()
            self.factory.dropped += self.missed
            self._send_queue = None
        if self._waiting_drained is not None:
            waiting, self._waiting_drained = self._waiting_drained, None
            for each in waiting:
                each.cancel()
        if self._incoming is not None and self.reason is not None:
            self._incoming.end(self.reason, self.detail, cut=self._is_cut())
            self._end_loop()
        if self._running_hook is not None:
            self._running_hook.cancel()

    def _suspect_tls(self, reason: CloseReason) -> None:
        """Note that a server may speak TLS: OpenSSL, sent plain text, closes without an alert."""
        if reason in (PEER_CLOSED, PEER_RESET) and is_plain_client(self.transport):
            self.detail = "it has answered nothing; perhaps it speaks TLS"

    def _call_last_hook(self, reason: CloseReason) -> None:
        try:
            if self.ready:
                self.disconnected(reason)
            elif reason is HANDSHAKE:
                self.handshake_failed(reason)
        except Exception:
            _log.failure(
                "Connection {id} from {peer}: disconnected() failed",
                id=self.id,
                peer=format_address(self.peer),
            )

    # Moving to another process, as by an upgrade in place.

    def save_state(self) -> Mapping[str, Any]:
        """Override it, and :meth:`load_state`, so that an upgrade in place can move connections.

        The class of a connection has to define both itself, because inherited ones know nothing of
        what it adds. Without them, an upgrade closes its connections (``draining``).

        :return: what the class has stored in its attributes, as JSON: dictionaries with texts as
            keys, lists, texts, numbers, booleans, None; and ``bytes``. It may be empty.
        """
        raise NotImplementedError

    def load_state(self, state: Mapping[str, Any], /) -> None:
        """Called in the new process in place of :meth:`connected`.

        :param state: what :meth:`save_state` has returned in the old one.
        """
        raise NotImplementedError

    def why_it_stays(self) -> str:
        """Return why another process cannot go on with this connection; empty if it can."""
        own = vars(type(self))
        if "save_state" not in own or "load_state" not in own:
            return f"{type(self).__name__} has no save_state() and load_state()"
        if not can_move(self.transport):
            return "TLS" if uses_tls(self.transport) else "its transport"
        if self.state is not _OPEN or not self.ready or self._protocol_error is not None:
            return "it is closing" if self.reason is not None else "it has just begun"
        if self.is_awaited():
            return "something waits for it"
        if not all(type(message) in _MOVABLE_MESSAGES for message in self._inbox or ()):
            return "its messages"
        framing = self._framing
        if not isinstance(framing, MovableFraming) or framing.export_state() is None:
            return "its framing"
        return ""

    def is_awaited(self) -> bool:
        """Return whether a hook, or something else that cannot be moved, waits for it."""
        return bool(
            self._pause_reasons & PauseReason.BUSY
            or self._incoming is not None
            or self.drain_waits
            or (self._flushes is not None and self._flushes.waiting)
        )

    @property
    def drain_waits(self) -> int:
        """The number of those who wait for :meth:`drained`."""
        return len(self._waiting_drained or ())

    def export_state(self) -> dict[str, Any]:
        """Return what another process needs to go on with this connection, besides its transport.

        Nothing changes. :meth:`why_it_stays` must be empty.
        """
        timers = self.factory.timers
        state: dict[str, Any] = {
            "id": self.id,
            "place": self.place,
            "bytes": [self.bytes_received, self.bytes_sent],
            "messages": [self.messages_received, self.messages_sent],
            "own": self.save_state(),
        }
        framing = self._framing
        assert isinstance(framing, MovableFraming)
        more = {
            "framing": framing.export_state(),
            "pauses": self._pause_reasons & ~PauseReason.MOVE,
            "inbox": self._inbox,
            "full": self.is_full,
            "eof_received": self._eof_received,
            "eof_reported": self._eof_reported,
            "eof_written": self.eof_written,
        }
        state |= {name: value for name, value in more.items() if value}
        if self._send_queue is not None:
            state["queue"] = self._send_queue.export_state()
        if isinstance(self._peer, IPv4Address | IPv6Address):  # a proxy has told it
            state["peer"] = export_address(self._peer)
        if self.idle_timeout is not None:
            state["idle_timeout"] = self.idle_timeout
        if self._idle_timer is not None:
            state["idle_timer"] = timers.export_state(self._idle_timer)
        if self._deadline is not None:
            state["deadline"] = timers.export_state(self._deadline)
        now = self.factory.clock.seconds()
        if self._bucket is not None:
            state["bucket"] = self._bucket.export_state(now)
        if self._rate_call is not None:
            state["rate_pause"] = max(0.0, self._rate_call.getTime() - now)
        return state

    def continue_on(self, transport: Any, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped, on an adopted transport.

        The factory, and the transport's ``protocol``, are set already. :meth:`connected` is not
        called: the connection is open.

        :param state: from :meth:`export_state`.
        """
        factory = self.factory
        self.transport = transport
        self._enter(_HANDSHAKING)
        self.reason = self._deadline = self._inbox = self._idle_timer = None
        self._delivering = self.eof_written = False
        self.host = factory.host(address_of(transport.getHost))
        self.id, self.place = state["id"], state["place"]
        if "peer" in state:
            self.peer = restore_address(state["peer"])
        self.bytes_received, self.own_bytes_sent = state["bytes"]
        self.messages_received, self.own_messages_sent = state["messages"]
        self._framing = self.moved_framing(state)
        if "framing" in state:
            assert isinstance(self._framing, MovableFraming)
            self._framing.restore_state(state["framing"])
        self._restore_flow(state)
        transport.registerProducer(self, True)
        if isinstance(transport, Eager):
            transport.closer = self
        else:
            self._take_over_closing()
        self._enter(_OPEN)
        self.ready = True
        self._is_unframed = (
            type(self._framing) is Raw and self._bucket is None and not self._eof_received
        )
        if self._inbox is not None or self._eof_received:  # until resume_after_move()
            self._pause_reasons |= PauseReason.MOVE
        if self._pause_reasons:
            transport.pauseProducing()
        if self.eof_written and not self.is_full and not self._send_queue:
            transport.loseWriteConnection()
        self.load_state(state["own"])

    def moved_framing(self, state: Mapping[str, Any]) -> Framing[Any]:
        """Return a new framing for a connection that comes from another process."""
        return type(self).framing(max_size=self.factory.limits.max_message)

    def _restore_flow(self, state: Mapping[str, Any]) -> None:
        """Restore what waits, what pauses, and how long it has done so."""
        factory = self.factory
        limits, timers = factory.limits, factory.timers
        self._pause_reasons = state.get("pauses", 0)
        self._inbox = state.get("inbox")
        self.is_full = state.get("full", False)
        if self.is_full:
            factory.full.add(self)
        if state.get("eof_received"):
            self._eof_received, self._eof_reported = True, state.get("eof_reported", False)
        self.eof_written = state.get("eof_written", False)
        if "queue" in state:
            queue = self._send_queue = SendQueue(limits.queue_limit, limits.overflow_policy)
            queue.restore_state(state["queue"])
            if factory.budget is not None:
                factory.budget.charge(self, queue.size)
        if "idle_timeout" in state:
            self.idle_timeout = state["idle_timeout"]
        if "idle_timer" in state:
            self._idle_timer = timers.restore_state(self._idle_timer_expired, state["idle_timer"])
        if "deadline" in state:
            self._deadline = timers.restore_state(self._message_expired, state["deadline"])
        if limits.rate:
            self._bucket = TokenBucket(limits.rate, limits.burst)
            if "bucket" in state:
                self._bucket.restore_state(state["bucket"], factory.clock.seconds())
        if self._pause_reasons & PauseReason.RATE:
            self._rate_call = factory.clock.callLater(
                state.get("rate_pause", 0.0), self._rate_pause_over
            )

    @property
    def is_busy(self) -> bool:
        """Whether an asynchronous hook runs, or the messages that wait for its end."""
        return bool(self._pause_reasons & PauseReason.HANDLER)

    def pause_for_move(self) -> None:
        """Do not read this connection, so that what it waits for ends and nothing new begins."""
        self._pause_reading(PauseReason.MOVE)

    def resume_after_move(self) -> None:
        """Read this connection again, because it was not moved after all."""
        self._resume_reading(PauseReason.MOVE)

    def give_up(self) -> None:
        """Forget this connection: another process has it. No hook is called."""
        self._peer = self.peer
        self._give_back_closing()
        release(self.transport)
        self._release()


def _cancelled(_: Failure) -> Failure:
    return Failure(CancelledError())  # type: ignore[no-untyped-call]


def _name_of(factory: object) -> str:
    return "no factory" if factory is None else type(factory).__name__
