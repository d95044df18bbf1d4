"""Failover with Sentinel: the store goes on with the new primary."""

from __future__ import annotations

import signal

from tests.live.harness import LOCALHOST
from tests.live.redis_case import RedisCase
from tests.live.redis_server import RedisServer
from tests.store.store_contract import Heard, make_message
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds


class SentinelTests(RedisCase):
    """A primary, a replica, and a Sentinel that looks after them."""

    def setUp(self) -> None:
        super().setUp()
        self.replica = self.serve(
            f"replicaof {LOCALHOST} {self.server.port}", "repl-ping-replica-period 1"
        )
        self.until_replicated(self.server)
        self.sentinel = self.serve(
            f"sentinel monitor chat {LOCALHOST} {self.server.port} 1",
            "sentinel down-after-milliseconds chat 500",
            "sentinel failover-timeout chat 3000",
            sentinel=True,
        )
        self.pumped.until(
            lambda: b"slaves=1" in self.sentinel.ask("INFO", "sentinel"), "Sentinel to see both"
        )
        nobody = f"{LOCALHOST}:1"  # a Sentinel that is down
        self.url = f"redis+sentinel://{nobody},{LOCALHOST}:{self.sentinel.port}/chat"

    def until_replicated(self, primary: RedisServer) -> None:
        self.pumped.until(
            lambda: b"state=online" in primary.ask("INFO", "replication"), "the replica"
        )

    def test_the_primary_fails(self) -> None:
        """A replica that was cut off becomes the primary: no offset is used twice in an epoch."""
        store = self.begun(self.make(Bounds(), self.url))
        heard = Heard()
        epoch = self.value(store.subscribe("a", heard)).epoch
        self.value(store.append("a", [make_message(str(number)) for number in range(5)]))
        self.value(store.values("none"))
        self.pumped.until(
            lambda: self.replica.ask("HGET", "{netchat:a}:meta", "top") == b"5", "the replica"
        )
        self.replica.signal(signal.SIGSTOP)  # it cannot connect again
        self.server.ask("CLIENT", "KILL", "TYPE", "replica")
        self.value(store.append("a", [make_message(f"lost {number}") for number in range(3)]))
        self.server.kill()
        self.replica.signal(signal.SIGCONT)
        self.pumped.until(lambda: store.trouble, "trouble")
        self.pumped.until(lambda: not store.trouble, "the new primary", 60)
        self.assertIn(b"role:master", self.replica.ask("INFO", "replication"))
        again = self.value(store.append("a", [make_message("new 1"), make_message("new 2")]))
        self.assertNotEqual(again.epoch, epoch)
        self.assertEqual(again.offsets, [6, 7])
        self.assertEqual(heard.offsets, [1, 2, 3, 4, 5, 6, 7, 8, 6, 7])
        self.assertEqual(heard.epochs, {epoch, again.epoch})
        self.assertIsNone(self.value(store.since("a", epoch, 5, 9)))

    def test_what_sentinel_does_not_know(self) -> None:
        """Another name of the service ends the start with one line."""
        store = self.make(Bounds(), self.url.replace("/chat", "/other"))
        error = self.assertRaises(StoreError, store.start)
        self.assertIn("Sentinel knows no service 'other'", str(error))
        self.assertIn(f"Sentinel at {LOCALHOST}:1: ", str(error))
        self.assertNotIn("\n", str(error))
