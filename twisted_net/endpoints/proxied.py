"""Connections that come through a proxy, but have the address of their client.

The proxy sends the client's address in a header of the PROXY protocol, before everything else,
including TLS; see :mod:`twisted_net.wire.proxy_protocol`::

    trusted = Ranges([parse_range("proxies", "10.0.0.0/8")])
    endpoint = ProxiedEndpoint(serverFromString(reactor, "tcp:8080"), trusted)
    wrapServerTLS(certificate, endpoint).listen(factory)  # or, without TLS: endpoint.listen(...)

After the header, nothing remains between the transport and the protocol. The protocol that reads
the header replaces itself with the real one, as Twisted's ``startTLS`` does. So reading, writing,
half-close, producers and TLS are the transport's own, at no extra cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from twisted_net.connection.addresses import format_peer, proxied_addresses
from twisted_net.connection.stopping import has_stopped, watch_stop
from twisted_net.connection.timer_wheel import Timeout
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.endpoints.switch_protocol import log_prefix, switch_protocol
from twisted_net.interfaces import AnyInterface, ProtocolFactory, ServerEndpoint
from twisted_net.policy.close_reasons import (
    CLOSED,
    DRAINING,
    HANDSHAKE,
    PEER_CLOSED,
    PEER_RESET,
    REASONS,
    CloseReason,
)
from twisted_net.policy.ranges import Ranges
from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader, ProxyParser
from twisted_net.wire.text import counted

_log = Logger()

TIMEOUT = 10.0
"""Seconds that a proxy has to send its header. The specification (section 2) wants at least 3, so
that a lost segment can be sent again. A TLS handshake has 10 as well."""


def proxy_header(transport: Any) -> ProxyHeader | None:
    """Return the header that the proxy sent, which may describe its TLS to the client.

    :param transport: a protocol's transport, or a wrapper around it such as TLS.
    :return: None if the connection did not begin with a header.
    """
    while transport is not None:
        header = getattr(transport, "proxy_header", None)
        if isinstance(header, ProxyHeader):
            return header
        transport = getattr(transport, "transport", None)
    return None


@implementer(IProtocolFactory, ILoggingContext)
class ProxiedFactory(AnyInterface):
    """Wraps a factory whose connections from known proxies begin with a PROXY header.

    When the header is complete, the wrapped factory's ``buildProtocol`` is called with the client's
    address. So it admits, counts and logs clients, not proxies. If it returns None, the connection
    is closed. From ``connectionMade`` on, ``transport.getPeer()`` and ``getHost()`` return the
    addresses of the header. If the header has none (for a proxy's own health check, for example),
    they return those of the connection.

    Connections from addresses that are not trusted go straight to the wrapped factory, with or
    without a header.

    This must be the outermost factory, the one that the port gets: a factory around it would see
    the bytes of the header, and the proxy's address. :class:`ProxiedEndpoint` ensures this.

    :param wrapped: the factory of the service, or one that adds TLS to it.
    :param trusted: the proxies. A connection from them without a header is closed.
    :param clock: the clock; without it, the reactor, on first use.
    :param timeout: seconds from the start of the connection to the end of the header; it may take
        one second longer.
    :param trust_unix: whether peers of a Unix socket are proxies too. They have no address, but the
        socket file has permissions. As nginx' ``set_real_ip_from unix:``.
    :raises ValueError: an invalid timeout.
    :ivar ended: the number of connections that ended before their header was complete, by the code
        of the reason: ``bad-input``, ``handshake``, ``draining``, ``closed``; ``peer-closed`` and
        ``peer-reset`` are peers that never sent a byte, as health checks do. Those are not logged.
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
        """The clock that measures the timeout."""
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
        # The address of a Unix socket has no host, and neither has an unknown one.
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
        """Count a stopped port. With the last one, close connections without a complete header."""
        self._ports -= 1
        if self._ports == 0:
            for reader in list(self._waiting):
                reader.close(DRAINING)
        self.wrapped.doStop()

    def logPrefix(self) -> str:
        """Return the name of the wrapped factory, for the log."""
        return log_prefix(self.wrapped)


class _HeaderReader(Protocol):
    """Reads the header, and then replaces itself with the real protocol.

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
            raise TypeError(
                f"a ProxiedFactory must be the outermost factory, not inside {transport!r}"
            )
        self.transport = transport
        factory = self._factory
        factory._waiting.add(self)
        watch_stop(factory.clock)
        self._watch = factory.timers.start(self._too_late, factory.timeout)

    def dataReceived(self, data: bytes) -> None:
        if self._watch is None:  # a transport may deliver more after loseConnection()
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
            if has_stopped(self._factory.clock):
                self.reason, self.detail = CLOSED, "the reactor has stopped"
            elif self._heard:
                self.reason = HANDSHAKE
                self.detail = (
                    f"the peer was gone {counted(self._heard, 'byte')} into its PROXY header"
                )
            else:
                self.reason = (
                    PEER_CLOSED if isinstance(reason.value, ConnectionDone) else PEER_RESET
                )
        if self.reason is None:  # the wrapped factory has rejected it, and counted that
            return
        code = self.reason.code
        ended = self._factory.ended
        ended[code] = ended.get(code, 0) + 1
        if not self._heard and not self.reason.notable:  # a health check
            return
        _log.emit(
            LogLevel.info if self.reason.notable else LogLevel.debug,
            "Connection from {peer} ended: {reason}" + (" ({detail})" if self.detail else ""),
            peer=format_peer(self.transport),
            reason=code,
            detail=self.detail,
        )

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Close the connection. Nothing was written, so this waits for no peer."""
        self._settle()
        self.reason = reason
        self.detail = detail
        self.transport.loseConnection()

    def _too_late(self) -> None:
        seconds = self._factory.timeout
        self.close(HANDSHAKE, f"no PROXY header within {seconds:g} s")

    def _settle(self) -> None:
        """Stop waiting for the header."""
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
        _tell(transport, header)
        switch_protocol(transport, protocol, rest, self._factory.clock)


class _HeaderAddresses:
    """The addresses of a header, with the methods of a transport."""

    __slots__ = ("_host", "_peer")

    def __init__(self, peer: IAddress, host: IAddress) -> None:
        self._peer = peer
        self._host = host

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host


def export_proxy(transport: Any) -> dict[str, Any] | None:
    """Return the header that a proxy sent, as JSON and bytes; None if there was none.

    :param transport: the transport itself, and no wrapper.
    """
    header = getattr(transport, "proxy_header", None)
    if not isinstance(header, ProxyHeader):
        return None
    return {
        "family": header.family.name,
        "addresses": [header.source, header.destination],
        "flags": [header.local, header.datagram],
        "tlvs": header.tlvs,
    }


def restore_proxy(transport: Any, state: Mapping[str, Any]) -> None:
    """Give an adopted transport the header from :func:`export_proxy`, and its addresses."""
    source, destination = (each and Endpoint(*each) for each in state["addresses"])
    tlvs = tuple((kind, value) for kind, value in state["tlvs"])
    family = Family[state["family"]]
    local, datagram = state["flags"]
    header = ProxyHeader(family, source, destination, local, datagram, tlvs)
    _tell(transport, header)


def _tell(transport: Any, header: ProxyHeader) -> None:
    """Let a transport have the header, and the addresses in it."""
    transport.proxy_header = header
    addresses = proxied_addresses(header)
    if addresses is not None:
        told = _HeaderAddresses(*addresses)
        transport.getPeer = told.getPeer
        transport.getHost = told.getHost


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint(AnyInterface):
    """A server endpoint whose connections come through proxies; see :class:`ProxiedFactory`.

    TLS goes around it: ``wrapServerTLS(certificate, ProxiedEndpoint(...))``.

    :param endpoint: where to listen; not an endpoint that uses TLS itself, such as ``ssl:``.
    :param trusted: this and all others as in :class:`ProxiedFactory`.
    :ivar ended: as :attr:`ProxiedFactory.ended`, summed over all calls of :meth:`listen`.
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

        :return: fires with the port; fails with :exc:`ValueError` if the endpoint wraps the
            factory in something that would have to come after the header, such as TLS; otherwise
            fails as the endpoint does.
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
