"""The cases of the Autobahn test suite that take seconds; ``python -m tests.autobahn`` has all."""

from __future__ import annotations

import re
import sys

from tests.live.harness import LiveTestCase

PATTERNS = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
SECONDS = 240.0


class AutobahnTests(LiveTestCase):
    timeout = SECONDS + 30

    async def test_strict(self) -> None:
        """All are OK or informational, with both reactors."""
        running = self.spawn(sys.executable, "-P", "-m", "tests.autobahn", *PATTERNS)
        await running.until(lambda: running.status is not None, "the sums", SECONDS)
        self.assertEqual(running.status, 0, running)
        found = re.findall(
            r"(?m)^(\w+) reactor: (\d+) cases in \d+ s: INFORMATIONAL (\d+), OK (\d+); closing: "
            r"INFORMATIONAL \3, OK \4$",
            running.output.decode(),
        )
        self.assertEqual(
            sorted(found), [("default", "247", "3", "244"), ("eager", "247", "3", "244")]
        )
