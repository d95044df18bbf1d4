"""Where TLS is among the layers of a transport, and who is told of its handshake."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import (
    IHandshakeListener,
    INegotiated,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    ISSLTransport,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import alsoProvides, noLongerProvides

from twisted_net.wire.framing import LocalProtocolError
from twisted_net.wire.numbers import shorten


def awaits_handshake(transport: object) -> bool:
    """Return whether the transport is TLS and will report the end of its handshake.

    A wrapper between TLS and the connection that is not a handshake listener cannot pass it on.
    """
    return INegotiated.providedBy(transport) and (
        not is_wrapper(transport)
        or _is_tls_wrapper(transport)
        or IHandshakeListener.providedBy(transport)
    )


def lowest_transport(transport: Any) -> Any:
    """Return the transport below all wrappers. That is TLS, if there is TLS among them."""
    while is_wrapper(transport) and not _is_tls_wrapper(transport):
        transport = transport.transport
    return transport


def uses_tls(transport: Any) -> bool:
    """Return whether there is TLS among the layers, from the beginning or since ``startTLS``."""
    # A wrapper provides what its transport provided when the connection was made.
    return ISSLTransport.providedBy(transport) or ISSLTransport.providedBy(
        lowest_transport(transport)
    )


def is_plain_client(transport: Any) -> bool:
    """Return whether this side has connected to the peer, over TCP and without TLS."""
    return isinstance(lowest_transport(transport), tcp.Client) and not uses_tls(transport)


def report_handshake(above: Any, done: Callable[[], None]) -> None:
    """Let ``above``, to which TLS will report its handshake, pass that on.

    :param above: the layer above TLS. If it is a wrapper that knows nothing of handshakes, ``done``
        becomes its ``handshakeCompleted``.
    """
    if not IHandshakeListener.providedBy(above):
        with suppress(AttributeError, TypeError):  # it has slots; the first byte will tell
            above.handshakeCompleted = done
            alsoProvides(above, IHandshakeListener)


def undo_start_tls(transport: Any, above: Any) -> None:
    """Undo what Twisted's ``startTLS`` has done before it raised, so that plain text goes on.

    :param above: the transport's protocol from before.
    """
    if getattr(transport, "protocol", above) is not above:
        transport.protocol = above
        transport.TLS = False
        noLongerProvides(transport, ISSLTransport)
        for name in ("getHandle", "getPeerCertificate"):
            vars(transport).pop(name, None)


def check_start_tls(transport: Any, context: object) -> None:
    """Check that TLS can be started on a transport.

    :raises LocalProtocolError: it uses TLS already, or cannot.
    :raises TypeError: ``context`` is not for TLS, or for the other side.
    """
    if uses_tls(transport):
        raise LocalProtocolError("start_tls(): the connection uses TLS already")
    lowest = lowest_transport(transport)
    if not hasattr(lowest, "startTLS"):
        name = type(lowest).__name__
        raise LocalProtocolError(f"start_tls(): a transport of type {name} cannot start TLS")
    for_server = IOpenSSLServerConnectionCreator.providedBy(context) or hasattr(
        context, "getContext"
    )
    # CertificateOptions would be accepted, but do not verify the server's name.
    for_client = IOpenSSLClientConnectionCreator.providedBy(context) and not isinstance(
        context, CertificateOptions
    )
    if isinstance(lowest, tcp.Server):
        fits, side, wanted = for_server, "server", "Certificates or CertificateOptions"
    elif isinstance(lowest, tcp.BaseClient):
        fits, side, wanted = for_client, "client", "the result of optionsForClientTLS(NAME)"
    else:
        fits, side, wanted = for_server or for_client, "connection", "certificates"
    if not fits:
        raise TypeError(f"start_tls() of a {side} takes {wanted}, not {shorten(repr(context))}")


def is_wrapper(transport: object) -> bool:
    """Return whether there is another transport below."""
    # Not isinstance: a guard's transport says that it is of the class of Twisted's TLS.
    return issubclass(type(transport), ProtocolWrapper)


def _is_tls_wrapper(transport: object) -> bool:
    # Checked on the class, because every wrapper around TLS exposes the attributes of TLS.
    return hasattr(type(transport), "negotiatedProtocol")
