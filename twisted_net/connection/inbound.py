"""The receiving half of a connection: from bytes to messages to hooks, one after another."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar
from typing import Protocol as TypingProtocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.connection.addresses import format_address
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers
from twisted_net.eager.key_sharing import share_keys
from twisted_net.policy.close_reasons import (
    FAILED,
    IDLE,
    PEER_CLOSED,
    REASONS,
    UNFINISHED,
    CloseReason,
)
from twisted_net.policy.limits import Limits
from twisted_net.policy.rate import TokenBucket
from twisted_net.wire.framing import Framing, FramingFactory, Lines, Raw, RemoteProtocolError

if TYPE_CHECKING:

    class _Base:
        """Twisted's protocol without its attribute ``connected``, where this one has a hook.

        With it, every subclass of ours would have to tell its type checker to look away.
        """

        def makeConnection(self, transport: Any) -> None: ...
        def connectionMade(self) -> None: ...
        def dataReceived(self, data: bytes) -> None: ...
        def connectionLost(self, reason: Failure = connectionDone) -> None: ...
        def logPrefix(self) -> str: ...
else:
    _Base = Protocol

_log = Logger()

# Why a connection is not read just now. It is read while none of them holds.
BY_APPLICATION = 1  # pause() was called
BY_FULL_OUTPUT = 2  # the peer does not read what it is sent
BY_HOOK = 4  # an asynchronous hook is running: messages come one at a time
BY_RATE = 8  # it sends more than it may

BY_ITSELF = BY_HOOK | BY_RATE
"""Holds that pass by themselves: what has been read is then delivered, even after the end."""


class Settings(TypingProtocol):
    """What a connection's receiving half takes from its factory."""

    @property
    def limits(self) -> Limits:
        """How much is allowed."""

    @property
    def timers(self) -> Timers:
        """The timeouts of all the factory's connections."""

    @property
    def clock(self) -> IReactorTime:
        """The time."""


class Inbound(_Base):
    """What :class:`~twisted_net.connection.connection.Connection` does with what it receives.

    The attributes are described there.
    """

    framing: ClassVar[FramingFactory] = Lines
    reads_while_full: ClassVar[bool] = False

    factory: Any  # a Settings; Any, so that a subclass can name a factory of its own
    transport: Any  # no one type says all that Twisted's transports provide
    id: int
    bytes_received = 0
    messages_received = 0
    reason: CloseReason | None = None

    # Defaults stand on the class, so that a quiet connection carries none of them.
    _framing: Framing[Any]
    _open = False
    _begun = False  # connected() was called
    _whole = False  # it was, and each read is a message, until the last byte has come
    _held = 0
    _peer_done = False  # the peer has sent its last byte
    _gone = False  # the transport is gone, but messages are still to be delivered
    _inbox: list[Any] | None = None  # messages that wait, or are being delivered
    _delivering = False
    _broken: RemoteProtocolError | None = None
    _watch: Timeout[Callable[[], None]] | None = None  # the idle limit; the grace while closing
    _deadline: Timeout[Callable[[], None]] | None = None  # for the handshake, or half a message
    _bucket: TokenBucket | None = None
    _going_on: IDelayedCall | None = None  # the end of a hold by the rate
    _hook: Deferred[Any] | None = None
    _waiting_ready: list[Deferred[None]] | None = None

    @property
    def peer(self) -> IAddress:
        """The other side's address."""
        raise NotImplementedError

    # What every instance has sooner or later; see there.
    shared_keys: ClassVar[tuple[str, ...]] = (
        *("factory", "place", "transport", "_open", "host", "id", "_framing", "_watch", "_begun"),
        *("bytes_sent", "messages_sent", "bytes_received", "messages_received"),
        *(
            "_inbox",
            "_delivering",
            "_deadline",
            "reason",
            "_held",
            "_full",
            "_eof_written",
            "_whole",
        ),
    )

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        share_keys(cls, cls.shared_keys)

    # The three hooks.

    def connected(self) -> Coroutine[Any, Any, Any] | Deferred[Any] | None:
        """The peer is there; over TLS, the handshake is done."""

    def message_received(self, message: Any, /) -> Coroutine[Any, Any, Any] | Deferred[Any] | None:
        """The peer has sent ``message``."""

    def disconnected(self, reason: CloseReason, /) -> None:
        """The connection has ended. Called once, and only if :meth:`connected` was."""

    # What a subclass calls.

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """End the connection."""
        raise NotImplementedError

    def pause(self) -> None:
        """Do not read the peer until :meth:`resume`; no message comes meanwhile."""
        self._hold(BY_APPLICATION)

    def resume(self) -> None:
        """Read the peer again."""
        self._release(BY_APPLICATION)

    def touch(self) -> None:
        """Count this moment as one in which the peer was heard."""
        if self._watch is not None and self.reason is None:
            self._watch.heard = self.factory.timers.wheel.now

    # From bytes to hooks.

    def dataReceived(self, data: bytes) -> None:
        if self.reason is not None:
            return
        if self._watch is not None:
            self._watch.heard = self.factory.timers.wheel.now
        self.bytes_received += len(data)
        if not self._whole or self._held or self._inbox is not None or not data:
            self._feed(data)
            return
        # What _feed and _deliver do for a message that is alone, all in one.
        later: list[Any] = []
        self._inbox = later  # what comes while the hook runs
        self._delivering = True
        self.messages_received += 1
        try:
            result = self.message_received(data)
        except Exception:
            self._failed(Failure())  # type: ignore[no-untyped-call]
        else:
            if result is not None:
                self._wait_for(result)
        self._delivering = False
        if later or not self._whole:
            self._deliver()
        else:
            self._inbox = None

    def _feed(self, data: bytes) -> None:
        if not self._begun:  # a wrapper between TLS and this did not pass the handshake on
            self._begin()
        framing = self._framing
        was_pending = framing.pending
        try:
            messages = framing.feed(data)
        except RemoteProtocolError as error:
            messages = error.messages
            self._broken = error.with_traceback(None)  # which holds what was fed, and this
        if framing.pending:
            self._mind_message(was_pending and not messages)
        if self._inbox is None:
            self._inbox = messages
        else:
            self._inbox += messages
        self._deliver()

    def _begin(self) -> None:
        self._begun = True
        self._whole = type(self._framing) is Raw and self._bucket is None
        self._cancel_deadline()
        self._call(self.connected)
        if self._waiting_ready is not None:
            waiting, self._waiting_ready = self._waiting_ready, None
            for each in waiting:
                each.callback(None)

    def _deliver(self) -> None:
        """Give the messages in the inbox to the hook, one after another, while it may."""
        if self._delivering or self._inbox is None:
            return
        self._delivering = True
        inbox = self._inbox
        position = 0
        # The hook may pause, close, or cause more to arrive: all three are looked at each time.
        while position < len(inbox) and not self._held and self.reason is None:
            message = inbox[position]
            position += 1
            self.messages_received += 1
            if self._bucket is not None:
                self._mind_rate(self._bucket)
            self._call(self.message_received, message)
        self._delivering = False
        if position < len(inbox) and self.reason is None:
            del inbox[:position]
            return
        self._inbox = None
        if self._broken is not None or self._peer_done or self._gone:
            self._after_last_message()

    def _after_last_message(self) -> None:
        """Everything that the peer will ever say has been delivered."""
        if self._held & BY_HOOK:
            return  # its answer is still to come
        if self._gone:
            self._gone = False
            if self.reason is None:
                self.reason = PEER_CLOSED
            self._end()
        elif self._broken is not None:
            self.close(REASONS[self._broken.code], str(self._broken))
        elif self._peer_done:
            self._peer_finished()

    def _peer_finished(self) -> None:
        # For what goes on sending to a peer that is done, such as a forwarder.
        self.close(PEER_CLOSED)

    def _call(self, hook: Callable[..., Any], *arguments: Any) -> None:
        try:
            result = hook(*arguments)
        except Exception:
            self._failed(Failure())  # type: ignore[no-untyped-call]
        else:
            if result is not None:
                self._wait_for(result)

    def _wait_for(self, result: object) -> None:
        """Deliver nothing until an asynchronous hook has finished."""
        hook = Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result
        if not isinstance(hook, Deferred):
            return
        if hook.called and not hook.paused:  # it already has
            hook.addErrback(self._failed)
            return
        self._hold(BY_HOOK)
        self._hook = hook

        def finished(result: Any) -> None:
            self._hook = None
            # A hook is cancelled because the connection has ended: that is no failure.
            if isinstance(result, Failure) and not (
                isinstance(result.value, CancelledError) and self.reason is not None
            ):
                self._failed(result)
            self._release(BY_HOOK)

        hook.addBoth(finished)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, RemoteProtocolError):  # the hook says that the peer is at fault
            self.close(REASONS[error.code], str(error))
            return
        _log.failure(
            "Connection {id} from {peer}: a hook failed",
            failure,
            id=self.id,
            peer=format_address(self.peer),
        )
        if self._gone:
            self.reason = FAILED
        self.close(FAILED, failure.getErrorMessage())

    # Reading, or not.

    def _hold(self, why: int) -> None:
        # While closing, it is read: its farewell is waited for.
        if not self._held and self._open and not self._peer_done and self.reason is None:
            self.transport.pauseProducing()
        self._held |= why

    def _release(self, why: int) -> None:
        if not self._held & why:
            return
        self._held &= ~why
        if self._held:
            return
        self.touch()  # the silence was of our making
        if self._deadline is not None and self.reason is None:
            self._deadline.heard = self.factory.timers.wheel.now
        self._deliver()
        if self._held:
            return
        if self._inbox is None and (self._broken or self._peer_done or self._gone):
            self._after_last_message()
        elif self._open and not self._peer_done and self.reason is None:
            self.transport.resumeProducing()

    def _mind_rate(self, bucket: TokenBucket) -> None:
        """Count a message; where it was the last for now, do not listen until the next may come."""
        clock = self.factory.clock
        bucket.take(1, clock.seconds())
        delay = bucket.wait(1, clock.seconds())
        if delay:
            self._hold(BY_RATE)
            self._going_on = clock.callLater(delay, self._go_on)

    def _go_on(self) -> None:
        self._going_on = None
        self._release(BY_RATE)

    def _mind_message(self, goes_on: bool) -> None:
        """Half a message is there; ``goes_on``: and it was there before."""
        if self._deadline is not None:
            if not goes_on:
                self._deadline.heard = self.factory.timers.wheel.now
        elif self.factory.limits.message_timeout:
            self._deadline = self.factory.timers.start(
                self._unfinished, self.factory.limits.message_timeout
            )

    def _unfinished(self) -> None:
        """The time for a message has passed, if one is pending at all."""
        self._deadline = None
        if not self._framing.pending or self.reason is not None:
            return
        if self._held:  # the rest of it may be there: nobody listens
            self._mind_message(False)
        else:
            self.close(UNFINISHED)

    def _silent(self) -> None:
        """The idle limit has passed."""
        if self._held & ~BY_FULL_OUTPUT:  # it may well have spoken: nobody listened
            self._rewatch(self._silent, self.factory.limits.idle_timeout)
        else:
            self.close(IDLE)

    # The end, of which the other half decides.

    def _end(self) -> None:
        raise NotImplementedError

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self.factory.timers.cancel(self._deadline)
            self._deadline = None

    def _has_work(self) -> bool:
        return self._inbox is not None or bool(self._held & BY_HOOK)

    def _rewatch(self, expired: Callable[[], None], seconds: float) -> None:
        timers = self.factory.timers
        if self._watch is not None:
            timers.cancel(self._watch)
        self._watch = timers.start(expired, seconds)
