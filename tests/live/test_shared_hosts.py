"""Processes of one chat on several hosts, and Redis on another. Hosts are network namespaces."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.live.harness import (
    LOCALHOST,
    PATIENCE,
    LiveTestCase,
    Program,
    Server,
    program,
    redis_program,
)
from twisted_net.chat.shared.cluster import BACK, LOST

LONG = 60.0
"""Seconds to wait for what takes the 15 seconds of a lease, or the pause between two attempts."""


class Host:
    """A network namespace.

    :ivar inside: the words that run a program in it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside = (program("ip"), "netns", "exec", name)
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")

    def connect(self, other: Host, network: str) -> None:
        """Connect it to another host with a cable of their own. It is .1, the other is .2."""
        _ip("-n", self.name, "link", "add", other.name, "type", "veth",
            "peer", "name", self.name, "netns", other.name)  # fmt: skip
        for host, peer, number in ((self, other, 1), (other, self, 2)):
            _ip("-n", host.name, "address", "add", f"{network}.{number}/24", "dev", peer.name)
            host.plug(peer)

    def plug(self, other: Host) -> None:
        """Plug the cable to another host in."""
        _ip("-n", self.name, "link", "set", other.name, "up")

    def unplug(self, other: Host) -> None:
        """Pull it out. Packets vanish; no program is told."""
        _ip("-n", self.name, "link", "set", other.name, "down")

    def delete(self) -> None:
        """Delete it, and its cables."""
        _ip("netns", "delete", self.name)


def _ip(*words: str) -> None:
    result = subprocess.run(
        [program("ip"), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if result.returncode:
        raise AssertionError(f"ip {' '.join(words)}: {result.stderr}")


class HostsTests(LiveTestCase):
    def host(self, letter: str) -> Host:
        host = Host(f"nc{letter}{os.getpid()}")
        self.addCleanup(host.delete)
        return host

    async def redis(self, on: Host) -> None:
        """Start Redis on a host, at its usual port."""
        flags = ("--save", "", "--protected-mode", "no", "--bind", "0.0.0.0")
        running: Program = self.spawn(*on.inside, redis_program(), *flags)
        await running.expect(b"Ready to accept connections")

    async def chat(self, on: Host, redis: str) -> int:
        """Start netchat on a host, and return its port."""
        flags = ("netchat", "--port", "0", "--store", f"redis://{redis}")
        server: Server = self.spawn(*on.inside, *self.command(*flags), kind=Server)
        return await server.port()

    async def person(self, on: Host, port: int, name: str) -> Any:
        """Connect with ``nc`` on a host."""
        nc = self.spawn(*on.inside, program("nc"), LOCALHOST, str(port))
        nc.write(f"/nick {name}\n".encode())
        await nc.expect(f"You are {name} now.".encode())
        return nc

    async def test_a_cable_that_is_pulled_out(self) -> None:
        """Who is cut off stays connected, and hears everything once the cable is back."""
        if os.geteuid():
            raise SkipTest("only root makes a network namespace")
        store, one, two = self.host("r"), self.host("a"), self.host("b")
        store.connect(one, "10.77.1")
        store.connect(two, "10.77.2")
        await self.redis(store)
        ports = await self.together(self.chat(one, "10.77.1.1"), self.chat(two, "10.77.2.1"))
        ann = await self.person(one, ports[0], "ann")
        bob = await self.person(two, ports[1], "bob")
        for speaker, listener, text in ((ann, bob, b"one"), (bob, ann, b"two")):
            speaker.write(text + b"\n")
            await listener.expect(text)
        store.unplug(one)
        await ann.expect(LOST.encode())
        bob.write(b"missed 1\nmissed 2\n")
        await bob.expect(rb"^\* ann left #lobby", LONG)
        store.plug(one)
        await self.together(
            ann.expect(BACK.encode(), LONG), bob.expect(rb"^\* ann joined #lobby", LONG)
        )
        ann.write(b"here again\n")
        await bob.expect(b"^<ann> here again")
        bob.write(b"/msg ann welcome\n")
        await ann.expect(rb"^\* bob tells you: welcome")
        heard = bytes(ann.output)
        self.assertEqual(heard.count(b"<bob> missed 1\n<bob> missed 2\n"), 1, heard)
        self.assertEqual(heard.count(b"missed"), 2)
