"""Upgrades in place of one of two processes that share a real Redis: the other notices nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from tests.live.harness import Client
from tests.live.redis_server import RedisServer
from tests.live.test_upgrade import UpgradeCase, UpgradingServer
from tests.live.test_websocket import WS, frame


def events(client: Client) -> list[dict[str, Any]]:
    """Return what a program has received."""
    return [json.loads(line) for line in bytes(client.received).split(b"\n")[:-1]]


class SharedChatTests(UpgradeCase):
    """People, programs and browsers of two processes."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer(self.directory() / "redis")
        self.addCleanup(self.redis.kill)

    async def pair(self, how: Path | None = None, *more: str) -> tuple[UpgradingServer, int, int]:
        """Start two processes. Return the first one, and the ports of both."""
        flags = ("netchat", "--store", self.redis.url, *more)
        server, port = await self.start(*flags, how=how)
        _, other = await self.start(*flags)
        return server, port, other

    async def program(self, port: int, nick: str) -> Client:
        """Connect a program that is in a room."""
        program = await self.connect(port)
        self.ask(program, type="hello", nick=nick, room="tea")
        await program.has(b'"joined"')
        return program

    async def tell(self, program: Client, to: str, text: str, id: str) -> None:
        """Send a private message, again and again as long as the other process does not listen."""

        def answers() -> list[dict[str, Any]]:
            return [each for each in events(program) if each.get("id") == id]

        count = 0
        while not answers() or answers()[-1]["type"] == "error":
            self.ask(program, type="private", to=to, text=text, id=id)
            await program.until(lambda count=count: len(answers()) > count, "the answer")
            count = len(answers())

    def offsets(self, program: Client) -> list[int]:
        """Return the offsets of the messages that a program knows, with its own."""
        return [
            each["offset"]
            for each in events(program)
            if "offset" in each and each["type"] != "joined"
        ]

    async def test_nobody_notices(self) -> None:
        """Nobody leaves or joins elsewhere, names are kept, and nothing is lost or doubled."""
        server, port, other = await self.pair()
        far = await self.program(other, "Far")
        person, browser = await self.connect(port), await self.connect(port)
        await person.has(b"Welcome")
        person.send(b"/nick Ann\n/join tea\n/leave lobby\nhere\n")
        await far.has(b'"here"')
        near = await self.program(port, "Near")
        browser.send(WS + frame(type="hello", nick="Web", room="tea"))
        for name in (b"Ann", b"Near", b"Web"):
            await far.has(b'"nick":"%b","event":"join"' % name)
        quiet = len(events(far))
        for number in range(3):
            before = far.received.count(b"\n")
            # Said just before and right after it.
            self.ask(far, type="message", room="tea", text=f"far {number}", id=f"f{number}")
            person.send(b"before %d\n" % number)
            await server.upgrade()
            person.send(b"after %d\n" % number)
            self.ask(near, type="message", room="tea", text=f"near {number}", id=f"n{number}")
            for each in (far, browser):
                for text in (b"before %d", b"after %d", b"near %d"):
                    await each.has(text % number)
            self.assertGreater(far.received.count(b"\n"), before)
            await self.tell(far, "Ann", f"psst {number}", f"p{number}")
            await person.has(b"psst %d" % number)
            person.send(b"/msg Far to you %d\n" % number)
            await far.has(b"to you %d" % number)
        count = 1 + 3 * 4
        for each in (far, near):
            await each.until(lambda each=each: count in self.offsets(each), "all messages")
        self.assertEqual(self.offsets(far), list(range(1, count + 1)))
        self.assertEqual(self.offsets(near), list(range(2, count + 1)))
        # A name that is held there is taken here, and the other way round.
        self.ask(far, type="nick", nick="Ann")
        await far.has(b'"taken"')
        self.ask(near, type="nick", nick="Far")
        await near.has(b'"taken"')
        kinds = {each["type"] for each in events(far)[quiet:]}
        self.assertEqual(kinds, {"message", "ack", "private", "error"})
        for text in ("psst 0", "psst 1", "psst 2"):
            self.assertEqual(person.received.count(text.encode()), 1)
        # Who leaves is told to leave, as the leases are the new process's.
        person.send(b"/quit\n")
        await far.has(b'"event":"leave"')

    async def test_notices(self) -> None:
        """What the room is told elsewhere while nobody is served is told afterwards, once."""
        server, port, other = await self.pair(None, "--topics", "0")
        far, near = await self.program(other, "Far"), await self.program(port, "Near")
        await far.has(b'"Near"')
        count = 0

        def change() -> None:
            nonlocal count
            count += 1
            self.ask(far, type="topic", room="tea", topic=f"topic {count}")

        def topics(program: Client) -> list[str]:
            found = [each for each in events(program) if each["type"] == "topic"]
            return [each["topic"] for each in found]

        changing = LoopingCall(change)
        changing.start(0.005)
        for _ in range(3):
            await server.upgrade()
            seen = len(topics(near))
            await near.until(lambda seen=seen: len(topics(near)) > seen + 3, "further topics")
        changing.stop()
        expected = [f"topic {number}" for number in range(1, count + 1)]
        await far.until(lambda: topics(far)[-1:] == expected[-1:], "the last topic")
        self.assertEqual(topics(far), expected)
        await near.until(lambda: topics(near)[-1:] == expected[-1:], "the last topic")
        self.assertEqual(topics(near), expected)

    async def test_failures(self) -> None:
        """If an upgrade fails, the old process goes on with its names and rooms."""
        how = self.directory() / "how"
        server, port, other = await self.pair(how)
        far, near = await self.program(other, "Far"), await self.program(port, "Near")
        await far.has(b'"Near"')
        quiet = len(events(far))
        for number, what in enumerate(("killed-before", "killed-after")):
            how.write_text(what)
            await server.fail_to_upgrade()
            self.ask(near, type="message", room="tea", text=f"still {number}", id=f"n{number}")
            await far.has(b"still %d" % number)
            await self.tell(far, "Near", f"psst {number}", f"p{number}")
            await near.has(b"psst %d" % number)
        how.write_text("")
        await server.upgrade()
        self.ask(near, type="message", room="tea", text="after all", id="n")
        await far.has(b"after all")
        self.assertEqual(self.offsets(far)[-1], 3)
        kinds = {each["type"] for each in events(far)[quiet:]}
        self.assertLessEqual(kinds, {"message", "ack", "error"})
        self.assertNotIn(b"The store", near.received)
