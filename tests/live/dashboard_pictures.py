"""Takes the pictures of the operators' dashboard for ``docs/pictures``::

    python -m tests.live.dashboard_pictures

They show a chat in which everybody is played by a program, for a minute and a half.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from twisted.internet.task import LoopingCall

from tests.live.test_dashboard import DashboardTests

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

SIZE = {"width": 1180, "height": 860}

NAMES = (
    *("ann", "bea", "carl", "dora", "emil", "fay", "gus", "hana", "ivo", "jule", "kim", "leo"),
    *("mia", "nils", "olga", "paul", "quin", "rosa", "sam", "tina", "udo", "vera", "wim", "zoe"),
)

ROOMS = ("lobby", "tea", "deploys", "ops")


class Pictures(DashboardTests):
    timeout = 300

    async def test_pictures(self) -> None:
        """Takes them, light and dark."""
        chance = random.Random(7)
        store = f"sqlite:{self.directory() / 'chat.db'}"
        _, port, tab = await self.dashboard("--store", store, size=SIZE)
        people = []

        async def enter(name: str) -> None:
            client = await self.person(port, name)
            client.send(f"/join {chance.choice(ROOMS)}\n".encode())
            people.append(client)

        def speak() -> None:
            for client in chance.sample(people, chance.randint(0, 5)):
                client.send(f"{'hello there, ' * chance.randint(1, 6)}\n".encode())

        for name in NAMES[:8]:
            await enter(name)
        talk = LoopingCall(speak)
        talk.start(0.15)
        self.addCleanup(talk.stop)
        for number, name in enumerate(NAMES[8:]):
            await tab.waits(
                "document.querySelector('.chart polyline').getAttribute('points')"
                f".split(' ').length > {2 * number}"
            )
            await enter(name)
            if number % 3 == 2:
                people.pop(chance.randrange(len(people))).send(b"/quit\n")
        await tab.waits(
            "document.querySelector('.chart polyline').getAttribute('points')"
            ".split(' ').length > 40"
        )
        for scheme in ("light", "dark"):
            path = Path(os.environ.get("PICTURES", PICTURES)) / f"dashboard-{scheme}.png"
            await tab.do(lambda page, scheme=scheme: page.emulate_media(color_scheme=scheme))
            await tab.do(lambda page, path=path: page.screenshot(path=path))


if __name__ == "__main__":
    from twisted.scripts.trial import run

    sys.argv = ["trial", "tests.live.dashboard_pictures.Pictures.test_pictures"]
    run()
