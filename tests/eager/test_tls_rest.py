"""TLS on a socket after a part of the handshake was read: behind a PROXY header."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.protocols.tls import BufferingTLSTransport

from tests.eager.reactor_turns import OnStockEagerly
from tests.eager.tls_turns import AsServer, Peer, TLSRecorder, TLSTestCase, server_options
from tests.endpoints.proxying import HEADERS
from twisted_net.eager.tls import EagerTLS
from twisted_net.endpoints.proxied import ProxiedEndpoint
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.policy.ranges import Ranges, parse_range

PROXIES = Ranges([parse_range("trusted", "127.0.0.0/8")])


class Grudging:
    """A socket that takes little, or fails, the first time."""

    def __init__(self, actual: socket.socket, takes: int | OSError) -> None:
        self._actual = actual
        self._takes: Any = takes

    def send(self, data: bytes) -> int:
        takes, self._takes = self._takes, None
        if isinstance(takes, OSError):
            raise takes
        return self._actual.send(data if takes is None else data[:takes])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actual, name)


class AdaptiveCoalescer(AsServer):
    """The ClientHello arrives with the header, whole or in part."""

    def listening(self, made: TLSRecorder) -> Any:
        below = TCP4ServerEndpoint(self.calls, 0, interface="127.0.0.1")
        proxied = ProxiedEndpoint(below, PROXIES, self.reactor)
        endpoint = TLSServerEndpoint(proxied, server_options(), self.reactor)
        factory = Factory.forProtocol(lambda: made)
        factory.noisy = False
        port = self.successResultOf(endpoint.listen(factory))
        self.addCleanup(port.stopListening)
        return port

    def begin(self, made: TLSRecorder, cut: int | None = None, first: bytes = b"") -> Peer:
        """Connect, send a header and the ClientHello up to ``cut``, or ``first`` instead of it."""
        self.port = self.listening(made)
        sock = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        peer = Peer(sock, self.context(), server_hostname="server.example")
        self.addCleanup(sock.close)
        self.until(lambda: self.port.factory.waiting)
        peer._take()  # makes the ClientHello
        self.hello = first or peer.outgoing.read()
        sock.sendall(HEADERS["v2"] + self.hello[:cut])
        return peer

    def waiting(self) -> Any:
        """Return the transport that waits for its header."""
        (reader,) = self.port.factory._waiting
        return reader.transport

    def talk(self, made: TLSRecorder, peer: Peer) -> None:
        """Exchange data and close cleanly."""
        self.until(lambda: peer.shaken and ("handshake",) in made.events, peer)
        peer.send(b"question")
        self.until(lambda: ("data", b"question") in made.events, peer)
        made.transport.write(b"answer")
        self.until(lambda: peer.got == b"answer", peer)
        made.transport.loseConnection()
        self.until(lambda: peer.over, peer)
        self.assertEqual(peer.over, "farewell")
        peer.say_farewell()
        self.until(lambda: made.events[-1] == ("lost", ConnectionDone), peer)

    def test_all_of_it(self) -> None:
        made = TLSRecorder()
        peer = self.begin(made)
        self.until(lambda: made.connected)
        self.assertIs(type(made.transport), EagerTLS)
        self.talk(made, peer)

    def test_a_part(self) -> None:
        """The hello may be cut anywhere, even inside the record header."""
        for cut in (1, 5, 100, -1):
            made = TLSRecorder()
            peer = self.begin(made, cut)
            self.until(lambda made=made: made.connected)
            peer.socket.send(self.hello[cut:])
            self.assertIs(type(made.transport), EagerTLS)
            self.talk(made, peer)

    def test_paused_meanwhile(self) -> None:
        """Data read while paused is delivered later, in order."""
        made = TLSRecorder()
        made.connectionMade = lambda: made.transport.pauseProducing()
        peer = self.begin(made, 100)
        self.until(lambda: made.connected)
        peer.socket.send(self.hello[100:])
        self.settle(peer)
        self.assertFalse(peer.shaken)
        made.transport.resumeProducing()
        self.talk(made, peer)

    def test_written_meanwhile(self) -> None:
        """Data written in connectionMade is sent after the handshake."""
        made = TLSRecorder()
        made.connectionMade = lambda: made.transport.write(b"hello")
        peer = self.begin(made)
        self.until(lambda: peer.got == b"hello", peer)

    def test_aborted_meanwhile(self) -> None:
        made = TLSRecorder()
        made.connectionMade = lambda: made.transport.abortConnection()
        peer = self.begin(made)
        self.until(lambda: peer.over, peer)
        self.assertEqual((peer.over, made.events[-1][0]), ("reset", "lost"))

    def test_no_hello(self) -> None:
        """Anything but a ClientHello is answered by an alert, and ends the connection."""
        made = TLSRecorder()
        peer = self.begin(made, first=b"GET / HTTP/1.1\r\n\r\n")
        self.until(lambda: peer.over, peer)
        self.assertIsInstance(peer.over, ssl.SSLError | str)
        self.until(lambda: made.events, peer)
        self.assertEqual([event[0] for event in made.events], ["lost"])
        self.assertNotIn(made.events[0][1], (ConnectionDone, ConnectionLost))  # it is SSL.Error

    def test_an_answer_that_is_not_taken(self) -> None:
        """If the kernel takes only a part of the answer, Twisted's TLS continues."""
        for takes in (10, BlockingIOError(errno.EWOULDBLOCK, "")):
            made = TLSRecorder()
            peer = self.begin(made)
            transport = self.waiting()
            transport.socket = Grudging(transport.socket, takes)
            self.until(lambda made=made: made.connected, peer)
            self.until(lambda peer=peer: peer.shaken, peer)
            self.assertIs(type(made.transport), BufferingTLSTransport)
            self.talk(made, peer)

    def test_an_answer_that_fails(self) -> None:
        """A send error is reported in a later turn."""
        made = TLSRecorder()
        self.begin(made)
        transport = self.waiting()
        transport.socket = Grudging(transport.socket, ConnectionResetError(errno.ECONNRESET, ""))
        self.until(lambda: made.connected)
        self.assertEqual(made.events, [])
        self.until(lambda: made.events)
        self.assertEqual(made.events, [("lost", ConnectionLost)])


class EagerTests(AdaptiveCoalescer, TLSTestCase):
    """On the ``eager`` reactor."""


class StockTests(AdaptiveCoalescer, OnStockEagerly, TLSTestCase):
    """With eager transports on Twisted's reactor."""
