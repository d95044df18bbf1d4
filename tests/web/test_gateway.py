"""People with a browser in the chat."""

from __future__ import annotations

import gc
import json
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import capturedLogs
from twisted.web import resource, server

from tests.chat.chat_peers import GREETING_DELAY, ChatCase
from tests.web.sockets import WebSocketPeer, opening
from twisted_net.chat.greeting import BROWSER_DELAY, BROWSER_MEMORY
from twisted_net.chat.protocol import HTTP_ALPN
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.policy.limits import Limits
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.web.bounded_request import MOST_BODY
from twisted_net.web.gateway import ChatGateway, WebEndpoint, WebSocketMember
from twisted_net.web.pages import POLICY, page_site
from twisted_net.wire.websocket import CloseFrame, PingFrame, PongFrame

WS = opening("/ws", "Sec-WebSocket-Protocol: netchat.v1")


class GatewayCase(ChatCase):
    def make(self, **settings: Any) -> Any:
        chat = super().make(**settings)
        self.gateway = chat.gateway = ChatGateway(
            *(chat, page_site(self.clock, ["https://a.example"]), ["https://a.example"])
        )
        return chat

    def browser(self, peer: Peer | None = None, **settings: Any) -> WebSocketPeer:
        """Open a WebSocket."""
        client = WebSocketPeer(connect_peer(self.factory) if peer is None else peer, WS, **settings)
        self.assertEqual(client.status, 101)
        return client

    def says(self, client: WebSocketPeer, **message: Any) -> list[Any]:
        """Send a JSON message, and return the answers."""
        client.send(json.dumps(message))
        return self.heard(client)

    def heard(self, client: WebSocketPeer) -> list[Any]:
        self.clock.advance(0)
        return [json.loads(each) if isinstance(each, str) else each for each in client.take()]

    def answer_late(self) -> list[server.Request]:
        """Let the site answer nothing by itself, and return where its requests will be."""
        late: list[server.Request] = []

        class Late(resource.Resource):
            isLeaf = True

            def render_GET(self, request: server.Request) -> int:
                late.append(request)
                return server.NOT_DONE_YET

        site = server.Site(Late(), reactor=self.clock)  # type: ignore[no-untyped-call]
        self.factory.gateway = ChatGateway(self.factory, site)
        return late

    def page(self, request: bytes) -> bytes:
        """Return the answer to a request on the chat's port."""
        peer = connect_peer(self.factory)
        peer.send(request)
        self.clock.advance(0)
        return peer.take()


class MemberTests(GatewayCase):
    def test_one_room_for_all(self) -> None:
        """A browser, ``nc`` and a program are in one room, on one port."""
        ann, bot = self.user("ann"), self.program("bot")
        client = self.browser()
        welcome, joined = self.says(client, type="hello", nick="web", room="lobby")
        self.assertEqual((welcome["nick"], joined["members"]), ("web", ["ann", "bot", "web"]))
        self.pass_presence(ann, bot)
        self.heard(client)
        (ack,) = self.says(client, type="message", room="lobby", text="from the web", id="1")
        self.assertEqual((ack["type"], ack["id"]), ("ack", "1"))
        self.assertEqual(ann.take(), b"<web> from the web\n")
        self.assertEqual(bot.heard()[0]["text"], "from the web")
        ann.send("grüße\n".encode())
        self.clock.advance(0)
        (said,) = self.heard(client)
        self.assertEqual((said["from"], said["text"]), ("ann", "grüße"))

    def test_one_compressed_frame_for_all(self) -> None:
        """Members that agreed on compression share a frame; others get it as it is."""
        offer = opening("/ws", "Sec-WebSocket-Extensions: permessage-deflate")
        clients = []
        for number, request in enumerate((offer, offer, WS)):
            client = WebSocketPeer(
                connect_peer(self.factory), request, window_bits=12 * (request is offer)
            )
            self.says(client, type="hello", nick=f"web{number}", room="lobby")
            clients.append(client)
        self.pass_presence()
        for client in clients:
            client.take()
        self.user("ann").send(b"long " * 500 + b"\n")
        self.clock.advance(0)
        sizes = [len(client.peer.received) for client in clients]
        self.assertEqual(sizes[0], sizes[1])
        self.assertLess(sizes[0] * 5, sizes[2])
        for client in clients:
            self.assertEqual(self.heard(client)[-1]["text"], "long " * 500)

    def test_a_first_line_in_pieces(self) -> None:
        """A request is recognised however it is split, and nothing is said in the room."""
        ann = self.user("ann")
        peer = connect_peer(self.factory)
        for byte in WS:
            peer.send(bytes([byte]))
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 101 "))
        self.pass_presence()
        self.assertEqual(ann.take(), b"")

    def test_nobody_is_announced_before_hello(self) -> None:
        ann = self.user("ann")
        self.pass_presence(ann)
        client = self.browser()
        self.pass_presence()
        self.assertEqual((ann.take(), self.heard(client)), (b"", []))
        self.assertEqual(len(self.factory), 2)
        client.peer.write_eof()
        self.pass_presence()
        self.assertEqual((ann.take(), len(self.factory)), (b"", 1))

    def test_heartbeat(self) -> None:
        """Both kinds of ping are sent: a page sees only the one of the chat."""
        client = self.browser()
        self.says(client, type="hello", nick="web", room="lobby")
        self.pass_presence()
        client.take()
        client.peer.advance(46)
        self.assertEqual(self.heard(client), [PingFrame(), {"type": "ping"}])
        client.send(PongFrame())
        client.peer.advance(46)
        self.assertIsNone(client.peer.protocol.reason)

    def test_a_slow_head(self) -> None:
        """Nobody types it: byte by byte, it has no more time than at once."""
        limits = Limits(handshake_timeout=10, message_timeout=10, max_message=8192)
        peer = connect_peer(self.make(limits=limits))
        peer.send(b"GET /ws HTTP/1.1\r\n")
        for byte in b"X: " + b"x" * 30:
            peer.send(bytes([byte]))
            peer.advance(0.5)
        self.assertFalse(peer.connected)

    def test_pings_count(self) -> None:
        """They are answered no faster than messages are taken."""
        self.factory = self.make(limits=Limits(rate=10, burst=5, max_message=8192))
        client = self.browser()
        client.send(*[PingFrame(b"%d" % number) for number in range(20)])
        self.assertEqual(len(self.heard(client)), 20)  # they came in one piece
        client.send(PingFrame(b"more"))
        client.peer.advance(1.4)
        self.assertEqual(self.heard(client), [])
        client.peer.advance(0.3)
        self.assertEqual(self.heard(client), [PongFrame(b"more")])

    def test_the_whole_url(self) -> None:
        """A request may name the host in its first line."""
        for url in ("http://192.0.2.1/ws", "https://192.0.2.1:8080/ws?x"):
            client = WebSocketPeer(connect_peer(self.factory), opening(url))
            self.assertEqual(client.status, 101, url)
        for url in ("http://192.0.2.1/x", "http://192.0.2.1/x/ws", "//192.0.2.1/ws"):
            client = WebSocketPeer(connect_peer(self.factory), opening(url))
            self.assertEqual(client.status, 403, url)

    def test_binary(self) -> None:
        client = self.browser()
        client.send(b"\xff\xfb\x01")
        (error,) = self.heard(client)
        self.assertEqual(error["code"], "bad-json")

    def test_the_end(self) -> None:
        """A goodbye, and then the close frame of the reason; with one's leaving announced."""
        ann = self.user("ann")
        client = self.browser()
        self.says(client, type="hello", nick="web", room="lobby")
        self.pass_presence(ann)
        client.take()
        goodbye, close = self.says(client, type="quit")
        self.assertEqual((goodbye["type"], goodbye["code"]), ("goodbye", "quit"))
        self.assertEqual(close, CloseFrame(1000, "quit"))
        client.peer.write_eof()
        self.pass_presence()
        self.assertIn(b"web", ann.take())
        client = self.browser()
        self.factory.close(DRAINING)
        goodbye, close = self.heard(client)
        self.assertEqual((goodbye["retry"], close), (True, CloseFrame(1012, "draining")))

    def test_over_tls(self) -> None:
        """Who offers ``http/1.1`` speaks HTTP from the beginning, and is not greeted."""
        self.assertEqual(self.factory.acceptableProtocols(), [HTTP_ALPN])
        peer = connect_tls_peer(self.factory)
        peer.negotiatedProtocol = HTTP_ALPN
        peer.handshake()
        self.clock.advance(2 * GREETING_DELAY)
        self.assertEqual(peer.take(), b"")
        client = self.browser(peer)
        self.assertEqual(self.says(client, type="hello", nick="web")[0]["type"], "welcome")
        other = connect_tls_peer(self.factory)
        other.handshake()
        self.clock.advance(2 * GREETING_DELAY)
        self.assertIn(b"Welcome", other.take())

    def test_silent_beside_a_browser(self) -> None:
        """Where a browser has just asked for something, who is silent is greeted later."""
        first, other = self.silent("192.0.2.1"), self.silent("192.0.2.2")
        first.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        second, third = self.silent("192.0.2.1"), self.silent("192.0.2.2")
        self.clock.advance(BROWSER_DELAY - 0.1)
        self.assertIn(b"Welcome", other.take())
        self.assertIn(b"Welcome", third.take())
        self.assertEqual(second.take(), b"")
        second.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # it was lost once
        self.clock.advance(0)
        self.assertIn(b"HTTP/1.1 200 OK", second.take())
        fourth = self.silent("192.0.2.1")
        self.clock.advance(BROWSER_DELAY)
        self.assertIn(b"Welcome", fourth.take())
        self.clock.advance(BROWSER_MEMORY)
        fifth = self.silent("192.0.2.1")
        self.clock.advance(GREETING_DELAY)
        self.assertIn(b"Welcome", fifth.take())

    def silent(self, host: str) -> Peer:
        """Connect from an address."""
        return connect_peer(self.factory, peer=IPv4Address("TCP", host, 50000))

    def test_places(self) -> None:
        """A browser has one place of the admission, also after it has become a member."""
        self.factory.admission = admission = Admission(AdmissionRules(max_per_address=5))
        client = self.browser()
        self.assertEqual(admission.open, 1)
        client.peer.write_eof()
        self.assertEqual(admission.open, 0)

    def test_a_foreign_page(self) -> None:
        for origin, status in (("http://evil.example", 403), ("https://a.example", 101)):
            request = opening("/ws", f"Origin: {origin}")
            self.assertEqual(WebSocketPeer(connect_peer(self.factory), request).status, status)
        self.assertEqual(
            WebSocketPeer(connect_peer(self.factory), opening("/elsewhere")).status, 403
        )


class PageTests(GatewayCase):
    def test_the_page(self) -> None:
        answer = self.page(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        self.assertIn(f"Content-Security-Policy: {POLICY}".encode(), head)
        self.assertIn(b"<!doctype html>", body.lower())

    def test_several_requests(self) -> None:
        """The connection is kept for more requests; a browser asks for the files one by one."""
        peer = connect_peer(self.factory)
        for path in (b"/", b"/page.css", b"/main.js", b"/"):
            peer.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.clock.advance(0)
            self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "), path)

    def test_what_there_is_not(self) -> None:
        """Nothing but the files of the page is served, and no form speaks in a room."""
        ann = self.user("ann")
        for path in (b"/x", b"/../setup.cfg", b"/%2e%2e/__init__.py", b"/index.html/x"):
            answer = self.page(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), path)
        body = b"/nick evil\r\nhello\r\n"
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.assertTrue(self.page(head + body).startswith(b"HTTP/1.1 405 "))
        self.pass_presence()
        self.assertEqual(ann.take(), b"")

    def test_a_large_body(self) -> None:
        """It is refused before it has come: Twisted would keep any number of bytes in a file."""
        start = b"GET / HTTP/1.1\r\nHost: x\r\n"
        for rest in (
            b"Content-Length: %d\r\n\r\n" % (MOST_BODY + 1),
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (1 << 30) + b"x" * (MOST_BODY + 1),
        ):
            peer = connect_peer(self.factory)
            peer.send(start + rest)
            self.clock.advance(0)
            self.assertTrue(peer.take().startswith(b"HTTP/1.1 413 "))
            self.assertTrue(peer.finished)
            peer.write_eof()  # Twisted closes the file with what has come

    def test_rebinding(self) -> None:
        """On loopback, a page is served only by a name of the loopback interface."""
        local = IPv4Address("TCP", "127.0.0.1", 8080)
        for host, status in (
            (b"localhost", b"200"),
            (b"127.0.0.1:8080", b"200"),
            (b"evil", b"403"),
            (b"a.example", b"200"),  # a proxy on this machine
            (b"A.example.:443", b"200"),
            (b"b.a.example", b"403"),
        ):
            peer = connect_peer(self.factory, host=local)
            peer.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.clock.advance(0)
            self.assertEqual(peer.take().split()[1], status)

    def test_rebinding_on_all_addresses(self) -> None:
        """A port for IPv6 and IPv4 has a mapped address."""
        local = IPv6Address("TCP", "::ffff:127.0.0.1", 8080)
        for host, status in ((b"localhost", b"200"), (b"evil", b"403"), (b"\x80", b"403")):
            peer = connect_peer(self.factory, host=local)
            peer.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.clock.advance(0)
            self.assertEqual(peer.take().split()[1], status)

    def test_a_host_that_is_no_text(self) -> None:
        """Where hosts are not looked at, it is no error; nothing of it is logged."""
        with capturedLogs() as logs:
            answer = self.page(b"GET / HTTP/1.1\r\nHost: \x80\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
        self.assertEqual([each for each in logs if each.get("log_failure")], [])

    def test_without_the_gateway(self) -> None:
        """Without it, HTTP is turned away with one sentence."""
        self.factory.gateway = None
        self.assertTrue(self.page(WS).startswith(b"HTTP/1.1 400 "))

    def test_pages_count(self) -> None:
        """A connection on which pages are served has a place of the admission, until it ends."""
        self.factory = self.make(admission=Admission(AdmissionRules(max_connections=5)))
        admission = self.factory.admission
        peer = connect_peer(self.factory)
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual((admission.open, len(self.factory)), (1, 0))
        peer.write_eof()
        self.clock.advance(0)
        self.assertEqual(admission.open, 0)

    def test_others_pay_nothing(self) -> None:
        """Looking for requests costs users and programs no attribute, which is 1,300 bytes."""
        for first in (b"hello\n", b'{"type":"hello"}\n'):
            peer = connect_peer(self.factory)
            peer.send(first)
            self.assertNotIn("_request", vars(peer.protocol))

    def test_they_stop(self) -> None:
        """Connections of pages close with the service, and are aborted if the browser does not."""
        peers = [connect_peer(self.factory) for _ in range(2)]
        for peer in peers:
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual(self.gateway.pages, 2)
        stopped = self.gateway.stop(3)
        self.clock.advance(0)
        self.assertTrue(all(peer.finished for peer in peers))
        peers[0].write_eof()
        self.clock.advance(2)
        self.assertEqual(self.gateway.pages, 1)
        self.assertNoResult(stopped)
        self.clock.advance(2)
        self.successResultOf(stopped)
        self.assertEqual(self.gateway.pages, 0)

    def test_people_are_not_taken_for_browsers(self) -> None:
        """Words that only look like a method are said; typed letter by letter, too."""
        ann, bob = self.user("ann"), connect_peer(self.factory)
        for letter in b"GET off my lawn\n":
            bob.send(bytes([letter]))
        self.clock.advance(0)
        self.assertIn(b"> GET off my lawn\n", ann.take())


class WebEndpointTests(GatewayCase):
    def test_http_alone(self) -> None:
        """On a port for browsers, nobody is greeted, and lines are no requests."""
        listening: list[Any] = []

        class Endpoint:
            def listen(self, factory: Any) -> Any:
                listening.append(factory)

        WebEndpoint(Endpoint(), self.gateway).listen(self.factory)  # type: ignore[arg-type]
        (port,) = listening
        self.assertEqual(port.acceptableProtocols(), [HTTP_ALPN])
        peer = connect_peer(port, clock=self.clock)
        self.clock.advance(2 * GREETING_DELAY)
        self.assertEqual(peer.take(), b"")
        client = self.browser(peer)
        self.assertIsInstance(peer.protocol, WebSocketMember)
        self.assertEqual(self.says(client, type="hello", nick="web")[0]["type"], "welcome")
        self.assertEqual(len(self.factory), 1)


class MemoryTests(GatewayCase):
    def test_no_dictionaries(self) -> None:
        """Neither a member nor its transport has to store its attributes in a dictionary."""
        replaced: list[str] = []

        def replace(peer: Peer, name: str, value: object) -> None:
            replaced.append(name)
            object.__setattr__(peer, name, value)

        self.patch(Peer, "__setattr__", replace)
        for number in range(40):  # more than the thirty in which CPython lets names be shared
            client = self.browser()
            client.send(f'{{"type":"hello","nick":"m{number}","room":"r"}}')
        member = client.peer.protocol
        held = [type(each) for each in gc.get_referents(member)]
        self.assertNotIn(dict, held)
        self.assertNotIn("pauseProducing", replaced)
        self.assertEqual((member.target, member.subprotocol), ("/ws", "netchat.v1"))
