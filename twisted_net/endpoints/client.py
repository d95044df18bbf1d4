"""Clients that connect once or stay connected.

An endpoint is a string such as ``"tcp:example.org:7000"`` or ``"unix:/run/chat"``, a pair of host
and port, or one of Twisted's endpoint objects. With TLS, service-identity verifies that the
server's certificate is for its host name (RFC 9525).
"""

from __future__ import annotations

import errno
import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypedDict, Unpack

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.application.internet import ClientService
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from twisted_net import TwistedNetError
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.privates import hold_back_loss
from twisted_net.eager.reactor_interfaces import eager, eager_for_tls, plain
from twisted_net.endpoints.socket_options import (
    DEFAULT_SOCKET_OPTIONS,
    SocketOptions,
    TunedClientEndpoint,
)
from twisted_net.endpoints.tls import TLSClientEndpoint
from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.keywords import check_keywords
from twisted_net.tls.key_pairs import openssl_text
from twisted_net.wire.numbers import parse_port

EndpointSpec: TypeAlias = str | tuple[str, int] | ClientEndpoint

CONNECT_TIMEOUT = 10.0
"""Seconds that an attempt to connect may take, without the TLS handshake."""


class ConnectFailed(TwistedNetError):
    """A connection could not be established.

    :ivar code: the name of an errno such as ``"ECONNREFUSED"`` or ``"ETIMEDOUT"``;
        ``"ENOTFOUND"`` (host not found), ``"CERTIFICATE"`` (the server's certificate is not
        trusted), ``"HANDSHAKE"`` (no TLS), ``"ECONNRESET"`` (closed during the handshake), or
        ``"EFAILED"``.
    :ivar address: the host name, address or path that was tried; empty if unknown.
    :ivar port: the port that was tried; 0 if there is none.
    """

    def __init__(self, code: str, address: str, port: int, text: str) -> None:
        where = f"{address}:{port}" if port else address
        super().__init__(f"{code}: {where}: {text}")
        self.code = code
        self.address = address
        self.port = port


def client_endpoint(
    reactor: Any,
    where: EndpointSpec,
    *,
    tls: bool = False,
    trust: Any = None,
    server_name: str | None = None,
    timeout: float = CONNECT_TIMEOUT,
    socket_options: SocketOptions | None = DEFAULT_SOCKET_OPTIONS,
) -> ClientEndpoint:
    """Return the endpoint to connect to.

    :param where: a string, a pair of host and port, or an endpoint.
    :param tls: whether to use TLS and verify the server's certificate.
    :param trust: the trusted certificates, as :func:`optionsForClientTLS` takes them; without it,
        those of the platform.
    :param server_name: the name to verify, if it is not the host's.
    :param timeout: seconds, for a pair of host and port; a string has its own timeout.
    :param socket_options: keepalive and similar options; None keeps the system's.
    :raises ValueError: the endpoint is invalid, or TLS has no name to verify.
    """
    calls = eager_for_tls(reactor) if tls else eager(reactor)
    if isinstance(where, str):
        endpoint: ClientEndpoint = clientFromString(calls, where)  # type: ignore[no-untyped-call]
        name = server_name or _host_in(where)
    elif isinstance(where, tuple):
        host, port = where
        port = parse_port(str(port), least=1)
        endpoint = HostnameEndpoint(calls, host, port, timeout=timeout)
        name = server_name or host
    else:
        endpoint, name = where, server_name or ""
    if socket_options is not None:
        endpoint = TunedClientEndpoint(endpoint, socket_options)
    if not tls:
        return endpoint
    if not name:
        raise ValueError(f"server_name: required to verify the certificate of {where!r}")
    options: Any = optionsForClientTLS(name) if trust is None else optionsForClientTLS(name, trust)
    return TLSClientEndpoint(endpoint, options, plain(reactor))


class ConnectOptions(TypedDict, total=False):
    """The keywords of :func:`client_endpoint`, for functions that pass them on."""

    tls: bool
    trust: Any
    server_name: str | None
    timeout: float
    socket_options: SocketOptions | None


CONNECT_KEYWORDS = frozenset(ConnectOptions.__annotations__)
"""The keywords of :class:`ConnectOptions`."""


def connect(
    reactor: Any,
    where: EndpointSpec,
    protocol: Callable[[], Connection] | ConnectionFactory,
    **how: Unpack[ConnectOptions],
) -> Deferred[Connection]:
    """Connect, and wait until the connection is established, including the TLS handshake.

    :param protocol: a :class:`Connection` class, or a factory of them.
    :param how: as in :func:`client_endpoint`.
    :return: fires with the connection; fails with :exc:`ConnectFailed`.
    :raises TypeError: an unknown keyword; the message suggests the nearest one.
    """
    check_keywords(connect, how, CONNECT_KEYWORDS)
    endpoint = client_endpoint(reactor, where, **how)
    factory = (
        protocol
        if isinstance(protocol, ConnectionFactory)
        else ConnectionFactory.forProtocol(protocol, clock=reactor)
    )
    return Deferred.fromCoroutine(_connect(endpoint, factory, where))


class ReconnectingClient(ClientService):
    """A service that stays connected: it reconnects after a growing delay with jitter.

    ``startService()`` connects, ``whenConnected()`` returns the connection, ``stopService()``
    disconnects; see :class:`twisted.application.internet.ClientService`.

    :param where: as in :func:`client_endpoint`; so is ``how``.
    :param backoff: the delays.
    :param jitter: returns random numbers from 0 to 1.
    """

    def __init__(
        self,
        reactor: Any,
        where: EndpointSpec,
        protocol: Callable[[], Connection] | ConnectionFactory,
        *,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        **how: Unpack[ConnectOptions],
    ) -> None:
        check_keywords(type(self), how, CONNECT_KEYWORDS)
        delays = backoff or Backoff()
        endpoint: Any = client_endpoint(reactor, where, **how)
        factory = (
            protocol
            if isinstance(protocol, ConnectionFactory)
            else ConnectionFactory.forProtocol(protocol, clock=reactor)
        )
        super().__init__(
            endpoint,
            factory,
            retryPolicy=lambda attempt: delays.delay(attempt, jitter()),
            clock=reactor,
            prepareConnection=_prepare,
        )


def _prepare(proxy: Any) -> Deferred[None]:
    # ClientService cannot handle a connection that is lost, or cancelled, while it is prepared. It
    # only needs the failure of this Deferred.
    tell_again = hold_back_loss(proxy)
    if tell_again is None:  # an unknown Twisted: whenConnected() does not wait for the handshake
        return succeed(None)

    def failed(failure: Failure) -> Failure:
        proxy.abort()
        return failure

    waiting: Deferred[None] = proxy.wait_ready()
    return waiting.addCallbacks(lambda _: tell_again(), failed)


async def _connect(
    endpoint: ClientEndpoint, factory: ConnectionFactory, where: EndpointSpec
) -> Connection:
    connection: Any = None  # any protocol, until it is checked
    try:
        connection = await endpoint.connect(factory)
        assert isinstance(connection, Connection)
        await connection.wait_ready()
    except (CancelledError, error.ConnectingCancelledError):
        if connection is not None:
            connection.abort()
        raise CancelledError from None
    except Exception as reason:
        raise _explain(reason, where) from reason
    return connection


def _explain(reason: BaseException, where: EndpointSpec) -> ConnectFailed:
    address, port = _place(where)
    text = str(reason) or type(reason).__name__
    match reason:
        case error.DNSLookupError():
            return ConnectFailed("ENOTFOUND", address, port, "host not found")
        case VerificationError():
            return ConnectFailed(
                "CERTIFICATE", address, port, "the certificate is for another name"
            )
        case SSL.Error():
            said = openssl_text(reason)
            code = "CERTIFICATE" if "certificate verify failed" in said else "HANDSHAKE"
            return ConnectFailed(code, address, port, said)
        case error.TimeoutError() | error.TCPTimedOutError():
            return ConnectFailed("ETIMEDOUT", address, port, "no answer in time")
        case error.ConnectError(osError=int(number)) if number in errno.errorcode:
            return ConnectFailed(errno.errorcode[number], address, port, text)
        case error.ConnectionClosed() | error.ConnectionLost() | error.ConnectionDone():
            return ConnectFailed("ECONNRESET", address, port, "closed before it was established")
        case _:
            return ConnectFailed("EFAILED", address, port, " ".join(text.split()))


def _parts(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Split an endpoint string into its kind, its positional parts and its named parts."""
    kind, *parts = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", description))
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    return kind, [part for part in parts if "=" not in part], named


def _host_in(description: str) -> str:
    """Return the host of an endpoint string, for the kinds that have one."""
    kind, parts, named = _parts(description)
    return named.get("host", parts[0] if parts else "") if kind in ("tcp", "tls", "ssl") else ""


def _place(where: EndpointSpec) -> tuple[str, int]:
    """Return the address and port for an error message."""
    if isinstance(where, tuple):
        return where
    if not isinstance(where, str):
        return repr(where), 0
    kind, parts, named = _parts(where)
    if kind == "unix":
        return named.get("path", parts[0] if parts else where), 0
    host = _host_in(where)
    port = named.get("port", parts[-1] if parts else "")
    with suppress(ValueError):  # the name of a service, or none
        return (host, parse_port(port)) if host else (where, 0)
    return where, 0
