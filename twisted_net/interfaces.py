"""Some of Twisted's interfaces, for type checkers that do not understand zope.interface.

Users have no plugin for their type checker. What they give us is described here by its methods
(PEP 544), and what we give them is :class:`AnyInterface` for their type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)

if TYPE_CHECKING:

    class AnyInterface(Any):  # type: ignore[misc]  # which is the point of it
        """Can be given to whatever Twisted annotates with one of its interfaces."""
else:
    AnyInterface = object


class _BuildsProtocols(Protocol):
    """Twisted's ``IProtocolFactory``."""

    def buildProtocol(self, addr: Any, /) -> Any:
        """Make the protocol of a connection, or give None to refuse it."""

    def doStart(self) -> Any:
        """A port begins to listen."""

    def doStop(self) -> Any:
        """A port has ended."""


class _Listens(Protocol):
    """Twisted's ``IStreamServerEndpoint``."""

    def listen(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Listen; fires with the port."""


class _Connects(Protocol):
    """Twisted's ``IStreamClientEndpoint``."""

    def connect(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Connect; fires with the protocol."""


# By methods, or by Twisted's own name for it.
ProtocolFactory: TypeAlias = _BuildsProtocols | IProtocolFactory
ServerEndpoint: TypeAlias = _Listens | IStreamServerEndpoint
ClientEndpoint: TypeAlias = _Connects | IStreamClientEndpoint
