"""Some of Twisted's interfaces, for type checkers that do not support zope.interface.

Users may have no plugin for their type checker. So the objects that they pass in are described here
by their methods (PEP 544), and the classes that they receive derive from :class:`AnyInterface`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)

if TYPE_CHECKING:

    class AnyInterface(Any):  # type: ignore[misc]  # Any as a base class is intended
        """A base class that type checkers accept wherever Twisted expects one of its interfaces."""
else:
    AnyInterface = object


class _BuildsProtocols(Protocol):
    """Twisted's ``IProtocolFactory``."""

    def buildProtocol(self, addr: Any, /) -> Any:
        """Make the protocol for a connection, or return None to reject it."""

    def doStart(self) -> Any:
        """Called when a port starts listening."""

    def doStop(self) -> Any:
        """Called when a port stops listening."""


class _Listens(Protocol):
    """Twisted's ``IStreamServerEndpoint``."""

    def listen(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Listen. The result fires with the port."""


class _Connects(Protocol):
    """Twisted's ``IStreamClientEndpoint``."""

    def connect(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Connect. The result fires with the protocol."""


# Described by its methods, or by Twisted's own interface.
ProtocolFactory: TypeAlias = _BuildsProtocols | IProtocolFactory
ServerEndpoint: TypeAlias = _Listens | IStreamServerEndpoint
ClientEndpoint: TypeAlias = _Connects | IStreamClientEndpoint


def negotiating_factory(factory: Any) -> Any | None:
    """Return the factory that names its application protocols (ALPN). None if there is none.

    That is ``factory`` itself or, as most wrappers do not pass the names on, one that it wraps.
    """
    while factory is not None:
        found = IProtocolNegotiationFactory(factory, None)
        if found is not None:
            return found
        factory = getattr(factory, "wrappedFactory", None)
    return None


def application_protocols(factory: Any) -> list[bytes]:
    """Return the application protocols of a factory or of one that it wraps, best first."""
    found = negotiating_factory(factory)
    return [] if found is None else list(found.acceptableProtocols())
