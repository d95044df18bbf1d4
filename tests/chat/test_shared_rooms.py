"""Who is in the rooms of several processes, and what is said there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.chat.shared_chat import Process, SharedCase
from tests.web.sockets import WebSocketPeer, opening
from twisted_net.chat import ChatLimits
from twisted_net.chat.moderation import NAMED_AT_MOST
from twisted_net.store.interface import LEASE_SECONDS
from twisted_net.testing import connect_peer
from twisted_net.web.gateway import ChatGateway
from twisted_net.web.pages import page_site


class PresenceTests(SharedCase):
    """The users of other processes are in a room as those of this one are."""

    def test_joining_and_leaving(self) -> None:
        """Joins and leaves in another process are announced."""
        ann = self.one.text("ann")
        bob = self.two.text("bob")
        self.assertIn("* bob joined #lobby.", self.lines(ann))
        bob.send(b"/quit\n")
        self.pass_presence()
        self.assertEqual(self.lines(ann), ["* bob left #lobby."])

    def test_joined(self) -> None:
        """Who joins is told of all members, and their number."""
        self.one.text("ann")
        self.two.text("bob")
        (_, joined) = self.two.program("prog").greeting[:2]
        self.assertEqual(set(joined["members"]), {"ann", "bob", "prog"})
        self.assertEqual(joined["count"], 3)

    def test_the_first_of_a_process(self) -> None:
        """The first user of a room in a process is told of the members elsewhere, too."""
        self.one.program("ann", room="tea")
        greeting = self.two.program("prog", room="tea").greeting
        joined = greeting[1]
        self.assertEqual(set(joined["members"]), {"ann", "prog"})
        self.assertNotIn("presence", [each["type"] for each in greeting])

    def test_who(self) -> None:
        """``/who`` lists the users of all processes, also for a room that is not open here."""
        ann = self.one.text("ann")
        bob = self.two.text("bob")
        self.assertEqual(self.says(ann, "/who"), ["* 2 in #lobby: ann, bob"])
        self.says(bob, "/join tea")
        self.assertEqual(self.says(ann, "/who tea"), ["* 1 in #tea: bob"])
        self.assertEqual(self.says(ann, "/who milk"), ["* 0 in #milk: "])

    def test_who_of_a_program(self) -> None:
        """The answer has the id of the request."""
        self.one.program("ann", room="tea")
        prog = self.two.program("prog")
        (who,) = self.asks(prog, type="who", room="tea", id="7")
        self.assertEqual((who["members"], who["count"], who["id"]), (["ann"], 1, "7"))

    def test_rooms(self) -> None:
        """``/rooms`` lists the rooms of all processes."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.says(bob, "/join tea")
        self.says(bob, "/topic milk first")
        found = self.says(ann, "/rooms")
        self.assertEqual(found, ["* #lobby: 2 people", "* #tea: 1 person, milk first"])
        bob.send(b"/quit\n")
        self.pass_presence()
        self.assertEqual(self.says(ann, "/rooms"), ["* #lobby: 1 person"])

    def test_lists_are_read_seldom(self) -> None:
        """Who asks again and again does not make the server read all again."""
        self.one.text("ann")
        bob = self.two.text("bob")
        self.says(bob, "/join tea")
        self.hub.set_lease("rooms", "another tea", "of a later version", "another")
        ann = self.one.text("cid")
        before = self.hub.calls["leases"]
        ann.send(b"/rooms\n/who tea\n" * 20)
        self.pass_presence()
        self.assertEqual(self.lines(ann).count("* 1 in #tea: bob"), 20)
        self.assertEqual(self.hub.calls["leases"] - before, 2)

    def test_a_new_name(self) -> None:
        """A new name is announced as one, and not as a leave and a join."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.says(bob, "/nick rob")
        self.assertIn("* bob is now rob.", self.lines(ann))
        self.assertEqual(self.says(ann, "/who"), ["* 2 in #lobby: ann, rob"])
        other = self.two.text("bob")
        self.assertEqual(self.says(other, "/who"), ["* 3 in #lobby: ann, bob, rob"])
        three = Process(self).text("cid")
        self.assertEqual(self.says(three, "/who"), ["* 4 in #lobby: ann, bob, cid, rob"])

    def test_health_checks(self) -> None:
        """Who only comes and goes is not told to other processes."""
        ann = self.one.text("ann")
        peer = connect_peer(self.two.chat, clock=self.clock)
        self.clock.advance(0.5)
        self.settle()
        peer.reset()
        self.pass_presence()
        self.assertEqual(self.lines(ann), [])
        self.assertEqual(list(self.hub.leases["room:lobby"]), [f"{self.one.store.process} ann"])
        self.assertEqual(self.hub.calls["notify"], 0)

    def test_many_at_once(self) -> None:
        """Many joins at once are one call of the store, and one line elsewhere."""
        ann = self.one.text("ann")
        people = [connect_peer(self.two.chat, clock=self.clock) for _ in range(50)]
        for peer in people:
            peer.send(b"/who\n")
        self.settle()
        before = self.hub.calls["lease"]
        self.pass_presence()
        self.assertLessEqual(self.hub.calls["lease"] - before, 4)
        self.assertEqual(self.lines(ann), ["* 50 people joined #lobby."])
        for peer in people:
            peer.reset()
        self.pass_presence()
        self.assertEqual(self.lines(ann), ["* 50 people left #lobby."])

    def test_a_join_does_not_read_all_members(self) -> None:
        """The members are read once, when the room is opened."""
        self.one.text("ann")
        reads = self.hub.calls["leases"], self.hub.calls["watch_leases"]
        for number in range(5):
            self.two.text(f"bob{number}")
            if not number:
                reads = self.hub.calls["leases"], self.hub.calls["watch_leases"]
        self.assertEqual((self.hub.calls["leases"], self.hub.calls["watch_leases"]), reads)

    def test_a_process_that_died(self) -> None:
        """Its people leave by themselves."""
        ann = self.one.text("ann")
        for number in range(3):
            self.two.text(f"bob{number}")
        self.lines(ann)
        self.two.store.die()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        self.assertEqual(sorted(self.lines(ann)), [f"* bob{n} left #lobby." for n in range(3)])
        self.assertEqual(self.says(ann, "/who"), ["* 1 in #lobby: ann"])
        self.assertEqual(self.says(ann, "/rooms"), ["* #lobby: 1 person"])

    def test_many_of_a_process_that_died(self) -> None:
        """Many of them are counted."""
        ann = self.one.text("ann")
        for number in range(NAMED_AT_MOST + 1):
            self.two.text(f"bob{number}")
        self.lines(ann)
        self.two.store.die()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        self.assertEqual(self.lines(ann), [f"* {NAMED_AT_MOST + 1} people left #lobby."])

    def test_a_room_that_is_opened_again(self) -> None:
        """Who is alone in a process, leaves and comes back, finds the others."""
        self.one.text("ann")
        for _ in range(3):
            bob = self.two.text("bob")
            self.assertEqual(self.says(bob, "/who"), ["* 2 in #lobby: ann, bob"])
            bob.send(b"/quit\n")
            self.pass_presence()
        self.assertEqual(len(self.hub.leases["room:lobby"]), 1)

    def test_a_name_that_changes_hands(self) -> None:
        """Members hear that a name's user has left before they hear of the next one."""
        watchers = [each.program() for each in (self.one, self.two, Process(self))]
        zed, bob = self.one.text("zed"), self.two.text("bob")
        for watcher in watchers:
            watcher.heard()
        zed.reset()
        self.clock.pump([0.004] * 5)
        bob.send(b"/nick zed\n")
        self.pass_presence()
        for watcher in watchers:
            heard = [each["event"] for each in watcher.heard() if "zed" in each.values()]
            self.assertEqual(heard, ["leave", "nick"])

    def test_moving_to_another_process(self) -> None:
        """A program that goes on elsewhere is in its room once."""
        ann = self.one.text("ann")
        session = self.one.program("bot").greeting[0]["session"]
        self.two.text("bob")
        joined = self.two.program(session=session).greeting[1]
        self.assertEqual(sorted(joined["members"]), ["ann", "bob", "bot"])
        self.assertEqual(self.says(ann, "/who"), ["* 3 in #lobby: ann, bob, bot"])


class MessageTests(SharedCase):
    """Messages, private ones among them, reach the users of all processes."""

    def test_all_forms(self) -> None:
        """Text users, programs and browsers of all processes hear each other."""
        ann, prog = self.one.text("ann"), self.two.program("prog")
        self.says(ann, "hello")
        said = [each for each in prog.heard() if each["type"] == "message"]
        self.assertEqual([(each["from"], each["text"]) for each in said], [("ann", "hello")])
        prog.send(type="message", room="lobby", text="hi", id="1")
        self.pass_presence()
        self.assertIn("<prog> hi", self.lines(ann))
        self.assertEqual([each["id"] for each in prog.heard() if each["type"] == "ack"], ["1"])

    def test_private(self) -> None:
        """A private message reaches a user of another process, and is acked."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.assertEqual(self.says(ann, "/msg BOB psst"), ["* You told bob: psst"])
        self.assertIn("* ann tells you: psst", self.lines(bob))

    def test_private_to_nobody(self) -> None:
        """If there is nobody in any process, the sender is told."""
        ann = self.one.text("ann")
        told = ["! There is nobody called bob here."]
        self.assertEqual(self.says(ann, "/msg bob psst"), told)

    def test_private_ids(self) -> None:
        """A repeated id is acked again, and not delivered again; also from another process."""
        bob = self.two.text("bob")
        prog = self.one.program("prog")
        message = {"type": "private", "to": "bob", "text": "psst", "id": "7"}
        for _ in range(2):
            (ack,) = self.asks(prog, **message)
            self.assertEqual((ack["type"], ack["id"]), ("ack", "7"))
        three = Process(self).program(session=prog.greeting[0]["session"])
        (ack,) = self.asks(three, **message)
        self.assertEqual((ack["type"], ack["id"]), ("ack", "7"))
        self.assertEqual(self.lines(bob).count("* prog tells you: psst"), 1)

    def test_private_ids_after_a_death(self) -> None:
        """The recipient's process knows an id whose ack was lost with the sender's process."""
        bob = self.two.text("bob")
        prog = self.one.program("prog")
        message = {"type": "private", "to": "bob", "text": "psst", "id": "7"}
        self.asks(prog, **message)
        self.one.store.die()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        three = Process(self).program("prog", session=prog.greeting[0]["session"])
        (ack,) = self.asks(three, **message)
        self.assertEqual((ack["type"], ack["id"]), ("ack", "7"))
        self.assertEqual(self.lines(bob).count("* prog tells you: psst"), 1)

    def test_private_to_a_process_that_died(self) -> None:
        """The sender is told, at once or after some seconds; never nothing."""
        self.two.text("bob")
        prog = self.one.program("prog")
        self.two.store.die()
        (error,) = self.asks(prog, type="private", to="bob", text="psst", id="7")
        self.assertEqual((error["code"], error["id"]), ("store", "7"))
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        (error,) = [
            each
            for each in self.asks(prog, type="private", to="bob", text="psst", id="8")
            if each["type"] == "error"
        ]
        self.assertEqual(error["code"], "no-such-nick")

    def test_private_without_an_answer(self) -> None:
        """A process that does not answer is waited for for some seconds only."""
        self.two.text("bob")
        ann = self.one.text("ann")
        self.two.store.notice = lambda *more: True  # type: ignore[method-assign,assignment]
        ann.take()
        ann.send(b"/msg bob psst\n")
        self.clock.pump([1] * 6)
        (line,) = self.lines(ann)
        self.assertEqual(line[:36], "! The server of bob does not answer:")

    def test_private_to_somebody_who_moves(self) -> None:
        """Who has just gone to a third process is asked for there."""
        three = Process(self)
        bob, ann = three.text("bob"), self.one.text("ann")
        directory = self.one.chat.registry.elsewhere
        assert directory is not None
        now = self.hub.leases["name"]["bob"]
        self.hub.delay = 0.05
        directory.lease_changed("bob", now[0], self.two.store.process)  # as it was before
        self.clock.callLater(0.06, directory.lease_changed, "bob", *now)
        self.assertEqual(self.says(ann, "/msg bob psst"), ["* You told bob: psst"])
        self.assertIn("* ann tells you: psst", self.lines(bob))

    def test_what_waits_for_the_answer(self) -> None:
        """The user's next message is processed after the answer."""
        bob = self.two.text("bob")
        ann = self.one.text("ann")
        ann.take()
        ann.send(b"/msg bob one\n/msg bob two\nthree\n")
        self.pass_presence()
        heard = [line for line in self.lines(bob) if "joined" not in line]
        self.assertEqual(heard, ["* ann tells you: one", "* ann tells you: two", "<ann> three"])

    def test_ignoring(self) -> None:
        """Who ignores a person of another process hears nothing of the person."""
        ann = self.one.text("ann")
        bob = self.two.text("bob", address="198.51.100.2")
        self.assertEqual(self.says(ann, "/ignore bob"), ["* You hear nothing of bob now."])
        self.says(bob, "hello")
        self.says(bob, "/nick rob")
        self.assertEqual(self.says(bob, "/msg ann psst"), ["* You told ann: psst"])
        self.assertEqual(self.lines(ann), ["* bob is now rob."])
        self.assertEqual(self.says(ann, "/unignore rob"), ["* You hear rob again."])
        self.says(bob, "again")
        self.assertEqual(self.lines(ann), ["<rob> again"])

    def test_ignoring_too_many(self) -> None:
        """The limit of ignored people counts those of other processes, also when it changes."""
        ann = self.one.text("ann")
        for name in ("bob", "cid"):
            self.two.text(name)
        limits = ChatLimits(ignored=1)
        self.one.chat.change_chat_limits(limits)
        self.assertEqual(self.says(ann, "/ignore bob")[-1], "* You hear nothing of bob now.")
        self.assertEqual(self.says(ann, "/ignore cid"), ["! You ignore 1 person already."])
        self.one.chat.change_chat_limits(replace(limits, ignored=2))
        self.assertEqual(self.says(ann, "/ignore cid"), ["* You hear nothing of cid now."])

    def test_ignoring_lasts(self) -> None:
        """It goes on when the person comes back to any process."""
        ann = self.one.text("ann")
        bob = self.two.text("bob", address="198.51.100.2")
        self.says(ann, "/ignore bob")
        bob.send(b"/quit\n")
        self.pass_presence()
        bob = Process(self).text("bob", address="198.51.100.2")
        self.says(bob, "hello")
        self.assertNotIn("<bob> hello", self.lines(ann))
        cid = self.two.text("cid", address="198.51.100.2")
        self.says(cid, "hello")
        self.assertIn("<cid> hello", self.lines(ann))

    def test_websockets(self) -> None:
        """A user over WebSocket is one as any other, and goes on in another process."""
        ann = self.one.text("ann")
        web, heard = self.browser(self.two, nick="web")
        self.assertEqual([each["type"] for each in heard], ["welcome", "joined"])
        self.assertEqual(set(heard[1]["members"]), {"ann", "web"})
        self.lines(ann)
        web.send('{"type":"message","room":"lobby","text":"hi","id":"1"}')
        web.send('{"type":"private","to":"ann","text":"psst","id":"2"}')
        self.pass_presence()
        acks = [json.loads(each) for each in web.take() if isinstance(each, str)]
        self.assertEqual([each["id"] for each in acks if each["type"] == "ack"], ["1", "2"])
        self.assertEqual(self.lines(ann), ["<web> hi", "* web tells you: psst"])
        _, again = self.browser(self.one, session=heard[0]["session"])
        self.assertEqual(again[0]["nick"], "web")
        self.pass_presence()
        self.assertTrue(web.peer.finished)

    def browser(self, process: Process, **hello: str) -> tuple[WebSocketPeer, list[Any]]:
        """Connect over WebSocket, and say hello."""
        chat = process.chat
        chat.gateway = chat.gateway or ChatGateway(chat, page_site(self.clock), [])
        opened = opening("/ws", "Sec-WebSocket-Protocol: netchat.v1")
        client = WebSocketPeer(process.connect(), opened)
        client.send(json.dumps({"type": "hello", "room": "lobby", **hello}))
        self.pass_presence()
        return client, [json.loads(each) for each in client.take() if isinstance(each, str)]
