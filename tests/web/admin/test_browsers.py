"""People with a browser, as operators see them."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from tests.web.sockets import WebSocketPeer, opening
from tests.web.test_gateway import WS, GatewayCase
from twisted_net.endpoints.listening import ListenerService
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import connect_peer
from twisted_net.web.admin.figures import ServiceFigures, read_figures
from twisted_net.web.admin.tap import Tap
from twisted_net.web.admin.views import ChatServiceView


class BrowserTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.view = ChatServiceView("netchat", ListenerService(self.factory, []))
        self.view.start()
        self.addCleanup(self.view.stop)

    def figures(self) -> ServiceFigures:
        """Return the figures of the service."""
        return self.successResultOf(Deferred.fromCoroutine(read_figures(self.view)))

    def test_form(self) -> None:
        """A WebSocket is a form of its own."""
        self.browser()
        self.user("ann")
        counts = self.figures().connections
        self.assertEqual(
            {form: n for (form, _), n in counts.items() if n}, {"websocket": 1, "text": 1}
        )

    def test_pages(self) -> None:
        """Who fetches the page is a connection like all others, with a number of its own."""
        self.user("ann")
        browser, last = connect_peer(self.factory), self.user("bob")
        browser.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(5)
        counts = self.figures().connections
        self.assertEqual({form: n for (form, _), n in counts.items() if n}, {"page": 1, "text": 2})
        connections = self.view.connections()
        numbers = [each.id for each in connections]
        self.assertEqual(numbers, sorted(set(numbers)))
        page = next(each for each in connections if each.form == "page")
        self.assertIs(self.view.find(page.id), page)
        self.assertEqual(self.view.connection_count, 3)
        self.assertEqual(self.figures().bytes_received, 27 + 10 + 10)
        self.assertAlmostEqual(page.factory.age(page.id), 5, delta=0.2)
        browser.write_eof()
        self.clock.advance(0)
        self.assertEqual([each.form for each in self.view.endings.last], ["page"])
        last.write_eof()
        self.assertEqual(self.view.connection_count, 1)

    def test_draining(self) -> None:
        """Pages end with the service, and those that stay are aborted in time."""
        pages = [connect_peer(self.factory) for _ in range(2)]
        for page in pages:
            page.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(1)
        drained = self.view.service.begin_drain()
        self.clock.advance(0)
        self.assertTrue(all(page.finished for page in pages))
        pages[0].write_eof()
        self.clock.advance(1)
        self.assertEqual(self.view.connection_count, 1)
        self.assertNoResult(drained)
        self.clock.advance(self.view.service.drain)
        self.successResultOf(drained)
        self.assertEqual(self.view.connection_count, 0)
        self.assertEqual(self.factory.endings, {})  # they are no members

    def test_the_refused(self) -> None:
        """Who is being told that it may not stay is shown meanwhile, and counted as refused."""
        self.factory.admission = Admission(AdmissionRules(max_connections=1))
        self.user("ann")
        late = connect_peer(self.factory)
        late.send(WS[:20])
        counts = self.figures().connections
        self.assertEqual(counts["refused", "open"], 1)
        self.assertEqual(len({each.id for each in self.view.connections()}), 2)
        late.write_eof()
        self.clock.advance(10)
        self.assertEqual(len(self.view.endings.last), 0)
        self.assertEqual(self.factory.admission.refused["full"], 1)

    def test_the_age_of_a_late_member(self) -> None:
        """A page that becomes a member after some time begins then, for its new number."""
        peer = connect_peer(self.factory)
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(50)
        peer.send(WS)
        self.clock.advance(1)
        (member,) = self.factory.connections.values()
        self.assertEqual(member.form, "websocket")
        self.assertAlmostEqual(self.factory.age(member.id), 1, delta=0.2)

    def test_counters_never_fall(self) -> None:
        """Not when a connection turns out to be a browser's, and goes on as another."""
        before = 0
        peer = connect_peer(self.factory)
        for piece in (WS[:40], WS[40:]):
            peer.send(piece)
            self.clock.advance(0)
            now = self.figures().bytes_received
            self.assertGreaterEqual(now, before)
            before = now
        self.assertGreaterEqual(before, len(WS))

    def test_a_tap(self) -> None:
        """Frames are taken apart, compressed ones too, and secrets are hidden."""
        client = WebSocketPeer(
            connect_peer(self.factory),
            opening("/ws", "Sec-WebSocket-Extensions: permessage-deflate"),
            window_bits=12,
        )
        (connection,) = self.factory.connections.values()
        lines: list[Any] = []

        def write(data: bytes) -> None:
            lines.extend(map(json.loads, data.splitlines()))

        tap = Tap(connection, write, lambda: None, self.view.hide, lambda: 0.0)
        tap.begin()
        self.says(client, type="hello", nick="web", room="lobby")
        ann = self.user("ann")
        ann.send(b"x" * 3000 + b"\n")
        self.clock.advance(1)
        shown = [json.loads(each["text"]) for each in lines if each.get("text", "")[:1] == "{"]
        self.assertEqual(shown[0]["type"], "hello")
        self.assertEqual(shown[1]["session"], "***")
        self.assertIn("x" * 3000, [each.get("text") for each in shown])
        self.assertGreater(self.factory.compressed_bytes, 0)
        self.assertLess(self.factory.compressed_bytes, 1000)
        tap.end()

    def test_a_tap_from_before(self) -> None:
        """Of a connection that turns out to be a browser's: it ends, because the text form does."""
        peer = connect_peer(self.factory)
        (connection,) = self.factory.connections.values()
        lines: list[Any] = []

        def write(data: bytes) -> None:
            lines.extend(map(json.loads, data.splitlines()))

        tap = Tap(connection, write, lambda: None, self.view.hide, lambda: 0.0)
        tap.begin()
        self.view.endings.tell(connection, tap.connection_ended)
        peer.send(WS)
        self.clock.advance(0)
        self.assertEqual(lines[-1]["ended"], "upgraded")
        self.assertNotIn("write", vars(peer))
        self.assertEqual(len(self.view.endings.last), 0)
