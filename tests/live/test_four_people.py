"""Four users in one room, with ``nc``, telnet, a Python bot and a Node program."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.live.harness import LOCALHOST, LiveTestCase, Program, program

EXAMPLES = Path(__file__).parents[2] / "examples"

WELCOME = "Welcome to the chat server! You are {} in #lobby. /help lists commands."


class FourPeopleTests(LiveTestCase):
    """Users who type, and programs, in one room."""

    async def reads(self, who: Program, *lines: str) -> None:
        """Wait until a program has printed these further lines, and check them."""
        expected = "".join(line + "\n" for line in lines)
        seen = len(self.seen.get(who, ""))

        def more() -> str:
            return who.output.decode().replace("\r\n", "\n")[seen:]  # telnet may use CR LF

        await who.until(lambda: len(more()) >= len(expected), repr(expected))
        self.assertEqual(more(), expected, who)
        self.seen[who] = self.seen.get(who, "") + expected

    async def test_each_hears_the_others(self) -> None:
        """All see the same lines in the same order, and nobody gets their own lines back."""
        self.seen: dict[Program, str] = {}
        _, port = await self.serve("netchat")

        ann: Program = self.nc(port)
        await self.reads(ann, WELCOME.format("guest-1"))
        ann.write(b"/nick ann\nanybody?\n/ping\n")  # so that everything about her is announced
        await self.reads(ann, "* You are ann now.", "* pong")

        tom: Program = self.spawn(program("telnet"), LOCALHOST, str(port))
        await tom.expect(rb"\ATrying .*\nConnected to .*\nEscape character is .*\n")
        await tom.expect(rb"^" + WELCOME.format("guest-2").encode() + rb"\r?\n")
        await tom.expect(rb"^\* Earlier in #lobby, .*\n.*\n\* \d\d:\d\d <ann> anybody\?\r?\n")
        self.seen[tom] = tom.output.decode().replace("\r\n", "\n")
        await self.reads(ann, "* guest-2 joined #lobby.")
        tom.write(b"/nick tom\n")
        await self.reads(tom, "* You are tom now.")
        await self.reads(ann, "* guest-2 is now tom.")

        bot: Program = self.example(sys.executable, "-u", "chat_bot.py", f"tcp:{LOCALHOST}:{port}")
        await self.reads(bot, "I am in lobby")
        await self.reads(ann, "* bot joined #lobby.")
        await self.reads(tom, "* bot joined #lobby.")

        node: Program = self.example(
            program("node"), "chat_program.js", str(port), "nod", "!echo 1"
        )
        await self.reads(
            node,
            "I am nod",
            "In lobby: ann, tom, bot, nod",
            "Stored first at 2",
            "bot: nod says: 1",
        )
        await self.reads(bot, "Answered nod at 3")
        said = ("* nod joined #lobby.", "<nod> !echo 1", "<bot> nod says: 1")
        await self.reads(ann, *said)
        await self.reads(tom, *said)

        ann.write("hello, tøm\n".encode())
        await self.reads(tom, "<ann> hello, tøm")
        await self.reads(node, "ann: hello, tøm")
        tom.write(b"!echo hello, all\n")
        await self.reads(bot, "Answered tom at 6")
        await self.reads(ann, "<tom> !echo hello, all", "<bot> tom says: hello, all")
        await self.reads(node, "tom: !echo hello, all", "bot: tom says: hello, all")
        await self.reads(tom, "<bot> tom says: hello, all")

        node.signal(15)
        await node.ended()
        for each in (ann, tom):
            await self.reads(each, "* nod left #lobby.")

    def example(self, *command: str) -> Program:
        """Start an example, the first file with that suffix."""
        found = [
            str(EXAMPLES / part) if part.endswith((".py", ".js")) else part for part in command
        ]
        started: Program = self.spawn(*found)
        return started
