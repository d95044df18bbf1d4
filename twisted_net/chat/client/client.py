"""A chat client for programs. It stays connected, and either misses no message or reports it."""

from __future__ import annotations

import json
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Unpack

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_net.chat.client.client_state import (
    Acked,
    ClientState,
    Deliver,
    GapDetected,
    Output,
    SendFailed,
    SendRequest,
)
from twisted_net.chat.messages import ChatError
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.heartbeat import Heartbeat
from twisted_net.endpoints.client import (
    CONNECT_KEYWORDS,
    ConnectOptions,
    EndpointSpec,
    ReconnectingClient,
)
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.close_reasons import BAD_INPUT, CloseReason
from twisted_net.policy.keywords import check_keywords
from twisted_net.wire.framing import Lines
from twisted_net.wire.json_values import make_decoder

_log = Logger()

MAX_SERVER_LINE = 4 << 20
"""Maximum bytes in a line from the server. A page of history contains many messages."""


_decode = make_decoder(finite=True, unique=False, whole=True)


class _ClientConnection(Heartbeat):
    """A connection of the client."""

    framing = Lines
    client: ChatClient
    _json = False

    def connected(self) -> None:
        self.client._connected(self)

    def message_received(self, message: bytes) -> None:
        if not self._json and message[:1] != b"{":
            return  # text, from before the server knows that we speak JSON
        self._json = True
        try:
            said = _decode(message)
        except ValueError as error:
            self.close(BAD_INPUT, str(error))
            return
        if self.client._connection is self:
            self.client._received(said)

    def disconnected(self, reason: CloseReason) -> None:
        self.client._disconnected(self)

    def send_ping(self) -> None:
        self.send(b'{"type":"ping"}')


class ChatClient(Service):
    """Stays connected to a chat server and in its rooms. ``startService()`` connects.

    After a reconnection, the client delivers the messages that it missed. If some of them are lost,
    it calls :attr:`on_lost`. It sends each of its own messages again until the server acks it; the
    server stores it once.

    ``async for message in client:`` yields the messages of others until ``stopService()``.
    ``on_message`` receives the same messages. Both receive the server's other messages too; see
    their ``type``.

    :param where: as for :func:`twisted_net.endpoints.client.client_endpoint`, and so is ``how``.
    :param nick: the client's name in the chat.
    :param rooms: the rooms to join.
    :param user: the name of an account; needs ``password``, and ``tls=True``.
    :param on_message: called with each message, a dictionary.
    :param on_lost: called with the name of a room if some of its messages may have been missed.
    :param buffer: messages that may wait for the iteration; the oldest are dropped beyond that.
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
        buffer: int = 10_000,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        **how: Unpack[ConnectOptions],
    ) -> None:
        check_keywords(type(self), how, CONNECT_KEYWORDS)
        hello = {"nick": nick, "user": user, "password": password}
        self.state = ClientState(**{name: value for name, value in hello.items() if value})
        self.on_message = on_message
        self.on_lost = on_lost
        self._clock: IReactorTime = reactor
        self._connection: _ClientConnection | None = None
        self._waiting: dict[str, Deferred[int]] = {}
        self._undelivered: deque[dict[str, Any]] = deque(maxlen=buffer)
        self._reader: Deferred[None] | None = None
        self._welcomed: list[Deferred[None]] = []
        self._is_welcome = False
        self._ids = secrets.token_hex(6)  # new for each run: the server remembers earlier ids
        self._last_id = 0
        factory = ConnectionFactory.forProtocol(
            self._make, clock=reactor, max_message=MAX_SERVER_LINE
        )
        self._service = ReconnectingClient(
            reactor, where, factory, backoff=backoff, jitter=jitter, **how
        )
        for room in rooms:
            self.join(room)

    # Public methods.

    def startService(self) -> None:
        """Connect, and stay connected."""
        super().startService()  # type: ignore[no-untyped-call]
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        """Disconnect. Messages without an ack fail with :exc:`ChatError` (``stopped``)."""
        super().stopService()  # type: ignore[no-untyped-call]
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(ChatError("stopped", "The client was stopped."))
        self._wake()
        stopped: Deferred[None] = self._service.stopService()
        return stopped

    def welcome(self) -> Deferred[None]:
        """Return a Deferred that fires once the server has sent its welcome."""
        waiting: Deferred[None] = Deferred()
        if self._is_welcome:
            waiting.callback(None)
        else:
            self._welcomed.append(waiting)
        return waiting

    def join(self, room: str) -> None:
        """Join a room, now and after each reconnection."""
        self._do(self.state.join(room, self._is_welcome))

    def leave(self, room: str) -> None:
        """Leave a room."""
        self._do(self.state.leave(room, self._is_welcome))

    def send(self, room: str, text: str, action: bool = False) -> Deferred[int]:
        """Send a message to a room that this client is in.

        :param action: whether the text describes what the sender does (``/me``).
        :return: fires with the message's offset once the server has stored it, even if that takes
            several connections; fails with :exc:`ChatError` if the server refuses it. After a
            reconnection, Deferreds may fire in another order than that of sending. The offsets in
            a room still follow the order of sending.
        """
        message = {"type": "message", "room": room, "text": text}
        return self._send(message | {"action": True} if action else message)

    def send_private(self, nick: str, text: str) -> Deferred[int]:
        """Send a private message to a user. As :meth:`send`, but it fires with 0."""
        return self._send({"type": "private", "to": nick, "text": text})

    def request(self, **message: Any) -> None:
        """Send any other message, if the client is connected.

        The answer is delivered like every other message of the server.
        """
        if self._is_welcome:
            self._do([SendRequest(message)])

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            while self._undelivered:
                yield self._undelivered.popleft()
            if not self.running:
                return
            self._reader = Deferred()
            await self._reader

    # Internals.

    def _send(self, message: dict[str, Any]) -> Deferred[int]:
        if not self.running:
            return fail(ChatError("stopped", "The client is not running."))
        self._last_id += 1
        id = f"{self._ids}-{self._last_id}"
        acked: Deferred[int] = Deferred()
        self._waiting[id] = acked
        self._do(self.state.send(message | {"id": id}, self._is_welcome))
        return acked

    def _make(self) -> _ClientConnection:
        connection = _ClientConnection()
        connection.client = self
        return connection

    def _connected(self, connection: _ClientConnection) -> None:
        self._connection = connection
        self._do(self.state.connected())

    def _disconnected(self, connection: _ClientConnection) -> None:
        if self._connection is connection:
            self._connection = None
            self._is_welcome = False

    def _received(self, message: dict[str, Any]) -> None:
        if message.get("type") == "welcome":
            self._is_welcome = True
            outputs = self.state.received(message)
            if self._connection is not None:
                self._connection.start_heartbeat(self.state.heartbeat)
            self._do(outputs)
            waiting, self._welcomed = self._welcomed, []
            for each in waiting:
                each.callback(None)
        else:
            self._do(self.state.received(message))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendRequest(message):
                    if self._connection is not None:
                        self._connection.send(json.dumps(message, separators=(",", ":")))
                case Deliver(message):
                    self._deliver(message)
                case GapDetected(room):
                    if self.on_lost is not None:
                        self.on_lost(room)
                case Acked(id, offset):
                    self._waiting.pop(id, Deferred()).callback(offset)
                case SendFailed(id, code, text):
                    if id in self._waiting:
                        self._waiting.pop(id).errback(ChatError(code, text))

    def _deliver(self, message: dict[str, Any]) -> None:
        self._undelivered.append(message)
        self._wake()
        if self.on_message is not None:
            try:
                self.on_message(message)
            except Exception:
                _log.failure("A client's on_message failed")

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)
