"""A process of a shared chat that is upgraded goes on as the same one: others notice nothing."""

from __future__ import annotations

from tests.chat.shared_chat import Process, SharedCase
from tests.upgrade.moving import copied, move_all
from twisted_net.testing import Peer


class SharedMoveTests(SharedCase):
    """Process ``one`` moves; process ``two`` watches."""

    def prepare(self) -> None:
        """Let the process suspend its store, as before it moves."""
        prepared = self.one.chat.prepare_move()
        for _ in range(200):
            if prepared.called:
                break
            self.clock.advance(0.01)
        self.successResultOf(prepared)

    def move(self, *peers: Peer) -> None:
        """Move the process with its connections, after :meth:`prepare`."""
        new = Process(self, settles=False)
        move_all(peers, self.one.chat, new.chat)
        self.one.chat.finish_move()
        self.one = new
        self.pass_presence()

    def test_nobody_notices(self) -> None:
        """Names, members and messages go on, and nobody elsewhere hears of it."""
        ann, zoe = self.one.text("ann"), self.two.text("zoe")
        self.pass_presence()
        zoe.take()
        before = {kind: dict(leases) for kind, leases in self.hub.leases.items()}
        process = self.one.store.process
        self.prepare()
        zoe.send(b"in the gap\n")
        self.settle()
        self.move(ann)
        self.assertEqual(self.one.store.process, process)
        self.assertEqual(self.hub.leases, before)
        self.assertEqual(ann.take().count(b"<zoe> in the gap"), 1)
        self.assertEqual(self.lines(zoe), [])
        self.assertEqual(self.says(zoe, "/msg ann psst"), ["* You told ann: psst"])
        self.assertIn(b"psst", ann.take())
        self.assertIn("zoe", self.says(ann, "/who")[-1])
        self.assertIn("taken", self.says(zoe, "/nick ann")[0])
        self.assertIn("taken", self.says(ann, "/nick zoe")[0])
        ann.send(b"/nick amy\n")
        self.pass_presence()
        self.assertEqual(self.lines(zoe), ["* ann is now amy."])

    def test_a_private_message_in_the_gap(self) -> None:
        """Who writes to a user while nobody hears it is told that it was not delivered."""
        ann, zoe = self.one.text("ann"), self.two.text("zoe")
        self.prepare()
        said = self.says(zoe, "/msg ann psst")
        self.assertTrue(said[-1].startswith("! "), said)
        self.move(ann)
        self.assertNotIn(b"psst", ann.take())

    def test_changes_in_the_gap(self) -> None:
        """Who came and left elsewhere meanwhile is announced here."""
        ann, zoe = self.one.text("ann"), self.two.text("zoe")
        self.pass_presence()
        ann.take()
        self.prepare()
        zoe.send(b"/quit\n")
        bob = self.two.text("bob")
        self.move(ann)
        self.pass_presence()
        self.assertEqual(sorted(self.lines(ann)), ["* bob joined #lobby.", "* zoe left #lobby."])
        self.assertIn("taken", self.says(ann, "/nick bob")[0])
        self.assertEqual(self.lines(bob)[-1:], [])

    def test_notices_in_the_gap(self) -> None:
        """What a room was told elsewhere meanwhile is told here, once and in order."""
        ann, boss = self.one.text("ann"), self.two.operator()
        self.two.text("bob")
        self.pass_presence()
        ann.take()
        self.prepare()
        self.says(boss, "/topic milk first")
        self.says(boss, "/mute bob 10")
        self.settle()
        self.move(ann)
        self.pass_presence()
        topic = "* boss changed the topic of #lobby: milk first"
        self.assertEqual(self.lines(ann), [topic, "* bob may not speak for 10 minutes."])
        self.says(boss, "/mute bob 20")
        self.settle()
        self.assertEqual(self.lines(ann), ["* bob may not speak for 20 minutes."])

    def test_who_stays_leaves(self) -> None:
        """The name and the membership of a user who does not move end."""
        ann, eve, zoe = self.one.text("ann"), self.one.text("eve"), self.two.text("zoe")
        self.pass_presence()
        zoe.take()
        self.prepare()
        eve.protocol.message_received = lambda message: eve.protocol.drained()
        aiter(eve.protocol)  # it cannot be moved
        self.move(ann, eve)
        self.pass_presence()
        self.assertEqual(self.lines(zoe), ["* eve left #lobby."])
        self.assertNotIn("taken", self.says(zoe, "/nick eve")[0])

    def test_it_does_not_move(self) -> None:
        """If it comes to nothing, the process goes on with all that it has."""
        ann, zoe = self.one.text("ann"), self.two.text("zoe")
        self.pass_presence()
        zoe.take()
        before = {kind: dict(leases) for kind, leases in self.hub.leases.items()}
        self.prepare()
        copied(self.one.chat.export_state([]))
        zoe.send(b"in the gap\n")
        self.settle()
        self.one.chat.cancel_move()
        self.pass_presence()
        self.assertEqual(self.hub.leases, before)
        self.assertEqual(ann.take().count(b"<zoe> in the gap"), 1)
        self.says(ann, "hello")
        self.assertEqual(self.lines(zoe), ["<ann> hello"])
        self.assertEqual(self.says(zoe, "/msg ann psst"), ["* You told ann: psst"])
