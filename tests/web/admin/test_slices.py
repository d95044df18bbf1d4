"""Many connections: answers take several turns of the reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.web.admin.operating import LOOPBACK, AdminCase, Answer, request_bytes
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.admin import slices as slices_module
from twisted_net.web.admin.figures import read_figures
from twisted_net.web.admin.slices import Slices

SLICE = 3


class SlicedCase(AdminCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(slices_module, "SLICE", SLICE)


class SlicesTests(SlicedCase):
    def test_turns(self) -> None:
        """No turn has more than a slice, over all lists of one answer."""
        seen: list[int] = []
        sizes: list[int] = []

        async def work() -> None:
            slices = Slices(self.clock)
            for items in (range(2), range(8), range(1)):
                async for part in slices.of(items):
                    seen.extend(part)

        working = Deferred.fromCoroutine(work())
        while True:
            sizes.append(len(seen) - sum(sizes))
            if not self.one_turn():
                break
        self.successResultOf(working)
        self.assertEqual(seen, [0, 1, *range(8), 0])
        self.assertEqual(sizes, [2, 3, 3, 3])

    def test_few_take_one_turn(self) -> None:
        """What is one slice in all is done at once."""

        async def work() -> int:
            return sum([len(part) async for part in Slices(Clock()).of(range(SLICE))])

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(work())), SLICE)


class AnswersTests(SlicedCase):
    def setUp(self) -> None:
        super().setUp()
        self.view = self.watch(self.recorders())
        self.peers = [connect_peer(self.view.factory, clock=self.clock) for _ in range(10)]
        for number, peer in enumerate(self.peers):
            peer.send(b"x" * (number % 4 + 1) + b"\n")

    def asked(self, path: str) -> Peer:
        """Send a request, and run no turn of the reactor after it."""
        peer = connect_peer(self.site, clock=self.clock, host=LOOPBACK)
        peer.protocol.dataReceived(request_bytes(path))
        return peer

    def test_one_answer(self) -> None:
        """A scrape takes several turns; what happens meanwhile makes no sum fall."""
        reading: Any = Deferred.fromCoroutine(read_figures(self.view))
        self.peers[-1].protocol.abort()
        self.peers[0].protocol.abort()
        self.one_turn()
        self.assertNoResult(reading)
        while self.one_turn():
            pass
        figures = self.successResultOf(reading)
        self.assertEqual(figures.bytes_received, sum(number % 4 + 2 for number in range(10)))
        self.assertEqual(sum(figures.connections.values()), 9)  # the first was counted before

    def test_pages(self) -> None:
        """Pages of any order have all connections once, as with few of them."""
        rows: list[dict[str, Any]] = []
        query = "sort=bytes_received&limit=4"
        after = ""
        while True:
            answer = self.ask(f"/connections?{query}{after}").json()
            rows += answer["connections"]
            if answer["next"] is None:
                break
            after = f"&after={answer['next']}"
        keys = [(-row["bytes_received"], row["id"]) for row in rows]
        self.assertEqual(keys, sorted(set(keys)))
        self.assertEqual(len(keys), 10)

    def test_who_asked_has_gone(self) -> None:
        """Then nobody works on, and the next one gets an answer."""
        first = self.asked("/metrics")
        second = self.asked("/metrics")
        self.assertEqual(first.unsent_bytes, 0)
        first.reset()
        self.assertEqual(Answer(second.received).status, 200)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_ban(self) -> None:
        """It closes all whom it meets, however many there are."""
        factory = ConnectionFactory.forProtocol(
            self.view.factory.protocol, clock=self.clock, admission=Admission(AdmissionRules())
        )
        self.watch(factory, name="other")
        peers = [connect_peer(factory, clock=self.clock) for _ in range(10)]
        answer = self.do("/bans", target="0.0.0.0/0", minutes=5)
        self.assertIn("10 connections closed", answer.json()["done"])
        self.assertTrue(all(peer.finished for peer in peers))


class RoomsTests(SlicedCase):
    def test_pages(self) -> None:
        """Rooms come in pages, those with most members first."""
        view = self.watch_chat()
        for number in range(8):
            peer = connect_peer(view.factory, clock=self.clock)
            peer.send(f"/nick u{number}\n/join r{number}:x\n/join b{number % 3}\n".encode())
        names: list[str] = []
        after = ""
        while True:
            answer = self.ask(f"/rooms?limit=3{after}").json()
            names += [room["name"] for room in answer["rooms"]]
            if answer["next"] is None:
                break
            after = f"&after={answer['next']}"
        self.assertEqual(names[:4], ["lobby", "b0", "b1", "b2"])
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(answer["total"], len(names))
        self.assertEqual(self.ask("/rooms?limit=0").status, 400)
        self.assertEqual(self.ask("/rooms?after=x").status, 400)
        members = self.ask("/connections?room=lobby&limit=3").json()
        self.assertEqual([row["id"] for row in members["connections"]], [1, 2, 3])
