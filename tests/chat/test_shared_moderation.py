"""Operators reach the users of all processes, and topics are common to them."""

from __future__ import annotations

from tests.chat.shared_chat import Process, SharedCase
from twisted_net.chat import ChatUser, moderation
from twisted_net.chat.messages import Ban


class KickTests(SharedCase):
    def test_kicking(self) -> None:
        """An operator closes the connection of a user of another process; the room is told."""
        boss, ann, bob = self.one.operator(), self.one.text("ann"), self.two.text("bob")
        self.lines(ann)
        self.assertIn("* bob was kicked by boss: rude", self.says(boss, "/kick bob rude"))
        self.assertIn("* bob was kicked by boss: rude", self.lines(ann))
        self.assertTrue(bob.finished)
        self.assertIn("* bob was kicked by boss: rude", self.lines(bob))

    def test_a_program_kicks(self) -> None:
        """A program's request is acked."""
        boss = self.one.program(user="boss", password="secret")
        self.two.text("bob")
        answers = self.asks(boss, type="kick", nick="bob", id="5")
        self.assertEqual([each["id"] for each in answers if each["type"] == "ack"], ["5"])

    def test_nobody(self) -> None:
        """Nobody is kicked who is in no process, and nobody but an operator kicks."""
        boss, ann = self.one.operator(), self.two.text("ann")
        self.assertEqual(self.says(boss, "/kick bob"), ["! There is nobody called bob here."])
        self.assertEqual(self.says(ann, "/kick boss"), ["! Only operators may do that."])


class BanTests(SharedCase):
    def test_a_user_of_another_process(self) -> None:
        """A ban covers the person in all processes, and is listed in all."""
        boss = self.one.operator()
        bob = self.two.text("bob", address="198.51.100.2")
        self.assertIn("* bob is kept out for 60 minutes.", self.says(boss, "/ban bob 60 spam"))
        self.assertIn("* bob was banned by boss: spam", self.lines(bob))
        self.assertTrue(bob.finished)
        again = self.two.connect("198.51.100.2")
        again.send(b"/help\n")
        self.assertIn("! You are banned for 60 minutes more.", self.lines(again))
        other = self.two.operator()
        self.assertIn("bob, until", self.says(other, "/bans")[0])
        self.says(other, "/unban bob")
        self.assertEqual(self.says(boss, "/bans"), ["* Nobody is banned."])
        self.two.text("bob", address="198.51.100.2")

    def test_a_range(self) -> None:
        """A range covers the users of all processes."""
        boss = self.one.operator()
        bob = self.two.text("bob", address="203.0.113.9")
        self.says(boss, "/ban 203.0.113.0/24")
        self.assertTrue(bob.finished)

    def test_a_process_that_starts_later(self) -> None:
        """It reads bans and mutes from the store."""
        boss = self.one.operator()
        bob = self.two.text("bob", address="198.51.100.2")
        self.says(boss, "/mute bob")
        self.says(boss, "/ban 203.0.113.0/24")
        bob.send(b"/quit\n")
        three = Process(self)
        again = three.text("bob", address="198.51.100.2")
        self.assertIn("! You may speak again in", self.says(again, "hello")[0])
        banned = three.connect("203.0.113.9")
        banned.send(b"/help\n")
        self.assertIn("! You are banned for 60 minutes more.", self.lines(banned))

    def test_what_was_missed(self) -> None:
        """A process that was cut off learns of bans, lifted bans and mutes when it is back."""
        boss = self.one.operator()
        bob = self.two.text("bob", address="203.0.113.9")
        self.says(boss, "/ban 192.0.2.0/24")
        self.two.store.cut()
        self.says(boss, "/unban 192.0.2.0/24")
        self.says(boss, "/ban 203.0.113.0/24")
        self.assertFalse(bob.finished)
        self.two.store.heal()
        self.pass_presence()
        self.assertTrue(bob.finished)
        targets = [each.target for each in self.two.chat.registry.bans.current(0)]
        self.assertEqual(targets, ["203.0.113.0/24"])

    def test_a_ban_while_the_store_is_away(self) -> None:
        """A ban that an operator of the server makes then holds everywhere when it is back."""
        self.one.operator()
        chat = self.one.chat
        boss = chat.registry.find("boss")
        assert boss is not None
        self.one.store.cut()
        chat.act(moderation.ban(chat.registry, boss, Ban("203.0.113.0/24"), chat.now()))
        self.pass_presence()
        self.one.store.heal()
        self.pass_presence()
        for process in (self.one, self.two, Process(self)):
            targets = [each.target for each in process.chat.registry.bans.current(0)]
            self.assertEqual(targets, ["203.0.113.0/24"])


class MuteTests(SharedCase):
    def test_muting(self) -> None:
        """A mute holds in all processes, and can be lifted from any."""
        boss, ann = self.one.operator(), self.one.text("ann")
        bob = self.two.text("bob", address="198.51.100.2")
        self.lines(ann)
        self.assertEqual(self.says(boss, "/mute bob 10"), ["* bob may not speak for 10 minutes."])
        self.assertEqual(self.lines(ann), ["* bob may not speak for 10 minutes."])
        self.assertIn("! You may speak again in", self.says(bob, "hello")[-1])
        other = self.two.operator()
        self.assertIn("* bob may speak again.", self.says(other, "/mute bob 0"))
        self.says(bob, "hello")
        self.assertIn("<bob> hello", self.lines(ann))

    def test_a_mute_follows_the_person(self) -> None:
        """Who goes to another process stays mute."""
        boss = self.one.operator()
        self.says(boss, "/nick boss")
        bob = self.one.text("bob", address="198.51.100.2")
        self.says(boss, "/mute bob 10")
        bob.send(b"/quit\n")
        again = self.two.text("rob", address="198.51.100.2")
        self.assertIn("! You may speak again in", self.says(again, "hello")[-1])


class TopicTests(SharedCase):
    def test_a_topic(self) -> None:
        """A topic is told to the room in all processes, and outlives the room."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.says(ann, "/topic tea first")
        self.assertIn("* ann changed the topic of #lobby: tea first", self.lines(bob))
        self.assertEqual(self.says(bob, "/topic"), ["* The topic of #lobby: tea first"])
        for peer in (ann, bob):
            peer.send(b"/quit\n")
        self.pass_presence()
        joined = Process(self).program("prog").greeting[1]
        self.assertEqual(joined["topic"], "tea first")

    def test_no_topic(self) -> None:
        """It can be removed."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.says(ann, "/topic tea first")
        self.says(bob, "/topic -")
        self.assertEqual(self.says(ann, "/topic"), ["* The topic of #lobby: none"])
        self.assertEqual(self.hub.log._values["topic:lobby"], {})

    def test_a_topic_that_was_missed(self) -> None:
        """A process that was cut off for so long that the notice is gone learns of the topic."""
        ann, bob = self.one.text("ann"), self.two.text("bob")
        self.two.store.cut()
        self.says(ann, "/topic tea first")
        self.hub.notices.clear()
        self.lines(bob)
        self.two.store.heal()
        self.pass_presence()
        self.assertIn("* The topic of #lobby: tea first", self.lines(bob))


class CommandTests(SharedCase):
    def test_announcing(self) -> None:
        """What a command of the application tells a room reaches all processes."""

        def roll(user: ChatUser) -> None:
            """Roll a die."""
            user.announce(f"{user.name} rolls 4", eyes=4)

        one, two = Process(self, commands=[roll]), Process(self, commands=[roll])
        ann, bob = one.text("ann"), two.text("bob", address="198.51.100.2")
        prog = two.program("prog")
        self.assertIn("* ann rolls 4", self.says(ann, "/roll"))
        self.assertIn("* ann rolls 4", self.lines(bob))
        (rolled,) = [each for each in prog.heard() if each["type"] == "roll"]
        self.assertEqual(rolled["eyes"], 4)
        self.says(ann, "/ignore bob")
        self.says(bob, "/roll")
        self.assertNotIn("* bob rolls 4", self.lines(ann))
