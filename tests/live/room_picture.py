"""Takes the first picture of README: a browser, the terminal client and ``nc`` in one room::

python -m tests.live.room_picture
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

from tests.live.harness import LOCALHOST
from tests.live.terminal_picture import draw
from tests.live.test_page import ALL_SENT, PageTestCase
from tests.live.test_terminal import client
from tests.live.tmux import Terminal, TerminalTestCase

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
COLUMNS, ROWS = 58, 12

PAGE = """\
<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 24px; width: 1500px; box-sizing: border-box; background: #dfe4ea;
  display: grid; grid-template-columns: 912px 1fr; gap: 20px; font: 15px "DejaVu Sans", sans-serif;
  color: #3b4252 }}
figure {{ margin: 0; display: flex; flex-direction: column; gap: 8px }}
img {{ display: block; border-radius: 8px; box-shadow: 0 2px 12px #0003; width: 100% }}
div {{ display: grid; gap: 20px; align-content: start }}
</style>
<figure><figcaption>a browser</figcaption><img src="{browser}"></figure>
<div><figure><figcaption>netchat-client</figcaption><img src="{client}"></figure>
<figure><figcaption>nc</figcaption><img src="{nc}"></figure></div>
"""


def data_url(kind: str, data: bytes) -> str:
    """Return a picture as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


class RoomPicture(PageTestCase, TerminalTestCase):
    async def test_picture(self) -> None:
        """Takes it."""
        await self.chat()
        nc = await self.terminal("nc", LOCALHOST, str(self.port), columns=COLUMNS, rows=ROWS)
        await nc.sees("Welcome")
        await nc.type("/nick carl")
        await nc.sees("You are carl now")
        await nc.type("/topic Release 1.0 today")
        await nc.sees("topic")
        where = f"{LOCALHOST}:{self.port}"
        bea = await self.terminal(*client("-n", "bea", where), columns=COLUMNS, rows=ROWS)
        await bea.sees(r"\| connected")
        ann = await self.person("ann")
        await ann.do(lambda tab: tab.set_viewport_size({"width": 912, "height": 520}))
        await bea.type("The tests have passed. Who tags the release?")
        await ann.shows("Who tags")
        await nc.sees("Who tags")
        await nc.type("I do, from nc, in five minutes")
        await ann.shows("in five minutes")
        await bea.sees("in five minutes")
        await ann.say("Then I write the notes: `NEWS.rst` is ready.")
        await ann.waits(ALL_SENT)
        await nc.sees("is ready")
        await bea.sees("is ready")
        await bea.type("ann: thank you!")
        await ann.shows("thank you")
        await nc.sees("thank you")
        await nc.type("tagged. All of us in one room, on one port")
        await ann.shows("on one port")
        await bea.sees("on one port")
        drawn = [await self.drawn(each) for each in (bea, nc)]
        await ann.waits("log.scrollHeight - log.scrollTop - log.clientHeight < 2")
        browser = await ann.do(lambda page: page.screenshot())
        page = PAGE.format(browser=data_url("image/png", browser), client=drawn[0], nc=drawn[1])
        path = Path(os.environ.get("PICTURES", PICTURES)) / "one-room.png"
        await ann.do(lambda tab: self.take(tab, page, path))

    async def drawn(self, terminal: Terminal) -> str:
        """Return the picture of a terminal."""
        screen = await terminal.ask("capture-pane -e -p -N")
        svg = draw(screen, COLUMNS, "")
        return data_url("image/svg+xml", svg.encode())

    @staticmethod
    def take(tab: Any, page: str, path: Path) -> None:
        """Show the page in a tab of its own, and take a picture of all of it."""
        other = tab.context.new_page()
        other.set_viewport_size({"width": 1500, "height": 400})
        other.set_content(page)
        other.screenshot(path=path, full_page=True)
        other.close()


if __name__ == "__main__":
    from twisted.scripts.trial import run

    sys.argv = ["trial", "tests.live.room_picture"]
    run()
