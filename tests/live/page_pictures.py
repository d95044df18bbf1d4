"""Takes the pictures of the page for ``docs/pictures``::

    python -m tests.live.page_pictures

They show a chat in which everybody is played by a program.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.live.browser import PHONE, Tab
from tests.live.test_page import ALL_SENT, OFFLINE, JsonProgram, PageTestCase

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

CODE = ("```", "$ twistd -n netchat --port 8080", "$ nc localhost 8080", "```")


class Pictures(PageTestCase):
    async def test_pictures(self) -> None:
        """Takes them: light, dark, and both on a phone."""
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server = await self.chat("--store", store)
        bea = await self.programs("bea")
        bea.request(type="topic", room="lobby", topic="Where everybody lands. Docs: "
                    "https://docs.example.org/start")  # fmt: skip
        bea.say("The certificate is renewed, nobody was disconnected.")
        bea.say("Graph: https://grafana.example.org/d/netchat?from=now-6h")
        ann = await self.person("ann", "deploys", "ops", "random", "lobby")
        carl = await self.programs("carl")
        await ann.shows("carl came", ".fold")
        carl.say("hi from nc, does `<script>alert(1)</script>` stay text?")
        await ann.shows("hi from nc", "#pages")
        bea.say("It does. And so do *stars*:", *CODE)
        await ann.shows("nc localhost", "pre")
        await self.program("guest-7")
        dora = await self.programs("dora")
        await ann.shows("dora", "#member-list")
        await server.stop()
        await ann.waits(OFFLINE)
        server = await self.chat("--store", store, again=True)
        await self.program("dominic", "ops")
        dora, bea, carl = [await self.programs(name) for name in ("dora", "bea", "carl")]
        await self.program("guest-7")
        bea.request(type="topic", room="lobby", topic="Where everybody lands. Docs: "
                    "https://docs.example.org/start")  # fmt: skip
        dora.say("@ann the restart is over, did your page come back by itself?")
        await dora.has(b'"type":"ack"')
        await ann.connected()
        await ann.shows("You missed nothing", "#banner")
        await ann.shows("did your page", "#pages")
        await ann.say("yes, in a second, and nothing is missing")
        for number in range(40):
            bea.say(f"deployed {number}", room="deploys")
        bea.say("ann, look", "@ann now?", room="ops")
        bea.request(type="private", to="ann", text="lunch?")
        await ann.shows("2", "#room-list .mention")
        await ann.shows("1", "#talk-list .mention")
        await ann.waits(ALL_SENT)
        server.signal(signal.SIGSTOP)
        await ann.say("writing this while the server restarts")
        await ann.do(lambda tab: (tab.fill("#text", ""), tab.type("#text", "@do")))
        for scheme in ("light", "dark"):
            await self.take(ann, scheme, f"page-{scheme}.png")
        await ann.press("Escape")
        await ann.do(lambda tab: tab.set_viewport_size(PHONE))
        await ann.do(lambda tab: tab.fill("#text", ""))
        for scheme in ("light", "dark"):
            await self.take(ann, scheme, f"page-phone-{scheme}.png")
        server.signal(signal.SIGCONT)

    async def programs(self, nick: str) -> JsonProgram:
        """Connect a program that is in all rooms."""
        program = await self.program(nick)
        for room in ("deploys", "ops"):
            program.request(type="join", room=room)
        await program.has(b'"room":"ops"')
        return program

    async def take(self, tab: Tab, scheme: str, name: str) -> None:
        path = Path(os.environ.get("PICTURES", PICTURES)) / name
        await tab.do(lambda page: page.emulate_media(color_scheme=scheme))
        await tab.waits("log.scrollHeight - log.scrollTop - log.clientHeight < 2")
        await tab.do(lambda page: page.screenshot(path=path))


if __name__ == "__main__":
    from twisted.scripts.trial import run

    sys.argv = ["trial", "tests.live.page_pictures"]
    run()
