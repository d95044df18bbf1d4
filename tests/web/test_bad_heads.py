"""Requests that cannot be read are answered with what is wrong: RFC 9110, 15.5, and RFC 6585, 5."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.web.admin.operating import LOOPBACK, request_bytes
from tests.web.sockets import opening
from tests.web.test_gateway import GatewayCase
from tests.web.test_refusals import LINE, RefusedCase
from tests.web.test_websocket import WebSocketCase
from twisted_net import ConnectionFactory
from twisted_net.chat.protocol import HTTP_ALPN
from twisted_net.policy.limits import Limits
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.web import AdminFactory
from twisted_net.web.admin.factory import KEEP_ALIVE_SECONDS, REQUEST_SECONDS
from twisted_net.web.pages import page_site
from twisted_net.web.request_head import MAX_HEAD, HeadFault, RequestHead, RequestHeads

PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
FIELDS = b"Host: x\r\nX: "
LONG = b"x" * MAX_HEAD
HALF = b"GET /x HTTP/1.1\r\nHost: x"  # its end is missing

FAULTS = (
    (b"GET / HTTP/1.1\r\n" + FIELDS + LONG, 431),
    (b"GET / HTTP/1.1\r\n" + FIELDS + LONG + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEAD, 431),
    (b"GET /" + LONG, 414),
    (b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET /" + LONG[:-99] + b" HTTP/1.1\r\nHost: x\r\nX: " + LONG[:99] + b"\r\n\r\n", 414),
    (b"POST /" + LONG, 414),
    (b"GET / HTTP/2.0\r\n\r\n", 505),
    (b"GET / HTTP/0.9\r\n", 505),
    (b"GET / HTTP/3\r\n", 505),
)
"""Requests that are recognised as such on every port, and the status of the answer."""

NO_REQUESTS = (
    (b"GET  / HTTP/1.1\r\n", 400),
    (b"GET /a b HTTP/1.1\r\n", 400),
    (b"GET /\r\n", 400),
    (b"GET / HTTP/1\r\n", 400),
    (b"GET / HTTP/1.1 \r\n", 400),
    (b"GET / HTTP/1.1\n\n", 400),
    (b"hello\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01", 400),  # how TLS begins
    (b"G\xc3\xa4T / HTTP/1.1\r\n", 400),
)
"""What is no request, on a port or a connection where only requests can come."""


class BadHeadCase(SynchronousTestCase):
    clock: Clock

    def check_answer(self, answer: bytes, status: int, has_body: bool = True) -> None:
        """Check an answer in plain text that is the last one."""
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertEqual(head[:13], b"HTTP/1.1 %d " % status, answer[:200])
        self.assertIn(b"\r\nContent-Type: text/plain", head)
        self.assertIn(b"\r\nConnection: close", head)
        self.assertEqual((body[-1:] == b"\n", body.count(b"\n")), (has_body, int(has_body)))

    def check_closes(self, peer: Peer, reason: str = "") -> None:
        """Check that nothing is lost: what still comes is read, until the peer ends, too."""
        self.clock.advance(0)
        self.assertEqual((peer.finished, peer.connected), (True, True))
        before = peer.received
        peer.send(LONG, PAGE)
        peer.write_eof()
        self.clock.advance(0)
        self.assertEqual((peer.received, peer.connected), (before, False))
        if reason:
            self.assertEqual(peer.protocol.reason.code, reason)


class ChatPortTests(GatewayCase, BadHeadCase):
    def first(self) -> list[Peer]:
        """Return connections that have said nothing yet."""
        tls = connect_tls_peer(self.factory)
        tls.negotiatedProtocol = HTTP_ALPN
        tls.handshake()
        return [connect_peer(self.factory), tls]

    def test_at_first(self) -> None:
        """On the chat's port, in one piece and in many; and over TLS."""
        for request, status in FAULTS:
            for size in (len(request), 1000, 7):
                plain, tls = self.first()
                for start in range(0, len(request), size):
                    plain.send(request[start : start + size])
                    tls.send(request[start : start + size])
                for peer in (plain, tls):
                    self.check_answer(peer.take(), status)
                reason = "too-long" if status in (414, 431) else "bad-input"
                self.check_closes(plain, reason)

    def test_the_status_line(self) -> None:
        """It has the words of RFC 9110, whatever Python calls the status."""
        (peer, _) = self.first()
        peer.send(b"GET /" + LONG)
        self.assertTrue(peer.received.startswith(b"HTTP/1.1 414 URI Too Long\r\n"))
        (peer, _) = self.first()
        peer.send(FAULTS[0][0])
        self.assertTrue(
            peer.received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        )

    def test_no_requests(self) -> None:
        """Where only requests can come, what is none gets 400; on the chat's port, it is said."""
        for request, status in NO_REQUESTS:
            _, peer = self.first()
            peer.send(request)
            self.check_answer(peer.take(), status)
        for line in (b"GET it?\n", b"GET /a b and c\n", b"hello\n"):
            ann, peer = self.user("ann"), connect_peer(self.factory)
            peer.send(line)
            self.pass_presence()
            self.assertIn(line, ann.take())
            self.assertNotIn(b"HTTP/", peer.received)
            for each in (ann, peer):
                each.protocol.abort()

    def test_head_requests(self) -> None:
        peer, _ = self.first()
        peer.send(b"HEAD / HTTP/1.1\r\nX: " + LONG)
        self.check_answer(peer.take(), 431, has_body=False)

    def test_later(self) -> None:
        """On a connection that had pages, behind the answers before it, and instead of others."""
        for request, status in FAULTS + NO_REQUESTS:
            for size in (len(request), 1000, 7):
                peer = connect_peer(self.factory)
                peer.send(PAGE)
                self.clock.advance(0)
                request = PAGE * 2 + request + b"\r\n\r\n" + PAGE
                for start in range(0, len(request), size):
                    peer.send(request[start : start + size])
                self.clock.advance(0)
                _, _, last = peer.received.rpartition(b"HTTP/1.1 ")
                self.assertEqual(peer.received.count(b"HTTP/1.1 200 "), 3)
                self.check_answer(b"HTTP/1.1 " + last, status)
                self.check_closes(peer, "too-long" if status in (414, 431) else "bad-input")
                request = request.removeprefix(PAGE * 2).removesuffix(b"\r\n\r\n" + PAGE)

    def test_behind_a_late_answer(self) -> None:
        """A site that has not answered yet does so first."""
        late = self.answer_late()
        peer = connect_peer(self.factory)
        peer.send(PAGE * 2 + FAULTS[0][0], PAGE, opening("/ws"))
        for word in (b"one", b"two"):
            self.clock.advance(0)
            self.assertNotIn(b" 431 ", peer.received)
            request = late.pop()
            request.write(word)
            request.finish()  # type: ignore[no-untyped-call]
        self.clock.advance(0)
        self.assertLess(peer.received.index(b"two"), peer.received.index(b" 431 "))
        self.assertEqual(late, [])
        self.check_closes(peer, "too-long")

    def test_a_peer_that_does_not_read(self) -> None:
        """The answer waits as others do."""
        peer = connect_peer(self.factory)
        peer.send(PAGE)
        peer.full()
        peer.send(PAGE, FAULTS[0][0])
        peer.drain()
        self.clock.advance(0)
        self.assertEqual(peer.received.count(b"HTTP/1.1 200 "), 2)
        self.assertIn(b"HTTP/1.1 431 ", peer.received)

    def test_half_a_head(self) -> None:
        """It gets 408 in the end, at first and later; who has asked for nothing gets nothing."""
        limits = Limits(handshake_timeout=10, message_timeout=10, max_message=8192)
        self.factory = self.make(limits=limits)
        for before in (b"", PAGE):
            peer = connect_peer(self.factory)
            if before:
                peer.send(before)
                self.clock.advance(0)
                peer.take()
            peer.send(HALF)
            peer.advance(9)
            self.assertEqual(peer.received if not before else peer.take(), b"")
            peer.advance(2)
            self.check_answer(peer.take(), 408)
            self.check_closes(peer, "unfinished" if before else "handshake")
        _, peer = self.first()
        peer.advance(20)
        self.assertEqual(peer.take(), b"")
        self.assertFalse(peer.connected)

    def test_half_a_body(self) -> None:
        """It gets 408 when the site does not wait for it any longer."""
        peer = connect_peer(self.factory)
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        peer.advance(61)
        self.check_answer(peer.take(), 408)


class RefusedTests(RefusedCase, BadHeadCase):
    def test_who_may_not_stay(self) -> None:
        """A request is answered; who is no browser for sure gets the line, as ever."""
        factory = self.refusing()
        for request, status in FAULTS:
            for peer in (connect_peer(factory), connect_peer(self.web_port(), clock=self.clock)):
                peer.send(request)
                self.check_answer(peer.take(), status)
                self.check_closes(peer)
        for said in (b"GET " + LONG, b"GET off my lawn\n"):
            nc = connect_peer(factory)
            nc.send(said)
            self.assertEqual((nc.received, nc.finished), (LINE, True))

    def test_what_comes_behind_the_line(self) -> None:
        """It is not kept."""
        nc = connect_peer(self.refusing())
        nc.send(b"GET /" + LONG)
        kept = vars(nc.protocol).get("_start")
        nc.send(LONG)
        self.assertEqual(vars(nc.protocol).get("_start"), kept)


class WebSocketTests(WebSocketCase, BadHeadCase):
    def test_a_server_of_ones_own(self) -> None:
        for request, status in FAULTS + NO_REQUESTS:
            factory = self.factory()
            peer = connect_peer(factory)
            self.clock = peer.clock
            peer.send(request)
            self.check_answer(peer.take(), status)
            self.check_closes(peer)
            self.assertEqual(peer.protocol.events, [])

    def test_half_a_request(self) -> None:
        peer = connect_peer(self.factory(handshake_timeout=5))
        peer.send(opening()[:-2])
        peer.advance(6)
        self.check_answer(peer.take(), 408)


class AdminTests(BadHeadCase):
    def setUp(self) -> None:
        self.clock = Clock()
        view = AdminFactory(
            {"own": ConnectionFactory(clock=self.clock)},
            clock=self.clock,
        )
        view.doStart()  # type: ignore[no-untyped-call]
        self.addCleanup(view.doStop)
        self.view = view

    def connect(self) -> Peer:
        return connect_peer(self.view, clock=self.clock, host=LOOPBACK)

    def test_faults(self) -> None:
        """At first, and behind a request with a body; in one piece, and in many."""
        before = request_bytes("/drain/x", "POST", {"text": "x"})
        for request, status in FAULTS + NO_REQUESTS:
            if b"\r\n" not in request and len(request) < MAX_HEAD:
                continue  # for Twisted's channel, a line ends with CR LF alone
            for start in (b"", before):
                for size in (len(start + request), 7):
                    peer = self.connect()
                    sent = start + request
                    for position in range(0, len(sent), size):
                        peer.send(sent[position : position + size])
                        self.clock.advance(0)
                    _, _, last = peer.received.rpartition(b"HTTP/1.1 ")
                    self.assertEqual(peer.received.count(b"HTTP/1.1 404"), int(bool(start)))
                    self.check_answer(b"HTTP/1.1 " + last, status)
                    self.check_closes(peer)

    def test_the_longest(self) -> None:
        """A head of 8 KiB is answered, again and again."""
        start = request_bytes("/healthz")[:-4] + b"\r\nX: "
        request = start + b"x" * (MAX_HEAD - len(start)) + b"\r\n\r\n"
        peer = self.connect()
        for _ in range(3):
            peer.send(b"\r\n" + request)  # an empty line before it is ignored
            self.clock.advance(0)
            self.assertIn(b"HTTP/1.1 200 ", peer.take())

    def test_half_a_request(self) -> None:
        """It gets 408; who has asked for nothing gets nothing."""
        for half in (HALF, HALF[:5], request_bytes("/bans", "POST", {"target": "x"})[:-1]):
            for before in (b"", request_bytes("/healthz")):
                peer = self.connect()
                peer.send(before)
                self.clock.advance(0.1)
                peer.take()
                peer.send(half)
                seconds = KEEP_ALIVE_SECONDS if before else REQUEST_SECONDS
                self.clock.pump([seconds - 1, 1, 0.1])
                self.check_answer(peer.take(), 408)
                self.check_closes(peer)
        peer = self.connect()
        self.clock.pump([REQUEST_SECONDS, 0.1])
        self.assertEqual((peer.received, peer.finished), (b"", True))


class FramingTests(SynchronousTestCase):
    def test_when_it_is_known(self) -> None:
        """As soon as it can be: whole, byte by byte, and with more behind it."""
        for request, status in FAULTS + NO_REQUESTS:
            for data in (request, request + PAGE):
                faults: list[HeadFault] = []
                for make in (
                    lambda faults=faults: RequestHead(on_fault=faults.append),
                    lambda: RequestHeads(max_size=0),
                ):
                    for pieces in ([data], [bytes([byte]) for byte in data]):
                        faults.clear()
                        framing = make()
                        found = [each for piece in pieces for each in framing.feed(piece)]
                        (fault,) = found or faults
                        self.assertEqual(fault.status, status, request[:50])
                        self.assertFalse(framing.pending)

    def test_no_faults(self) -> None:
        """Empty lines before a head, any token as a method, and the longest head."""
        start = b"GET / HTTP/1.0\r\nX: "
        longest = start + b"x" * (MAX_HEAD - len(start)) + b"\r\n\r\n"
        for head in (
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"M-SEARCH * HTTP/1.1\r\n\r\n",
            longest,
        ):
            for pieces in ([head], [bytes([byte]) for byte in head]):
                heads = RequestHeads(max_size=0)
                self.assertEqual([each for piece in pieces for each in heads.feed(piece)], [head])

    def test_what_is_shown(self) -> None:
        """An operator who looks on sees what is wrong, and no password."""
        (fault,) = RequestHeads(max_size=0).feed(b"GET / HTTP/7.0\r\nCookie: secret\r\n\r\n")
        self.assertNotIn("secret", repr(fault))


class PageSiteTests(BadHeadCase):
    def test_a_site_without_a_guard(self) -> None:
        """The page's site alone gives the same answers."""
        self.clock = Clock()
        site = page_site(self.clock)
        self.assertEqual(site.acceptableProtocols(), [b"http/1.1"])
        for request, status in FAULTS:
            peer = connect_peer(site, clock=self.clock)
            peer.send(request)
            self.check_answer(peer.received, status)
