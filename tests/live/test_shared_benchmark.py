"""The benchmark of two workers on one Redis runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.live.harness import LiveTestCase, program

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class BenchmarkTests(LiveTestCase):
    async def test_it_measures(self) -> None:
        """All rows are there. What is measured does not matter here."""
        program("redis-server")
        program("cc")
        sizes = ("--members", "20", "--waiting", "2", "--rounds", "1", "--seconds", "0.5")
        running = self.spawn(sys.executable, "-m", "benchmarks.shared", *sizes, cwd=CHECKOUT)
        self.assertIn(await running.ended(90), (0, 1), running)
        for row in (b"deliveries, 20 members", b"acks, 2 members", b"two workers, redis: "):
            self.assertIn(row, running.output)
        for fault in (b" missing", b" wrong", b" lost", b" failed"):
            self.assertNotIn(fault, running.output)
