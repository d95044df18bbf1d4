"""``--log-format json`` with real services, under ``twistd`` and ``twist``."""

from __future__ import annotations

import json
from typing import Any

from tests.live.harness import LOCALHOST, LiveTestCase, Program, Server, program, script


class LogFormatTests(LiveTestCase):
    def entries(self, text: str) -> list[dict[str, Any]]:
        """Return the lines of a log; each must be an object."""
        found = [json.loads(line) for line in text.splitlines()]
        for each in found:
            self.assertLessEqual({"time", "level", "namespace", "message"}, set(each))
        return found

    async def test_every_line(self) -> None:
        """From the first to the last, and an end has its figures as numbers."""
        flags = ("netchat", "--port", "0", "--interface", LOCALHOST, "--log-format", "json")
        twist = (script("twist"), *flags)
        for command in (self.command(*flags), twist):
            server: Server = self.spawn(*command, kind=Server)
            client = await self.connect(await server.port())
            await client.has(b"Welcome")
            client.send(b"/nick ann\n/quit\n")
            await client.closed()
            await server.until(lambda each=server: each.log("ended: quit"), "the line")
            await server.stop()
            entries = self.entries((server.output or server.errors).decode())
            (end,) = (each for each in entries if each.get("reason") == "quit")
            self.assertEqual((end["id"], end["name"], end["peer"]), (1, "ann", client.address))
            self.assertEqual((end["bytes_received"], end["messages_received"]), (16, 2))
            self.assertGreater(end["bytes_sent"], 50)
            self.assertGreaterEqual(end["seconds"], 0)

    async def test_a_file(self) -> None:
        """``--logfile`` names it, as without the flag."""
        path = self.directory() / "log"
        path.touch()
        twistd, *words = self.command("netecho", "--port", "0", "--log-format", "json")
        server: Server = self.spawn(twistd, "--logfile", str(path), *words, kind=Server)
        tail: Program = self.spawn(program("tail"), "-F", str(path))
        await tail.expect(rb"Listening on")
        await server.stop()
        self.assertEqual(bytes(server.output), b"")
        self.assertGreater(len(self.entries(path.read_text())), 3)
