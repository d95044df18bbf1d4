"""Connections that come through a proxy, and that have their client's address all the same.

The proxy says who connected to it in a header of the PROXY protocol, before everything else, TLS
included; see :mod:`twisted_net.wire.proxy_protocol`::

    trusted = Ranges([parse_range("proxies", "10.0.0.0/8")])
    endpoint = ProxiedEndpoint(serverFromString(reactor, "tcp:8080"), trusted)
    wrapServerTLS(certificate, endpoint).listen(factory)  # or, without TLS: endpoint.listen(...)

Nothing stands between the transport and the protocol afterwards: once the header is there, the
protocol that reads it puts the one it is for in its own place, as Twisted's ``startTLS`` does. So
reading, writing, half-close, producers and TLS are the transport's own, at their own price.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_net.connection.addresses import format_address, normalize_mapped, proxied_addresses
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.endpoints.switch_protocol import log_prefix, switch_protocol
from twisted_net.interfaces import AnyInterface, ProtocolFactory, ServerEndpoint
from twisted_net.policy.admission import Ranges
from twisted_net.policy.close_reasons import (
    DRAINING,
    HANDSHAKE,
    PEER_CLOSED,
    PEER_RESET,
    REASONS,
    CloseReason,
)
from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.proxy_protocol import ProxyHeader, ProxyParser

_log = Logger()

TIMEOUT = 10.0
"""Seconds that a proxy has for its header. The specification (section 2) wants 3 at least, for a
segment that is lost and sent again; a TLS handshake has as many as these."""


def proxy_header(transport: Any) -> ProxyHeader | None:
    """Give what the proxy has said: of the TLS between it and the client, for example.

    :param transport: a protocol's transport; the one over TLS will do, or any other wrapper's.
    :return: None where the connection did not begin with a header.
    """
    while transport is not None:
        header = getattr(transport, "proxy_header", None)
        if isinstance(header, ProxyHeader):
            return header
        transport = getattr(transport, "transport", None)
    return None


@implementer(IProtocolFactory, ILoggingContext)
class ProxiedFactory(AnyInterface):
    """Before any factory: connections of known proxies begin with a PROXY header.

    The wrapped factory's ``buildProtocol`` is called when the header is complete, with the
    client's address, so that it admits and counts and logs clients and not proxies; None closes.
    From ``connectionMade`` on, ``transport.getPeer()`` and ``getHost()`` are the header's
    addresses. Where the header tells of none (a proxy's own health check, for example), they are
    the connection's.

    Whoever is not trusted goes straight to the wrapped factory, header or no header.

    It has to be the outermost factory, which is the one that a port is given: what wraps it would
    see the header's bytes, and the proxy's address. :class:`ProxiedEndpoint` takes care of it.

    :param wrapped: the factory of the service, or what adds TLS to it.
    :param trusted: the proxies. From them, a connection without a header is closed.
    :param clock: the time; without it, the reactor's, once it is needed.
    :param timeout: seconds from the connection's beginning to the header's end; at most one more.
    :param trust_unix: whether who connects to a Unix socket is a proxy, too. It has no address, but
        its file has permissions. nginx' ``set_real_ip_from unix:``.
    :raises ValueError: a timeout that makes no sense.
    :ivar ended: how many connections have ended before their header was complete, by the code of
        the reason: ``bad-input``, ``handshake``, ``draining``; ``peer-closed`` and ``peer-reset``
        are those that never sent a byte, as health checks do.
    """

    noisy = False

    def __init__(
        self,
        wrapped: ProtocolFactory,
        trusted: Ranges,
        clock: IReactorTime | None = None,
        timeout: float = TIMEOUT,
        *,
        trust_unix: bool = False,
    ) -> None:
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout: must be a number of seconds above 0, not {timeout!r}")
        self.wrapped = wrapped
        self.trusted = trusted
        self.timeout = timeout
        self.trust_unix = trust_unix
        self.ended: dict[str, int] = {}
        self._clock = clock
        self._ports = 0
        self._waiting: set[_HeaderReader] = set()

    @property
    def clock(self) -> IReactorTime:
        """The time by which the timeout is measured."""
        self._clock = reactor_clock(self._clock)
        return self._clock

    @cached_property
    def timers(self) -> Timers:
        """The timeouts of the connections that wait for their header."""
        return Timers(self.clock)

    @property
    def waiting(self) -> int:
        """How many connections wait for their header."""
        return len(self._waiting)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        host = getattr(addr, "host", None)
        # A Unix socket's address has no host; nor has one of which nothing is known.
        trusted = (
            self.trust_unix and hasattr(addr, "name") if host is None else host in self.trusted
        )
        if trusted:
            return _HeaderReader(self)
        built: IProtocol | None = self.wrapped.buildProtocol(addr)
        return built

    def doStart(self) -> None:
        self._ports += 1
        self.wrapped.doStart()

    def doStop(self) -> None:
        """A port has stopped. With the last one, who has sent no header yet is closed."""
        self._ports -= 1
        if self._ports == 0:
            for reader in list(self._waiting):
                reader.close(DRAINING)
        self.wrapped.doStop()

    def logPrefix(self) -> str:
        """Log under the wrapped factory's name, since this is only how it listens."""
        return log_prefix(self.wrapped)


class _HeaderReader(Protocol):
    """Reads the header, and then puts the protocol that it is for in its own place.

    :ivar reason: why the connection ends before that has happened.
    """

    transport: Any
    reason: CloseReason | None = None
    detail = ""

    _watch: Timeout[Callable[[], None]] | None = None

    def __init__(self, factory: ProxiedFactory) -> None:
        self._factory = factory
        self._parser = ProxyParser()
        self._heard = 0  # bytes

    def logPrefix(self) -> str:
        return self._factory.logPrefix()

    def makeConnection(self, transport: Any) -> None:
        if getattr(transport, "protocol", None) is not self:
            transport.abortConnection()
            raise TypeError(f"a ProxiedFactory has to be the outermost, not inside {transport!r}")
        self.transport = transport
        factory = self._factory
        factory._waiting.add(self)
        self._watch = factory.timers.start(self._too_late, factory.timeout)

    def dataReceived(self, data: bytes) -> None:
        if self._watch is None:  # a transport may have had more when it was told to close
            return
        self._heard += len(data)
        try:
            found = self._parser.feed(data)
        except RemoteProtocolError as error:
            self.close(REASONS[error.code], str(error))
        else:
            if found is not None:
                self._settle()
                self._accept(*found)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._watch is not None:
            self._settle()
            if self._heard:
                self.reason = HANDSHAKE
                self.detail = f"the peer was gone {self._heard} bytes into its PROXY header"
            else:
                self.reason = (
                    PEER_CLOSED if isinstance(reason.value, ConnectionDone) else PEER_RESET
                )
        if self.reason is None:  # the wrapped factory has refused it, and counted that
            return
        code = self.reason.code
        ended = self._factory.ended
        ended[code] = ended.get(code, 0) + 1
        _log.emit(
            LogLevel.info if self.reason.notable else LogLevel.debug,
            "Connection from {peer} ended: {reason}{detail}",
            peer=format_address(normalize_mapped(self.transport.getPeer())),
            reason=code,
            detail=self.detail and f" ({self.detail})",
        )

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Close the connection. Nothing was written, so that waits for nobody."""
        self._settle()
        self.reason = reason
        self.detail = detail
        self.transport.loseConnection()

    def _too_late(self) -> None:
        seconds = self._factory.timeout
        self.close(HANDSHAKE, f"no PROXY header within {seconds:g} s")

    def _settle(self) -> None:
        """It is decided what becomes of the connection."""
        if self._watch is not None:
            self._factory.timers.cancel(self._watch)
            self._watch = None
        self._factory._waiting.discard(self)

    def _accept(self, header: ProxyHeader, rest: bytes) -> None:
        transport = self.transport
        addresses = proxied_addresses(header)
        peer = transport.getPeer() if addresses is None else addresses[0]
        protocol = self._factory.wrapped.buildProtocol(peer)
        if protocol is None:
            transport.loseConnection()
            return
        transport.proxy_header = header
        if addresses is not None:
            told = _HeaderAddresses(*addresses)
            transport.getPeer = told.getPeer
            transport.getHost = told.getHost
        switch_protocol(transport, protocol, rest, self._factory.clock)


class _HeaderAddresses:
    """The addresses that a header tells, as a transport's methods give them."""

    __slots__ = ("_host", "_peer")

    def __init__(self, peer: IAddress, host: IAddress) -> None:
        self._peer = peer
        self._host = host

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint(AnyInterface):
    """A server endpoint whose connections come through proxies; see :class:`ProxiedFactory`.

    What adds TLS goes around it: ``wrapServerTLS(certificate, ProxiedEndpoint(...))``.

    :param endpoint: where to listen; not one that speaks TLS itself, such as ``ssl:``.
    :param trusted: and all others: as in :class:`ProxiedFactory`.
    :ivar ended: as :attr:`ProxiedFactory.ended`, over all times that it has listened.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        trusted: Ranges,
        clock: IReactorTime | None = None,
        timeout: float = TIMEOUT,
        *,
        trust_unix: bool = False,
    ) -> None:
        self.ended: dict[str, int] = {}
        self._endpoint = endpoint
        self._make: Callable[[ProtocolFactory], ProxiedFactory] = lambda wrapped: ProxiedFactory(
            wrapped, trusted, clock, timeout, trust_unix=trust_unix
        )

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        """Listen.

        :return: fires with the port; fails with :exc:`ValueError` where the endpoint wraps the
            factory in something else, before which the header would have to come; otherwise, as
            the endpoint does.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, wrapped: ProtocolFactory) -> IListeningPort:
        factory = self._make(wrapped)
        factory.ended = self.ended
        port: IListeningPort = await self._endpoint.listen(factory)
        if getattr(port, "factory", factory) is not factory:
            port.stopListening()
            raise ValueError(
                "the PROXY header must come before anything that this endpoint adds, such as TLS"
            )
        return port
