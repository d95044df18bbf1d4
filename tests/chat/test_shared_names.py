"""Names in a chat of several processes."""

from __future__ import annotations

from tests.chat.shared_chat import Process, SharedCase
from twisted_net.store.interface import LEASE_SECONDS, SharedStore


class NamesTests(SharedCase):
    """Each name is one user's."""

    def names(self) -> list[str]:
        found = (self.one.chat.registry, self.two.chat.registry)
        return sorted(user.name for registry in found for user in registry)

    def test_the_hub(self) -> None:
        """The hub's stores are what they stand for."""
        self.assertIsInstance(self.one.store, SharedStore)

    def test_guests(self) -> None:
        """No two guests have the same name."""
        self.hub.delay = 0.01
        peers = [process.connect() for process in (self.one, self.two) * 20]
        for peer in peers:
            peer.send(b"/help\n")
        self.pass_presence()
        self.assertEqual(len(set(self.names())), 40)

    def test_silent_guests(self) -> None:
        """Guests who say nothing are greeted with names of their own, too."""
        self.hub.delay = 0.01
        peers = [process.connect() for process in (self.one, self.two) * 10]
        self.pass_presence()
        self.assertEqual(len(set(self.names())), 20)
        for peer in peers:
            self.assertIn("Welcome", self.lines(peer)[0])

    def test_the_first_guests_wait_for_the_store(self) -> None:
        """Who comes before the store has answered is let in when it has."""
        late = Process.__new__(Process)
        self.hub.delay = 1.0
        late.__init__(self)  # type: ignore[misc]
        peer = late.connect()
        peer.send(b"/nick ann\nhello\n")
        self.assertEqual(self.lines(peer), [])
        self.clock.pump([1.0] * 9)
        lines = self.lines(peer)
        self.assertIn("Welcome", lines[0])
        self.assertIn("* You are ann now.", lines)
        self.assertEqual(late.chat.registry.find("ann").name, "ann")

    def test_taken(self) -> None:
        """A name of another process, or one that looks like it, is refused."""
        self.one.text("Ann")
        bob = self.two.text("bob")
        self.assertEqual(self.says(bob, "/nick ann"), ["! The name ann is taken."])
        self.assertEqual(self.says(bob, "/nick Arm"), ["* You are Arm now."])
        dan = self.one.text("dan")
        self.assertEqual(self.says(dan, "/nick Arrn"), ["! The name Arrn looks like Arm."])

    def test_a_race(self) -> None:
        """If two processes claim a name in the same turn, one of them gets it."""
        peers = self.one.text("a1"), self.two.text("b2")
        self.hub.delay = 0.01
        for peer in peers:
            peer.send(b"/nick zed\n")
        self.pass_presence()
        heard = [self.lines(peer) for peer in peers]
        self.assertIn("* You are zed now.", heard[0])
        self.assertIn("! The name zed is taken.", heard[1])
        self.assertEqual(self.names(), ["b2", "zed"])

    def test_a_race_in_one_process(self) -> None:
        """If two users of one process ask for a name in the same turn, one of them gets it."""
        peers = self.one.text("a1"), self.one.text("b2")
        self.hub.delay = 0.01
        for peer in peers:
            peer.send(b"/nick zed\n")
        self.pass_presence()
        heard = [self.lines(peer) for peer in peers]
        self.assertIn("* You are zed now.", heard[0])
        self.assertIn("! The name zed is taken.", heard[1])

    def test_a_free_name_is_free_everywhere(self) -> None:
        """Who leaves, or takes another name, frees the name for other processes."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.says(ann, "/nick anna")
        self.assertEqual(self.says(bob, "/nick ann"), ["* You are ann now."])
        ann.send(b"/quit\n")
        self.pass_presence()
        self.assertIn("* You are anna now.", self.says(bob, "/nick anna"))

    def test_another_case_keeps_the_lease(self) -> None:
        """A name that differs in case only is never free in between."""
        ann = self.one.text("ann")
        self.says(ann, "/nick ANN")
        bob = self.two.text("bob")
        self.assertEqual(self.says(bob, "/nick ann"), ["! The name ann is taken."])
        self.assertIn("ANN", self.hub.leases["name"]["ann"][0])

    def test_leaving_during_the_claim(self) -> None:
        """Who leaves while a claim is under way leaves no lease behind."""
        ann = self.one.text("ann")
        self.hub.delay = 0.01
        ann.send(b"/nick zed\n")
        self.assertIsNone(self.one.chat.registry.find("zed"))
        ann.reset()
        self.pass_presence()
        self.assertEqual({key for key in self.hub.leases["name"] if "guest" not in key}, set())
        bob = self.two.text("bob")
        self.assertEqual(self.says(bob, "/nick zed"), ["* You are zed now."])

    def test_what_follows_a_claim_waits_for_it(self) -> None:
        """The next message of a user is processed under the new name."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.hub.delay = 0.01
        ann.send(b"/nick zed\nhello\n")
        self.pass_presence()
        self.assertIn("<zed> hello", self.lines(bob))

    def test_a_claim_counts_once(self) -> None:
        """A change of the name counts once, although it is tried twice."""
        ann = self.one.text("n0")
        for number in range(1, 10):
            self.assertIn(f"* You are n{number} now.", self.says(ann, f"/nick n{number}"))

    def test_a_name_of_a_process_that_died(self) -> None:
        """It is free once its lease has ended."""
        self.one.text("ann")
        bob = self.two.text("bob")
        self.one.store.die()
        self.assertEqual(self.says(bob, "/nick ann"), ["! The name ann is taken."])
        self.clock.advance(LEASE_SECONDS)
        self.settle()
        self.assertIn("* You are ann now.", self.says(bob, "/nick ann"))

    def test_stopping_frees_all(self) -> None:
        """A process that stops its store gives its leases up."""
        self.one.text("ann")
        self.one.chat.stop_store()
        self.settle()
        bob = self.two.text("bob")
        self.assertEqual(self.says(bob, "/nick ann"), ["* You are ann now."])
        self.assertEqual(
            {process for _, process in self.hub.leases["name"].values()}, {self.two.store.process}
        )

    def test_starting_again(self) -> None:
        """A chat that is stopped and started again joins the others as a new process."""
        self.one.chat.stop_store()
        self.settle()
        self.two.text("bob")
        self.one.chat.start_store()
        self.settle()
        ann = self.one.text("ann")
        self.assertEqual(self.says(ann, "/who"), ["* 2 in #lobby: ann, bob"])
        self.assertEqual(self.says(ann, "/nick bob"), ["! The name bob is taken."])


class AccountTests(SharedCase):
    """The name of an account belongs to it in all processes."""

    def test_it_gets_its_name(self) -> None:
        """A user of another process who has the name gets another one."""
        guest = self.one.text("zoe")
        zoe = self.two.text()
        heard = self.says(zoe, "/login zoe secret")
        self.assertIn("* You are zoe now.", heard)
        told = self.lines(guest)
        self.assertIn("* zoe is an account's name.", told)
        self.assertTrue([line for line in told if line.startswith("* You are guest-")], told)

    def test_a_lookalike(self) -> None:
        """So does one whose name looks like it."""
        guest = self.one.text("z0e")
        zoe = self.two.program(user="zoe", password="secret")
        self.assertEqual(zoe.greeting[0]["nick"], "zoe")
        self.assertIn("* z0e looks like zoe, an account's name.", self.lines(guest))

    def test_a_guest_of_the_same_process(self) -> None:
        """A user of the same process who has the name gets another one, too."""
        guest = self.one.text("zoe")
        zoe = self.one.program(user="zoe", password="secret")
        self.assertEqual(zoe.greeting[0]["nick"], "zoe")
        self.assertIn("* zoe is an account's name.", self.lines(guest))

    def test_twice(self) -> None:
        """An account that is in another process already has a similar name here."""
        self.one.program(user="zoe", password="secret")
        second = self.two.program(user="zoe", password="secret")
        self.assertEqual(second.greeting[0]["nick"], "zoe-2")
        third = self.one.program(user="zoe", password="secret")
        self.assertEqual(third.greeting[0]["nick"], "zoe-3")

    def test_the_other_process_is_dead(self) -> None:
        """If the other process does not answer, the account has a similar name."""
        self.one.text("zoe")
        self.one.store.die()
        zoe = self.two.connect()
        zoe.send(b"/login zoe secret\n")
        self.clock.pump([1] * 7)
        self.assertIn("* You are zoe-2 now.", self.lines(zoe))


class SessionTests(SharedCase):
    """A program goes on with its session in another process."""

    def test_it_keeps_its_name_and_origin(self) -> None:
        """The ghost is ended, and the program keeps its name and origin."""
        before = self.one.program("bot")
        session = before.greeting[0]["session"]
        origin = self.one.chat.registry.find("bot").origin
        after = self.two.program(session=session)
        self.assertEqual(after.greeting[0]["nick"], "bot")
        self.assertEqual(self.two.chat.registry.find("bot").origin, origin)
        self.assertEqual(before.heard()[-1]["code"], "closed")
        self.assertIsNone(self.one.chat.registry.find("bot"))

    def test_the_name_is_free_before_the_answer(self) -> None:
        """The other process releases the name before it answers."""
        session = self.one.program("bot").greeting[0]["session"]
        guest = self.one.text("zoe")
        self.hub.order.clear()
        self.two.program(session=session)
        self.two.program(user="zoe", password="secret")
        self.assertIn("* zoe is an account's name.", self.lines(guest))
        ours = [name for process, name in self.hub.order if process == self.one.store.process]
        kinds = [name for name in ours if name in ("notify", "release", "lease")]
        for answer in [place for place, name in enumerate(kinds) if name == "notify"]:
            self.assertIn("release", kinds[:answer])
            kinds = ["lease"] * (answer + 1) + kinds[answer + 1 :]

    def test_it_asks_for_its_name(self) -> None:
        """It may say its name, or ask for another one."""
        session = self.one.program("bot").greeting[0]["session"]
        self.assertEqual(self.two.program("bot", session=session).greeting[0]["nick"], "bot")
        self.assertEqual(self.one.program("tob", session=session).greeting[0]["nick"], "tob")

    def test_of_an_account(self) -> None:
        """So does one with an account."""
        login = {"user": "zoe", "password": "secret"}
        session = self.one.program(**login).greeting[0]["session"]
        after = self.two.program(**login, session=session)
        self.assertEqual(after.greeting[0]["nick"], "zoe")

    def test_back_and_forth(self) -> None:
        """It may move as often as it likes."""
        session = self.one.program("bot").greeting[0]["session"]
        for process in (self.two, self.one) * 3:
            self.assertEqual(process.program(session=session).greeting[0]["nick"], "bot")

    def test_two_at_once(self) -> None:
        """If two connections go on with a session at once, one of them ends the other."""
        three = Process(self)
        session = self.one.program("bot").greeting[0]["session"]
        programs = [each.connect() for each in (self.two, three)]
        self.hub.delay = 0.01
        for peer in programs:
            peer.send(b'{"type":"hello","session":"%s"}\n' % session.encode())
        self.pass_presence()
        names = [user.name for each in (self.two, three) for user in each.chat.registry]
        self.assertEqual(len(names), 1)

    def test_of_a_process_that_died(self) -> None:
        """Its name is not free until the lease has ended; its origin goes on."""
        session = self.one.program("bot").greeting[0]["session"]
        origin = self.one.chat.registry.find("bot").origin
        self.one.store.die()
        after = self.two.connect()
        after.send(b'{"type":"hello","session":"%s"}\n' % session.encode())
        self.clock.pump([1] * 7)
        (user,) = self.two.chat.registry
        self.assertTrue(user.name.startswith("guest-"))
        self.assertEqual(user.origin, origin)
