"""Clients that may not stay, on a port where people with ``nc`` and with browsers come."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, capturedLogs

from tests.web.sockets import WebSocketPeer, opening
from tests.web.test_gateway import WS, GatewayCase
from twisted_net.chat.protocol import HTTP_ALPN
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.ranges import parse_range
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.web.gateway import WebEndpoint
from twisted_net.web.refusals import DECISION_TIME, MOST_REFUSED, REFUSED_A_SECOND
from twisted_net.wire.websocket import CloseFrame

LINE = b"! The server is full.\n"
PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

RULES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"max_connections": 1}, "full"),
    ({"max_per_address": 1}, "too-many"),
    ({"accept_rate": 0.01, "accept_burst": 1}, "too-fast"),
)


class RefusedCase(GatewayCase):
    def refusing(self, **rules: Any) -> Any:
        """Return a chat that has one member, and is full unless the rules are others."""
        rules = rules or {"max_connections": 1}
        self.factory = self.make(admission=Admission(AdmissionRules(**rules)))
        self.first = connect_peer(self.factory)
        return self.factory

    def web_port(self) -> Any:
        """Return the factory of a port for browsers alone."""
        listening: list[Any] = []

        class Endpoint:
            def listen(self, factory: Any) -> Any:
                listening.append(factory)

        WebEndpoint(Endpoint(), self.gateway).listen(self.factory)  # type: ignore[arg-type]
        return listening[0]

    def check_told(self, peer: Peer, code: int, reason: str) -> None:
        """Check that a browser is let in, and then told why it cannot stay."""
        client = WebSocketPeer(peer, WS)
        self.assertEqual(client.status, 101)
        self.assertEqual(client.close_frame(), CloseFrame(code, reason))
        client.send(CloseFrame(code))
        peer.write_eof()
        self.assertFalse(peer.connected)


class ToldTests(RefusedCase):
    def test_every_reason(self) -> None:
        """A browser is told by a close frame, on the chat's port and on one for browsers."""
        for rules, reason in RULES:
            for of_its_own in (False, True):
                factory = self.refusing(**rules)
                port = self.web_port() if of_its_own else factory
                self.check_told(connect_peer(port, clock=self.clock), 1013, reason)
                self.assertEqual((len(factory), factory.admission.open), (1, 1))

    def test_draining(self) -> None:
        """A browser is asked to come back. Nobody else hears anything, as without a gateway."""
        factory = self.refusing()
        factory.accepts = False
        self.check_told(connect_peer(factory), 1012, "draining")
        self.check_told(connect_peer(self.web_port(), clock=self.clock), 1012, "draining")
        nc = connect_peer(factory)
        nc.advance(DECISION_TIME)
        self.assertEqual((nc.received, nc.finished), (b"", True))

    def test_nc(self) -> None:
        """Who says nothing, or something else than HTTP, gets the line, and then the end."""
        factory = self.refusing()
        nc = connect_peer(factory)
        nc.advance(DECISION_TIME - 0.05)
        self.assertEqual((nc.received, nc.finished), (b"", False))
        nc.advance(0.05)
        self.assertEqual((nc.received, nc.finished), (LINE, True))
        for said in (
            b"hello\n",
            b"h",
            b'{"type": "hello"}\n',
            b"GET off my lawn\n",
            b"\xff\xfb\x01",
        ):
            nc = connect_peer(factory)
            nc.send(said)
            self.assertEqual((nc.received, nc.finished), (LINE, True), said)
        nc = connect_peer(factory)
        nc.write_eof()
        self.assertEqual((nc.received, nc.finished), (LINE, True))

    def test_a_request_in_pieces(self) -> None:
        """It may take longer than a silent peer's time, but not as long as it likes."""
        factory = self.refusing()
        peer = connect_peer(factory)
        client = WebSocketPeer(peer, b"")
        for byte in WS:
            self.assertEqual(peer.received, b"")
            peer.send(bytes([byte]))
            peer.advance(0.01)
        answer, _, rest = peer.received.partition(b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "))
        self.assertEqual(client.frames.feed(rest), [CloseFrame(1013, "full")])
        for half in (b"G", b"GET ", WS[:-1]):
            peer = connect_peer(factory)
            peer.send(half)
            peer.advance(8)
            self.assertEqual(peer.received[:13], b"HTTP/1.1 408 " if half == WS[:-1] else b"")
            peer.advance(8)
            self.assertFalse(peer.connected, half)

    def test_a_page(self) -> None:
        """A request for something else is answered with 503; a foreign page's with 403."""
        factory = self.refusing()
        peer = connect_peer(factory)
        peer.send(PAGE)
        head, _, body = peer.received.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 503 "), head)
        self.assertIn(b"\r\nRetry-After: ", head)
        self.assertEqual(body, b"The server is full.\n")
        self.assertTrue(peer.finished)
        for request in (
            opening("/ws", "Origin: http://evil.example"),
            opening("/elsewhere"),
        ):
            self.assertEqual(WebSocketPeer(connect_peer(factory), request).status, 403)

    def test_a_late_browser(self) -> None:
        """On a port for browsers alone, nobody is taken for a person with ``nc``."""
        self.refusing()
        peer = connect_peer(self.web_port(), clock=self.clock)
        peer.advance(2)
        self.assertEqual((peer.received, peer.connected), (b"", True))
        self.check_told(peer, 1013, "full")
        peer = connect_peer(self.web_port(), clock=self.clock)
        peer.send(b"hello\n")
        self.assertEqual(peer.received[:13], b"HTTP/1.1 400 ")
        self.assertTrue(peer.finished)

    def test_over_tls(self) -> None:
        """Who offers ``http/1.1`` speaks HTTP, however late; others get the line."""
        factory = self.refusing()
        peer = connect_tls_peer(factory)
        peer.negotiatedProtocol = HTTP_ALPN
        peer.handshake()
        peer.advance(2)
        self.check_told(peer, 1013, "full")
        peer = connect_tls_peer(factory)
        peer.handshake()
        self.assertEqual(peer.received, b"")
        peer.advance(DECISION_TIME)
        self.assertEqual((peer.received, peer.finished), (LINE, True))
        peer = connect_tls_peer(factory)  # it never shakes hands
        peer.advance(8)
        self.assertEqual((peer.received, peer.connected), (b"", False))

    def test_denied(self) -> None:
        """Who is denied is not let in to be told, with a gateway as without one."""
        rules = AdmissionRules(deny=(parse_range("deny", "192.0.2.0/24"),))
        answers = []
        for gateway in (True, False):
            self.factory = self.make(admission=Admission(rules))
            if not gateway:
                self.factory.gateway = None
            answers.append(connect_peer(self.factory).received)
        self.assertEqual(answers[0], answers[1])

    def test_without_the_gateway(self) -> None:
        """Without it, the line comes at once."""
        factory = self.refusing()
        factory.gateway = None
        self.assertEqual(connect_peer(factory).received, LINE)


class BoundsTests(RefusedCase):
    def test_at_a_time(self) -> None:
        """If many wait to be told, others get the line at once, and nobody stays for long."""
        factory = self.refusing()
        peers = []
        for _ in range(MOST_REFUSED):
            peer = connect_peer(factory)
            peer.send(b"GET ")
            peers.append(peer)
        more = connect_peer(factory)
        self.assertEqual((more.received, more.connected), (LINE, False))
        self.assertRaises(ConnectionRefusedError, connect_peer, self.web_port())
        more.advance(8)
        self.assertEqual([peer for peer in peers if peer.connected], [])
        self.check_told(connect_peer(factory), 1013, "full")

    def test_a_second(self) -> None:
        """Those who leave at once do not make the server tell as many as they like."""
        factory = self.refusing()

        def told() -> int:
            count = 0
            for _ in range(3 * MOST_REFUSED):
                peer = connect_peer(factory)
                if peer.connected:
                    count += 1
                    peer.reset()
            return count

        self.assertEqual(told(), MOST_REFUSED)
        self.assertEqual(told(), 0)
        self.clock.advance(1)
        self.assertEqual(told(), REFUSED_A_SECOND)

    def test_the_log(self) -> None:
        """A flood of refusals does not fill the log, however they end."""
        factory = self.refusing()
        connect_peer(factory).reset()
        with capturedLogs() as events:
            for ending in (b"", b"hello\n", PAGE, WS, b"GET "):
                peer = connect_peer(factory)
                peer.send(ending)
                peer.advance(8)
                self.assertFalse(peer.connected, ending)
        loud = [each for each in events if each["log_level"] is not LogLevel.debug]
        self.assertEqual(loud, [])

    def test_nothing_is_left(self) -> None:
        """No timer, and no connection."""
        factory = self.refusing()
        for ending in (b"", b"hello\n", PAGE, WS, b"GET "):
            peer = connect_peer(factory)
            peer.send(ending)
            peer.advance(8)
        self.first.write_eof()
        self.clock.advance(10)
        self.assertEqual(len(factory), 0)
        self.assertEqual(self.gateway.refusals, 0)

    def test_the_close_grace(self) -> None:
        """A browser that does not close its side is dropped soon."""
        peer = connect_peer(self.refusing())
        WebSocketPeer(peer, WS).take()
        self.assertTrue(peer.connected)
        peer.advance(8)
        self.assertFalse(peer.connected)
