"""Clients that may not stay, on a port where it is not known yet what they speak.

A browser tells a page nothing of an upgrade that is refused: it has to be let in, and then told by
a close frame. Whoever has ``nc`` gets a line. So a client that is refused stays until its first
bytes are here, or :data:`DECISION_TIME` is over. Their number and their time are bounded, as those
of :meth:`WebSocketFactory.reject` are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_net.chat.foreign import MAY_BE_REQUEST, recognise
from twisted_net.chat.protocol import HTTP_ALPN, ChatFactory, negotiated_protocol
from twisted_net.connection.countdown import Countdown
from twisted_net.policy.close_reasons import DRAINING, CloseReason
from twisted_net.web.plain_answers import refusing_answer
from twisted_net.web.request_head import HeadFault
from twisted_net.web.websocket import (
    MOST_REFUSED,
    REFUSED_A_SECOND,
    WebSocketConnection,
    WebSocketFactory,
)

__all__ = ["DECISION_TIME", "MOST_REFUSED", "REFUSED_A_SECOND", "Refusals", "RefusedClient"]

DECISION_TIME = 0.2
"""Seconds that a client has to say something. Whoever does not is taken for a person."""

REQUEST_TIME = 5.0
"""Seconds for the TLS handshake, and for a request. A client that may stay has twice as many."""


class RefusedClient(WebSocketConnection):
    """A client that may not stay. It is told so in what it speaks.

    :ivar is_browser: whether it can only be a browser, by the port that it came to.
    """

    factory: Refusals
    refusal: CloseReason
    is_browser = False
    _start: bytes | None = None  # what has come, while it is not known what it is

    @property
    def form(self) -> str:
        return "refused"

    def become_ready(self) -> None:
        super().become_ready()
        if not self.is_browser and negotiated_protocol(self.transport) != HTTP_ALPN:
            self._start = b""
            self.factory.undecided.start(self, self.factory.clock)

    def dataReceived(self, data: bytes) -> None:
        if self._start is not None and self.reason is None:
            start = self._start = self._start + data
            line, line_feed, _ = start.partition(b"\n")
            if MAY_BE_REQUEST.match(start) is None or (line_feed and not _is_http(line)):
                self.tell_line()
                return
            if line_feed:
                self._decided()
        super().dataReceived(data)

    def eof_received(self) -> None:
        if self._start is not None:
            self.tell_line()
        else:
            super().eof_received()

    def silent(self) -> None:
        """Take it for a person if nothing has come yet."""
        if not self._start:
            self.tell_line()

    def tell_line(self) -> None:
        """Tell it as a person, and close."""
        self._decided()
        if self.reason is None:
            line = self.factory.line(self.refusal)
            if line:
                self.send_encoded(line)
            self.close(self.refusal)

    def bad_head(self, fault: HeadFault, /) -> None:
        if self._start is not None and recognise(fault.head, whole=False) is None:
            self.tell_line()
        else:
            super().bad_head(fault)

    @property
    def has_half_a_head(self) -> bool:
        return self._start is None and super().has_half_a_head

    def plain_request(self, head: bytes, rest: bytes, /) -> None:
        self.send_encoded(refusing_answer(head, self.refusal))
        self.close(self.refusal)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._decided()
        super().connectionLost(reason)

    def _decided(self) -> None:
        if self._start is not None:
            self._start = None
            self.factory.undecided.stop(self)


class Refusals(WebSocketFactory):
    """Makes the connections of a chat's clients that may not stay.

    :param chat: the chat.
    :param settings: as for :class:`WebSocketFactory`.
    """

    protocol = RefusedClient

    def __init__(self, chat: ChatFactory, **settings: Any) -> None:
        limits = replace(chat.limits, handshake_timeout=REQUEST_TIME, idle_timeout=0)
        super().__init__(clock=chat.clock, limits=limits, log_ends=False, **settings)
        self.undecided: Countdown[RefusedClient] = Countdown(DECISION_TIME, RefusedClient.silent)
        self._chat = chat
        self.counts_ends = False  # they are counted as refused

    def line(self, reason: CloseReason) -> bytes:
        """Return the line for a person, as without a gateway."""
        return b"" if reason is DRAINING else self._chat.rejection_message(reason)


def _is_http(line: bytes) -> bool:
    foreign = recognise(line)
    return foreign is not None and foreign.protocol == "HTTP"
