"""TCP options that the kernel handles: keepalive, timeouts, TCP_NODELAY.

Accepted sockets inherit all of them from the listening socket (Linux, and the BSDs for the options
that they know), so they cost nothing per connection. A connection that the kernel completes between
``listen(2)`` and the options, or before a socket was passed on to this process, does not have them.

Every function here finds the socket itself, below TLS or any other wrapper. Unix sockets and
transports without a socket are left unchanged.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from twisted_net.endpoints.tls import endpoint_certificates
from twisted_net.interfaces import (
    AnyInterface,
    ClientEndpoint,
    ProtocolFactory,
    ServerEndpoint,
)
from twisted_net.tls.certificates import Certificates

# The limits of Linux (tcp.h); other systems allow as much or more.
_MOST_SECONDS = 32767
_MOST_PROBES = 127

MOST_USER_TIMEOUT = 2_000_000
"""Seconds. The kernel has 31 bits of milliseconds, which are 24 days; this is 23 days."""


def _within(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: must be a number from {least} to {most}, not {value!r}")


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """Options that the kernel applies to a TCP connection.

    The kernel notices that a peer's machine or network is gone after ``keepalive_idle`` plus
    ``keepalive_count`` times ``keepalive_interval``: 2 minutes. The system's defaults take 2 hours
    11 minutes (Linux: 7200, 75 and 9).

    :ivar nodelay: send small writes at once (TCP_NODELAY), as Go and Node's HTTP do. Data that is
        written together is sent together anyway; Nagle's algorithm (RFC 896) only adds the 40 ms
        by which the peer delays its acknowledgement.
    :ivar keepalive_idle: seconds without a byte from the peer until the first probe; 0 means never.
        Middleboxes forget silent connections: Azure's load balancer after 4 minutes, AWS's after
        350 s, home routers after 5 minutes or more. Go probes after 15 s, Redis after 300 s.
    :ivar keepalive_interval: seconds between unanswered probes. Go has 15.
    :ivar keepalive_count: unanswered probes until the connection is lost. Go has 9. With 4, three
        may get lost by chance.
    :ivar user_timeout: seconds until the connection is lost while sent bytes are unacknowledged
        (TCP_USER_TIMEOUT, RFC 5482), or while the peer's window is zero; 0 means the system's
        setting, 15 minutes on Linux. It overrides ``keepalive_count`` (tcp(7)), so the default has
        the same effect: ``keepalive_idle + keepalive_interval * keepalive_count``, or 0 without
        keepalive.
    :raises ValueError: an invalid value; the message names it.
    """

    nodelay: bool = True
    keepalive_idle: int = 60
    keepalive_interval: int = 15
    keepalive_count: int = 4
    user_timeout: float | None = None

    def __post_init__(self) -> None:
        _within("keepalive_idle", self.keepalive_idle, 0, _MOST_SECONDS)
        _within("keepalive_interval", self.keepalive_interval, 1, _MOST_SECONDS)
        _within("keepalive_count", self.keepalive_count, 1, _MOST_PROBES)
        if self.user_timeout is not None:
            _within("user_timeout", self.user_timeout, 0, MOST_USER_TIMEOUT)

    @property
    def unanswered(self) -> float:
        """Seconds until a peer that does not answer is lost; 0 means the system's setting."""
        if self.user_timeout is not None:
            return self.user_timeout
        if not self.keepalive_idle:
            return 0
        probing = self.keepalive_interval * self.keepalive_count
        return min(self.keepalive_idle + probing, MOST_USER_TIMEOUT)


DEFAULT_SOCKET_OPTIONS = SocketOptions()
"""The default options."""


def apply(options: SocketOptions, target: Any) -> bool:
    """Set the options of a listening port or of a connection.

    Options that the platform does not know are skipped.

    :param target: a listening port, or a protocol's transport, with or without TLS.
    :return: whether it has a TCP socket.
    :raises OSError: the kernel rejects a value.
    """
    found = _tcp_socket(target)
    if found is None:
        return False
    for level, option, value in _settings(options):
        found.setsockopt(level, option, value)
    return True


def _settings(options: SocketOptions) -> Iterator[tuple[int, int, int]]:
    tcp = socket.IPPROTO_TCP
    yield tcp, socket.TCP_NODELAY, int(options.nodelay)
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(options.keepalive_idle > 0)
    named = [("TCP_USER_TIMEOUT", round(options.unanswered * 1000))]
    if options.keepalive_idle:
        # macOS has another name for TCP_KEEPIDLE.
        idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        named += [
            (idle, options.keepalive_idle),
            ("TCP_KEEPINTVL", options.keepalive_interval),
            ("TCP_KEEPCNT", options.keepalive_count),
        ]
    for name, value in named:
        option = getattr(socket, name, None)
        if option is not None:
            yield tcp, option, value


def _tcp_socket(target: Any) -> Any:
    """Return the TCP socket below a port or a transport; None if there is none."""
    while target is not None:
        # Over TLS, getHandle() returns OpenSSL's connection. The attribute is always the socket.
        found: Any = getattr(target, "socket", None)
        if hasattr(found, "setsockopt"):
            return found if found.family in (socket.AF_INET, socket.AF_INET6) else None
        target = getattr(target, "transport", None)
    return None


@implementer(IStreamServerEndpoint)
class TunedServerEndpoint(AnyInterface):
    """A server endpoint whose connections have socket options.

    :param endpoint: where to listen.
    :param options: see :class:`SocketOptions`.
    """

    def __init__(
        self, endpoint: ServerEndpoint, options: SocketOptions = DEFAULT_SOCKET_OPTIONS
    ) -> None:
        self._endpoint: Any = endpoint
        self._options = options

    @property
    def certificates(self) -> Certificates | None:
        """The certificates of the endpoint below, if it uses TLS."""
        return endpoint_certificates(self._endpoint)

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        """Listen as the endpoint does."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
        return listening.addCallback(self._tuned)

    def _tuned(self, port: IListeningPort) -> IListeningPort:
        apply(self._options, port)
        return port


@implementer(IStreamClientEndpoint)
class TunedClientEndpoint(AnyInterface):
    """A client endpoint whose connections have socket options; see :class:`TunedServerEndpoint`."""

    def __init__(
        self, endpoint: ClientEndpoint, options: SocketOptions = DEFAULT_SOCKET_OPTIONS
    ) -> None:
        self._endpoint: Any = endpoint
        self._options = options

    def connect(self, protocolFactory: ProtocolFactory) -> Deferred[IProtocol]:
        """Connect as the endpoint does."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(self._tuned)

    def _tuned(self, protocol: Any) -> Any:
        # The peer may have closed it already, which some systems report here (macOS: EINVAL). The
        # protocol is told of that as usual.
        with suppress(OSError):
            apply(self._options, protocol.transport)
        return protocol
