"""Takes the picture of the terminal client for ``docs/pictures``, in a real terminal::

python -m tests.live.test_terminal_picture
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.live.harness import LOCALHOST
from tests.live.terminal_picture import draw
from tests.live.test_terminal import client
from tests.live.tmux import TerminalTestCase

TITLE = "netchat-client in a terminal: a room, what a reconnect has brought, and unread marks"
COLUMNS = 84

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


class PictureTests(TerminalTestCase):
    """An afternoon in a chat."""

    async def test_picture(self) -> None:
        """It has the lines that people see, and the colours of their names."""
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server, port = await self.serve("netchat", "--store", store)
        bob = self.nc(port)
        bob.write(b"/nick bob\n/topic Release 1.0\nThe tests have passed.\n/ping\n")
        await bob.expect(rb"^\* pong\n")
        words = client("-n", "ann", "-r", "lobby", "-r", "dev", f"{LOCALHOST}:{port}")
        ann = await self.terminal(*words, columns=COLUMNS, rows=24)
        await ann.sees(r"--- now ---.*\| #dev")
        await ann.type("bob: then I tag it now")
        await ann.sees("<ann> bob: then I tag it now")
        bob.write(b"ann: thank you!\n/me gets some cake\n/msg ann cake for you, too\n")
        await ann.sees(r"cake for you, too.*\* bob gets|\* bob gets.*cake for you, too")
        # Eve speaks at another port first, so that ann surely comes back later.
        await server.stop()
        server, elsewhere = await self.serve("netchat", "--store", store)
        eve = self.nc(elsewhere)
        eve.write(b"/nick eve\nDid somebody restart the server?\n/join dev\nann, look at this\n")
        await eve.expect(rb"in #dev now")
        await server.stop()
        server = self.twistd(
            *("netchat", "--store", store, "--port", str(port), "--interface", LOCALHOST)
        )
        await server.port(f"--port {port}")
        await ann.sees(r"eve> Did somebody.*\| #dev 1!", seconds=60)
        await ann.type("Yes, and nothing was lo", enter=False)
        await ann.sees(r"nothing was lo\s")
        picture = draw(await ann.ask("capture-pane -e -p -N"), COLUMNS, TITLE)
        text = "\n".join(ElementTree.fromstring(picture).itertext())
        text = text.replace("\u00a0", " ")
        for part in ("<bob>", "You missed nothing", "#dev 1!", "Yes, and nothing was lo"):
            self.assertIn(part, text)
        self.assertGreaterEqual(len(set(re.findall(r'fill="(#\w+)"', picture))), 5)
        if os.environ.get("PICTURES"):
            (Path(os.environ["PICTURES"]) / "terminal.svg").write_text(picture)


if __name__ == "__main__":
    from twisted.scripts.trial import run

    os.environ.setdefault("PICTURES", str(PICTURES))
    sys.argv = ["trial", "tests.live.test_terminal_picture"]
    run()
