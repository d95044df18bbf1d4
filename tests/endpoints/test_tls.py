"""Tests for :mod:`twisted_net.endpoints.tls`."""

from __future__ import annotations

import contextlib
from typing import Any

from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.tls.handshakes import NOW, Visitor
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import self_signed_pair


@implementer(IOpenSSLServerConnectionCreator)
class Never:
    """Fails if an OpenSSL object is requested."""

    def serverConnectionForTLS(self, protocol: object) -> Any:
        raise AssertionError("nobody is there to speak TLS with")


class Refusing(Factory[Protocol]):
    """Rejects every connection."""

    def buildProtocol(self, addr: object) -> None:
        return None


class EndpointTests(SynchronousTestCase):
    def listen(self, creator: Any, factory: Any) -> Any:
        """Listen, and return the factory of the port."""
        reactor = MemoryReactorClock()
        endpoint = TLSServerEndpoint(TCP4ServerEndpoint(reactor, 8443), creator, clock=reactor)
        port = self.successResultOf(endpoint.listen(factory))
        self.assertEqual(port.getHost().port, 8443)
        return reactor.tcpServers[0][1]

    def test_the_creator(self) -> None:
        """The creator is one that Twisted accepts."""
        certificates = Certificates.from_pair(self_signed_pair(NOW), "some")
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, certificates))

    def test_refused(self) -> None:
        """A factory that rejects a connection costs no TLS."""
        self.assertIsNone(self.listen(Never(), Refusing()).buildProtocol(None))

    def test_accepted(self) -> None:
        """A protocol gets what the client sends."""
        received: list[bytes] = []

        class Receiving(Protocol):
            def dataReceived(self, data: bytes) -> None:
                received.append(data)

        certificates = Certificates.from_pair(self_signed_pair(NOW), "some")
        factory = self.listen(certificates, Factory.forProtocol(Receiving))
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        visitor = Visitor(certificates)
        visitor.server = protocol.getHandle()
        for sends in (None, None, b"hello"):
            with contextlib.suppress(SSL.WantReadError):
                if sends is None:
                    visitor.client.do_handshake()
                else:
                    visitor.client.send(sends)
            protocol.dataReceived(visitor.client.bio_read(1 << 16))
            if transport.value():
                visitor.client.bio_write(transport.value())
                transport.clear()
        self.assertEqual(received, [b"hello"])
