"""``async for message in connection`` and ``flushed()`` on real sockets and several reactors."""

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
