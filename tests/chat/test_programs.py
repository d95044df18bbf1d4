"""Random programs of text users, JSON programs and chat clients agree with a model.

``python -m tests.chat.programs`` runs many more of them.
"""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_world import Disagreement
from tests.chat.programs import Programs, options
from twisted_net.chat.registry import Registry


class ProgramTests(SynchronousTestCase):
    def test_the_chat_does_what_the_model_says(self) -> None:
        """Nothing that people do in any order makes the chat disagree with the model."""
        run_state_machine_as_test(Programs, settings=settings(options(60), derandomize=True))

    def test_a_long_day(self) -> None:
        """Play one program that has every action."""
        day = Programs()
        self.addCleanup(day.teardown)
        for nick, who in (("ann", "tom"), ("bob", "tim"), ("b0b", "prog"), ("Ann", "prog")):
            day.nick(who, nick)
        for room in ("#Tea", "Straße"):
            for who in ("tom", "prog", "bot"):
                day.join(who, room)
                day.say(who, room)
        day.ignore("tom", "bob")
        day.ignore("tim", "eve")
        for who in ("tom", "tim", "boss", "prog", "bot"):
            day.say(who, "lobby")
            day.tell(who, "ANN")
        day.look("tea")
        day.mute("eve", 1)
        day.client_up_or_down()
        for who in ("prog", "bot", "tom"):
            day.say(who, "lobby")
            day.say(who, "tea")
        day.tell("bot", "bob")
        day.text_comes_or_goes("tim")
        day.text_comes_or_goes("tim")
        day.nick("tim", "bot")
        day.client_up_or_down()
        day.program_goes()
        day.say("tom", "lobby")
        day.say("bot", "Straße")
        day.program_comes("eve")
        day.program_comes("eve")
        day.unignore("tom", "bob")
        day.leave("bot", "tea")
        day.kick("ann")
        day.text_comes_or_goes("tom")
        day.nick("tim", "zoe")
        day.time_passes()
        day.client_nick("eve")
        day.client_nick("bob")
        day.ban("bob", 1)
        day.say("bot", "lobby")
        day.client_starts_again()
        day.time_passes()
        day.say("bot", "lobby")
        day.client_is_cut()

    def test_a_disagreement_is_found(self) -> None:
        """A chat in which ignoring hides nobody does not agree with the model."""
        self.patch(Registry, "ignorers", lambda registry, user: ())
        self.patch(Registry, "ignorers_of_origin", lambda registry, origin: ())
        day = Programs()
        self.addCleanup(day.close)
        day.join("tom", "lobby")
        day.ignore("tim", "ann")
        self.assertRaises(Disagreement, day.say, "tom", "lobby")
        self.assertRaises(Disagreement, day.world.settle, defaultdict(list, tom=[("private",)]))
