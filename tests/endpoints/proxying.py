"""Helpers for the tests of connections through a proxy."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.proxy_headers import encode_v1, encode_v2
from twisted_net.endpoints.proxied import ProxiedFactory
from twisted_net.policy.ranges import Ranges, parse_range
from twisted_net.testing import Peer, connect_peer
from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader

PROXY = IPv4Address("TCP", "10.0.0.9", 40000)
STRANGER = IPv4Address("TCP", "203.0.113.9", 40000)
ANN = ProxyHeader(Family.IPV4, Endpoint("192.0.2.77", 56324), Endpoint("198.51.100.2", 443))
ANN_ADDRESSES = IPv4Address("TCP", "192.0.2.77", 56324), IPv4Address("TCP", "198.51.100.2", 443)
HEADERS = {"v1": encode_v1(ANN), "v2": encode_v2(ANN, checksum=True)}
TRUSTED = Ranges([parse_range("trusted", "10.0.0.0/8"), parse_range("trusted", "fd00::/8")])


class Noting(Protocol):
    """Records events, and the addresses it sees when the connection is made."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.addresses: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.addresses = self.transport.getPeer(), self.transport.getHost()

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.events.append(reason.type)

    @property
    def received(self) -> bytes:
        return b"".join(event for event in self.events if isinstance(event, bytes))


class Wrapped(Factory):  # type: ignore[type-arg]
    """Records what it builds, and for which address. It may reject connections."""

    noisy = False

    def __init__(self, protocol: Any = Noting) -> None:
        self.protocol = protocol
        self.built: list[Any] = []
        self.asked: list[Any] = []
        self.refuses = False
        self.running = 0

    def doStart(self) -> None:
        self.running += 1

    def doStop(self) -> None:
        self.running -= 1

    def buildProtocol(self, addr: Any) -> Any:
        self.asked.append(addr)
        if self.refuses:
            return None
        self.built.append(super().buildProtocol(addr))
        return self.built[-1]


class ProxiedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wrapped = Wrapped()
        self.factory = ProxiedFactory(self.wrapped, TRUSTED, self.clock)

    def connect(self, peer: Any = PROXY) -> Peer:
        return connect_peer(self.factory, clock=self.clock, peer=peer)

    def lines(self, logged: Any) -> list[tuple[str, str]]:
        """Return level and text of this module's log lines."""
        return [
            (event["log_level"].name, event["log_format"].format(**event))
            for event in logged
            if "log_failure" not in event
        ]
