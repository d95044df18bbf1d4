"""What surrounds the chat when it moves: pages, and what its other factories have counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.upgrade.moving import copied
from twisted_net.chat.protocol import ChatFactory
from twisted_net.policy.close_reasons import HANDSHAKE
from twisted_net.testing import connect_peer
from twisted_net.web.gateway import ChatGateway

PAGE = b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"


class Slow(Resource):
    """A page whose end comes later."""

    isLeaf = True
    request: Any = None

    def render_GET(self, request: Any) -> int:
        self.request = request
        request.write(b"begin ")
        return int(NOT_DONE_YET)


class AroundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.page = Slow()

    def make(self) -> ChatFactory:
        """Return a chat with pages, as a new process has it."""
        chat = ChatFactory(clock=self.clock)
        site = Site(self.page, reactor=self.clock)  # type: ignore[no-untyped-call]
        chat.gateway = ChatGateway(chat, site)
        chat.start_store()
        return chat

    def test_a_page_is_not_cut(self) -> None:
        """A page stays, and its answer is finished by the old process."""
        chat = self.make()
        peer = connect_peer(chat, clock=self.clock)
        peer.send(PAGE)
        (page,) = [
            each for factory in chat.auxiliaries for each in factory.connections.values()
        ] or list(chat.connections.values())
        self.assertEqual(page.form, "page")
        page.pause_for_move()
        self.assertNotEqual(page.why_it_stays(), "")
        for factory in (chat, *chat.auxiliaries):
            self.assertEqual(factory.moving(), [])
            factory.accepts = False
        page.resume_after_move()
        chat.finish_move()
        self.page.request.write(b"end")
        self.page.request.finish()
        self.clock.advance(0)
        self.assertIn(b"begin ", peer.received)
        self.assertIn(b"end", peer.received)

    def test_counts_of_other_factories(self) -> None:
        """What the factories of pages and WebSockets have refused goes on, each its own."""
        old, new = self.make(), self.make()
        for number, factory in enumerate(old.auxiliaries, 1):
            factory.endings[HANDSHAKE.code] += number
        for before, after in zip(old.auxiliaries, new.auxiliaries, strict=True):
            after.restore_state(copied(before.export_state([])))
        counts = [each.endings[HANDSHAKE.code] for each in new.auxiliaries]
        self.assertEqual(counts, list(range(1, len(old.auxiliaries) + 1)))
        self.assertNotEqual(counts, [])
