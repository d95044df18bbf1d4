"""Several processes of netchat with one Redis are one chat."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.live.harness import Client, LiveTestCase, Server, redis_program
from twisted_net.chat.shared.cluster import BACK, LOST

LONG = 60.0
"""Seconds to wait for what takes the 15 seconds of a lease."""


class SharedChatTests(LiveTestCase):
    """Two processes, and a Redis of the test's own."""

    def setUp(self) -> Any:
        try:
            from tests.live.redis_server import RedisServer
        except ImportError as error:  # hiredis is an extra
            raise SkipTest(f"there is no Redis to test with: {error}") from None
        redis_program()
        self.redis = RedisServer(self.directory())
        self.addCleanup(self.redis.kill)

    async def process(self) -> tuple[Server, int]:
        return await self.serve("netchat", "--store", self.redis.url)

    async def person(self, port: int, name: str) -> Client:
        client: Client = await self.connect(port)
        client.send(f"/nick {name}\n".encode())
        await client.has(f"You are {name} now.".encode())
        return client

    async def test_one_chat(self) -> None:
        """Names, members, messages and private messages are common; a dead process's people go."""
        (one, here), (_, there) = await self.process(), await self.process()
        ann, bob = await self.person(here, "ann"), await self.person(there, "bob")
        await ann.has(b"bob")  # joined, or is now called so
        bob.send(b"/nick ANN\n")
        await bob.has(b"! The name ANN is taken.")
        ann.send(b"/who\n/msg bob psst\nhello\n")
        await ann.has(b"* 2 in #lobby: ann, bob")
        await ann.has(b"* You told bob: psst")
        await bob.has(b"* ann tells you: psst")
        await bob.has(b"<ann> hello")
        one.signal(signal.SIGKILL)
        await bob.has(b"* ann left #lobby.", LONG)
        bob.send(b"/nick ann\n")
        await bob.has(b"* You are ann now.")

    async def test_a_program_goes_on(self) -> None:
        """A program keeps its name and its place in the room, in another process."""
        (_, here), (_, there) = await self.process(), await self.process()
        bob = await self.person(there, "bob")
        first: Client = await self.connect(here)
        first.send(b'{"type":"hello","nick":"bot","room":"lobby"}\n')
        await first.has(b'"joined"')
        session, at = await self.place(first)
        bob.send(b"missed\n")
        await first.has(b"missed")
        second: Client = await self.connect(there)
        second.send(json.dumps({"type": "hello", "session": session}).encode() + b"\n")
        await second.has(b'"nick":"bot"')
        second.send(json.dumps({"type": "join", "room": "lobby", "since": at}).encode() + b"\n")
        await second.has(b'"recovered":true')
        await second.has(b"missed")
        await first.closed()

    async def place(self, client: Client) -> tuple[str, dict[str, Any]]:
        """Return the session of a program, and where the room is."""
        await client.until(lambda: client.received.endswith(b"\n"), "whole lines")
        found = [json.loads(line) for line in client.received.splitlines() if line[:1] == b"{"]
        by_type = {each["type"]: each for each in found}
        joined = by_type["joined"]
        at = {"epoch": joined["epoch"], "offset": joined["offset"]}
        return by_type["welcome"]["session"], at

    async def test_redis_away(self) -> None:
        """Members stay, are told, and go on when Redis is back, also if it has lost everything."""
        (_, here), (_, there) = await self.process(), await self.process()
        ann, bob = await self.person(here, "ann"), await self.person(there, "bob")
        for client, other, said in ((ann, bob, b"one"), (bob, ann, b"two")):
            client.send(said + b"\n")  # so the room is open in both processes
            await other.has(said)
        self.redis.kill()
        for client in (ann, bob):
            await client.has(LOST.encode())
        ann.send(b"lost\n")
        await ann.has(b"! Your message was not sent: the server cannot store it now.")
        self.redis.start()
        for client in (ann, bob):
            await client.has(BACK.encode(), LONG)
        ann.send(b"found\n")
        await bob.has(b"<ann> found")
        ann.send(b"/msg bob psst\n")
        await bob.has(b"* ann tells you: psst")
        self.assertNotIn(b"lost\n", bytes(bob.received))

    async def test_a_worker_dies_while_redis_is_away(self) -> None:
        """It cannot start again until Redis is back. The other one's members stay meanwhile."""
        server, port = await self.serve("netchat", "--store", self.redis.url, "--workers", "2")
        await server.until(lambda: len(server.log("serves, pid")) == 2, "two workers")
        people = [await self.person(port, name) for name in ("ann", "bob")]  # one in each
        for client, other, said in ((*people, b"one"), (*people[::-1], b"two")):
            client.send(said + b"\n")  # so the room is open in both
            await other.has(said)
        self.redis.kill()
        for client in people:
            await client.has(LOST.encode())
        (line,) = server.log("Worker 1 serves, pid")
        os.kill(int(line.rpartition(" ")[2]), signal.SIGKILL)
        await server.until(
            lambda: len(server.log("Worker 1 has ended with status 1")) == 2,
            "two starts that fail",
            LONG,
        )
        (stays,) = (client for client in people if client.lost is None)
        self.redis.start()
        await server.until(lambda: len(server.log("Worker 1 serves, pid")) == 2, "it", LONG)
        await stays.has(BACK.encode(), LONG)
        stays.send(b"still here\n")
        late = await self.person(port, "late")
        await late.has(b"still here")
