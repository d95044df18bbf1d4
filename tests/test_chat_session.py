"""What a line means: :mod:`twisted_net.chat.session`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.session import (
    LONGEST_NAME,
    WHO_AT_MOST,
    Leave,
    Lobby,
    Rename,
    Reply,
    Say,
    Tell,
)
from twisted_net.policy.closing import QUIT
from twisted_net.wire.text import printable


class LobbyCase(SynchronousTestCase):
    """Two guests in a lobby, of whom the first is ``ann``."""

    def setUp(self) -> None:
        self.lobby = Lobby()
        self.lobby.enter()
        self.lobby.enter()
        self.lobby.receive("guest-1", "/nick ann")

    def assertAnswer(self, line: str, *expected: str) -> None:
        """``ann``'s line has replies to ann, with these texts, and nothing else."""
        actions = self.lobby.receive("ann", line)
        self.assertEqual(actions, [Reply(each) for each in expected])


class NameTests(LobbyCase):
    def test_guests_are_numbered(self) -> None:
        """And a number is not used again."""
        self.assertEqual(self.lobby.enter(), "guest-3")
        self.lobby.leave("guest-3")
        self.assertEqual(self.lobby.enter(), "guest-4")
        self.assertEqual(len(self.lobby), 3)

    def test_a_guest_never_gets_a_name_that_is_taken(self) -> None:
        """Whatever the case of the one who has it."""
        self.lobby.receive("ann", "/nick GUEST-3")
        self.assertEqual(self.lobby.enter(), "guest-4")

    def test_a_new_name(self) -> None:
        """The room has it, and the old one is free."""
        actions = self.lobby.receive("ann", "/nick bob")
        self.assertEqual(actions, [Rename("ann", "bob"), Reply("* You are bob now.")])
        actions = self.lobby.receive("guest-2", "/nick ann")
        self.assertEqual(actions[0], Rename("guest-2", "ann"))

    def test_a_name_that_is_taken(self) -> None:
        """Names that differ in case alone are one name."""
        for name in ("guest-2", "GUEST-2", "Guest-2"):
            self.assertAnswer(f"/nick {name}", f"! The name {name} is taken.")

    def test_a_name_changes_its_case(self) -> None:
        """One's own name is not taken."""
        actions = self.lobby.receive("ann", "/nick Ann")
        self.assertEqual(actions, [Rename("ann", "Ann"), Reply("* You are Ann now.")])
        self.assertEqual(len(self.lobby), 2)
        self.lobby.leave("Ann")
        self.assertEqual(len(self.lobby), 1)

    def test_letters_that_fold_to_several(self) -> None:
        """``ß`` and ``ss`` are one name as well, and it is free when its owner has left."""
        self.lobby.receive("ann", "/nick Strauß")
        actions = self.lobby.receive("guest-2", "/nick STRAUSS")
        self.assertEqual(actions, [Reply("! The name STRAUSS is taken.")])
        self.lobby.leave("Strauß")
        actions = self.lobby.receive("guest-2", "/nick STRAUSS")
        self.assertEqual(actions[0], Rename("guest-2", "STRAUSS"))

    def test_the_same_name(self) -> None:
        """Nobody is told."""
        self.assertAnswer("/nick ann", "* You are ann already.")

    def test_names_that_are_none(self) -> None:
        """They could be read as something else in a line of the chat."""
        for name in ("-ann", ".", "_a", "a b", "<ann>", "a:", "#lobby", "*", "!x", "a/b", "a,b"):
            text = "! A name has letters and digits, and then also . _ and -"
            self.assertAnswer(f"/nick {name}", text)

    def test_names_of_every_script(self) -> None:
        """Letters are letters."""
        for name in ("Åsa", "Юля", "李雷", "a.b-c_d", "7", "x" * LONGEST_NAME):
            self.assertIsInstance(self.lobby.receive("guest-2", f"/nick {name}")[0], Rename)
            self.lobby.receive(name, "/nick guest-2")

    def test_names_that_nobody_sees(self) -> None:
        """A Hangul filler is a letter to Unicode, and looks like nothing at all."""
        for name in ("\u3164", "\u115f", "\uffa0", "\u1160a"):
            actions = self.lobby.receive("ann", f"/nick {name}")
            self.assertIsInstance(actions[0], Reply, ascii(name))

    def test_a_long_name(self) -> None:
        """Is refused, and not repeated."""
        answer = f"! A name has at most {LONGEST_NAME} characters."
        for size in (LONGEST_NAME + 1, 8000):
            self.assertAnswer("/nick " + "x" * size, answer)

    def test_leaving_twice(self) -> None:
        """Nothing happens."""
        self.lobby.leave("ann")
        self.lobby.leave("ann")
        self.assertEqual(len(self.lobby), 1)


class LineTests(LobbyCase):
    def test_the_welcome(self) -> None:
        """Exactly as the design has it."""
        self.assertEqual(
            self.lobby.welcome("guest-7"),
            "Welcome to the chat server! You are guest-7 in #lobby. /help lists commands.",
        )

    def test_a_plain_line(self) -> None:
        """It is said as it is, its spaces included."""
        for line in ("hello", "  hello  ", "a /quit", " /quit", "<bob> hi", "* bob left", "! x"):
            self.assertEqual(self.lobby.receive("ann", line), [Say(f"<ann> {line}")])

    def test_an_empty_line(self) -> None:
        """Nobody is told anything."""
        for line in ("", " ", "   ", "\u3000"):
            self.assertEqual(self.lobby.receive("ann", line), [])

    def test_two_slashes_say_one(self) -> None:
        """Whatever follows."""
        self.assertEqual(self.lobby.receive("ann", "//quit"), [Say("<ann> /quit")])
        self.assertEqual(self.lobby.receive("ann", "///"), [Say("<ann> //")])
        self.assertEqual(self.lobby.receive("ann", "//"), [Say("<ann> /")])

    def test_an_unknown_command(self) -> None:
        """Is one line, and is not said."""
        for word in ("/foo", "/", "/nickx", "/_help"):
            self.assertAnswer(
                f"{word} secret", f"! There is no command {word}. /help lists commands."
            )

    def test_commands_in_capitals(self) -> None:
        """Are the same; spaces around what follows do not count."""
        self.assertEqual(self.lobby.receive("ann", "/PiNg  "), [Reply("* pong")])
        self.assertEqual(self.lobby.receive("ann", "/ME   waves "), [Say("* ann waves")])

    def test_what_needs_words(self) -> None:
        """Says how it is used where they are missing."""
        for line, usage in (
            ("/me", "/me TEXT"),
            ("/me   ", "/me TEXT"),
            ("/nick", "/nick NAME"),
            ("/msg", "/msg NAME TEXT"),
            ("/msg guest-2", "/msg NAME TEXT"),
            ("/msg guest-2   ", "/msg NAME TEXT"),
        ):
            self.assertAnswer(line, f"! Usage: {usage}")

    def test_a_private_line(self) -> None:
        """Goes to one, under the name that it has, and is confirmed."""
        expected = [
            Tell("guest-2", "* ann tells you: a  b"),
            Reply("* You told guest-2: a  b"),
        ]
        self.assertEqual(self.lobby.receive("ann", "/msg GUEST-2  a  b "), expected)

    def test_a_private_line_to_nobody(self) -> None:
        """Is said to nobody."""
        self.assertAnswer("/msg eve hi", "! There is nobody called eve here.")
        self.lobby.leave("guest-2")
        self.assertAnswer("/msg guest-2 hi", "! There is nobody called guest-2 here.")

    def test_a_private_line_to_oneself(self) -> None:
        """Why not."""
        actions = self.lobby.receive("ann", "/msg ann hi")
        self.assertEqual([type(action) for action in actions], [Tell, Reply])

    def test_who(self) -> None:
        """Sorted, with a count."""
        self.lobby.receive("guest-2", "/nick Bob")
        self.lobby.receive("ann", "/nick zoe")
        actions = self.lobby.receive("zoe", "/who")
        self.assertEqual(actions, [Reply("* 2 in #lobby: Bob, zoe")])

    def test_who_in_a_crowd(self) -> None:
        """A line that a terminal can still show."""
        for _ in range(2000):
            self.lobby.enter()
        (reply,) = self.lobby.receive("ann", "/who")
        assert isinstance(reply, Reply)
        self.assertTrue(reply.line.startswith("* 2002 in #lobby: ann, guest-10, "))
        self.assertTrue(reply.line.endswith(f" and {2002 - WHO_AT_MOST} more"))

    def test_quit(self) -> None:
        """Ends the connection; the words after it do not matter."""
        self.assertEqual(self.lobby.receive("ann", "/quit now"), [Leave(QUIT)])

    def test_help(self) -> None:
        """Every command has a line with its usage, in the order of the alphabet."""
        replies = self.lobby.receive("ann", "/help")
        words = [reply.line.split()[1].rstrip(":") for reply in replies]  # type: ignore[union-attr]
        self.assertEqual(words, ["/help", "/me", "/msg", "/nick", "/ping", "/quit", "/who"])

    @settings(deadline=None, max_examples=300, database=None)
    @given(st.lists(st.sampled_from(["/nick ", "/msg ", "/me ", "/who ", "//", ""]), max_size=8))
    def test_any_lines(self, starts: list[str]) -> None:
        """Nothing is raised, and what comes of a printable line is one printable line each."""
        lobby = Lobby()
        name = lobby.enter()
        for number, start in enumerate(starts):
            for rest in ("x", f"name-{number}", f"{name} text", "İ" * 9, "a" * 8192, "ß\u0130"):
                for action in lobby.receive(name, printable(start + rest)):
                    match action:
                        case Rename(old, new):
                            self.assertEqual(old, name)
                            name = new
                        case Reply(line) | Say(line) | Tell(_, line):
                            self.assertEqual(printable(line), line)
        self.assertEqual(len(lobby), 1)
        lobby.leave(name)
        self.assertEqual(len(lobby), 0)
