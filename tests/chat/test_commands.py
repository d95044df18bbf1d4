"""Tests of commands that an application adds to the chat."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.chat.chat_peers import SCHEMA, ChatCase, Program
from tests.chat.client_peers import ChatClientCase
from twisted_net.chat import ChatError, ChatUser
from twisted_net.chat.codecs.own_commands import RESERVED_TYPES
from twisted_net.testing import connect_peer

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def dice(user: ChatUser, sides: int = 6) -> None:
    """Roll a dice.

    It has 6 sides by default,
    and at most 100.
    """
    if not 2 <= sides <= 100:
        raise ChatError("bad-field", "sides must be from 2 to 100.", "sides")
    user.announce(f"{user.name} rolled {sides} of {sides}.", result=sides, sides=sides)


def shout(user: ChatUser, times: int, text: str) -> None:
    """Say something loudly"""
    user.reply(" ".join([text.upper()] * times))


def mix(user: ChatUser, what: str, share: float | None = None, shaken: bool = False) -> None:
    """Mix a drink."""
    user.reply(repr((what, share, shaken)))


def whoami(user: ChatUser) -> None:
    """Tell who you are."""
    fields = {"operator": user.operator, "rooms": list(user.rooms), "json": user.speaks_json}
    user.reply(f"{user.name} {user.account} in {user.room}", **fields)


def silent(user: ChatUser) -> None:
    """Do nothing."""


class CommandCase(ChatCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = self.make(commands=[dice, shout, mix, whoami, silent])
        self.ann, self.bob = self.user("ann"), self.program("bob")
        self.pass_presence(self.ann, self.bob)

    def type(self, line: str) -> list[str]:
        """Let Ann type a line, and return what she sees."""
        self.ann.take()
        self.ann.send(line.encode() + b"\n")
        return self.ann.take().decode().splitlines()

    def ask(self, **message: Any) -> list[dict[str, Any]]:
        """Let Bob's program send a message, and return what it receives."""
        self.bob.heard()
        return self.bob.asks(**message)


class BothFormsTests(CommandCase):
    def test_text(self) -> None:
        """A command is typed like those of the chat, and all members see its announcement."""
        self.assertEqual(self.type("/dice 20"), ["* ann rolled 20 of 20."])
        self.assertEqual(self.type("/DICE"), ["* ann rolled 6 of 6."])
        told, _ = self.bob.heard()
        wanted = {"type": "dice", "room": "lobby", "text": "ann rolled 20 of 20.", "result": 20}
        self.assertEqual(told, wanted | {"sides": 20})

    def test_json(self) -> None:
        """A program sends the arguments as fields. Its answer has the id, that of others not."""
        eve = self.program("eve")
        (told,) = self.ask(type="dice", sides=8, id="d1")
        wanted = {"type": "dice", "room": "lobby", "text": "bob rolled 8 of 8.", "result": 8}
        self.assertEqual(told, wanted | {"sides": 8, "id": "d1"})
        self.assertIn(wanted | {"sides": 8}, eve.heard())
        self.assertEqual(self.ann.take(), b"* bob rolled 8 of 8.\n")
        for sides in (8.0, 8):
            self.assertEqual(self.ask(type="dice", sides=sides)[0]["result"], 8)
        for nothing in ({}, {"sides": None}, {"colour": "red"}):
            self.assertEqual(self.ask(type="dice", **nothing)[0]["result"], 6)

    def test_replies(self) -> None:
        """A reply goes to the user alone."""
        self.assertEqual(self.type("/shout 2 hey  you"), ["* HEY  YOU HEY  YOU"])
        (told,) = self.ask(type="shout", times=1, text="hey", id="s")
        self.assertEqual(told, {"type": "shout", "text": "HEY", "id": "s"})
        self.assertEqual(self.ann.take(), b"")

    def test_who_asks(self) -> None:
        """A command knows the user."""
        self.type("/join den")
        self.assertEqual(self.type("/whoami"), ["* ann  in den"])
        (told,) = self.ask(type="whoami")
        self.assertEqual((told["rooms"], told["json"], told["operator"]), (["lobby"], True, False))

    def test_rooms(self) -> None:
        """It goes to the current room of a text user, and to the room that a program names."""
        self.type("/join den")
        self.assertEqual(self.type("/dice"), ["#den * ann rolled 6 of 6."])
        self.bob.asks(type="join", room="den")
        (told,) = self.ask(type="dice", room="#Lobby")
        self.assertEqual(told["room"], "lobby")
        self.assertEqual(self.ann.take(), b"#lobby * bob rolled 6 of 6.\n")
        (error,) = self.ask(type="dice", room="attic", id="d")
        self.assertEqual((error["code"], error["id"]), ("not-in-room", "d"))
        self.bob.raw(b'{"type":"dice","room":7,"id":"d"}')
        (error,) = self.bob.heard()
        self.assertEqual((error["code"], error["field"]), ("bad-field", "room"))
        (error,) = self.ask(type="dice", room="x y", id="d")
        self.assertEqual((error["code"], error["id"]), ("bad-name", "d"))

    def test_an_ack(self) -> None:
        """A program's command that says nothing is acked, so that every id is answered."""
        self.assertEqual(self.ask(type="silent", id="s"), [{"type": "ack", "id": "s"}])
        self.assertEqual(self.ask(type="silent"), [])
        self.assertEqual(self.type("/silent"), [])

    def test_the_order(self) -> None:
        """An announcement has its place among the messages of the room."""
        self.ann.protocol.dataReceived(b"one\n/dice\ntwo\n")
        kinds = [each["text"] for each in self.bob.heard()]
        self.assertEqual(kinds, ["one", "ann rolled 6 of 6.", "two"])

    def test_outside(self) -> None:
        """Who is not in the chat yet may use none."""
        program = Program(connect_peer(self.factory))
        (error,) = program.asks(type="dice", id="d")
        self.assertEqual((error["code"], error["id"]), ("hello-first", "d"))

    def test_muted(self) -> None:
        """Who is muted cannot speak by a command."""
        user = self.factory.registry.find("ann")
        assert user is not None
        self.factory.registry.mute(user, self.factory.now() + 60, self.factory.now())
        self.assertEqual(self.type("/dice"), ["! You may speak again in 60 seconds."])

    def test_ignored(self) -> None:
        """Whoever ignores the user sees no announcement; others and the user do."""
        eve = self.user("eve")
        for peer in (eve, self.ann):
            peer.send(b"/ignore bob\n/ignore ann\n")
        eve.take()
        self.ann.take()
        self.ask(type="dice", sides=7)
        self.assertEqual((eve.take(), self.ann.take()), (b"", b""))
        self.assertEqual(self.type("/dice 9"), ["* ann rolled 9 of 9."])
        self.assertEqual(eve.take(), b"")
        self.assertEqual([each["sides"] for each in self.bob.heard()], [9])

    def test_nothing_is_forged(self) -> None:
        """Arguments and replies are one printable line."""
        (told,) = self.ask(type="shout", times=1, text="a\n* b\x1b[31m\u202ec")
        self.assertEqual(told["text"], "A * BC")

    def test_other_factories(self) -> None:
        """A command belongs to its factory: another chat in the process does not have it."""
        other = self.make()
        peer = connect_peer(other)
        peer.take()
        peer.send(b"/dice\n/help\n")
        said = peer.take()
        self.assertIn(b"! There is no command /dice.", said)
        self.assertNotIn(b"roll", said)


class ArgumentTests(CommandCase):
    """Wrong arguments."""

    def test_text(self) -> None:
        """Wrong arguments of the text form are answered with the usage."""
        for line in ("/dice x", "/dice 6 7", "/dice 1_0", "/dice " + "9" * 5000, "/dice 6.0"):
            self.assertEqual(self.type(line), ["! Usage: /dice [SIDES]"])
        for line in ("/shout", "/shout x", "/shout 2", "/shout x y", "/shout 2 \u200b"):
            self.assertEqual(self.type(line), ["! Usage: /shout TIMES TEXT"])
        for line in ("/mix", "/mix a b", "/mix a nan", "/mix a 1 maybe", "/mix a 1 yes no"):
            self.assertEqual(self.type(line), ["! Usage: /mix WHAT [SHARE] [SHAKEN]"])
        self.assertEqual(self.type("/silent x"), ["! Usage: /silent"])

    def test_right_arguments(self) -> None:
        """Each kind of argument is read from a word; the others have their defaults."""
        for line, seen in (
            ("a", "('a', None, False)"),
            ("a -1.5", "('a', -1.5, False)"),
            ("a 2 YES", "('a', 2.0, True)"),
            ("a 1e2 off", "('a', 100.0, False)"),
        ):
            self.assertEqual(self.type(f"/mix {line}"), [f"* {seen}"])
        self.assertEqual(self.type("/dice -6"), ["! sides must be from 2 to 100."])

    def test_json(self) -> None:
        """Wrong fields of the JSON form are named, in plain words."""
        whole = "sides must be a whole number."
        for message, code, field, text in (
            ({"type": "dice", "sides": "6"}, "bad-field", "sides", whole),
            ({"type": "dice", "sides": True}, "bad-field", "sides", whole),
            ({"type": "dice", "sides": 6.5}, "bad-field", "sides", whole),
            ({"type": "dice", "sides": 2**53}, "bad-field", "sides", whole),
            ({"type": "dice", "sides": 1}, "bad-field", "sides", "sides must be from 2 to 100."),
            ({"type": "shout", "text": "a"}, "missing", "times", "times is missing."),
            ({"type": "shout", "times": 1}, "missing", "text", "text is missing."),
            ({"type": "shout", "times": 1, "text": 7}, "bad-field", "text",
             "text must be a string."),
            ({"type": "shout", "times": 1, "text": ""}, "bad-field", "text",
             "text must have a visible character."),
            ({"type": "mix", "what": "a", "share": "1"}, "bad-field", "share",
             "share must be a number."),
            ({"type": "mix", "what": "a", "share": True}, "bad-field", "share",
             "share must be a number."),
            ({"type": "mix", "what": "a", "shaken": 1}, "bad-field", "shaken",
             "shaken must be true or false."),
        ):  # fmt: skip
            (error,) = self.ask(**message, id="x")
            wanted = {"type": "error", "code": code, "text": text, "field": field, "id": "x"}
            self.assertEqual(error, wanted)
        self.bob.raw(b'{"type":"mix","what":"a","share":1e400}')
        (error,) = self.bob.heard()
        self.assertEqual(error["text"], "share must be a number.")
        (told,) = self.ask(type="mix", what="a", share=1, shaken=True)
        self.assertEqual(told["text"], "('a', 1.0, True)")


class HelpTests(CommandCase):
    def test_help(self) -> None:
        """The commands stand in ``/help`` among those of the chat, with their docstrings."""
        lines = self.type("/help")
        self.assertIn("* /dice [SIDES]: roll a dice", lines)
        self.assertEqual(sorted(lines), lines)
        wanted = ["* /dice [SIDES]: roll a dice", "* It has 6 sides by default, and at most 100."]
        self.assertEqual(self.type("/help dice"), wanted)
        self.assertEqual(self.type("/help shout"), ["* /shout TIMES TEXT: say something loudly"])

    def test_help_for_programs(self) -> None:
        """A program can ask for the same."""
        (told,) = self.ask(type="help", command="dice", id="h")
        wanted = "/dice [SIDES]: roll a dice; It has 6 sides by default, and at most 100."
        self.assertEqual(told, {"type": "notice", "text": wanted, "id": "h"})
        (told,) = self.ask(type="help")
        self.assertIn("/dice [SIDES]: roll a dice; ", told["text"])
        (error,) = self.ask(type="help", command="x", id="h")
        self.assertEqual((error["code"], error["id"]), ("no-command", "h"))


class FailureTests(ChatCase):
    """Commands that refuse, wait, or fail."""

    def setUp(self) -> None:
        super().setUp()
        self.waiting: Deferred[None] = Deferred()
        self.factory = self.make(commands=[self.later, self.bug, self.wrong, self.refuse])
        self.bob = self.program("bob")

    async def later(self, user: ChatUser) -> None:
        """Answer later."""
        await self.waiting
        user.reply("now")

    def bug(self, user: ChatUser) -> None:
        """Fail."""
        user.reply(str(1 // 0))

    def wrong(self, user: ChatUser) -> None:
        """Return a text."""
        return "no"  # type: ignore[return-value]

    async def refuse(self, user: ChatUser) -> None:
        """Refuse."""
        raise ChatError("no-dice", "Two\n* lines.")

    def test_later(self) -> None:
        """A command may wait: the user's next message is processed after it."""
        self.bob.send(type="later", id="l")
        self.bob.send(type="ping", id="p")
        self.assertEqual(self.bob.heard(), [])
        self.waiting.callback(None)
        later, pong = self.bob.heard()
        self.assertEqual(later, {"type": "later", "text": "now", "id": "l"})
        self.assertEqual(pong["id"], "p")

    def test_later_than_the_user(self) -> None:
        """A user who leaves meanwhile gets no answer, and nothing is logged."""
        self.bob.send(type="later", id="l")
        self.bob.peer.write_eof()
        self.bob.peer.protocol.abort()
        self.waiting.callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_refused_later(self) -> None:
        """ChatError after waiting is an answer, too."""
        self.bob.send(type="later", id="l")
        self.waiting.errback(ChatError("no-dice", "There are no dice.", "dice"))
        (error,) = self.bob.heard()
        wanted = {"type": "error", "code": "no-dice", "text": "There are no dice.", "field": "dice"}
        self.assertEqual(error, wanted | {"id": "l"})
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.bob.asks(type="ping"), [{"type": "pong"}])

    def test_refused(self) -> None:
        """Its sentence is one printable line."""
        (error,) = self.bob.asks(type="refuse", id="r")
        self.assertEqual((error["code"], error["text"]), ("no-dice", "Two * lines."))
        ann = self.user("ann")
        ann.send(b"/refuse\n")
        self.assertTrue(ann.take().endswith(b"! Two * lines.\n"))

    def test_an_odd_refusal(self) -> None:
        """A refusal whose text is no text is told as it is printed."""
        self.waiting.errback(ChatError(7, ValueError("odd")))  # type: ignore[arg-type]
        (error,) = self.bob.asks(type="later", id="l")
        self.assertEqual((error["code"], error["text"]), ("7", "odd"))

    def test_a_bug(self) -> None:
        """Another failure is logged, and the user is told; the connection stays open."""
        (error,) = self.bob.asks(type="bug", id="b")
        wanted = {"type": "error", "code": "failed", "text": "The server made a mistake."}
        self.assertEqual(error, wanted | {"id": "b"})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.bob.asks(type="ping"), [{"type": "pong"}])

    def test_a_result(self) -> None:
        """A command that returns its answer is told how to send it."""
        (error,) = self.bob.asks(type="wrong", id="w")
        self.assertEqual(error["code"], "failed")
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertEqual(
            failure.getErrorMessage(),
            "wrong() returned 'no'; it must return None. Use user.reply() to answer.",
        )


class DefinitionTests(ChatCase):
    """Commands that are defined wrongly."""

    def assertWrong(self, text: str, *commands: Any) -> None:
        with self.assertRaises(ValueError) as caught:
            self.make(commands=commands)
        self.assertEqual(str(caught.exception), text)

    def test_wrong_definitions(self) -> None:
        """A command that cannot work is an error at once, which names it and says why."""

        def help(user: ChatUser) -> None:
            """Help."""

        def presence(user: ChatUser) -> None:
            """Be there."""

        def Roll(user: ChatUser) -> None:
            """Roll."""

        def bare(user: ChatUser) -> None:
            pass

        def lonely() -> None:
            """Be alone."""

        def untyped(user: ChatUser, sides=6) -> None:  # type: ignore[no-untyped-def]
            """Roll."""

        def listed(user: ChatUser, sides: list[int]) -> None:
            """Roll."""

        def many(user: ChatUser, *sides: int) -> None:
            """Roll."""

        def gap(user: ChatUser, *, id: int) -> None:
            """Roll."""

        def forced(user: ChatUser, a: int = 1, *, b: int) -> None:
            """Roll."""

        for command, why in (
            (help, "help: the chat has a command of this name already"),
            (presence, "presence: the chat has a message of this type already"),
            (Roll, "Roll: a name has lower-case letters, digits, - and _, at most 24"),
            (lambda user: None,
             "<lambda>: a name has lower-case letters, digits, - and _, at most 24"),
            (bare, "bare: it needs a docstring, whose first line is shown by /help"),
            (lonely, "lonely: its first parameter must be the user"),
            (untyped, "untyped: sides must be annotated as str, int, float or bool"),
            (listed, "listed: sides must be annotated as str, int, float or bool"),
            (many, "many: sides must be a parameter that can be named"),
            (gap, "gap: a parameter cannot be called id"),
            (forced, "forced: b must come before the parameters that have defaults"),
        ):  # fmt: skip
            self.assertWrong(f"commands: {why}", command)
        self.assertWrong("commands: 'dice' is not a function", "dice")
        self.assertWrong("commands: dice: there are two commands of this name", dice, dice)

    def test_reserved_types(self) -> None:
        """The types of the server's own messages are reserved, as the schema lists them."""
        sent = {name[7:] for name in SCHEMA["$defs"] if name.startswith("server-")} - {"own"}
        self.assertEqual(RESERVED_TYPES, sent)

    def test_wrong_answers(self) -> None:
        """An answer that cannot be sent is the command's failure. The room goes on."""
        answers: list[Any] = []

        def bad(user: ChatUser) -> None:
            """Answer wrongly."""
            text, fields = answers[-1]
            user.announce(text, **fields)

        self.factory = self.make(commands=[bad])
        bob, ann = self.program("bob"), self.user("ann")
        self.pass_presence(bob, ann)
        for text, fields, kind, why in (
            ("x", {"id": "7"}, TypeError, "a field cannot be called id"),
            ("x", {"room": "7", "type": "x"}, TypeError, "a field cannot be called room, type"),
            (5, {}, TypeError, "the text must be a string, not 5"),
            ("x", {"a": object}, TypeError, "Object of type type is not JSON serializable"),
            ("x", {"a": float("nan")}, ValueError, "Out of range float values"),
            ("x", {"a": "\ud800"}, ValueError, "surrogates not allowed"),
        ):
            answers.append((text, fields))
            (error,) = bob.asks(type="bad", id="b")
            self.assertEqual((error["code"], error["id"]), ("failed", "b"))
            (failure,) = self.flushLoggedErrors(kind)
            self.assertIn(why, failure.getErrorMessage())
        ann.send(b"hello\n")
        self.assertEqual([each["text"] for each in bob.heard()], ["hello"])


class ClientTests(ChatClientCase):
    """ChatClient and the requests and events of an application."""

    def test_own_requests_and_events(self) -> None:
        """A client sends a request of the application, and receives its events and errors."""
        self.factory = self.make(commands=[dice])
        heard: list[dict[str, Any]] = []
        client, ann = self.client(on_message=heard.append), self.user("ann")
        answer, refusal = (
            client.request(type="dice", sides=12),
            client.request(type="dice", sides=1),
        )
        self.turn()
        self.assertEqual(self.successResultOf(answer)["result"], 12)
        self.assertEqual(self.failureResultOf(refusal, ChatError).value.code, "bad-field")
        self.assertEqual([each["result"] for each in heard if each["type"] == "dice"], [12])
        heard.clear()
        ann.send(b"/dice 4\n")
        self.turn()
        self.assertEqual([each["result"] for each in heard if each["type"] == "dice"], [4])


class PageTests(ChatCase):
    """``docs/own-commands.rst``."""

    def blocks(self) -> list[str]:
        page = (CHECKOUT / "docs" / "own-commands.rst").read_text()
        found = re.findall(r"::\n\n((?: .*\n|\n(?= ))+)", page)
        return [textwrap.dedent(block) for block in found]

    def test_its_programs(self) -> None:
        """What the page shows works, and does what it says."""
        command, seen, rule = self.blocks()
        made: dict[str, Any] = {}
        exec(command, made)
        self.factory = self.make(commands=[made["dice"]])
        ann, bob = self.user("ann"), self.program("bob")
        self.pass_presence(ann, bob)
        ann.send(b"/dice 20\n")
        text, line = seen.splitlines()
        self.assertEqual(ann.take().decode(), f"{text}\n")
        self.assertEqual(bob.heard(), [json.loads(line)])
        ann.send(b"/help\n")
        self.assertIn(b"* /dice [SIDES]: roll a dice\n", ann.take())
        exec(rule, made)
        self.factory = made["factory"]
        self.factory.clock = self.clock
        eve = connect_peer(self.factory)
        eve.take()
        eve.send(b"/join staff\n")
        self.assertTrue(eve.take().endswith(b"\n! Only the staff may join #staff.\n"))
