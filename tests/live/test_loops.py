"""Loops over messages, ``flushed()`` and hooks that block, on real sockets and several reactors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.live.harness import LiveTestCase

CHECKOUT = Path(__file__).resolve().parents[2]


class LoopTests(LiveTestCase):
    """:mod:`tests.live.loop_program`, on each reactor."""

    async def check(self, reactor: str) -> None:
        command = (sys.executable, "-m", "tests.live.loop_program", reactor)
        program = self.spawn(*command, cwd=CHECKOUT)
        self.assertEqual(await program.ended(), 0, program)
        self.assertEqual(program.errors, b"")
        found = json.loads(program.output)
        self.assertIn(reactor, found.pop("reactor").lower())
        self.assertEqual(found.pop("ends"), ["clean"] * 8)
        for name, (answers, upload, reset) in found.items():
            # All lines were answered, and the loops ended without an error.
            self.assertEqual(answers, [2000, "closed"], name)
            # Not flushed while bytes wait; nothing waits when flushed; everything arrived.
            self.assertEqual(upload, [False, True, 0, 3 << 20], name)
            self.assertEqual(reset, "peer-reset", name)
        self.assertEqual(len(found), 4)

    async def test_epoll(self) -> None:
        await self.check("epoll")

    async def test_asyncio(self) -> None:
        await self.check("asyncio")

    async def test_eager(self) -> None:
        await self.check("eager")

    async def test_select(self) -> None:
        await self.check("select")


class BlockingTests(LiveTestCase):
    """:mod:`tests.live.blocking_program`."""

    async def warnings(self, reactor: str, *messages: str) -> list[str]:
        command = (sys.executable, "-m", "tests.live.blocking_program", reactor, *messages)
        program = self.spawn(*command, cwd=CHECKOUT)
        self.assertEqual(await program.ended(), 0, program)
        self.assertEqual(program.errors, b"")
        lines = program.output.decode().splitlines()
        return [line for line in lines if line.startswith("warn: ")]

    async def test_it_sleeps(self) -> None:
        """One line with the hook, the seconds and the line of code, whatever the reactor."""
        for reactor in ("epoll", "asyncio", "eager"):
            (line,) = await self.warnings(reactor, "sleep")
            self.assertRegex(
                line,
                r"^warn: Slow.message_received\(\) blocked the reactor for about 2 s, "
                r"at .*blocking_program.py:\d+, so no other connection was served; ",
            )

    async def test_once_a_minute(self) -> None:
        """It computes as well, within the same minute."""
        (line,) = await self.warnings("eager", "compute", "sleep", "hello")
        self.assertIn("Slow.message_received() blocked the reactor for about ", line)

    async def test_quick_ones(self) -> None:
        self.assertEqual(await self.warnings("eager", "hello"), [])
