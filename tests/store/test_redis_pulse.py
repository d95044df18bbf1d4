"""How the store notices that Redis is half-dead: :mod:`twisted_net.store.redis.pulse`."""

from __future__ import annotations

import itertools

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.fake_redis import FakeRedis, published, push, sealed
from twisted_net.store.redis.location import parse_location
from twisted_net.store.redis.shared_scripts import PULSE
from twisted_net.store.redis.store import RedisStore


class PulseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.redis = FakeRedis(self.clock)
        numbers = itertools.count(1)
        self.store = RedisStore(
            *(self.clock, parse_location("redis://h", {"timeout": "2"}), lambda failed: self.redis),
            *(lambda: None, lambda: 0.0, lambda: f"p{next(numbers)}"),
        )
        self.told: list[str] = []
        self.store.watch_trouble(self.told.append)
        self.store.start()
        self.addCleanup(lambda: self.store.stop().addErrback(lambda _: None))
        self.assertEqual(self.store.trouble, "Redis at h:6379: there is no connection to Redis yet")
        self.clock.advance(0)
        self.answers = True
        self.is_heard = True
        self.live(0)

    def live(self, seconds: float) -> None:
        """Let time pass, and answer the pulses."""
        for _ in range(int(seconds * 10) + 1):
            for command in self.redis.take():
                self._answer(command)
            self.redis.advance(0.1)

    def _answer(self, command: list[bytes]) -> None:
        match command:
            case [b"SUBSCRIBE", *channels]:
                self.redis.send(*(push("subscribe", each, "1") for each in channels))
            case [b"EVALSHA", digest, b"1", _, _, _, _, _, channel, number, _, _] if (
                digest.decode() == PULSE.digest
            ):
                if self.is_heard:
                    self.redis.send(published(channel, number))
                if self.answers:
                    self.redis.send(sealed(command, "1"))

    def test_a_redis_that_works(self) -> None:
        """There is no trouble once the first message is heard, and none later."""
        self.live(10)
        self.assertEqual(self.told, [""])
        self.assertEqual(self.redis.connections, 1)

    def test_a_subscription_that_is_silently_dead(self) -> None:
        """If nothing is heard although commands are answered, the connection ends within 5 s."""
        self.is_heard = False
        self.live(4)
        self.assertEqual(
            self.told[:2], ["", "Redis at h:6379: what Redis publishes is not heard within 2 s"]
        )
        self.is_heard = True
        self.live(6)
        self.assertEqual(self.store.trouble, "")
        self.assertEqual(self.redis.connections, 2)

    def test_a_redis_that_does_not_answer(self) -> None:
        """If commands are not answered, it is noticed within 5 s, too."""
        self.answers = self.is_heard = False
        self.live(4)
        self.assertIn("Redis at h:6379: Redis does not answer within 2 s", self.told)
        self.assertTrue(self.store.trouble)

    def test_the_connection_is_lost(self) -> None:
        """It is told once, and the end as well."""
        self.live(1)
        self.redis.reset()
        self.assertTrue(self.store.trouble)
        self.live(6)
        self.assertEqual(len(self.told), 3, self.told)
        self.assertEqual(self.told[-1], "")
