"""Methods other than GET and HEAD: each gets 405, whatever it asks for, and is the last request."""

from __future__ import annotations

from tests.web.test_bad_heads import LONG, PAGE, BadHeadCase
from tests.web.test_gateway import GatewayCase
from twisted_net.chat.protocol import HTTP_ALPN
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.web.gateway import WebEndpoint
from twisted_net.web.pages import page_site

TARGETS = (
    *(f"{method} /" for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")),
    "POST /nope",
    "OPTIONS *",
    "CONNECT localhost:80",
    "PUT http://x/",
    "get /",
    "HEADER /",
)


class OtherMethodsTests(GatewayCase, BadHeadCase):
    def connections(self) -> list[Peer]:
        """Return one to the chat's port, one over TLS, one to a port for HTTP, and a kept one."""
        listening: list[object] = []

        class Endpoint:
            def listen(self, factory: object) -> None:
                listening.append(factory)

        WebEndpoint(Endpoint(), self.gateway).listen(self.factory)  # type: ignore[arg-type]
        tls = connect_tls_peer(self.factory)
        tls.negotiatedProtocol = HTTP_ALPN
        tls.handshake()
        kept = connect_peer(self.factory)
        kept.send(PAGE)
        self.clock.advance(0)
        kept.take()
        return [connect_peer(self.factory), tls, connect_peer(listening[0], clock=self.clock), kept]

    def check_refused(self, peer: Peer, answer: bytes) -> None:
        self.check_answer(answer, 405)
        self.assertIn(b"\r\nAllow: GET, HEAD\r\n", answer)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertTrue(peer.finished)
        before = len(peer.received)
        peer.send(LONG, PAGE)  # it is read, so that no reset takes the answer away
        peer.write_eof()
        self.clock.advance(0)
        self.assertEqual((len(peer.received), peer.connected), (before, False))

    def test_each(self) -> None:
        """On each port, with a request right behind it."""
        for target in TARGETS:
            request = f"{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            for peer in self.connections():
                peer.send(request + PAGE)
                self.clock.advance(0)
                self.check_refused(peer, peer.take())

    def test_bodies(self) -> None:
        """A body is not waited for, not asked for, and not obeyed."""
        for fields, body in (
            (b"Content-Length: 4", b""),
            (b"Content-Length: 4", b"abcd"),
            (b"Content-Length: 99999999", LONG),
            (b"Content-Length: 4\r\nExpect: 100-continue", b""),
            (b"Transfer-Encoding: chunked", b"4\r\nab"),
            (b"Content-Length: %d" % len(PAGE), PAGE),
        ):
            request = b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n" + body
            for peer in self.connections():
                peer.send(request)
                self.clock.advance(0)
                self.check_refused(peer, peer.take())

    def test_behind_others(self) -> None:
        """The answers to the requests before it come first."""
        peer = connect_peer(self.factory)
        peer.send(PAGE * 2 + b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n" + PAGE)
        self.clock.advance(0)
        first, _, last = peer.received.rpartition(b"HTTP/1.1 ")
        self.assertEqual(first.count(b"HTTP/1.1 200 "), 2)
        self.check_refused(peer, b"HTTP/1.1 " + last)

    def test_an_old_version(self) -> None:
        peer = connect_peer(self.factory)
        peer.send(b"PUT / HTTP/1.0\r\n\r\n")
        self.clock.advance(0)
        self.check_refused(peer, peer.take())

    def test_a_site_without_a_guard(self) -> None:
        """The page's site alone does the same."""
        peer = connect_peer(page_site(self.clock), clock=self.clock)
        peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd" + PAGE)
        self.check_answer(peer.received, 405)
