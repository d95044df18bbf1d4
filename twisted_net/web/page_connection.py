"""Connections on which pages are served, and which may become WebSockets later.

A browser opens a connection of its own for a WebSocket. A proxy does not: it sends the request on a
connection on which it has had pages before. ``twisted.web`` cannot give such a connection up by its
public interface. So the requests are cut at their heads before it gets them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone

from twisted_net.connection.guard import GuardFactory, GuardProtocol
from twisted_net.web.request_head import RequestHeads
from twisted_net.web.upgrade import is_upgrade
from twisted_net.wire.framing import Raw


class PageConnection(GuardProtocol):
    """Serves pages until a request asks for a WebSocket."""

    framing = RequestHeads  # type: ignore[assignment]
    sent_framing = Raw

    factory: PageFactory
    _heads: RequestHeads

    @property
    def form(self) -> str:
        return "page"

    def connected(self) -> None:
        self._heads = RequestHeads(max_size=0, is_last=is_upgrade)
        self.set_framing(self._heads)
        super().connected()

    def message_received(self, message: bytes) -> None:
        # The site reads nothing while an answer waits to be sent, and so there is none.
        if self._heads.is_over and is_upgrade(message):  # a body may look like one
            self.factory.upgrade(self, message + self._heads.rest)
        else:
            super().message_received(message)

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
