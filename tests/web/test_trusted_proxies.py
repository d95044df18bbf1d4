"""Clients whose addresses come in ``X-Forwarded-For`` or ``Forwarded``."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import server

from tests.web.sockets import WebSocketPeer, opening
from tests.web.test_gateway import GatewayCase
from tests.web.test_kept_connections import Form
from twisted_net import TrustedProxies, WebSocketConnection, WebSocketFactory
from twisted_net.chat import protocol
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.ranges import parse_range
from twisted_net.testing import Peer, connect_peer, connect_tls_peer
from twisted_net.web.gateway import ChatGateway
from twisted_net.web.pages import page_site
from twisted_net.wire.websocket import CloseFrame

PROXY = IPv4Address("TCP", "10.0.0.1", 4000)
OTHER = IPv4Address("TCP", "192.0.2.77", 4000)
ANN, BOB = "203.0.113.1", "2001:db8:1::2"
CHAT = ("/ws", "Sec-WebSocket-Protocol: netchat.v1")


def came_from(*addresses: str) -> str:
    return f"X-Forwarded-For: {', '.join(addresses)}"


def page(*fields: str, method: str = "GET") -> bytes:
    lines = (f"{method} / HTTP/1.1", "Host: x", *fields, "", "")
    return "\r\n".join(lines).encode()


class ProxiedCase(GatewayCase):
    """A chat behind proxies at 10.0.0.0/8 and at Unix sockets."""

    site: Any = None

    def make(self, **settings: Any) -> Any:
        rules = settings.pop("rules", {})
        settings.setdefault("admission", Admission(AdmissionRules(**rules)))
        self.refused: list[tuple[Any, str]] = []
        chat = super().make(
            on_refused=lambda address, reason: self.refused.append((address, reason.code)),
            **settings,
        )
        self.proxies = TrustedProxies(["10.0.0.0/8"], unix=True)
        site = self.site or page_site(self.clock)
        self.gateway = chat.gateway = ChatGateway(chat, site, trusted_proxies=self.proxies)
        ChatGateway(chat, site)  # another one takes nothing away
        return chat

    def proxy(self, peer: Any = PROXY) -> Peer:
        """Return a connection of the proxy."""
        return connect_peer(self.factory, peer=peer)

    def through(self, *fields: str, peer: Peer | None = None) -> WebSocketPeer:
        """Ask for a WebSocket through the proxy."""
        return WebSocketPeer(peer or self.proxy(), opening(*CHAT, *fields))

    def asks(self, peer: Peer, request: bytes) -> int:
        """Return the status of the answer to a request."""
        peer.send(request)
        self.clock.advance(0)
        return int(peer.take().split()[1])

    def joins(self, client: WebSocketPeer, nick: str = "web") -> Any:
        """Say hello; return the member's protocol."""
        self.assertEqual(client.status, 101)
        self.assertEqual(self.says(client, type="hello", nick=nick)[0]["nick"], nick)
        return client.peer.protocol


class AddressTests(ProxiedCase):
    def test_a_member(self) -> None:
        """It has the address of the client everywhere, by which it can be banned."""
        member = self.joins(self.through(came_from(ANN)))
        self.assertEqual(member.peer, IPv4Address("TCP", ANN, 0))
        self.assertEqual((member.user.host, member.place), (ANN, ANN))
        other = self.joins(self.through(came_from(BOB)), "bob")
        self.assertEqual(other.peer, IPv6Address("TCP", BOB, 0))
        self.assertEqual(other.user.host, "2001:db8:1::/64")

    def test_the_log(self) -> None:
        client = self.through(came_from(ANN))
        self.joins(client)
        with capturedLogs() as events:
            client.peer.write_eof()
        (line,) = [formatEvent(each) for each in events if "ended" in formatEvent(each)]
        self.assertIn(f"from {ANN}:0 ended: peer-closed", line)
        self.assertEqual(client.peer.protocol.peer.host, ANN)

    def test_others_are_not_believed(self) -> None:
        """Without a proxy, the header is ignored, even a malformed one."""
        for text in (ANN, "x"):
            for field in (f"X-Forwarded-For: {text}", f"Forwarded: for={text}"):
                client = self.through(field, "X-Forwarded-Proto: https", peer=self.proxy(OTHER))
                member = client.peer.protocol
                self.assertEqual((client.status, member.peer), (101, OTHER))
                self.assertFalse(member.is_encrypted)
                self.assertEqual(self.asks(self.proxy(OTHER), page(field)), 200)
        self.assertEqual(self.proxies.malformed, 0)

    def test_forged(self) -> None:
        """What a client writes itself comes before, and does not count; trusted proxies do not."""
        for addresses in ((BOB, ANN), ("10.0.0.7", ANN, "10.2.3.4", "10.0.0.2")):
            client = self.through(came_from(*addresses))
            self.assertEqual(client.peer.protocol.peer.host, ANN)
        client = self.through(came_from("10.0.0.7", "10.0.0.8"))
        self.assertEqual(client.peer.protocol.peer.host, "10.0.0.7")

    def test_untraceable(self) -> None:
        """The address of the proxy is kept, and has no limits."""
        self.factory = self.make(rules={"max_per_address": 1})
        for field in ("Accept: x", "Forwarded: for=unknown", "Forwarded: for=_x, for=10.0.0.9"):
            for _ in range(2):
                client = self.through(field)
                self.assertEqual(client.status, 101)
                self.assertEqual(client.peer.protocol.peer, PROXY)
                self.assertEqual(self.asks(self.proxy(), page(field)), 200)

    def test_unix(self) -> None:
        """A proxy at a Unix socket; only if that is trusted."""
        peer = UNIXAddress(b"/run/x")
        client = self.through(f'Forwarded: for="[{BOB}]:80"', peer=self.proxy(peer))
        self.assertEqual(client.peer.protocol.peer.host, BOB)
        self.proxies.unix = False
        client = self.through(came_from(ANN), peer=self.proxy(peer))
        self.assertEqual(client.peer.protocol.peer, peer)

    def test_in_pieces(self) -> None:
        """Whole, byte by byte, and with a message right behind it."""
        frames = WebSocketPeer(self.proxy(), page()).frames
        hello = frames.encode('{"type": "hello"}')
        request = opening(*CHAT, came_from(ANN))
        for before in ([], [page(came_from(BOB))]):
            for pieces in ([request + hello], [bytes([each]) for each in request + hello]):
                peer = self.proxy()
                for each in (*before, *pieces):
                    peer.send(each)
                self.clock.advance(0)
                self.assertIn(b"welcome", peer.received)
                self.assertEqual(peer.protocol.peer.host, ANN)

    def test_text_through_a_trusted_address(self) -> None:
        """Who speaks no HTTP from there has the address, and no limits."""
        self.factory = self.make(rules={"max_per_address": 1})
        for name in ("ann", "bob"):
            peer = self.proxy()
            peer.send(f"/nick {name}\n".encode())
            self.assertEqual(peer.protocol.user.host, "10.0.0.1")
        self.assertEqual(self.factory.admission.open, 2)


class LimitTests(ProxiedCase):
    def check_refused(self, code: int, reason: str, status: int) -> None:
        """Check that Ann may not connect through the proxy, and Bob may."""
        self.refused.clear()
        ends = self.factory.endings[reason]
        with capturedLogs() as events:
            client = self.through(came_from(ANN))
            self.assertEqual(client.status, 101)
            self.assertEqual(client.close_frame(), CloseFrame(code, reason))
            client.peer.write_eof()
        self.assertEqual([each for each in events if "ended" in formatEvent(each)], [])
        self.assertEqual(self.factory.endings[reason], ends + 1)
        kept = self.proxy()
        with capturedLogs() as events:
            self.assertEqual(self.asks(kept, page(came_from(ANN))), status)
            kept.write_eof()
            self.clock.advance(0)
        self.assertEqual([each for each in events if "ended" in formatEvent(each)], [])
        self.assertEqual(sum(each.endings[reason] for each in self.factory.auxiliaries), 1)
        address = IPv4Address("TCP", ANN, 0)
        self.assertEqual(self.refused, [(address, reason)] * 2)
        self.assertEqual(self.asks(self.proxy(), page(came_from(BOB))), 200)
        self.joins(self.through(came_from(BOB)), "bob")

    def test_many(self) -> None:
        self.factory = self.make(rules={"max_per_address": 2})
        first, _ = self.through(came_from(ANN)), self.through(came_from(ANN))
        self.check_refused(1013, "too-many", 503)
        first.peer.write_eof()
        self.joins(self.through(came_from(ANN)))

    def test_fast(self) -> None:
        """Pages do not count, however many."""
        self.factory = self.make(rules={"accept_rate": 0.1, "accept_burst": 2, "ban": 5.0})
        for _ in range(30):
            self.assertEqual(self.asks(self.proxy(), page(came_from(ANN))), 200)
        for _ in range(3):
            self.through(came_from(ANN))
        self.check_refused(1013, "too-fast", 429)

    def test_ranges(self) -> None:
        ann, bob = (tuple(parse_range("r", each) for each in (each,)) for each in (ANN, BOB))
        for rules in ({"deny": ann}, {"allow": bob}):
            self.factory = self.make(rules=rules)
            self.check_refused(1008, "denied", 403)

    def test_a_denied_proxy(self) -> None:
        self.factory = self.make(rules={"deny": (parse_range("r", "10.0.0.0/24"),)})
        self.assertIn(b"Your address may not connect here.", self.proxy().received)
        self.assertEqual(self.refused, [(PROXY, "denied")])

    def test_counts(self) -> None:
        """Each connection counts once, for the client as soon as it is known, and until it ends."""
        self.factory = self.make(rules={"max_per_address": 3})
        admission = self.factory.admission
        idle, kept, client = self.proxy(), self.proxy(), self.through(came_from(ANN))
        self.asks(kept, page(came_from(ANN)))
        self.assertEqual((admission.open, admission.addresses), (3, 1))
        late = self.through(came_from(BOB), peer=kept)
        self.assertEqual((admission.open, admission.addresses), (3, 2))
        for each in (idle, client.peer, late.peer):
            each.write_eof()
            self.clock.advance(0)
        self.assertEqual((admission.open, admission.addresses), (0, 0))

    def test_another_admission(self) -> None:
        """If it is replaced before the address is known, the new one decides and counts."""
        peers = [self.proxy(), self.proxy()]
        before = self.factory.admission
        rules = AdmissionRules(max_per_address=1)
        after = self.factory.admission = Admission(rules)
        first, second = (self.through(came_from(ANN), peer=each) for each in peers)
        self.assertEqual((before.open, after.open), (1, 1))
        self.assertEqual(second.close_frame().reason, "too-many")
        for each in (first, second):
            each.peer.write_eof()
        self.assertEqual((before.open, after.open), (0, 0))

    def test_who_must_leave(self) -> None:
        """A range that is denied later concerns clients; other proxies may stay."""
        members = [
            self.joins(self.through(came_from(each)), f"n{number}")
            for number, each in enumerate((ANN, BOB))
        ]
        user = self.user("cat")
        idle = self.proxy()
        admission = self.factory.admission
        admission.allowed.add(BOB)
        self.assertEqual(self.factory.close_denied(), 2)  # Ann, and who came without a proxy
        self.assertIsNotNone(members[0].reason)
        self.assertIsNone(members[1].reason)
        self.assertIsNotNone(user.protocol.reason)
        self.assertFalse(idle.finished)
        admission.denied.add("10.0.0.0/8")
        self.assertEqual(self.factory.close_denied(), 1)


class KeptTests(ProxiedCase):
    """A proxy sends requests of several clients on one connection."""

    def test_each_request(self) -> None:
        """Each is its own client's: one is refused, others on the same connection are not."""
        self.factory = self.make(rules={"deny": (parse_range("r", ANN),)})
        kept = self.proxy()
        for _ in range(3):
            self.assertEqual(self.asks(kept, page(came_from(BOB))), 200)
        self.assertEqual(self.asks(kept, page(came_from(BOB, ANN))), 403)
        self.assertTrue(kept.finished)
        kept = self.proxy()
        self.asks(kept, page(came_from(BOB)))
        client = self.through(came_from(ANN), peer=kept)
        self.assertEqual(client.close_frame(), CloseFrame(1008, "denied"))

    def test_the_one_of_the_upgrade(self) -> None:
        kept = self.proxy()
        self.asks(kept, page(came_from(BOB)))
        self.asks(kept, page())
        self.assertEqual(self.joins(self.through(came_from(ANN), peer=kept)).peer.host, ANN)

    def test_in_order(self) -> None:
        """A refusal comes behind the answers to the requests before it, and ends the connection."""
        self.factory = self.make(rules={"deny": (parse_range("r", ANN),)})
        for pieces in (1, 3):
            kept = self.proxy()
            requests = [page(came_from(each)) for each in (BOB, ANN, BOB)]
            for each in requests if pieces == 3 else [b"".join(requests)]:
                kept.send(each)
            self.clock.advance(0)
            received = kept.received
            self.assertLess(received.index(b"</html>"), received.index(b"403 Forbidden"))
            self.assertEqual(received.count(b"HTTP/1.1 "), 2)
            self.assertIn(b"Connection: close\r\n\r\nYour address may not", received)
            self.assertTrue(kept.finished)

    def test_head_requests(self) -> None:
        self.factory = self.make(rules={"deny": (parse_range("r", ANN),)})
        kept = self.proxy()
        kept.send(page(came_from(ANN), method="HEAD"))
        self.clock.advance(0)
        self.assertTrue(kept.received.endswith(b"Connection: close\r\n\r\n"))


class BodyTests(ProxiedCase):
    """A site of one's own takes requests with a body."""

    def make(self, **settings: Any) -> Any:
        self.site = server.Site(Form(), reactor=self.clock)  # type: ignore[no-untyped-call]
        return super().make(rules={"deny": (parse_range("r", ANN),)}, **settings)

    def test_the_last_request(self) -> None:
        """Behind a body, no head could be found: the connection ends with its answer."""
        kept = self.proxy()
        self.assertEqual(self.asks(kept, page(came_from(BOB))), 200)
        body = page(came_from(BOB))
        kept.send(page(came_from(BOB), f"Content-Length: {len(body)}", method="POST") + body[:9])
        kept.send(body[9:] + page(came_from(ANN)))
        self.clock.advance(0)
        received = kept.received
        self.assertIn(b"got " + body, received)
        self.assertIn(b"connection: close", received.lower())
        self.assertNotIn(b"page", received.partition(b"got ")[2])
        self.assertTrue(kept.finished)

    def test_refused(self) -> None:
        """The site does not get the request."""
        request = page(came_from(ANN), "Content-Length: 1", method="POST") + b"x"
        with mock.patch.object(Form, "render_POST") as post:
            self.assertEqual(self.asks(self.proxy(), request), 403)
        post.assert_not_called()

    def test_others(self) -> None:
        """Connections without a proxy are kept, as ever."""
        kept = self.proxy(OTHER)
        request = page("Content-Length: 1", method="POST") + b"x"
        self.assertEqual([self.asks(kept, request) for _ in range(2)], [200, 200])


class MalformedTests(ProxiedCase):
    def test_refused(self) -> None:
        """It is refused, and logged once a minute, with the proxy; nobody is reported."""
        with capturedLogs() as events:
            for text in ("x", f"{ANN}, 1.2.3"):
                client = self.through(came_from(text))
                self.assertEqual(client.status, 400)
                self.assertTrue(client.peer.finished)
                client.peer.write_eof()
                kept = self.proxy()
                self.assertEqual(self.asks(kept, page(came_from(text))), 400)
                self.assertTrue(kept.finished)
            self.clock.advance(61)
            self.through("Forwarded: for=::1")
        lines = [line for line in map(formatEvent, events) if "last line" in line]
        start = "Requests of trusted proxies refused since the last line: "
        self.assertEqual(
            lines,
            [
                f"{start}1; the last one from 10.0.0.1:4000: X-Forwarded-For is malformed: 'x'",
                f"{start}4; the last one from 10.0.0.1:4000: Forwarded is malformed: 'for=::1'",
            ],
        )
        self.assertEqual((self.proxies.malformed, self.refused), (5, []))

    def test_the_count(self) -> None:
        """It counts as an end, as what else is refused: of an opening request, or of a page's."""
        for ended, request in (
            (self.factory.endings, opening(*CHAT, came_from("x"))),
            (self.factory.auxiliaries[2].endings, page(came_from("x"))),
        ):
            peer = self.proxy()
            with capturedLogs() as events:
                self.asks(peer, request)
                peer.write_eof()
                self.clock.advance(0)
            self.assertEqual(ended, {"handshake" if b"/ws" in request else "bad-input": 1})
            self.assertEqual([each for each in events if "ended" in formatEvent(each)], [])

    def test_a_server_of_ones_own(self) -> None:
        """It counts what is refused after the request has come, too; who is refused before, not."""
        admission = Admission(AdmissionRules(deny=(parse_range("r", ANN),), max_connections=1))
        factory = WebSocketFactory.forProtocol(
            WebSocketConnection,
            clock=self.clock,
            admission=admission,
            trusted_proxies=self.proxies,
            on_refused=lambda address, reason: self.refused.append((address, reason.code)),
        )
        for address, status in (("x", 400), (ANN, 101)):
            peer = connect_peer(factory, peer=PROXY)
            self.assertEqual(WebSocketPeer(peer, opening("/", came_from(address))).status, status)
            peer.write_eof()
        self.assertEqual(factory.endings, {"handshake": 1, "denied": 1})
        connect_peer(factory, peer=PROXY)
        peer = connect_peer(factory, peer=PROXY)
        self.assertEqual(WebSocketPeer(peer).close_frame().reason, "full")
        peer.write_eof()
        self.assertEqual(factory.endings, {"handshake": 1, "denied": 1})
        self.assertEqual([code for _, code in self.refused], ["denied", "full"])


class EncryptionTests(ProxiedCase):
    """Whether a client's password could be read on the way."""

    def make(self, **settings: Any) -> Any:
        accounts = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
        return super().make(checkers=[accounts], **settings)

    def logs_in(self, *fields: str, peer: Any = PROXY) -> str:
        """Return the answer to a login."""
        client = self.through(*fields, peer=self.proxy(peer))
        answers = self.says(client, type="hello", user="ann", password="secret")
        return str(answers[0].get("code") or answers[0]["type"])

    def test_the_scheme(self) -> None:
        """``https`` from the proxy is as good as TLS; from another client it is nothing."""
        https, unix = "X-Forwarded-Proto: https", UNIXAddress(b"/run/x")
        refused = self.logs_in(came_from(ANN))
        self.assertNotEqual(refused, "welcome")
        for fields, peer, is_in in (
            ((came_from(ANN), https), PROXY, True),
            ((https,), PROXY, True),
            ((f"Forwarded: for={ANN};proto=https",), PROXY, True),
            ((came_from(ANN), "X-Forwarded-Proto: http"), PROXY, False),
            ((came_from(ANN), https), OTHER, False),
            ((came_from(ANN), https), unix, True),
            ((came_from(ANN),), unix, False),  # what comes before the socket is not known
            (("Forwarded: for=_x;proto=http",), unix, False),
            (("Accept: */*",), unix, True),
        ):
            answer = self.logs_in(*fields, peer=peer)
            self.assertEqual(answer, "welcome" if is_in else refused, (fields, peer))

    def test_tls_of_the_proxy(self) -> None:
        """It does not protect what has come to the proxy without."""
        for scheme, is_encrypted in (("http", False), ("https", True)):
            peer = connect_tls_peer(self.factory, peer=PROXY)
            peer.handshake()
            field = f"X-Forwarded-Proto: {scheme}"
            client = self.through(came_from(ANN), field, peer=peer)
            self.assertEqual(client.peer.protocol.is_encrypted, is_encrypted)
            self.assertEqual(client.peer.protocol.is_confidential, is_encrypted)

    def test_the_certificate_of_the_proxy(self) -> None:
        """It is not that of the client."""
        for fields, name in (((came_from(ANN),), ""), ((), "proxy")):
            with self.subject("proxy"):
                member = self.through(*fields).peer.protocol
                self.assertEqual((member.certificate_name, member.user.account), (name, name))

    def subject(self, name: str) -> Any:
        """Let every client have a certificate."""
        return mock.patch.object(protocol, "peer_subject", lambda transport: name)


class Echo(WebSocketConnection):
    def message_received(self, message: Any) -> None:
        self.send(message)


class EmbeddingTests(SynchronousTestCase):
    def test_a_factory(self) -> None:
        """The same for WebSockets of any program, with or without an admission."""
        proxies = TrustedProxies(["10.0.0.0/8"])
        for admission in (None, Admission(AdmissionRules(max_per_address=1))):
            factory = WebSocketFactory.forProtocol(
                Echo, clock=Clock(), admission=admission, trusted_proxies=proxies
            )
            peers = [connect_peer(factory, peer=PROXY) for _ in range(3)]
            clients = [
                WebSocketPeer(peer, opening("/", came_from(each)))
                for peer, each in zip(peers, (ANN, BOB, ANN), strict=True)
            ]
            hosts = [each.peer.protocol.peer.host for each in clients]
            self.assertEqual(hosts, [ANN, BOB, ANN])
            last = clients.pop()
            if admission is not None:
                self.assertEqual(last.close_frame(), CloseFrame(1013, "too-many"))
            for each in clients:
                each.send("hi")
                self.assertEqual(each.take(), ["hi"])
            self.assertEqual(WebSocketPeer(connect_peer(factory), page()).status, 426)

    def test_ranges(self) -> None:
        self.assertRaises(ValueError, TrustedProxies, ["10.0.0.1/8"])
        proxies = TrustedProxies(["10.0.0.0/8", "::1"])
        self.assertTrue(proxies.trusts(IPv6Address("TCP", "::ffff:10.0.0.1", 1)))
        for address in (UNIXAddress(b"x"), None, OTHER):
            self.assertFalse(proxies.trusts(address))
