"""Random programs of users, cuts and deaths in a chat of several processes.

Whatever happens: when it is quiet again, each name is one user's, all processes and all programs
know the same members, and nothing is leased that nobody has.
"""

from __future__ import annotations

import json
import random

from tests.chat.chat_peers import Members
from tests.chat.shared_chat import Process, SharedCase
from twisted_net.chat import names
from twisted_net.chat.shared.cluster import RETRY
from twisted_net.store.interface import LEASE_SECONDS
from twisted_net.testing import Peer

PROGRAMS = 100
STEPS = 25
NICKS = ("zed", "bob", "Ann", "z3d")
MOST_USERS = 3  # in a process; more leaves at once than NAMED_AT_MOST are not told by name


class Watcher:
    """A program in the lobby."""

    def __init__(self, process: Process, session: str = "") -> None:
        self.process = process
        self.peer: Peer = process.connect()
        self.session = session
        self.members = Members()
        hello = {"type": "hello", "room": "lobby", **({"session": session} if session else {})}
        self.peer.send(json.dumps(hello).encode() + b"\n")

    def read(self) -> None:
        for line in self.peer.take().splitlines():
            if line.startswith(b"{"):
                message = json.loads(line)
                self.session = message.get("session", self.session)
                self.members.read(message)


class ProgramsTests(SharedCase):
    """Random programs."""

    def test_all(self) -> None:
        """All processes agree when it is quiet."""
        for seed in range(PROGRAMS):
            super().setUp()
            self.play(random.Random(seed), f"seed {seed}")

    def play(self, chance: random.Random, about: str) -> None:
        self.hub.delay = chance.choice((0.0, 0.001, 0.01))
        self.processes = [self.one, self.two, Process(self)]
        self.watchers = [Watcher(process) for process in self.processes]
        self.users: list[tuple[Process, Peer]] = []
        for _ in range(STEPS):
            self.step(chance)
            self.clock.pump([chance.choice((0.0, 0.001, 0.01, 0.1, 0.5, 2.0, LEASE_SECONDS))])
            for watcher in self.watchers:
                watcher.read()
        for process in self.alive():
            if process.store.trouble:
                process.store.heal()
        self.clock.pump([0.1] * int(10 * (LEASE_SECONDS + 2 * RETRY)))
        self.check(about)

    def alive(self) -> list[Process]:
        return [each for each in self.processes if each.store.is_alive]

    def step(self, chance: random.Random) -> None:
        whats = ("come", "come", "go", "nick", "nick", "nick", "say", "move", "cut", "die")
        what = chance.choice(whats)
        process = chance.choice(self.alive())
        here = [each for each in self.users if each[0] is process]
        if what == "come" and len(here) < MOST_USERS:
            peer = process.connect()
            peer.send(f"/nick {chance.choice(NICKS)}\n".encode())
            self.users.append((process, peer))
        elif what == "go" and here:
            self.users.remove(gone := chance.choice(here))
            gone[1].reset()
        elif what == "nick" and here:
            chance.choice(here)[1].send(f"/nick {chance.choice(NICKS)}\n".encode())
        elif what == "say" and here:
            chance.choice(here)[1].send(b"hello\n")
        elif what == "move" and self.watchers:
            watcher = chance.choice(self.watchers)
            watcher.read()
            self.watchers.remove(watcher)
            self.watchers.append(Watcher(process, watcher.session))
            if chance.random() < 0.5 or not watcher.process.store.is_reached:
                watcher.peer.reset()
        elif what == "cut":
            process.store.heal() if process.store.trouble else process.store.cut()
        elif what == "die" and len(self.alive()) > 2 and chance.random() < 0.3:
            process.store.die()
            self.watchers = [each for each in self.watchers if each.process is not process]
            self.users = [each for each in self.users if each[0] is not process]

    def check(self, about: str) -> None:
        found = {process: list(process.chat.registry) for process in self.alive()}
        everybody = sorted(user.name for users in found.values() for user in users)
        keys = [key for name in everybody for key in names.keys(name)]
        self.assertEqual(len(keys), len(set(keys)), f"{about}: {everybody}")
        leased = {key for key, (value, _) in self.hub.leases["name"].items() if value}
        self.assertEqual(leased, set(keys), about)
        members = sorted(user.name for users in found.values() for user in users if user.rooms)
        in_store = sorted(key.partition(" ")[2] for key in self.hub.leases["room:lobby"])
        self.assertEqual(in_store, members, about)
        for process in self.alive():
            room = process.chat.registry.rooms.get("lobby")
            if room is not None:
                self.assertEqual(sorted(room.names()), members, about)
        for watcher in self.watchers:
            watcher.read()
            known = watcher.members
            if known.is_known and not watcher.peer.finished:
                self.assertEqual(sorted(known.names), members, f"{about} {known.nick}")
                self.assertEqual(known.count, len(members), f"{about} {known.nick}")
