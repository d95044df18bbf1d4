"""A chat of several processes while the store is away, and when it is back."""

from __future__ import annotations

from twisted.internet.defer import fail

from tests.chat.shared_chat import Process, SharedCase
from twisted_net.chat.shared.cluster import BACK, LOST, START_PATIENCE
from twisted_net.chat.shared.session import AWAY_TEXT
from twisted_net.store.interface import LEASE_SECONDS, StoreError
from twisted_net.store.log import Position


class AwayTests(SharedCase):
    """The store cannot be reached."""

    def test_members_are_told_once(self) -> None:
        """Members stay. They are told when the store goes, and when it is back."""
        ann, prog = self.one.text("ann"), self.one.program("prog")
        self.lines(ann)
        self.one.store.cut()
        for _ in range(3):
            self.pass_presence()
        self.assertEqual(self.lines(ann), [f"* {LOST}"])
        self.assertEqual([each["text"] for each in prog.heard()], [LOST])
        self.one.store.heal()
        self.pass_presence()
        self.assertEqual(self.lines(ann), [f"* {BACK}"])
        self.assertEqual([each["text"] for each in prog.heard()], [BACK])
        self.assertFalse(ann.finished)

    def test_notices_meanwhile(self) -> None:
        """What a room was told elsewhere while the store was away is told when it is back, once."""
        ann, boss = self.one.text("ann"), self.two.operator()
        self.two.text("bob")
        self.pass_presence()
        self.one.store.cut()
        self.lines(ann)
        self.says(boss, "/topic milk first")
        self.says(boss, "/mute bob 10")
        self.one.store.heal()
        self.pass_presence()
        topic = "* boss changed the topic of #lobby: milk first"
        told = [line for line in self.lines(ann) if "store" not in line]
        self.assertEqual(told, [topic, "* bob may not speak for 10 minutes."])

    def test_a_topic_that_was_read(self) -> None:
        """It is announced once, although the order of who has set it comes after that."""
        ann, boss = self.one.text("ann"), self.two.operator()
        self.pass_presence()
        self.one.store.cut()
        self.says(boss, "/topic milk first")
        late, self.hub.notices[:] = list(self.hub.notices), []
        self.one.store.heal()
        self.pass_presence()
        self.assertEqual(len([line for line in self.lines(ann) if "milk first" in line]), 1)
        for _ in range(2):
            for topic, data, process in late:
                self.one.store.notice(topic, data, process, 0)
            self.settle()
        # The second one is from somebody who has set the same topic again.
        told = ["* boss changed the topic of #lobby: milk first"]
        self.assertEqual([line for line in self.lines(ann) if "milk first" in line], told)

    def test_messages_are_refused(self) -> None:
        """Their senders may send them again."""
        prog = self.one.program("prog")
        self.one.store.cut()
        message = {"type": "message", "room": "lobby", "text": "hello", "id": "1"}
        (error,) = [each for each in self.asks(prog, **message) if each["type"] == "error"]
        self.assertEqual((error["code"], error["id"]), ("store", "1"))
        self.one.store.heal()
        self.pass_presence()
        (ack,) = self.asks(prog, **message)
        self.assertEqual((ack["type"], ack["id"]), ("ack", "1"))

    def test_what_needs_the_store(self) -> None:
        """Joins, names and topics are refused; what does not need the store is done."""
        prog = self.one.program("prog")
        self.two.text("bob")
        self.one.store.cut()
        prog.heard()
        for request in (
            {"type": "join", "room": "tea"},
            {"type": "nick", "nick": "zed"},
            {"type": "topic", "topic": "x", "room": "lobby"},
            {"type": "private", "to": "bob", "text": "psst"},
            {"type": "rooms"},
            {"type": "who", "room": "tea"},
        ):
            (error,) = self.asks(prog, **request, id="1")
            self.assertEqual((error.get("code"), error["id"]), ("store", "1"), request)
        self.assertEqual(self.asks(prog, type="topic", room="lobby")[0]["type"], "topic")
        self.assertEqual(self.asks(prog, type="who", room="lobby")[0]["type"], "who")
        self.assertEqual(self.asks(prog, type="ping")[0]["type"], "pong")

    def test_who_comes(self) -> None:
        """Who comes is told, and closed with a reason to come back."""
        self.one.store.cut()
        peer = self.one.connect()
        peer.send(b"/nick ann\n")
        self.pass_presence()
        self.assertEqual(self.lines(peer)[0], f"! {AWAY_TEXT}")
        self.assertTrue(peer.finished)
        silent = self.one.connect()
        self.pass_presence()
        self.assertTrue(silent.finished)
        prog = self.one.program("prog")
        self.assertEqual([each["code"] for each in prog.greeting], ["store", "upstream"])
        self.assertTrue(prog.greeting[1]["retry"])
        self.one.store.heal()
        self.pass_presence()
        self.assertEqual(self.one.program("prog").greeting[0]["type"], "welcome")

    def test_a_claim_under_way(self) -> None:
        """Who waits for a name when the store goes is told."""
        ann = self.one.text("ann")
        ann.take()
        self.hub.delay = 0.01
        ann.send(b"/nick zed\n")
        self.assertEqual(self.lines(ann), [])
        self.one.store.cut()
        self.pass_presence()
        self.assertIn(f"! {AWAY_TEXT}", self.lines(ann))
        self.one.store.heal()
        self.pass_presence()
        self.assertEqual([user.name for user in self.one.chat.registry], ["ann"])
        bob = self.two.text("bob")
        self.assertEqual(self.says(bob, "/nick zed"), ["* You are zed now."])

    def test_a_login_under_way(self) -> None:
        """A login that cannot be completed is none."""
        guest = self.one.text()
        guest.take()
        self.one.store.lease = lambda *more: fail(StoreError("no"))  # type: ignore[method-assign]
        guest.send(b"/login zoe secret\n")
        self.pass_presence()
        self.assertEqual(self.lines(guest), [f"! {AWAY_TEXT}"])
        (user,) = self.one.chat.registry
        self.assertEqual(user.account, "")


class BackTests(SharedCase):
    """The store is back."""

    def test_a_short_interruption(self) -> None:
        """Nobody notices more than the notices."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.lines(ann)
        self.two.store.cut()
        self.clock.pump([1] * int(LEASE_SECONDS - 2))
        self.two.store.heal()
        self.pass_presence()
        self.assertEqual(self.lines(ann), [])
        self.assertEqual(self.says(bob, "/who"), ["* 2 in #lobby: ann, bob"])

    def test_leases_are_taken_again(self) -> None:
        """After a long one, names and members are leased again."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.lines(ann)
        self.two.store.cut()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        self.assertEqual(self.lines(ann), ["* bob left #lobby."])
        self.two.store.heal()
        self.pass_presence()
        self.assertEqual(self.lines(ann), ["* bob joined #lobby."])
        self.assertEqual(self.says(ann, "/nick bob"), ["! The name bob is taken."])
        self.assertEqual(self.says(bob, "/who"), ["* 2 in #lobby: ann, bob"])

    def test_a_name_that_was_taken(self) -> None:
        """Who has lost the name to another process gets a new one, and is told."""
        bob = self.two.text("bob")
        self.two.store.cut()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        other = self.one.text("bob")
        self.lines(bob)
        self.two.store.heal()
        self.pass_presence()
        heard = self.lines(bob)
        self.assertIn("* Somebody else took the name bob while the store was away.", heard)
        (user,) = self.two.chat.registry
        self.assertTrue(user.name.startswith("guest-"))
        self.assertIn(f"* You are {user.name} now.", heard)
        self.assertEqual(self.says(other, "/who"), [f"* 2 in #lobby: bob, {user.name}"])
        self.assertEqual(self.says(bob, "/msg bob psst"), ["* You told bob: psst"])

    def test_a_session_that_went_on_elsewhere(self) -> None:
        """The ghost of a program that has gone to another process meanwhile is ended."""
        before = self.one.program("bot")
        self.one.store.cut()
        self.clock.pump([1] * int(LEASE_SECONDS + 2))
        after = self.two.program("bot", session=before.greeting[0]["session"])
        self.assertEqual(after.greeting[0]["nick"], "bot")
        self.one.store.heal()
        self.pass_presence()
        self.assertEqual(before.heard()[-1]["type"], "goodbye")
        self.assertFalse(after.peer.finished)

    def test_what_happened_meanwhile(self) -> None:
        """Who left and came meanwhile, and who has a new name, is told when the store is back."""
        self.one.text("ann")
        bob, cid = self.two.text("bob"), self.two.text("cid")
        dan = self.one.text("dan")
        self.two.store.cut()
        bob.send(b"/quit\n")
        dan.send(b"/quit\n")
        self.pass_presence()
        eve = self.one.text("eve")
        cid.take()
        self.two.store.heal()
        self.pass_presence()
        heard = self.lines(cid)
        self.assertIn("* dan left #lobby.", heard)
        self.assertIn("* eve joined #lobby.", heard)
        self.assertIn("* bob left #lobby.", self.lines(eve))
        for peer in (cid, eve):
            self.assertEqual(self.says(peer, "/who"), ["* 3 in #lobby: ann, cid, eve"])
        self.assertIn("* You are bob now.", self.says(eve, "/nick bob"))

    def test_messages_meanwhile(self) -> None:
        """Messages of other processes follow when the store is back."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.two.store.cut()
        self.says(ann, "hello")
        self.lines(bob)
        self.two.store.heal()
        self.pass_presence()
        self.assertIn("<ann> hello", self.lines(bob))

    def test_lost_messages(self) -> None:
        """Members are told when the store has lost messages, and hear those that follow."""
        ann, prog = self.one.text("ann"), self.one.program("prog")
        bob = self.two.text("bob")
        self.says(bob, "one")
        self.lines(ann)
        prog.heard()
        self.one.store.lose("elsewhere", Position("new", 0))
        self.one.store.lose("lobby", Position("new", 0))
        self.pass_presence()
        (line,) = self.lines(ann)
        self.assertEqual(
            line, "! The server has lost messages in #lobby. Some may be missing here."
        )
        (joined,) = prog.heard()
        self.assertEqual(
            (joined["type"], joined["recovered"], joined["epoch"], joined["offset"]),
            ("joined", False, "new", 0),
        )
        self.assertEqual(sorted(joined["members"]), ["ann", "bob", "prog"])
        self.says(bob, "two")
        self.assertEqual(self.lines(ann), ["<bob> two"])
        self.assertEqual(self.lines(bob), [])

    def test_lost_messages_of_a_member_that_joins(self) -> None:
        """Who has just asked for missed messages is told that they are lost."""
        prog = self.one.program("prog")
        at = prog.greeting[-1]["epoch"], prog.greeting[-1]["offset"]
        self.one.program("other")
        late = self.one.program("late", "")
        self.hub.delay = 0.5
        late.send(type="join", room="lobby", since=dict(zip(("epoch", "offset"), at, strict=True)))
        self.one.store.lose("lobby", Position("new", 0))
        self.pass_presence()
        (joined,) = [each for each in late.heard() if each["type"] == "joined"]
        self.assertEqual((joined["recovered"], joined["epoch"]), (False, "new"))

    def test_away_from_the_start(self) -> None:
        """A process that starts while the store is away joins the chat when it is back."""
        self.one.text("ann")
        make = self.hub.store

        def cut_store() -> object:
            store = make()
            store.trouble = "away"
            return store

        self.hub.store = cut_store  # type: ignore[method-assign,assignment]
        late = Process(self)
        cid = late.connect()
        cid.send(b"/help\n")
        self.clock.advance(START_PATIENCE + 1)
        self.settle()
        self.assertEqual(self.lines(cid)[0], f"! {AWAY_TEXT}")
        self.assertTrue(cid.finished)
        late.store.heal()
        self.pass_presence()
        bob = late.text("bob")
        self.assertEqual(self.says(bob, "/who"), ["* 2 in #lobby: ann, bob"])

    def test_connecting(self) -> None:
        """Who comes before the store is connected waits for it."""
        make = self.hub.store

        def connecting_store() -> object:
            store = make()
            store.trouble = "connecting"
            return store

        self.hub.store = connecting_store  # type: ignore[method-assign,assignment]
        late = Process(self)
        peer = late.connect()
        peer.send(b"/nick ann\n")
        self.clock.advance(1)
        self.assertEqual(self.lines(peer), [])
        late.store.heal()
        self.pass_presence()
        self.assertIn("* You are ann now.", self.lines(peer))
        self.clock.advance(START_PATIENCE + 1)
        self.assertFalse(peer.finished)

    def test_a_lease_that_failed_for_once(self) -> None:
        """It is taken again after some seconds, although the store was never away."""
        ann = self.one.text("ann")
        lease = self.two.store.lease
        bob = self.two.connect()
        bob.send(b"/nick bob\n")
        self.settle()
        self.two.store.lease = lambda *more: fail(StoreError("no"))  # type: ignore[method-assign]
        self.pass_presence()
        self.assertEqual(self.says(ann, "/who"), ["* 1 in #lobby: ann"])
        self.two.store.lease = lease  # type: ignore[method-assign]
        self.clock.pump([1] * 7)
        self.assertEqual(self.says(ann, "/who"), ["* 2 in #lobby: ann, bob"])
