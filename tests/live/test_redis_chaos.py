"""Three processes on one Redis, while it is killed and stopped, and its connections are cut."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from twisted.python.failure import Failure

from tests.live.redis_case import RedisCase
from tests.live.redis_server import Asking
from tests.store.store_contract import make_message
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Appended, Bounds, StoredMessage
from twisted_net.store.redis.store import RedisStore

ROOMS = ("a", "b")
SEED = int(os.environ.get("CHAOS_SEED", "20260417"))


class Follower:
    """What one process hears in one room."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, str]] = []

    def __call__(self, epoch: str, fresh: Sequence[StoredMessage]) -> None:
        self.heard += [(epoch, offset, message.id) for offset, message in fresh]


class ChaosTests(RedisCase):
    """A Redis that acknowledges only what is on its disk."""

    options = ("appendonly yes", "appendfsync always")
    seconds = "1"

    def setUp(self) -> None:
        super().setUp()
        self.random = random.Random(SEED)
        self.running = [self.begun(self.make(Bounds(count=10**6))) for _ in range(3)]
        self.followers: dict[tuple[int, str], Follower] = {}
        for number, store in enumerate(self.running):
            for room in ROOMS:
                follower = self.followers[number, room] = Follower()
                self.value(store.subscribe(room, follower))
        self.acked: dict[str, set[str]] = {room: set() for room in ROOMS}
        self.refused = 0
        self.waiting: set[str] = set()
        self.said = 0

    def say(self) -> None:
        """Append a few messages in one of the processes."""
        room = self.random.choice(ROOMS)
        ids = [f"{self.said + number}" for number in range(self.random.randrange(1, 6))]
        self.said += len(ids)
        self.send(self.random.choice(self.running), room, ids)

    def send(self, store: RedisStore, room: str, ids: list[str]) -> None:
        self.waiting.update(ids)

        def done(result: Appended | Failure) -> None:
            if isinstance(result, Failure):
                result.trap(StoreError)
                self.refused += len(ids)
                # As a client does: it sends the same again, perhaps to another process.
                self.pumped.reactor.callLater(0.2, self.send, store, room, ids)
                return
            self.acked[room].update(ids)
            self.waiting.difference_update(ids)

        store.append(room, [make_message("x" * 200, id) for id in ids]).addBoth(done)

    def cut(self) -> None:
        with Asking(self.server.port) as asking:
            asking.ask("CLIENT", "KILL", "TYPE", "pubsub")

    def cut_one(self) -> None:
        with Asking(self.server.port) as asking:
            found = asking.ask("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
            if found:
                line = self.random.choice(found)
                asking.ask("CLIENT", "KILL", "ID", line.split()[0].partition(b"=")[2])

    def restart(self) -> None:
        # Each start begins an epoch. Who was away for two of them is told that messages were lost,
        # as it cannot know.
        self.pumped.until(lambda: not any(each.trouble for each in self.running), "all to be back")
        self.server.kill()
        self.server.start()

    def freeze(self) -> None:
        self.server.signal(signal.SIGSTOP)
        self.run_for(1.5)
        self.server.signal(signal.SIGCONT)

    def forget(self) -> None:
        self.server.ask("SCRIPT", "FLUSH")

    def run_for(self, seconds: float) -> None:
        """Let the processes run, while messages are sent."""
        ended: list[None] = []
        self.pumped.reactor.callLater(seconds, ended.append, None)
        while not ended:
            if self.random.random() < 0.5:
                self.say()
            self.pumped.reactor.iterate(0.005)

    def test_every_message_arrives_once(self) -> None:
        """Each process hears every acknowledged message once, in the same order as the others."""
        troubles = [self.cut, self.cut_one, self.restart, self.freeze, self.forget] * 3
        self.random.shuffle(troubles)
        for trouble in troubles:
            self.run_for(self.random.uniform(0.05, 0.5))
            trouble()
        self.pumped.until(lambda: not self.waiting, "all appends", 60)
        self.pumped.until(lambda: all(map(self.are_equal, ROOMS)), "all to hear the same", 60)
        for room in ROOMS:
            self.check(room)
        self.assertGreater(self.refused, 0)
        self.assertGreater(len({epoch for epoch, _, _ in self.followers[0, "a"].heard}), 1)

    def are_equal(self, room: str) -> bool:
        counts = {len(self.followers[number, room].heard) for number in range(3)}
        return len(counts) == 1 and len(self.acked[room]) in counts

    def check(self, room: str) -> None:
        """Check what all have heard in a room."""
        owners: dict[tuple[str, int], str] = {}
        orders = []
        for number in range(3):
            heard = self.followers[number, room].heard
            for (epoch, offset, _), following in pairwise(heard):
                if epoch == following[0]:
                    self.assertEqual(following[1], offset + 1)
            for epoch, offset, id in heard:
                self.assertEqual(owners.setdefault((epoch, offset), id), id)
            order = [id for _, _, id in heard]
            self.assertEqual([id for id, many in Counter(order).items() if many > 1], [])
            self.assertEqual(set(order), self.acked[room])
            orders.append(order)
        self.assertEqual(orders[0], orders[1])
        self.assertEqual(orders[0], orders[2])
