"""Where the sockets come from that a service listens on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

EndpointT = TypeVar("EndpointT")


class ListeningSockets(Protocol):
    """Makes the server endpoints of a process, in the order of its flags."""

    def endpoint(self, reactor: Any, kind: str, parse: Callable[[Any], EndpointT], /) -> EndpointT:
        """Return the next endpoint.

        :param kind: the kind of the endpoint, such as ``tcp``.
        :param parse: makes it for a reactor, or for what stands in place of one.
        """


class OwnSockets:
    """The process listens itself."""

    def endpoint(self, reactor: Any, kind: str, parse: Callable[[Any], EndpointT], /) -> EndpointT:
        return parse(reactor)
