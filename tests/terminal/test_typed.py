"""What is typed in the terminal client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.codecs.text_commands import COMMANDS
from twisted_net.chat.messages import (
    Join,
    Quit,
    RequestError,
    SendMessage,
    SendPrivate,
)
from twisted_net.terminal.chat_view import ChatView
from twisted_net.terminal.typed import (
    TalkTo,
    completions,
    help_text,
    known_names,
    parse_typed,
    pasted_lines,
)


class ParseTests(SynchronousTestCase):
    """Lines."""

    def test_messages_and_commands(self) -> None:
        """Are those of the text form."""
        self.assertEqual(parse_typed("hello"), SendMessage("hello"))
        self.assertEqual(parse_typed("//hello"), SendMessage("/hello"))
        self.assertEqual(parse_typed("/me waves"), SendMessage("waves", action=True))
        self.assertEqual(parse_typed("/JOIN dev"), Join("dev"))
        self.assertEqual(parse_typed("/msg ann hi there"), SendPrivate("ann", "hi there"))
        self.assertEqual(parse_typed("/quit"), Quit())

    def test_nothing(self) -> None:
        """A blank line is nothing."""
        for line in ("", "  ", "\u3164", "\x1b[2J"):
            self.assertIsNone(parse_typed(line))

    def test_talking_to_somebody(self) -> None:
        """``/msg NAME`` without a text turns to the person."""
        for line in ("/msg ann", "/MSG  @ann "):
            talk = parse_typed(line)
            assert isinstance(talk, TalkTo)
            self.assertEqual(talk.nick, "ann")

    def test_wrong_commands(self) -> None:
        """Are told as the server tells them."""
        for line, code in (("/nope", "no-command"), ("/msg", "usage"), ("/history x", "usage")):
            with self.assertRaises(RequestError) as caught:
                parse_typed(line)
            self.assertEqual(caught.exception.code, code)

    def test_passwords_are_not_typed(self) -> None:
        """They would stand on the screen, and after a space even in the room."""
        for line in (
            "/login ann secret",
            " /login ann secret",
            "/LOGIN",
            "\t/login a b",
            "\u200b/login a b",
        ):
            with self.assertRaises(RequestError) as caught:
                parse_typed(line)
            self.assertIn("--user", caught.exception.text)
            self.assertNotIn("secret", caught.exception.text)
        for line in ("use /login", " /logins are hard"):
            self.assertEqual(parse_typed(line), SendMessage(line))

    def test_help(self) -> None:
        """Lists all commands but ``/login``, and the keys."""
        text = "\n".join(help_text(""))
        for command in COMMANDS:
            self.assertEqual(command in text, command != "/login", command)
        self.assertIn("Alt-Up", text)
        self.assertIn("--user", help_text("/login")[0])
        self.assertTrue(help_text("msg")[-1].startswith("/msg NAME:"))
        self.assertRaises(RequestError, help_text, "nope")

    def test_pasted_text(self) -> None:
        """Is divided at every end of a line; nothing is left of blank lines and of controls."""
        self.assertEqual(pasted_lines("a\r\nb\rc\n\n \n\x1b[31md"), ["a", "b", "c", "d"])
        self.assertEqual(pasted_lines("\n"), [])


class CompletionTests(SynchronousTestCase):
    """Completion."""

    def setUp(self) -> None:
        self.view = ChatView()
        self.view.nick = "ann"
        self.view.turn_to("#lobby")
        self.view.conversations["#lobby"].members = {"ann", "Bob", "bert", "zoë"}
        self.view.open("@carl")
        self.view.open("#dev")

    def completed(self, before: str) -> list[str]:
        """Return the lines that a line may become."""
        return [
            before[: len(before) - len(word)] + each
            for word, each in completions(before, self.view)
        ]

    def test_names(self) -> None:
        """Names are addressed at the beginning of a line, and only written elsewhere."""
        self.assertEqual(self.completed("b"), ["bert: ", "Bob: "])
        self.assertEqual(self.completed("hi bo"), ["hi Bob "])
        self.assertEqual(self.completed("@B"), ["@bert ", "@Bob "])
        self.assertEqual(self.completed("ZOË"), ["zoë: "])
        self.assertEqual(self.completed("c"), ["carl: "])
        self.assertEqual(self.completed("x"), [])

    def test_not_everything_at_once(self) -> None:
        """An empty word is not completed."""
        self.assertEqual(self.completed(""), [])
        self.assertEqual(self.completed("hi "), [])

    def test_nobody_addresses_themselves(self) -> None:
        """The user's own name is not proposed."""
        self.assertEqual(self.completed("an"), [])
        self.assertEqual(known_names(self.view), {"Bob", "bert", "zoë", "carl"})

    def test_rooms(self) -> None:
        """Rooms are completed after #, and after commands that take one."""
        self.assertEqual(self.completed("see #d"), ["see #dev "])
        self.assertEqual(self.completed("/join d"), ["/join dev "])
        self.assertEqual(self.completed("/leave #L"), ["/leave #lobby "])

    def test_commands(self) -> None:
        """Commands are completed at the beginning of a line."""
        self.assertEqual(self.completed("/jo"), ["/join "])
        self.assertEqual(self.completed("/un"), ["/unban ", "/unignore "])
        self.assertEqual(self.completed("/log"), [])
        self.assertEqual(len(self.completed("/")), len(COMMANDS) - 1)

    def test_names_after_commands(self) -> None:
        """Only after those that take one."""
        self.assertEqual(self.completed("/msg bo"), ["/msg Bob "])
        self.assertEqual(self.completed("/me hugs bo"), ["/me hugs Bob "])
        self.assertEqual(self.completed("/topic bo"), [])
