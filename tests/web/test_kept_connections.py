"""Connections that are used for more than one request, as proxies and browsers do."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web import resource, server

from tests.web.sockets import WebSocketPeer, opening
from tests.web.test_gateway import WS, GatewayCase
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.gateway import ChatGateway, WebSocketMember
from twisted_net.web.request_head import MAX_HEAD, RequestHeads
from twisted_net.wire.websocket import CloseFrame

PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class KeptCase(GatewayCase):
    def kept(self, requests: int = 1) -> Peer:
        """Return a connection on which pages were served."""
        peer = connect_peer(self.factory)
        for _ in range(requests):
            peer.send(PAGE)
            self.clock.advance(0)
            self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "))
        return peer

    def check_member(self, client: WebSocketPeer, nick: str = "web") -> None:
        self.assertEqual(client.status, 101, client.answer)
        self.assertIsInstance(client.peer.protocol, WebSocketMember)
        self.assertEqual(self.says(client, type="hello", nick=nick)[0]["nick"], nick)


class UpgradeTests(KeptCase):
    def test_after_pages(self) -> None:
        """Who has had pages on a connection becomes a member on the same one."""
        for count in (1, 3):
            self.check_member(WebSocketPeer(self.kept(count), WS), f"web{count}")
        self.assertEqual(len(self.factory), 2)

    def test_in_pieces(self) -> None:
        """The request comes byte by byte, with a message right behind it."""
        peer = self.kept()
        client = WebSocketPeer(peer, b"")
        hello = client.frames.encode('{"type": "hello", "nick": "web"}')
        for byte in WS + hello:
            peer.send(bytes([byte]))
        self.clock.advance(0)
        self.assertTrue(peer.received.startswith(b"HTTP/1.1 101 "))
        self.assertIn(b'"nick":"web"', peer.received.replace(b" ", b""))

    def test_in_one_piece(self) -> None:
        """A page and an upgrade in one piece are answered in this order."""
        for pages in (1, 2):
            peer = connect_peer(self.factory)
            client = WebSocketPeer(peer, b"")
            hello = client.frames.encode(f'{{"type": "hello", "nick": "n{pages}"}}')
            peer.send(PAGE * pages + WS + hello)
            self.clock.advance(0)
            self.assertEqual(peer.received.count(b"HTTP/1.1 200 "), pages)
            self.assertIn(b"HTTP/1.1 101 ", peer.received)
            self.assertIn(b'"n%d"' % pages, peer.received)

    def test_who_does_not_read(self) -> None:
        """An upgrade waits until the pages before it are sent."""
        peer = connect_peer(self.factory)
        peer.full()
        peer.send(PAGE)
        peer.send(WS)
        self.clock.advance(0)
        self.assertNotIn(b"HTTP/1.1 101 ", peer.received)
        peer.drain()
        self.clock.advance(0)
        self.assertEqual(peer.received.count(b"HTTP/1.1 200 "), 1)
        self.assertIn(b"HTTP/1.1 101 ", peer.received)

    def test_before_an_answer(self) -> None:
        """A site that has not answered yet answers in order; the upgrade is then ignored."""
        late = self.answer_late()
        peer = connect_peer(self.factory)
        peer.send(PAGE * 2)
        peer.send(WS + b"what comes behind it")
        for word in (b"one", b"two", b"three"):
            self.clock.advance(0)
            request = late.pop()
            self.assertEqual(late, [])
            request.write(word)
            request.finish()  # type: ignore[no-untyped-call]
        self.clock.advance(0)
        for words in ((b"one", b"two"), (b"two", b"three")):
            self.assertLess(*map(peer.received.index, words))
        self.assertNotIn(b"HTTP/1.1 101 ", peer.received)
        self.assertTrue(peer.finished)

    def test_refused(self) -> None:
        """The same rules hold as for a first request."""
        for request in (opening("/ws", "Origin: http://evil.example"), opening("/elsewhere")):
            self.assertEqual(WebSocketPeer(self.kept(), request).status, 403)
        self.assertEqual(WebSocketPeer(self.kept(), WS.replace(b": 13", b": 7")).status, 400)

    def test_places(self) -> None:
        """It has one place of the admission, all the time."""
        self.factory = self.make(admission=Admission(AdmissionRules(max_connections=1)))
        admission = self.factory.admission
        client = WebSocketPeer(self.kept(2), WS)
        self.check_member(client)
        self.assertEqual((admission.open, len(self.factory)), (1, 1))
        client.peer.write_eof()
        self.clock.advance(0)
        self.assertEqual((admission.open, len(self.factory)), (0, 0))

    def test_draining(self) -> None:
        """Nobody becomes a member any more: a browser is asked to come back."""
        peer = self.kept()
        self.factory.accepts = False
        self.factory.close(DRAINING)
        client = WebSocketPeer(peer, WS)
        self.assertEqual(client.status, 101)
        self.assertEqual(client.close_frame(), CloseFrame(1012, "draining"))
        peer.write_eof()
        self.clock.advance(0)
        self.assertEqual((peer.connected, len(self.factory)), (False, 0))

    def test_nothing_of_the_pages_is_left(self) -> None:
        """The site's own timeout does not end the member."""
        client = WebSocketPeer(self.kept(), WS)
        self.check_member(client)
        for _ in range(10):
            client.peer.advance(40)
            client.send('{"type": "ping"}')
        self.assertIsNone(client.peer.protocol.reason)
        self.assertEqual(self.gateway.pages, 0)

    def test_a_long_head(self) -> None:
        """A later head has the limit of the first."""
        peer = self.kept()
        peer.send(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD)
        self.clock.advance(0)
        self.assertTrue(peer.received.endswith(b" has at most 8192 bytes.\n"))
        self.assertTrue(peer.finished)

    def test_the_end(self) -> None:
        """A client that leaves between requests, or in the middle of one, leaves nothing behind."""
        for rest in (b"", b"GET / HT"):
            peer = self.kept()
            peer.send(rest)
            peer.write_eof()
            self.clock.advance(0)
            self.assertEqual((peer.connected, self.gateway.pages), (False, 0))


class DrainingTests(KeptCase):
    """A server that stops, or is upgraded, answers the requests that it has begun to read."""

    def drain(self) -> None:
        """Close all connections, as a listening service does."""
        for each in (*self.factory.auxiliaries, self.factory):
            each.close(DRAINING)

    def check_last(self, peer: Peer) -> None:
        """Check that a page has come, and that the connection ends."""
        self.clock.advance(0)
        answer = peer.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        self.assertIn(
            b"\r\nconnection: close\r\n", answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n"
        )
        self.assertTrue(peer.finished)
        peer.write_eof()
        self.clock.advance(0)
        self.assertEqual((peer.connected, peer.protocol.reason), (False, DRAINING))

    def test_idle(self) -> None:
        """Between requests, a connection just ends. What came during an upgrade is answered."""
        peer, late = self.kept(), self.kept()
        late.protocol.pause_for_move()
        late.send(PAGE, PAGE)
        self.assertEqual(late.take(), b"")
        late.protocol.resume_after_move()
        self.drain()
        self.clock.advance(0)
        self.assertEqual((peer.take(), peer.finished), (b"", True))
        self.check_last(late)

    def test_after_an_upgrade(self) -> None:
        """What is answered before the connections are closed says that it is the last answer."""
        peer = self.kept()
        for each in self.factory.auxiliaries:
            each.accepts = False
        peer.send(PAGE)
        self.assertIn(b"\r\nConnection: close\r\n", peer.take())
        self.assertTrue(peer.finished)

    def test_half_a_head(self) -> None:
        """Its rest is waited for, whatever comes before the end of the time to stop."""
        for size in (1, len(PAGE) - 1):
            for more in (b"", PAGE, PAGE[:9]):
                peer = self.kept()
                peer.send(PAGE[:size])
                self.drain()
                self.clock.advance(1)
                self.assertEqual((peer.take(), peer.finished), (b"", False))
                peer.send(PAGE[size:] + more)
                self.check_last(peer)

    def test_half_a_body(self) -> None:
        site = server.Site(Form(), reactor=self.clock)  # type: ignore[no-untyped-call]
        self.factory.gateway = ChatGateway(self.factory, site)
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        for before, after in ((post[:9], post[9:] + b"abcd"), (post[:9], post[9:] + b"\r\n\r\n")):
            peer = self.kept()
            peer.send(before)
            self.drain()
            self.clock.advance(1)
            peer.send(after)
            self.clock.advance(0)
            self.assertIn(b"got " + after[-4:], peer.received)
            self.check_last(peer)

    def test_late_answers(self) -> None:
        """A site that has not answered yet does so."""
        late = self.answer_late()
        for half in (b"", PAGE[:9]):
            peer = connect_peer(self.factory)
            peer.send(PAGE + half)
            self.drain()
            self.clock.advance(1)
            request = late.pop()
            request.write(b"here it is")
            request.finish()  # type: ignore[no-untyped-call]
            self.clock.advance(0)
            self.assertIn(b"here it is", peer.take())
            self.assertEqual(peer.finished, not half)

    def test_the_end_of_the_time(self) -> None:
        """Who never sends the rest does not keep the server."""
        peer = self.kept()
        peer.send(PAGE[:9])
        stopped = self.gateway.stop(5)
        self.clock.advance(4)
        self.assertNoResult(stopped)
        self.clock.advance(2)
        self.successResultOf(stopped)
        self.assertFalse(peer.connected)

    def test_a_first_request(self) -> None:
        """Half of one that may be an upgrade is answered with 503, if it is one for sure."""
        peer, undecided = connect_peer(self.factory), connect_peer(self.factory)
        peer.send(WS[:-4])
        undecided.send(WS[:9])
        self.drain()
        self.assertTrue(peer.received.startswith(b"HTTP/1.1 503 "), peer.received)
        self.assertIn(b"\r\nRetry-After: ", peer.received)
        self.assertNotIn(b"HTTP/", undecided.received)
        self.assertTrue(peer.finished)
        silent = connect_peer(self.factory)
        self.drain()
        self.assertNotIn(b"HTTP/", silent.received)

    def test_an_upgrade(self) -> None:
        """Half a request for a WebSocket: it opens, and asks to come back."""
        peer = self.kept()
        peer.send(WS[:-4])
        self.factory.accepts = False
        self.drain()
        self.clock.advance(1)
        client = WebSocketPeer(peer, WS[-4:])
        self.assertEqual(client.status, 101)
        self.assertEqual(client.close_frame(), CloseFrame(1012, "draining"))


class Form(resource.Resource):
    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        content: bytes = request.content.read()
        return b"got " + content

    def render_GET(self, request: Any) -> bytes:
        return b"page"


class BodyTests(KeptCase):
    """A site of one's own may take requests with a body."""

    def make(self, **settings: Any) -> Any:
        chat = super().make(**settings)
        site = server.Site(Form(), reactor=self.clock)  # type: ignore[no-untyped-call]
        self.gateway = chat.gateway = ChatGateway(chat, site)
        return chat

    def test_a_body(self) -> None:
        """What a body contains is no request, whatever it looks like."""
        for fields, body in (
            (f"Content-Length: {len(WS)}", WS),
            ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(WS), WS)),
        ):
            peer = connect_peer(self.factory)
            head = f"POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode()
            peer.send(PAGE, head + body, PAGE)
            self.clock.advance(0)
            self.assertNotIn(b" 101 ", peer.received)
            self.assertIn(b"got GET /ws", peer.received)
            self.assertEqual(peer.received.count(b"page"), 2)


class RequestHeadsTests(SynchronousTestCase):
    def test_heads(self) -> None:
        """Each head is a message; after one with a body, everything is passed on as it is."""
        post = b"POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\n"
        for data, messages in (
            (PAGE + PAGE, [PAGE, PAGE]),
            (PAGE + b"GET", [PAGE]),
            (PAGE + post + b"abc" + PAGE, [PAGE, post, b"abc" + PAGE]),
        ):
            heads = RequestHeads(max_size=0)
            self.assertEqual(heads.feed(data), messages)
            heads = RequestHeads(max_size=0)
            found = [each for byte in data for each in heads.feed(bytes([byte]))]
            self.assertEqual(b"".join(found), b"".join(messages))
