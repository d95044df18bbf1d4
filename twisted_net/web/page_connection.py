"""Connections on which pages are served, and which may become WebSockets later.

A browser opens a connection of its own for a WebSocket. A proxy does not: it sends the request on a
connection on which it has had pages before. ``twisted.web`` cannot give such a connection up by its
public interface. So the requests are cut at their heads before it gets them.

A proxy may also send requests of several clients on one connection. So each head is asked whose
request it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from twisted.internet.protocol import connectionDone

from twisted_net.connection.connection import State
from twisted_net.connection.guard import GuardFactory, GuardProtocol
from twisted_net.connection.trusted_proxies import TrustedProxies
from twisted_net.policy.close_reasons import BAD_INPUT, CLOSED, DRAINING, TOO_LONG, CloseReason
from twisted_net.web.plain_answers import (
    fault_answer,
    overdue_answer,
    plain_answer,
    refusing_answer,
)
from twisted_net.web.request_head import HeadFault, RequestHeads, asking_to_close, has_body
from twisted_net.web.upgrade import is_upgrade
from twisted_net.wire.framing import Raw, RemoteProtocolError


class PageConnection(GuardProtocol):
    """Serves pages until a request asks for a WebSocket."""

    framing = RequestHeads  # type: ignore[assignment]
    sent_framing = Raw

    factory: PageFactory
    _heads: RequestHeads
    _unanswered = 0  # requests that the site has begun to read and has not answered
    _passes_all = False  # whatever comes is for the site, which closes behind its next answer
    _proxies: TrustedProxies | None = None  # if the peer is one of them
    _is_behind_body = False  # what comes now need not be a head
    _is_draining = False  # it closes as soon as what has been asked is answered
    _refusing: tuple[bytes, CloseReason, str] | None = None  # behind the answers before it

    @property
    def form(self) -> str:
        return "page"

    def connected(self) -> None:
        proxies = self.factory.trusted_proxies
        if proxies is not None and proxies.trusts(self.peer):
            self._proxies = proxies
        self._heads = RequestHeads(max_size=0, is_last=is_upgrade)
        self.set_framing(self._heads)
        super().connected()
        channel: Any = self.wrapped
        channel.requestFactory = partial(self._make_request, channel.requestFactory)

    def _make_request(self, make: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        request = make(*arguments, **named)
        self._unanswered += 1
        request.notifyFinish().addBoth(self._answered)
        return request

    def _answered(self, result: object) -> None:
        self._unanswered -= 1
        if self._refusing is not None:
            self._refuse(*self._refusing)
        elif self._is_draining:
            self._close_if_idle()

    def message_received(self, message: bytes | HeadFault) -> None:
        if self._refusing is not None:
            return
        if isinstance(message, HeadFault):
            reason = TOO_LONG if message.is_too_long else BAD_INPUT
            self._refuse(fault_answer(message), reason, message.text)
            return
        is_last = not self._passes_all and self._heads.is_over and is_upgrade(message)
        if is_last and self._is_idle:  # a body may look like one
            self.factory.upgrade(self, message + self._heads.rest)
        elif self._proxies is None or self._may_pass(self._proxies, message):
            is_head = not (self._is_behind_body or self._passes_all)
            self._is_behind_body = self._is_behind_body or (is_head and has_body(message))
            # Another process accepts, after an upgrade: this connection is closed in a moment.
            ends = self._is_draining or not self.factory.accepts
            if is_last or (is_head and ends):
                # The answers to earlier requests come first, and an upgrade is answered as they
                # are: a server may ignore that it is asked for (RFC 9110, 7.8).
                message = asking_to_close(message) + self._heads.rest
                self._proxies, self._passes_all = None, True
                self.set_framing(Raw())
            elif self._proxies is not None and self._is_behind_body:
                # What comes behind the body has no head that could be found: it is the last one.
                self._proxies, message = None, asking_to_close(message)
            super().message_received(message)

    @property
    def _is_idle(self) -> bool:
        """Whether all requests are answered, and nothing waits to be sent."""
        return not (self._unanswered or self.is_full or self.queued)

    def _may_pass(self, proxies: TrustedProxies, head: bytes) -> bool:
        """Return whether a request of a proxy's client may be answered; if not, refuse it."""
        try:
            said = proxies.read(self.peer, head, self.factory.clock.seconds())
        except RemoteProtocolError as error:
            answer = plain_answer(head, HTTPStatus.BAD_REQUEST, str(error))
            self._refuse(answer, BAD_INPUT, str(error), is_noted=True)
            return False
        client = None if said is None else proxies.client(said.nodes)
        reason = None if client is None else self.factory.check_client(client)
        if reason is not None:
            self._refuse(refusing_answer(head, reason), reason, is_noted=True)
        return reason is None

    def _refuse(
        self, answer: bytes, reason: CloseReason, detail: str = "", is_noted: bool = False
    ) -> None:
        """Send the last answer, behind those that the site still owes, and close.

        :param is_noted: whether the refusal is in the log already: the end is only counted.
        """
        if is_noted:
            self.refusal = reason
        if self._unanswered:
            self._refusing = answer, reason, detail
            self.set_framing(Raw())  # what still comes is dropped, and none of it kept
        else:
            self.send_encoded(answer)
            self.close(reason, detail)

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        if self._is_draining and reason is CLOSED:
            reason = DRAINING
        elif reason is DRAINING and not self._is_draining and self.state is State.OPEN:
            self._is_draining = True
            # In the next turn: what is here by now, such as what has waited in the kernel during an
            # upgrade, is read before.
            self.factory.clock.callLater(0, self._close_if_idle)
            return
        super().close(reason, detail)

    def _close_if_idle(self) -> None:
        """Close, unless a part of a request is here, or an answer is still to come."""
        if not (self._unanswered or self._heads.pending):
            self.close()

    def overdue_answer(self) -> bytes:
        return b"" if self._unanswered else overdue_answer()

    def give_up(self) -> None:
        """Tell the site that the connection is not its any more."""
        self.producer = None
        self.wrapped.connectionLost(connectionDone)


class PageFactory(GuardFactory):
    """Makes the connections on which a site serves pages.

    :param site: the site.
    :param upgrade: called with a connection, and with a request for a WebSocket and what came
        behind it. It takes the transport over.
    :param settings: as for :class:`GuardFactory`.
    """

    guard = PageConnection

    def __init__(
        self, site: Any, upgrade: Callable[[PageConnection, bytes], object], **settings: Any
    ) -> None:
        super().__init__(site, **settings)
        self.upgrade = upgrade
