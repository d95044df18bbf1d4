"""People with a browser in the chat: WebSocket members, and the page.

A :class:`ChatGateway` serves peers that speak HTTP on a chat's port. The chat's own protocol
recognises them by their first line, and gives their transports up. A request for a WebSocket makes
a member of the chat like any other, in the JSON form with one object a frame. Everything else is
answered by a ``Site`` of ``twisted.web``, behind a guard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Unpack, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolNegotiationFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web.server import Site
from zope.interface import implementer

from twisted_net.chat.codecs.codec import Codec
from twisted_net.chat.messages import ErrorReply
from twisted_net.chat.protocol import HTTP_ALPN, ChatFactory, ChatProtocol
from twisted_net.connection.connection import Connection
from twisted_net.connection.rejection import RejectingProtocol
from twisted_net.connection.trusted_proxies import TrustedProxies
from twisted_net.endpoints.switch_protocol import switch_protocol
from twisted_net.endpoints.tls import endpoint_certificates
from twisted_net.interfaces import AnyInterface, ProtocolFactory, ServerEndpoint
from twisted_net.policy.close_reasons import CLOSED, DRAINING, CloseReason
from twisted_net.policy.limits import LimitChanges
from twisted_net.tls.certificates import Certificates
from twisted_net.web.frame_codec import FrameCodec
from twisted_net.web.page_connection import PageConnection, PageFactory
from twisted_net.web.refusals import Refusals, RefusedClient
from twisted_net.web.request_head import RequestHead
from twisted_net.web.upgrade import OpeningRequest
from twisted_net.web.websocket import WebSocketConnection

SUBPROTOCOL = "netchat.v1"
"""The name of the JSON form in WebSocket frames."""

PATH = "/ws"
"""Where the WebSocket is."""


class WebSocketMember(ChatProtocol, WebSocketConnection):
    """A member of the chat whose messages come in WebSocket frames."""

    framing = RequestHead  # type: ignore[assignment]
    shared_keys = (*ChatProtocol.shared_keys, "gateway", "_opened", "membership")
    subprotocols = (SUBPROTOCOL,)

    factory: ChatFactory
    gateway: ChatGateway

    @property
    def form(self) -> str:
        return "websocket"

    @property
    def origins(self) -> Collection[str] | None:
        return self.gateway.origins

    @property
    def certificate_name(self) -> str:
        # The certificate of a proxy is not that of its client.
        return super().certificate_name if self.forwarded is None else ""

    @property
    def is_confidential(self) -> bool:
        return super().is_confidential if self.forwarded is None else self.is_encrypted

    def may_open(self, request: OpeningRequest, /) -> bool:
        return _is_chat(request)

    def plain_request(self, head: bytes, rest: bytes, /) -> None:
        self.gateway.serve_page(self, head + rest)

    @property
    def json_codec(self) -> Codec:
        return self.gateway.codec(self.websocket.window_bits)

    def connected(self) -> None:
        self.factory.enter(self)
        self.decide(True, b"")

    def save_state(self) -> dict[str, Any]:
        return {**super().save_state(), "websocket": True}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        super().load_state(state)

    def dataReceived(self, data: bytes) -> None:
        Connection.dataReceived(self, data)  # neither telnet nor HTTP is looked for

    def has_more_time(self) -> bool:
        return False  # nobody types the head of a request

    def message_received(self, message: Any) -> Any:
        if isinstance(message, bytes):
            self.send_event(ErrorReply("bad-json", "Send text frames, not binary ones."))
            return None
        return super().message_received(message.encode())


class _Refused(RefusedClient):
    """As a member, a client that may not be one."""

    subprotocols = (SUBPROTOCOL,)

    def may_open(self, request: OpeningRequest, /) -> bool:
        return _is_chat(request)


def _is_chat(request: OpeningRequest) -> bool:
    return request.target.partition("?")[0] == PATH


class ChatGateway:
    """Serves HTTP for a chat, on the chat's port if it is its :attr:`~ChatFactory.gateway`.

    :param chat: the chat.
    :param site: answers what is no WebSocket.
    :param origins: further pages that may connect; None for any. See
        :func:`~twisted_net.web.upgrade.answer_upgrade`.
    :param trusted_proxies: the HTTP proxies in front of the chat, which tell the addresses of their
        clients.
    """

    def __init__(
        self,
        chat: ChatFactory,
        site: Site,
        origins: Collection[str] | None = (),
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        self.origins = origins
        if trusted_proxies is not None:  # otherwise those of another gateway stay
            chat.trusted_proxies = trusted_proxies
        self._codecs: dict[int, FrameCodec] = {}
        self._chat = chat
        self._refusals = Refusals(chat, origins=origins)
        self._refusals.protocol = _Refused
        self._pages = PageFactory(
            site,
            self._upgrade,
            clock=chat.clock,
            admission=chat.admission,
            limits=chat.limits,
            log_ends=False,
            on_refused=chat.refused,
        )
        for factory in (self._pages, self._refusals):
            factory.belong_to(chat)
        chat.gateways.append(self)
        self._pages.trusted_proxies = trusted_proxies

    def codec(self, window_bits: int) -> FrameCodec:
        """Return the codec for members with this window: each encodes once for all of them."""
        codec = self._codecs.get(window_bits)
        if codec is None:
            codec = self._codecs[window_bits] = FrameCodec(self._chat.json, window_bits)
        return codec

    def change_limits(self, **changes: Unpack[LimitChanges]) -> None:
        """Change some limits of the connections that pages are served on."""
        self._pages.change_limits(**changes)

    @property
    def compressed_bytes(self) -> int:
        """The bytes of compressed messages, each counted once for all its receivers."""
        return sum(codec.compressed_bytes for codec in self._codecs.values())

    def take_over(self, connection: ChatProtocol, data: bytes, /) -> None:
        """Go on with a connection whose peer speaks HTTP."""
        member = self.member()
        transport = self._chat.continue_as(connection, member, len(data))
        switch_protocol(transport, member, data, self._chat.clock, keeps_bytes=True)

    def refuse(self, addr: IAddress | None, reason: CloseReason, /) -> RefusedClient | None:
        """Return a protocol that tells a client why it may not stay.

        :return: None if the client needs none, or if too many are being told.
        """
        made = self._refusals.reject(addr, reason)
        return made if isinstance(made, RefusedClient) else None

    @property
    def refusals(self) -> int:
        """The number of clients that are being told that they may not stay."""
        return self._refusals.refusals

    def serve_page(self, member: WebSocketMember, data: bytes) -> None:
        """Answer a request for something else than a WebSocket."""
        pages = self._pages
        guard = pages.make(member.peer)
        if guard is None:
            member.abort(CLOSED)
            return
        transport = pages.continue_as(member, guard, len(data))
        switch_protocol(transport, guard, data, self._chat.clock)

    def _upgrade(self, page: PageConnection, data: bytes) -> None:
        """Make a member of a client that has had pages on its connection."""
        page.give_up()
        member = self.member()
        if not self._chat.accepts:
            member.refusal = DRAINING
        transport = self._chat.continue_as(page, member, len(data))
        switch_protocol(transport, member, data, self._chat.clock, keeps_bytes=True)

    @property
    def pages(self) -> int:
        """The number of connections that pages are served on."""
        return len(self._pages)

    def member(self) -> WebSocketMember:
        """Return a member that is not connected yet."""
        member = WebSocketMember()
        member.factory, member.gateway = self._chat, self
        return member

    def stop(self, seconds: float) -> Deferred[None]:
        """Close the connections that pages are served on, and abort those that stay.

        :param seconds: the time that they have.
        :return: fires when all have ended.
        """
        pages = self._pages
        deadline = self._chat.clock.callLater(seconds, pages.abort, DRAINING)
        pages.close(DRAINING)

        def stopped(result: None) -> None:
            if deadline.active():
                deadline.cancel()

        return pages.wait_closed().addCallback(stopped)


@implementer(IStreamServerEndpoint)
class WebEndpoint(AnyInterface):
    """Listens for a chat as another endpoint does, and speaks HTTP alone.

    :param endpoint: where to listen.
    :param gateway: serves the peers.
    """

    def __init__(self, endpoint: ServerEndpoint, gateway: ChatGateway) -> None:
        self._endpoint = endpoint
        self._gateway = gateway

    @property
    def certificates(self) -> Certificates | None:
        """The certificates of the endpoint below, if it uses TLS."""
        return endpoint_certificates(self._endpoint)

    def listen(self, factory: ProtocolFactory) -> Deferred[Any]:
        """Listen for the gateway's chat."""
        return self._endpoint.listen(_WebPortFactory(cast(ChatFactory, factory), self._gateway))


@implementer(IProtocolNegotiationFactory)
class _WebPortFactory(Factory, AnyInterface):
    noisy = False

    def __init__(self, chat: ChatFactory, gateway: ChatGateway) -> None:
        self._chat = chat
        self._gateway = gateway

    def acceptableProtocols(self) -> list[bytes]:
        return [HTTP_ALPN]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        made = self._chat.buildProtocol(addr)
        if isinstance(made, RefusedClient):
            made.is_browser = True
            return made
        if not isinstance(made, ChatProtocol):
            return RejectingProtocol()  # what the chat would say is no HTTP
        member = self._gateway.member()
        member.place = made.place
        return member
