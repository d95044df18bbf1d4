"""WebSocket servers: connections whose messages are ``str`` and ``bytes``.

A :class:`WebSocketConnection` reads the opening request, answers it, and is then a connection like
any other, with the same hooks, limits, queue and ends::

    class Echo(WebSocketConnection):
        def message_received(self, message):
            self.send(message)

    endpoint.listen(WebSocketFactory.forProtocol(Echo, idle_timeout=60))

:meth:`~WebSocketConnection.connected` is called when the WebSocket is open. Pings are answered.
When the connection closes, the peer gets a close frame, and nothing after it. Its code is the one
that the reason has in :mod:`twisted_net.policy.close_reasons`, its text the reason's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from sys import intern
from typing import Any, ClassVar, Unpack

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_net.connection.addresses import is_loopback
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory, FactorySettings
from twisted_net.connection.heartbeat import Heartbeat
from twisted_net.connection.trusted_proxies import TrustedProxies, client_address
from twisted_net.policy.close_reasons import (
    BAD_INPUT,
    CLOSED,
    DRAINING,
    FULL,
    HANDSHAKE,
    PEER_CLOSED,
    TOO_FAST,
    TOO_LONG,
    TOO_MANY,
    CloseReason,
)
from twisted_net.policy.rate import TokenBucket
from twisted_net.web.plain_answers import fault_answer, overdue_answer, refusing_answer
from twisted_net.web.request_head import HeadFault, RequestHead
from twisted_net.web.upgrade import (
    OpeningAnswer,
    OpeningRequest,
    answer_upgrade,
    bad_request,
    is_upgrade,
)
from twisted_net.wire.forwarded import Forwarded
from twisted_net.wire.framing import Framing, RemoteProtocolError
from twisted_net.wire.websocket import (
    NO_CODE,
    NORMAL,
    CloseFrame,
    PingFrame,
    PongFrame,
    WebSocket,
    decoder_of_sent,
    is_close_code,
)

_TOLD = (FULL, TOO_MANY, TOO_FAST, DRAINING)

MOST_REFUSED = 100
"""The most clients at a time that are let in only to be told that they cannot stay."""

REFUSED_A_SECOND = 50
"""The most such clients a second, after :data:`MOST_REFUSED` at once. Over TLS, each of them costs
a handshake, which is a thousandth of a second or two."""


class _OpenWebSocket(WebSocket):
    """Its frames, and what its client has asked for: see :attr:`Connection.shared_keys`."""

    __slots__ = ("subprotocol", "target")

    def __init__(self, target: str, subprotocol: str, **settings: Any) -> None:
        super().__init__(**settings)
        # Most clients ask for the same, and then all have one string.
        self.target, self.subprotocol = intern(target), intern(subprotocol)


class WebSocketConnection(Heartbeat):
    """A WebSocket of a server.

    :cvar subprotocols: those that it speaks, the best first.
    :ivar target: the path and the query that the client has asked for.
    :ivar subprotocol: the one that was chosen; may be empty.
    :ivar websocket: its frames, once it is open.
    :ivar forwarded: what a trusted proxy has said about the client; None if it has said nothing.
    """

    framing = RequestHead
    sent_framing = decoder_of_sent
    subprotocols: ClassVar[Sequence[str]] = ()

    shared_keys = (*Heartbeat.shared_keys, "_opened", "membership")

    factory: Any
    refusal: CloseReason | None = None
    was_rejected = False  # when it came: it counts as refused, and not as ended
    forwarded: Forwarded | None = None
    _opened: _OpenWebSocket | None = None
    _ends = False

    @property
    def target(self) -> str:
        return "" if self._opened is None else self._opened.target

    @property
    def subprotocol(self) -> str:
        return "" if self._opened is None else self._opened.subprotocol

    @property
    def websocket(self) -> WebSocket:
        if self._opened is None:
            raise AttributeError("a WebSocket has frames once it is open")
        return self._opened

    def message_received(self, message: Any, /) -> Any:
        """Called with each message: ``str`` if it is text, ``bytes`` if it is binary."""

    def may_open(self, request: OpeningRequest, /) -> bool:
        """Return whether a client may open this WebSocket. Otherwise it gets the status 403."""
        return True

    def plain_request(self, head: bytes, rest: bytes, /) -> None:
        """Called with a request that does not ask for a WebSocket. Answers 426, and closes.

        :param head: the head, with the empty line at its end.
        :param rest: what has come after it.
        """
        self._refuse(self._answer(head))

    def bad_head(self, fault: HeadFault, /) -> None:
        """Called if what has come is no request, or its head is too long. Answers, and closes."""
        self.send_encoded(fault_answer(fault), 0)
        self.close(TOO_LONG if fault.is_too_long else BAD_INPUT, fault.text)

    def overdue_answer(self) -> bytes:
        # Who has asked for nothing, such as a browser that has connected in advance, gets none.
        return overdue_answer() if self.has_half_a_head else b""

    @property
    def has_half_a_head(self) -> bool:
        """Whether the opening request has begun, but is not complete."""
        return self.is_incomplete and not self.ready

    @property
    def encoder(self) -> Callable[[str | bytes], bytes]:
        """Encodes messages for this WebSocket, and for all others with the same compression.

        It is the same object for all of them; see :class:`EncodedBroadcast`. A WebSocket has it
        once it is open.
        """
        return _encoder(self.websocket.window_bits)

    def send_ping(self) -> None:
        self.send_encoded(self.websocket.encode(PingFrame()), 0)

    @property
    def form(self) -> str:
        return "websocket"

    @property
    def origins(self) -> Collection[str] | None:
        """The pages that may connect, besides this server's own; None for any."""
        found: Collection[str] | None = self.factory.origins
        return found

    # The opening handshake.

    def become_ready(self) -> None:
        """Wait for the opening request. It may take ``handshake_timeout`` seconds."""
        self.start_handshake_timeout()
        self.set_framing(RequestHead(on_head=self._opening, on_fault=self.bad_head))

    def _opening(self, head: bytes, rest: bytes) -> WebSocket | None:
        if not is_upgrade(head):
            self.plain_request(head, rest)
            return None
        answer = self._trace(head) or self._answer(head)
        request = answer.request
        if request is not None and not self.may_open(request):
            answer = answer.forbidden()
            request = None
        if request is None:
            self._refuse(answer)
            return None
        self._opened = websocket = _OpenWebSocket(
            request.target,
            answer.subprotocol,
            max_size=self.factory.limits.max_message,
            window_bits=answer.window_bits,
            listener=self,
        )
        self.set_framing(websocket)
        self.stop_handshake_timeout()
        self.send_encoded(answer.data, 0)
        if self.refusal is None:
            super().become_ready()
        else:
            self._send_close(self.refusal)
            self.close(self.refusal)
        return websocket

    def _trace(self, head: bytes) -> OpeningAnswer | None:
        """Find out whose request it is that came by way of a proxy.

        :return: the answer if that is malformed; None if it can go on.
        """
        proxies: TrustedProxies | None = self.factory.trusted_proxies
        if proxies is None:
            return None
        try:
            said = proxies.read(self.peer, head, self.factory.clock.seconds())
        except RemoteProtocolError as error:
            self.refusal = HANDSHAKE
            return bad_request(str(error))
        if said is not None:
            self.forwarded = said
            client = proxies.client(said.nodes)
            if client is not None:
                reason = self.factory.admit_client(self, client)
                self.refusal = self.refusal or reason
        return None

    @property
    def is_encrypted(self) -> bool:
        """As for any connection; but a trusted proxy knows better whether the client uses TLS."""
        if self.forwarded is not None and self.forwarded.is_secure is not None:
            return self.forwarded.is_secure
        return super().is_encrypted

    def _answer(self, head: bytes) -> OpeningAnswer:
        host = getattr(self.host, "host", "")
        return answer_upgrade(
            head,
            subprotocols=self.subprotocols,
            origins=self.origins,
            on_loopback=is_loopback(host),
            secure=self.is_encrypted,
        )

    def _refuse(self, answer: OpeningAnswer) -> None:
        self.send_encoded(answer.data, 0)
        self.close(HANDSHAKE, answer.why)

    # While it is open.

    def control_frame(self, frame: PingFrame | PongFrame, /) -> None:
        self.count_by_rate()
        if isinstance(frame, PingFrame):
            self.send_encoded(self.websocket.encode(PongFrame(frame.data)), 0)

    def moved_framing(self, state: Mapping[str, Any]) -> Framing[Any]:
        self._opened = _OpenWebSocket(
            *state["opened"], max_size=self.factory.limits.max_message, listener=self
        )
        return self._opened

    def export_state(self) -> dict[str, Any]:
        state = {**super().export_state(), "opened": [self.target, self.subprotocol]}
        said = self.forwarded
        if said is not None:
            state["forwarded"] = [list(said.nodes), said.is_secure, getattr(self.peer, "host", "")]
        return state

    def continue_on(self, transport: Any, state: Mapping[str, Any]) -> None:
        if "forwarded" in state:
            nodes, is_secure, host = state["forwarded"]
            self.forwarded = Forwarded(tuple(nodes), is_secure)
            if host:
                self.peer = client_address(host)
        super().continue_on(transport, state)

    # The end.

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        # If there is no room for the close frame, the peer is slow, and this is called again.
        if self.reason is None and self.ready and not self._ends:
            self._ends = True
            self._send_close(reason)
        elif reason is DRAINING and self.has_half_a_head:
            self.send_encoded(refusing_answer(b"", reason), 0)
        super().close(reason, detail)

    def _send_close(self, reason: CloseReason) -> None:
        code, said = reason.websocket, self.websocket.close_code
        if reason in (BAD_INPUT, TOO_LONG) and said != NORMAL:
            code = said  # what exactly was wrong
        elif reason is PEER_CLOSED:
            code = said if is_close_code(said) else NO_CODE  # the same as the peer's
        if code == NO_CODE:
            self.send_last(self.websocket.encode(CloseFrame()))
        elif is_close_code(code):
            self.send_last(self.websocket.encode(CloseFrame(code, reason.code)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self.ready:
            self.websocket.listener = None  # so that no cycle keeps both in memory


@cache
def _encoder(window_bits: int) -> Callable[[str | bytes], bytes]:
    return WebSocket(window_bits=window_bits).encode


class WebSocketFactory(ConnectionFactory):
    """Makes WebSockets.

    :param origins: the pages that may connect, besides those of this server's own address, such as
        ``https://chat.example``; None for any. Programs that are no browsers need not be named.
    :param trusted_proxies: the HTTP proxies in front of this server. A WebSocket that comes through
        one of them has the address of its client: as :attr:`~Connection.peer`, in the log, and for
        ``admission``.
    :param settings: as for :class:`ConnectionFactory`.
    """

    protocol = WebSocketConnection

    def __init__(
        self,
        *,
        origins: Collection[str] | None = (),
        trusted_proxies: TrustedProxies | None = None,
        **settings: Unpack[FactorySettings],
    ) -> None:
        super().__init__(**settings)
        self.origins = origins
        self.trusted_proxies = trusted_proxies
        self._told: set[Connection] = set()  # refused clients that are still here
        self._telling: TokenBucket | None = None

    @property
    def refusals(self) -> int:
        """The number of refused clients that are still here."""
        return len(self._told)

    def reject(self, addr: IAddress | None, reason: CloseReason) -> Any:
        """Open the WebSocket, and close it with the reason: a browser tells no page of a refusal.

        If many are refused at the same time, or one after the other, they are not told.
        """
        told = self.make(addr) if reason in _TOLD and self._may_tell() else None
        if not isinstance(told, WebSocketConnection):
            return super().reject(addr, reason)
        told.refusal, told.was_rejected = reason, True
        self._told.add(told)
        return told

    def _may_tell(self) -> bool:
        if self._telling is None:
            self._telling = TokenBucket(REFUSED_A_SECOND, MOST_REFUSED)
        now = self.clock.seconds()
        if len(self._told) >= MOST_REFUSED or self._telling.wait(1, now):
            return False
        self._telling.take(1, now)
        return True

    def note_end(self, connection: Connection, reason: CloseReason) -> None:
        if not (isinstance(connection, WebSocketConnection) and connection.was_rejected):
            super().note_end(connection, reason)

    def forget(self, connection: Connection) -> None:
        super().forget(connection)
        self._told.discard(connection)
