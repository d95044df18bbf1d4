"""A chat client for programs. It stays connected, and either misses no message or reports it."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, Unpack

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.chat.client.attempts import Attempts
from twisted_net.chat.client.calls import PendingCalls
from twisted_net.chat.client.client_state import ClientState
from twisted_net.chat.client.delivery import Delivery
from twisted_net.chat.client.errors import check_text, check_type
from twisted_net.chat.client.outputs import (
    Acked,
    Answered,
    AskAgain,
    AskNameAgain,
    Deliver,
    GapDetected,
    HelloRefused,
    Output,
    RoomEntered,
    RoomRefused,
    SendFailed,
    SendRequest,
)
from twisted_net.chat.client.server_messages import Malformed, check_server_message
from twisted_net.chat.messages import ChatError
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.heartbeat import Heartbeat
from twisted_net.endpoints.client import (
    CONNECT_KEYWORDS,
    ConnectOptions,
    EndpointSpec,
    ReconnectingClient,
    client_endpoint,
)
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.close_reasons import BAD_INPUT, CLOSED, IDLE, CloseReason
from twisted_net.policy.keywords import check_keywords
from twisted_net.policy.limits import at_least
from twisted_net.wire.framing import Lines
from twisted_net.wire.json_values import encode_json, make_decoder
from twisted_net.wire.numbers import shorten

_log = Logger()

MAX_SERVER_LINE = 4 << 20
"""Maximum bytes in a line from the server. A page of history contains many messages."""

QUEUE_LIMIT = 1 << 30
"""Maximum bytes that may wait to be sent. The client keeps them until they are acked anyway, and
with a lower limit, what had waited for a connection would end it."""

CALL_TIMEOUT = 60.0
"""Seconds within which each call of a client ends: longer than a server takes to restart."""

HELLO_TIMEOUT = 15.0
"""Seconds that a server may take for its welcome. Then the client connects again."""

_NAME_PAUSES = Backoff(first=5.0, longest=60.0)
"""The pauses between requests for the client's own name, while another user has it."""


_decode = make_decoder(finite=True, unique=False, whole=True)


class _ClientConnection(Heartbeat):
    """A connection of the client."""

    framing = Lines
    client: ChatClient
    _json = False

    def connected(self) -> None:
        self.client._connected(self)

    def message_received(self, message: bytes) -> None:
        client = self.client
        if client._connection is not self:
            return
        if not self._json and message[:1] != b"{":  # text: the server has not seen our hello yet
            client._trouble = f"the server says {shorten(message.decode(errors='replace'))!r}"
            return
        self._json = True
        try:
            client._received(check_server_message(_decode(message)))
        except Malformed as error:
            client._misunderstood(self, str(error))
        except ValueError as error:
            client._misunderstood(self, f"not JSON: {error}")

    def disconnected(self, reason: CloseReason) -> None:
        self.client._disconnected(self, f"{reason.text} ({self.detail or reason.code})")

    def handshake_failed(self, reason: CloseReason) -> None:
        self.client._attempt_failed(f"{reason.text} ({self.detail or reason.code})")

    def send_ping(self) -> None:
        self.send(b'{"type":"ping"}')


class ChatClient(Service):
    """Stays connected to a chat server and in its rooms. ``startService()`` connects.

    After a reconnection, the client delivers the messages that it missed. If some of them are lost,
    it calls :attr:`on_lost`. It sends each of its own messages again until the server acks it; the
    server stores it once. If another user has its name, it takes a similar one, and asks for its
    own again until that is free.

    ``async for message in client:`` yields the messages of others until ``stopService()``.
    ``on_message`` receives the same messages. Both receive the server's other messages too; see
    their ``type``.

    Every Deferred of a client fires within ``call_timeout`` seconds, or fails with
    :exc:`ChatError`, which says why. Cancel it to give up earlier: the message is then not sent
    again.

    If the server refuses the client for good, such as for a wrong password or with a goodbye that
    says so, the client does not connect again. All its calls then fail with the server's reason,
    and the iteration raises it. ``startService()`` tries again.

    :param where: as for :func:`twisted_net.endpoints.client.client_endpoint`, and so is ``how``.
    :param nick: the client's name in the chat.
    :param rooms: the rooms to join.
    :param user: the name of an account; needs ``password``, and ``tls=True``.
    :param on_message: called with each message, a dictionary.
    :param on_lost: called with the name of a room if some of its messages may have been missed.
    :param on_disconnected: called with the reason, in one line, when the connection has ended and
        when an attempt to connect has failed. The client tries again; if it does not, because it
        was stopped or the server refuses it for good, this is not called.
    :param buffer: messages that may wait for the iteration; the oldest are dropped beyond that.
    :param call_timeout: seconds within which each call ends.
    :raises TypeError: a name or the password is not a string, or a keyword is unknown.
    :raises ValueError: the endpoint, ``call_timeout`` or a name is invalid; the text names it.
    """

    def __init__(
        self,
        reactor: Any,
        where: EndpointSpec,
        nick: str = "",
        *rooms: str,
        user: str = "",
        password: str = "",
        on_message: Callable[[dict[str, Any]], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
        on_disconnected: Callable[[str], None] | None = None,
        buffer: int = 10_000,
        call_timeout: float = CALL_TIMEOUT,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        **how: Unpack[ConnectOptions],
    ) -> None:
        check_keywords(type(self), how, CONNECT_KEYWORDS)
        at_least("call_timeout", call_timeout, 0.001)
        hello = {"nick": nick, "user": user, "password": password}
        for name, value in hello.items():
            check_text(name, value)
        self.state = ClientState(**{name: value for name, value in hello.items() if value})
        self.on_message = on_message
        self.on_lost = on_lost
        self.on_disconnected = on_disconnected
        self._delivery = Delivery(buffer)
        self._clock: IReactorTime = reactor
        self._connection: _ClientConnection | None = None
        self._call_timeout = call_timeout
        self._calls = PendingCalls(reactor, call_timeout, self._dropped)
        self._for_welcome: dict[str, None] = {}  # the keys of calls that wait for the welcome
        self._for_room: dict[str, str] = {}  # the rooms for which calls wait, by key
        self._timers: dict[str, IDelayedCall] = {}  # they end with the connection
        self._ids = secrets.token_hex(6)  # new for each run: the server remembers earlier ids
        self._last_id = 0
        self._is_stopped = False  # not before the first start
        self._refused: ChatError | None = None  # the server has refused the client for good
        self._trouble = ""  # why this connection or attempt has failed
        self._last_trouble = ""  # why an earlier one has failed
        self._failed_before = 0  # attempts that failed before the welcome
        self._jitter = jitter
        self._backoff = backoff or Backoff()
        endpoint = client_endpoint(reactor, where, **how)
        self._attempts = Attempts(endpoint, self._backoff, self._attempt_failed)
        factory = ConnectionFactory.forProtocol(
            self._make, clock=reactor, max_message=MAX_SERVER_LINE, queue_limit=QUEUE_LIMIT
        )
        self._service = ReconnectingClient(
            reactor,
            self._attempts,
            factory,
            backoff=self._attempts,
            jitter=jitter,
            socket_options=None,  # the endpoint has them
        )
        for room in rooms:
            self.join(room)

    # Public methods.

    def startService(self) -> None:
        """Connect, and stay connected."""
        super().startService()  # type: ignore[no-untyped-call]
        self._delivery.is_ended = False
        self._is_stopped = False
        self._refused = None
        self._attempts.failed = 0
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        """Disconnect. Calls without an answer fail with :exc:`ChatError` (``stopped``)."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._is_stopped = True
        self._abandon(ChatError("stopped", "The client was stopped."))
        stopped: Deferred[None] = self._service.stopService()
        return stopped

    def welcome(self) -> Deferred[None]:
        """Return a Deferred that fires once the server has sent its welcome.

        It waits for ``startService()``, too, but not after ``stopService()``.
        """
        if self.state.online:
            return succeed(None)
        error = self._ended()
        if error is not None:
            return fail(error)
        key = self._new_id()
        self._for_welcome[key] = None
        return self._calls.add(key)

    def join(self, room: str) -> None:
        """Join a room, now and after each reconnection.

        Case does not matter, nor a ``#`` in front. If the server refuses, that is logged, messages
        to the room fail, and so does :meth:`joined`.
        """
        check_text("room", room)
        self._do(self.state.join(room))

    def joined(self, room: str) -> Deferred[None]:
        """Return a Deferred that fires once the client is in a room that it was told to join.

        It fails with :exc:`ChatError` if the server does not let the client in.
        """
        check_text("room", room)
        if self.state.is_in(room):
            return succeed(None)
        error = self._ended()
        if error is None:
            why = self.state.refusal(room)
            error = None if why is None else ChatError(*why)
        if error is not None:
            return fail(error)
        key = self._new_id()
        self._for_room[key] = room
        return self._calls.add(key)

    def leave(self, room: str) -> None:
        """Leave a room. Messages to it without an ack fail with :exc:`ChatError` (``left``)."""
        check_text("room", room)
        self._do(self.state.leave(room))

    def send(self, room: str, text: str, action: bool = False) -> Deferred[int]:
        """Send a message to a room that this client was told to join.

        :param action: whether the text describes what the sender does (``/me``).
        :return: fires with the message's offset once the server has stored it, even if that takes
            several connections; fails with :exc:`ChatError` if the server refuses it, or does not
            ack it in time. In the second case it may have been stored. After a reconnection,
            Deferreds may fire in another order than that of sending. The offsets in a room still
            follow the order of sending.
        """
        message = {"type": "message", "room": room, "text": text}
        return self._send(message | {"action": True} if action else message)

    def send_private(self, nick: str, text: str) -> Deferred[int]:
        """Send a private message to a user. As :meth:`send`, but it fires with 0."""
        return self._send({"type": "private", "to": nick, "text": text})

    def request(self, **message: Any) -> Deferred[dict[str, Any]]:
        """Send any other message: ``client.request(type="who", room="lobby")``.

        :return: fires with the answer, which is also delivered like every other message of the
            server. It fails with :exc:`ChatError` if the server refuses the request, if the client
            is not connected, or if the connection is lost before the answer. The answer is found by
            the request's id; servers that do not repeat ids are taken at their order.
        :raises TypeError: the message has no ``type``, or a value that JSON does not have.
        :raises ValueError: the message cannot be sent as JSON, or its id is in use.
        """
        check_text("type", message.get("type"))
        id = message.setdefault("id", self._new_id())
        check_text("id", id)
        if id in self._calls or self.state.knows(id):
            raise ValueError(f"id: {shorten(repr(id))} is in use")
        encode_json(message)
        error = self._ended() or self._not_started()
        if error is not None:
            return fail(error)
        return self._call(id, lambda: self.state.request(message))

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            message = await self._delivery.next()
            if message is None:
                break
            yield message
        if self._refused is not None and not self._is_stopped:
            raise _copy(self._refused)

    # Calls.

    def _send(self, message: dict[str, Any]) -> Deferred[int]:
        for name, value in message.items():
            if name != "action":
                check_type(name, value)
        error = self._ended() or self._not_started()
        if error is not None:
            return fail(error)
        id = self._new_id()
        try:
            encode_json(message)
        except ValueError:
            return fail(ChatError("bad-field", "The message has half a surrogate pair."))
        return self._call(id, lambda: self.state.send(message | {"id": id}))

    def _call(self, id: str, outputs: Callable[[], list[Output]]) -> Deferred[Any]:
        call = self._calls.add(id)
        self._do(outputs())
        return call

    def _ended(self) -> ChatError | None:
        """Return why no call can succeed any more, if so."""
        if self._is_stopped:
            return ChatError("stopped", "The client was stopped.")
        return None if self._refused is None else _copy(self._refused)

    def _not_started(self) -> ChatError | None:
        return None if self.running else ChatError("stopped", "The client is not running.")

    def _dropped(self, key: str) -> ChatError:
        self.state.forget(key)
        self._for_welcome.pop(key, None)
        self._for_room.pop(key, None)
        text = f"There was no answer within {self._call_timeout:g} seconds"
        if not self.state.online:
            why = self._trouble or self._last_trouble or "no welcome came"
            text += f"; the client is not connected: {why}"
        return ChatError("timeout", text)

    def _abandon(self, error: ChatError) -> None:
        """Fail all calls, and forget the connection. The service ends it."""
        self._connection = None
        self._cancel_timers()
        self.state.disconnected()
        self.state.stopped()
        self._for_welcome.clear()
        self._for_room.clear()
        self._calls.fail_all(lambda: _copy(error))
        self._delivery.end()

    def _give_up(self, error: ChatError) -> None:
        """Do not connect again: the server refuses the client for good."""
        _log.error(
            "The chat server refuses the client: {code}: {error}", code=error.code, error=error
        )
        self._refused = error
        self._service.stopService()
        self._abandon(error)

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self._ids}-{self._last_id}"

    # The connection.

    def _make(self) -> _ClientConnection:
        connection = _ClientConnection()
        connection.client = self
        return connection

    def _attempt_failed(self, why: str) -> None:
        self._trouble = why
        # An attempt that was given up while it looked up a name fails as if there were no such one.
        if self._ended() is None:
            self._delivery.tell("on_disconnected", self.on_disconnected, why)

    def _connected(self, connection: _ClientConnection) -> None:
        self._connection = connection
        self._last_trouble, self._trouble = self._trouble, ""
        self._later("welcome", HELLO_TIMEOUT, self._no_welcome)
        self._do(self.state.connected())

    def _no_welcome(self) -> None:
        self._close(IDLE, f"the server has sent no welcome within {HELLO_TIMEOUT:g} seconds")

    def _misunderstood(self, connection: _ClientConnection, why: str) -> None:
        """Close the connection, because the server has sent something that is not valid."""
        self._attempts.failed = max(self._attempts.failed, self._failed_before)
        self._close(BAD_INPUT, why)

    def _close(self, reason: CloseReason, why: str) -> None:
        self._trouble = why
        if self._connection is not None:
            self._connection.close(reason, why)

    def _disconnected(self, connection: _ClientConnection, why: str) -> None:
        if self._connection is connection:
            self._connection = None
            self._trouble = self._trouble or why
            self._cancel_timers()
            self._do(self.state.disconnected())
            self._delivery.tell("on_disconnected", self.on_disconnected, self._trouble)

    def _received(self, message: dict[str, Any]) -> None:
        outputs = self.state.received(message)
        if message["type"] == "welcome":
            self._welcomed(outputs)
            return
        self._do(outputs)
        if message["type"] == "goodbye":
            self._said_goodbye(message)

    def _welcomed(self, outputs: list[Output]) -> None:
        self._timers.pop("welcome").cancel()
        self._failed_before, self._attempts.failed = self._attempts.failed, 0
        if self._connection is not None:
            self._connection.start_heartbeat(self.state.heartbeat)
        self._do(outputs)
        waiting, self._for_welcome = self._for_welcome, {}
        for key in waiting:
            self._calls.answer(key, None)

    def _said_goodbye(self, message: dict[str, Any]) -> None:
        self._close(CLOSED, f"the server says goodbye: {message['code']}: {message['text']}")
        if not message["retry"] and self._connection is not None:
            self._give_up(ChatError(message["code"], message["text"]))
        else:
            self._do(self.state.disconnected())

    # What the state tells us to do.

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendRequest(message):
                    self._transmit(message)
                case Deliver(message):
                    self._delivery.add(message, self.on_message)
                case GapDetected(room):
                    self._delivery.tell("on_lost", self.on_lost, room)
                case Acked(id, offset):
                    self._calls.answer(id, offset)
                case Answered(id, message):
                    self._calls.answer(id, message)
                case SendFailed(id, code, text):
                    self._calls.fail(id, ChatError(code, text))
                case _:
                    self._do_later(output)

    def _do_later(self, output: Output) -> None:
        """Do what is about rooms and names, and happens seldom."""
        match output:
            case RoomEntered(room):
                for key in self._waiting_for(room):
                    self._calls.answer(key, None)
            case RoomRefused(room, code, text):
                if code != "left":
                    _log.warn("The client cannot join #{room}: {text}", room=room, text=text)
                for key in self._waiting_for(room):
                    self._calls.fail(key, ChatError(code, text))
            case AskAgain(room, attempt):
                pause = self._backoff.delay(attempt, self._jitter())
                self._later(f"join {room}", pause, lambda: self._do(self.state.ask_again(room)))
            case AskNameAgain(attempt):
                pause = _NAME_PAUSES.delay(attempt, self._jitter())
                self._later("name", pause, lambda: self._do(self.state.ask_name_again()))
            case HelloRefused(code, text, for_good):
                if for_good:
                    self._give_up(ChatError(code, text))
                else:
                    self._close(CLOSED, f"{code}: {text}")

    def _transmit(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            data = encode_json(message)
        except ValueError:
            self._do(
                self.state.refused(message["id"], "bad-field", "It has half a surrogate pair.")
            )
            return
        most = self.state.longest_line
        if most and len(data) > most:
            text = f"The message has {len(data)} bytes as sent; the server takes {most}."
            self._do(self.state.refused(message.get("id", ""), "too-long", text))
        else:
            connection.send(data)

    def _waiting_for(self, room: str) -> list[str]:
        keys = [key for key, name in self._for_room.items() if self.state.room_name(name) == room]
        for key in keys:
            del self._for_room[key]
        return keys

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call after some time, unless the connection ends before. Replaces a call of this name."""

        def run() -> None:
            del self._timers[name]
            call()

        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._clock.callLater(seconds, run)

    def _cancel_timers(self) -> None:
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()


def _copy(error: ChatError) -> ChatError:
    """Return an equal error: each call that fails has its own, with its own traceback."""
    return ChatError(error.code, str(error))
