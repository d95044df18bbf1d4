"""Tests for :mod:`twisted_net.web.admin.factory`: the view in other programs."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder
from tests.test_forward import Upstreams
from tests.web.admin.operating import LOOPBACK, Answer, FailingStore, request_bytes
from twisted_net import ConnectionFactory, Listener, ListenerService
from twisted_net.chat import ChatFactory
from twisted_net.connection.addresses import format_address
from twisted_net.forward import ForwardFactory
from twisted_net.testing import connect_peer
from twisted_net.web import AdminFactory
from twisted_net.web.admin.factory import KEEP_ALIVE_SECONDS, MOVE_SECONDS

ELSEWHERE = IPv4Address("TCP", "192.0.2.1", 9191)
TOKEN = "0123456789abcdef"


class AdminFactoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.own = ConnectionFactory.forProtocol(Recorder, clock=self.clock)

    def view(self, services: Any = None, **settings: Any) -> AdminFactory:
        """Return a view that listens, until the test has ended."""
        view = AdminFactory(services or {"own": self.own}, clock=self.clock, **settings)
        view.doStart()
        self.addCleanup(lambda: view.numPorts and view.doStop())
        return view

    def ask(self, view: AdminFactory, path: str, method: str = "GET", **more: Any) -> Answer:
        """Ask for a path."""
        host = more.pop("host", LOOPBACK)
        peer = connect_peer(view, clock=self.clock, host=host)
        peer.send(request_bytes(path, method, **more))
        return Answer(peer.received)

    def test_several(self) -> None:
        """Each factory is a service with the name that it was given; a chat has rooms."""
        chat = ChatFactory(clock=self.clock)
        view = self.view({"own": self.own, "talk": chat})
        connect_peer(self.own, clock=self.clock)
        connect_peer(chat, clock=self.clock).send(b"hello\n")
        for service, count in (("own", 1), ("talk", 1)):
            answer = self.ask(view, f"/connections?service={service}").json()
            self.assertEqual(answer["total"], count)
            self.assertEqual(answer["connections"][0]["service"], service)
        self.assertEqual(self.ask(view, "/rooms?service=talk").json()["total"], 1)
        text = self.ask(view, "/metrics").body.decode()
        self.assertIn('twisted_net_rooms{service="talk"} 1.0', text)
        self.assertIn('twisted_net_received_bytes_total{service="talk"} 6.0', text)

    def test_a_store_in_trouble(self) -> None:
        """A chat is not ready while its store, of any kind, says that it does not work."""
        store = FailingStore()
        chat = ChatFactory(clock=self.clock, store=store)
        chat.doStart()  # type: ignore[no-untyped-call]
        view = self.view({"talk": chat})
        self.assertEqual(self.ask(view, "/readyz").body, b"ready\n")
        store.trouble = "the disk is full"
        answer = self.ask(view, "/readyz")
        self.assertEqual((answer.status, answer.body), (503, b"talk: the disk is full\n"))
        ready = 'twisted_net_ready{service="talk"}'
        self.assertIn(f"{ready} 0.0", self.ask(view, "/metrics").body.decode())
        store.trouble = ""
        self.assertIn(f"{ready} 1.0", self.ask(view, "/metrics").body.decode())

    def test_an_upgrade_waits_for_who_has_connected(self) -> None:
        """Who has just connected is answered first; who says nothing is not waited for long."""
        view = self.view()
        self.own.doStart()  # type: ignore[no-untyped-call]
        silent = connect_peer(view, clock=self.clock)
        asking = connect_peer(view, clock=self.clock, host=LOOPBACK)
        for connection in view.connections.values():
            connection.pause_for_move()
        waiting = view.prepare_move()
        self.assertNoResult(waiting)
        asking.send(request_bytes("/readyz"))
        self.assertEqual(Answer(asking.received).body, b"ready\n")
        self.clock.pump([MOVE_SECONDS / 2] * 2)
        self.successResultOf(waiting)
        silent.reset()
        self.successResultOf(view.prepare_move())  # nobody is left to wait for

    def test_readiness(self) -> None:
        """A factory is ready while something listens with it and it accepts."""
        view = self.view()
        self.assertEqual(self.ask(view, "/readyz").status, 503)
        self.own.doStart()  # type: ignore[no-untyped-call]
        self.assertEqual(self.ask(view, "/readyz").status, 200)
        peer = connect_peer(self.own, clock=self.clock)
        drained = self.ask(view, "/drain", "POST").json()
        self.assertEqual(drained["open"], 1)
        self.assertTrue(peer.finished)
        answer = self.ask(view, "/readyz")
        self.assertEqual((answer.status, answer.body), (503, b"own is draining\n"))

    def test_a_service(self) -> None:
        """Of a ListenerService, the listeners are shown."""
        reactor = MemoryReactorClock()

        class Endpoint:
            def listen(self, factory: Any) -> Any:
                from twisted.internet.defer import succeed

                return succeed(reactor.listenTCP(1, factory))

        service = ListenerService(self.own, [Listener(Endpoint(), "--port 1")])
        view = self.view({"own": service})
        self.assertEqual(self.ask(view, "/readyz").body, b"own does not listen\n")
        service.startService()
        self.assertEqual(self.ask(view, "/readyz").status, 200)

    def test_observing(self) -> None:
        """It observes while it listens, and no longer."""
        view = self.view()
        self.assertIsNotNone(self.own.observer)
        peer = connect_peer(self.own, clock=self.clock)
        peer.write_eof()
        self.assertEqual(len(self.ask(view, "/ended").json()["ended"]), 1)
        while view.numPorts:  # each peer has connected to a port of its own
            view.doStop()
        self.assertIsNone(self.own.observer)
        self.clock.advance(0)

    def test_others_need_a_token(self) -> None:
        """Without one, only this machine is answered; with one, who knows it."""
        self.assertEqual(self.ask(self.view(), "/metrics", host=ELSEWHERE).status, 403)
        view = self.view(token=TOKEN, hosts=["own.example"])
        self.assertEqual(self.ask(view, "/metrics").status, 401)
        known = {"Authorization": f"Bearer {TOKEN}", "Host": "own.example"}
        self.assertEqual(self.ask(view, "/metrics", host=ELSEWHERE, **known).status, 200)
        changing = self.view(token=lambda: b"another-one-that-is-long")
        self.assertEqual(self.ask(changing, "/metrics", **known).status, 403)

    def test_an_upstream(self) -> None:
        """A forwarded connection shows its other side, once that is connected."""
        upstreams = Upstreams(self.clock, at_once=False)
        forwards = ForwardFactory(upstreams, clock=self.clock)
        view = self.view({"front": forwards})
        peer = connect_peer(forwards, clock=self.clock)
        (row,) = self.ask(view, "/connections").json()["connections"]
        self.assertIsNone(row["upstream"])
        upstreams.answer()
        upstreams.peers[0].full()
        peer.send(b"hello")
        number = row["id"]
        shown = self.ask(view, f"/connections/{number}").json()["upstream"]
        peer_of_it = format_address(upstreams.peers[0].getPeer())
        self.assertEqual((shown["peer"], shown["state"]), (peer_of_it, "open"))
        self.assertEqual((shown["bytes_sent"], shown["queued"]), (0, 5))

    def test_without_a_request(self) -> None:
        """Who sends no complete request in time is closed, whatever comes of it."""
        view = self.view()
        silent = connect_peer(view, clock=self.clock, host=LOOPBACK)
        slow = connect_peer(view, clock=self.clock, host=LOOPBACK)
        posting = connect_peer(view, clock=self.clock, host=LOOPBACK)
        slow.send(b"GET /readyz HTTP/1.1\r\n")
        posting.send(b"POST /drain HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 99\r\n\r\n{")
        for number in range(9):
            self.clock.advance(1)
            slow.send(b"X-%d: y\r\n" % number)
            posting.send(b" ")
        self.assertEqual(len(view), 3)
        self.clock.pump([1, 0.1])
        self.assertEqual([each.finished for each in (silent, slow, posting)], [True] * 3)
        self.clock.pump([0.5] * int(2 * view.limits.close_grace + 3))  # nobody closes
        self.assertEqual(len(view), 0)

    def test_between_requests(self) -> None:
        """A connection is kept for a while after each answer; during an answer, for any time."""
        view = self.view()
        peer = connect_peer(view, clock=self.clock, host=LOOPBACK)
        for _ in range(3):
            peer.send(request_bytes("/healthz"))
            self.clock.pump([0.1, KEEP_ALIVE_SECONDS - 1])
            self.assertFalse(peer.finished)
        self.assertEqual(peer.received.count(b" 200 OK"), 3)
        watched = connect_peer(self.own, clock=self.clock)
        peer.send(request_bytes(f"/connections/{watched.protocol.id}/tap"))
        self.clock.pump([1] * int(2 * KEEP_ALIVE_SECONDS))
        self.assertFalse(peer.finished)
        watched.reset()
        self.clock.pump([0.1, KEEP_ALIVE_SECONDS - 1])
        self.assertFalse(peer.finished)
        self.clock.pump([1, 0.1])
        self.assertTrue(peer.finished)

    def test_mistakes(self) -> None:
        """Each is an error that says what is wrong."""
        for services, token, text in (
            ({}, None, "services: there is none"),
            ({"own": self.own}, "short", "token: must have at least 16"),
            ({"own": self.own}, "x" * 20 + "\xe9", "token: must be ASCII"),
            ({"own": self.own}, "x" * 20 + " ", "token: must be ASCII"),
        ):
            with self.assertRaisesRegex(ValueError, text):
                AdminFactory(services, token=token, clock=self.clock)
