"""Clients that connect once or stay connected.

An endpoint is a string such as ``"tcp:example.org:7000"`` or ``"unix:/run/chat"``, a pair of host
and port, or one of Twisted's endpoint objects. With TLS, service-identity verifies that the
server's certificate is for its host name (RFC 9525).
"""

from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias, Unpack

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.application.internet import ClientService
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from twisted_net import TwistedNetError
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.tls_layers import uses_tls
from twisted_net.eager.privates import hold_back_loss
from twisted_net.eager.reactor_interfaces import eager, eager_for_tls, plain
from twisted_net.endpoints.descriptions import find_port, split_description
from twisted_net.endpoints.socket_options import (
    DEFAULT_SOCKET_OPTIONS,
    SocketOptions,
    TunedClientEndpoint,
)
from twisted_net.endpoints.tls import TLSClientEndpoint
from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.backoff import Backoff, Delays
from twisted_net.policy.close_reasons import HANDSHAKE, IDLE
from twisted_net.policy.keywords import check_keywords
from twisted_net.tls.client_settings import ClientTLS, ClientTLSSettings
from twisted_net.tls.key_pairs import handshake_text
from twisted_net.tls.sessions import TLSSessions
from twisted_net.tls.verification import CertificateRefused
from twisted_net.wire.numbers import parse_port, shorten

EndpointSpec: TypeAlias = str | tuple[str, int] | ClientEndpoint

CONNECT_TIMEOUT = 10.0
"""Seconds that an attempt to connect may take, without the TLS handshake."""


class ConnectFailed(TwistedNetError):
    """A connection could not be established.

    If a host has several addresses, the message tells how each of them failed, and the code is that
    of the last.

    :ivar code: the name of an errno such as ``"ECONNREFUSED"`` or ``"ETIMEDOUT"`` (also if the TLS
        handshake took longer than this side's own limit);
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
    **settings: Unpack[ClientTLSSettings],
) -> ClientEndpoint:
    """Return the endpoint to connect to.

    :param where: a string, a pair of host and port, or an endpoint.
    :param tls: whether to use TLS and verify the server's certificate.
    :param trust: the trusted certificates, as :func:`optionsForClientTLS` takes them; without it,
        those of the platform.
    :param server_name: the name to verify, if it is not the host's.
    :param timeout: seconds, for a pair of host and port; a string has its own timeout.
    :param socket_options: keepalive and similar options; None keeps the system's.
    :param settings: further settings of TLS: the CAs, the client's certificate, application
        protocols and sessions, as for :class:`~twisted_net.tls.client_settings.ClientTLS`.
    :raises ValueError: the endpoint is invalid, or TLS has no name to verify. The message says what
        to write.
    """
    return _endpoint(
        reactor, where, {}, tls, trust, server_name, timeout, socket_options, **settings
    )


def _endpoint(
    reactor: Any,
    where: EndpointSpec,
    failures: dict[str, Failure],
    tls: bool = False,
    trust: Any = None,
    server_name: str | None = None,
    timeout: float = CONNECT_TIMEOUT,
    socket_options: SocketOptions | None = DEFAULT_SOCKET_OPTIONS,
    **settings: Unpack[ClientTLSSettings],
) -> ClientEndpoint:
    """As :func:`client_endpoint`.

    :param failures: receives how each address of a pair's host has failed.
    """
    calls = eager_for_tls(reactor) if tls else eager(reactor)
    if isinstance(where, str):
        endpoint = _from_string(calls, where)
        name = server_name or _host_in(where)
    elif isinstance(where, tuple):
        host, port = _pair(where)
        endpoint = HostnameEndpoint(_NotingCalls(calls, failures), host, port, timeout=timeout)
        name = server_name or host
    elif hasattr(where, "connect"):
        endpoint, name = where, server_name or ""
    else:
        raise ValueError(f"{shorten(repr(where))} is no endpoint: write {_FORMS}")
    if socket_options is not None:
        endpoint = TunedClientEndpoint(endpoint, socket_options)
    if not tls:
        for setting, value in settings.items():
            if value is not None and setting != "sessions":
                raise ValueError(f"{setting}: requires tls=True")
        return endpoint
    if not name:
        raise ValueError(f"server_name: required to verify the certificate of {where!r}")
    return TLSClientEndpoint(endpoint, ClientTLS(name, trust, **settings), plain(reactor))


class _NotingCalls:
    """A reactor that notes how each attempt of a ``HostnameEndpoint`` fails.

    The endpoint itself tells only the last failure. Everything but ``connectTCP`` is passed on.
    """

    def __init__(self, reactor: Any, failures: dict[str, Failure]) -> None:
        self._reactor = reactor
        self._failures = failures
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, factory: Any, *rest: Any, **more: Any) -> Any:
        tell = factory.clientConnectionFailed

        def failed(connector: Any, reason: Failure) -> None:
            self._failures[host] = reason
            tell(connector, reason)

        factory.clientConnectionFailed = failed  # the endpoint makes a factory for each attempt
        return self._reactor.connectTCP(host, port, factory, *rest, **more)


class ConnectOptions(ClientTLSSettings, total=False):
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
    :return: fires with the connection; fails with :exc:`ConnectFailed`, or with
        :exc:`CancelledError` if it is cancelled.
    :raises ValueError: as in :func:`client_endpoint`, before anything is tried.
    :raises TypeError: an unknown keyword; the message suggests the nearest one.
    """
    check_keywords(connect, how, CONNECT_KEYWORDS)
    failures: dict[str, Failure] = {}
    endpoint = _endpoint(reactor, where, failures, **how)
    factory = (
        protocol
        if isinstance(protocol, ConnectionFactory)
        else ConnectionFactory.forProtocol(protocol, clock=reactor)
    )
    connecting = Deferred.fromCoroutine(_connect(endpoint, factory, where, failures))

    is_cancelled = False

    def cancel(_: Deferred[Connection]) -> None:
        nonlocal is_cancelled
        is_cancelled = True
        connecting.cancel()

    def failed(failure: Failure) -> Any:
        # Not every endpoint fails with CancelledError: a cancelled lookup fails as if there were no
        # such host.
        if is_cancelled:
            raise CancelledError from None
        return failure

    attempt: Deferred[Connection] = Deferred(cancel)
    connecting.addErrback(failed).chainDeferred(attempt)
    return attempt


class ReconnectingClient(ClientService):
    """A service that stays connected: it reconnects after a growing delay with jitter.

    ``startService()`` connects, ``whenConnected()`` returns the connection, ``stopService()``
    disconnects; see :class:`twisted.application.internet.ClientService`.

    :param where: as in :func:`client_endpoint`; so is ``how``. Over TLS, it resumes the session of
        the connection before, unless ``sessions`` is None.
    :param backoff: the delays.
    :param jitter: returns random numbers from 0 to 1.
    """

    def __init__(
        self,
        reactor: Any,
        where: EndpointSpec,
        protocol: Callable[[], Connection] | ConnectionFactory,
        *,
        backoff: Delays | None = None,
        jitter: Callable[[], float] = random.random,
        **how: Unpack[ConnectOptions],
    ) -> None:
        check_keywords(type(self), how, CONNECT_KEYWORDS)
        delays = Backoff() if backoff is None else backoff
        how.setdefault("sessions", TLSSessions())
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
        if failure.check(CancelledError):  # type: ignore[no-untyped-call]
            proxy.abort()  # one that is lost ends itself, and knows why
        return failure

    waiting: Deferred[None] = proxy.wait_ready()
    return waiting.addCallbacks(lambda _: tell_again(), failed)


async def _connect(
    endpoint: ClientEndpoint,
    factory: ConnectionFactory,
    where: EndpointSpec,
    failures: dict[str, Failure],
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
        if connection is not None and getattr(connection, "reason", None) in (HANDSHAKE, IDLE):
            # The connection has ended itself. If its peer ends it, it has no reason yet.
            text = f"the TLS handshake was not done in time ({connection.reason.code}){_PERHAPS}"
            raise ConnectFailed("ETIMEDOUT", *_place(where), text) from reason
        explained = _explain(reason, where, failures)
        if explained.code == "ECONNRESET" and uses_tls(getattr(connection, "transport", None)):
            text = f"closed during the TLS handshake{_PERHAPS}"
            raise ConnectFailed("ECONNRESET", *_place(where), text) from reason
        raise explained from reason
    return connection


def _explain(
    reason: BaseException, where: EndpointSpec, failures: dict[str, Failure]
) -> ConnectFailed:
    code, text = _code_and_text(reason)
    if len(failures) > 1:
        each = ((tried, _code_and_text(failure.value)[1]) for tried, failure in failures.items())
        text = "; ".join(f"{tried}: {said}" for tried, said in each)
    return ConnectFailed(code, *_place(where), text)


def _code_and_text(reason: BaseException | None) -> tuple[str, str]:
    text = str(reason) or type(reason).__name__
    match reason:
        case error.DNSLookupError():
            return "ENOTFOUND", "host not found"
        case VerificationError():
            return "CERTIFICATE", text
        case CertificateRefused():
            return "CERTIFICATE", text
        case SSL.Error():
            said = handshake_text(reason, "the server")
            return "CERTIFICATE" if "certificate verify failed" in said else "HANDSHAKE", said
        case error.TimeoutError() | error.TCPTimedOutError():
            return "ETIMEDOUT", "no answer in time"
        case error.ConnectError(osError=int(number)) if number in errno.errorcode:
            # Twisted's text says the same three times, and says of the local end when that failed.
            is_local = isinstance(reason, error.ConnectBindError)
            return errno.errorcode[number], text if is_local else os.strerror(number)
        case error.ConnectionClosed() | error.ConnectionLost() | error.ConnectionDone():
            return "ECONNRESET", "closed before it was established"
        case _:
            return "EFAILED", " ".join(text.split())


_PERHAPS = "; perhaps the server does not speak TLS"

_FORMS = "'tcp:HOST:PORT' or ('HOST', PORT)"


def _pair(where: tuple[Any, ...]) -> tuple[str, int]:
    """Check a pair of host and port.

    :raises ValueError: it is not a pair, or not of a host and a port.
    """
    if len(where) != 2 or not where[0] or not isinstance(where[0], str | bytes):
        raise ValueError(f"{shorten(repr(where))} is no endpoint: write {_FORMS}")
    host, port = where
    if isinstance(port, int) and not isinstance(port, bool):
        return host, parse_port(str(port), least=1)
    advice = ""
    if isinstance(port, str):
        with suppress(ValueError):
            advice = f"; write {(host, parse_port(port, least=1))!r}"
    raise ValueError(f"port {shorten(repr(port))}: must be a whole number from 1 to 65535{advice}")


def _from_string(calls: Any, where: str) -> ClientEndpoint:
    """Return the endpoint that a string describes.

    :raises ValueError: it describes none; the message says what to write.
    """
    port = find_port(where)
    if port is not None:
        parse_port(port, least=1)
    try:
        endpoint: ClientEndpoint = clientFromString(calls, where)  # type: ignore[no-untyped-call]
    except TypeError:
        problem = "parts are missing, or there are too many"
    except ValueError as wrong:
        problem = " ".join(str(wrong).split())
    else:
        return endpoint
    raise ValueError(f"endpoint {shorten(where)!r}: {problem}; write {_advice(where)}")


def _advice(where: str) -> str:
    """Return what to write in place of a string that is no endpoint."""
    if re.fullmatch("[0-9]+", where):
        return f"'tcp:HOST:{where}' or ('HOST', {where})"
    host = re.fullmatch(r"([\w.-]+)(?::([0-9]+))?", where)
    if host is not None:
        name, port = host[1], host[2] or "PORT"
        return f"'tcp:{name}:{port}' or ('{name}', {port})"
    address = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:([0-9]+)", where)
    return _FORMS if address is None else f"('{address[1]}', {address[2]})"


def _host_in(description: str) -> str:
    """Return the host of an endpoint string, for the kinds that have one."""
    kind, parts, named = split_description(description)
    return named.get("host", parts[0] if parts else "") if kind in ("tcp", "tls", "ssl") else ""


def _place(where: EndpointSpec) -> tuple[str, int]:
    """Return the address and port for an error message."""
    if isinstance(where, tuple):
        return where
    if not isinstance(where, str):
        return repr(where), 0
    kind, parts, named = split_description(where)
    if kind == "unix":
        return named.get("path", parts[0] if parts else where), 0
    host = _host_in(where)
    port = find_port(where)
    return (host, parse_port(port)) if host and port else (where, 0)
