"""The benchmark of the store in Redis runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.live.harness import LiveTestCase, redis_program

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class BenchmarkTests(LiveTestCase):
    async def test_it_measures(self) -> None:
        """All rows are there. How long anything took does not matter here."""
        redis_program()
        command = (sys.executable, "-m", "benchmarks.redis", "--messages", "200", "--rounds", "1")
        running = self.spawn(*command, cwd=CHECKOUT)
        self.assertIn(await running.ended(), (0, 1))
        for row in (b"our client ", b"our store "):
            self.assertIn(row, running.output)
