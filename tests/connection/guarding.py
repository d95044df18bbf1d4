"""Protocols of other applications, for tests of the guard."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_net.connection.guard import GuardFactory
from twisted_net.testing import Peer, TLSPeer, connect_peer, connect_tls_peer


class Plain(Protocol):
    """An ordinary Twisted protocol that records what it receives."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.events.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfClosing(Plain):
    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")


@implementer(IHandshakeListener)
class Listening(Plain):
    def handshakeCompleted(self) -> None:
        self.events.append("handshake")


@implementer(IPushProducer)
class Producer:
    """Counts its calls."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class GuardCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def guard(self, protocol: Any = Plain, **settings: Any) -> GuardFactory:
        factory = Factory.forProtocol(protocol)
        factory.noisy = False
        return GuardFactory(factory, clock=self.clock, **settings)

    def made(self, protocol: Any = Plain, **settings: Any) -> tuple[Any, Peer]:
        """Return the wrapped protocol and its peer."""
        peer = connect_peer(self.guard(protocol, **settings))
        return peer.protocol.wrapped, peer

    def made_tls(self, protocol: Any = Plain, **settings: Any) -> tuple[Any, TLSPeer]:
        peer = connect_tls_peer(self.guard(protocol, **settings))
        return peer.protocol.wrapped, peer
