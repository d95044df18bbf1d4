"""What the kernel does for a TCP connection by itself: keepalive, timeouts, no delay.

Accepted sockets inherit all of it from the socket that listens (Linux, and the BSDs as far as they
know these options), so it costs nothing per connection. A connection that the kernel has completed
between ``listen(2)`` and the options, or before a socket was passed on to this process, is without.

Every function here looks for the socket itself, below TLS or any other wrapper, and leaves Unix
sockets and transports without a socket alone.
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

from twisted_net.interfaces import (
    AnyInterface,
    ClientEndpoint,
    ProtocolFactory,
    ServerEndpoint,
)

# What Linux takes (tcp.h); elsewhere it is as much or more.
_MOST_SECONDS = 32767
_MOST_PROBES = 127

MOST_USER_TIMEOUT = 2_000_000
"""Seconds: what milliseconds in 31 bits allow, which are 23 days."""


def _within(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: must be a number from {least} to {most}, not {value!r}")


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How the kernel treats a TCP connection.

    A peer whose machine or network is gone is noticed after ``keepalive_idle`` and then
    ``keepalive_count`` times ``keepalive_interval``: 2 minutes, where the system's defaults take
    2 hours 11 minutes (Linux: 7200, 75 and 9).

    :ivar nodelay: send small writes at once (TCP_NODELAY), as Go and Node's HTTP do. What is
        written together is sent together anyway; Nagle's algorithm (RFC 896) only adds the 40 ms
        by which the peer delays its acknowledgement.
    :ivar keepalive_idle: seconds without a byte from the peer, then it is probed; 0 is never.
        Some of what lies between forgets a silent connection: Azure's balancer after 4 minutes,
        AWS's after 350 s, home routers after 5 minutes and up. Go probes after 15 s, Redis after
        300 s.
    :ivar keepalive_interval: seconds between probes without an answer. Go has 15.
    :ivar keepalive_count: so many without an answer, and the connection is lost. Go has 9; with
        4 of them, three may get lost by chance.
    :ivar user_timeout: seconds that sent bytes may be without an acknowledgement (TCP_USER_TIMEOUT,
        RFC 5482), or a peer may have no room for any, until the connection is lost; 0 is as long as
        the system does, 15 minutes on Linux. It overrides ``keepalive_count`` (tcp(7)), so the
        default is what comes to the same, ``keepalive_idle + keepalive_interval *
        keepalive_count``; and 0 without keepalive.
    :raises ValueError: a value that makes no sense; the message names it.
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
        """Seconds after which a peer that does not answer is lost; 0: the system decides."""
        if self.user_timeout is not None:
            return self.user_timeout
        if not self.keepalive_idle:
            return 0
        probing = self.keepalive_interval * self.keepalive_count
        return min(self.keepalive_idle + probing, MOST_USER_TIMEOUT)


DEFAULT_SOCKET_OPTIONS = SocketOptions()
"""The options as they are where nobody has said otherwise."""


def apply(options: SocketOptions, target: Any) -> bool:
    """Set the options of a port that listens, or of a connection.

    An option that the platform does not know is passed over.

    :param target: a listening port, or a protocol's transport, over TLS or not.
    :return: whether it has a TCP socket.
    :raises OSError: the kernel refuses a value.
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
        # macOS has another name for the first.
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
    """Give the socket below a port or a transport; None: there is none, or not one of TCP."""
    while target is not None:
        # Over TLS, getHandle() gives OpenSSL's connection. The attribute is the socket everywhere.
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

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        """Listen, as the endpoint does."""
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
        """Connect, as the endpoint does."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(self._tuned)

    def _tuned(self, protocol: Any) -> Any:
        # The peer may have closed it already, of which some systems tell here (macOS: EINVAL); its
        # protocol is to hear of that, as ever.
        with suppress(OSError):
            apply(self._options, protocol.transport)
        return protocol
