"""The small texts in Redis: one hash for each kind. A number before each value is for the order."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.names import Names, decoded, encoded
from twisted_net.store.redis.scripts import PUT


class RedisValues:
    """A :class:`~twisted_net.store.interface.KeyValueStore` in Redis."""

    def __init__(self, client: RedisClient, names: Names) -> None:
        self._client = client
        self._names = names

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        values = self._names.values(kind)
        if value is None:
            done = self._client.execute(("HDEL", values, encoded(key)))
        else:
            done = self._client.run_script(
                *(PUT, (values, self._names.value_numbers)),
                (encoded(kind), encoded(key), encoded(value)),
            )
        return done.addCallback(lambda _: None)

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        def ordered(reply: dict[bytes, bytes]) -> dict[str, str]:
            found = []
            for key, entry in reply.items():
                number, _, value = entry.partition(b" ")
                found.append((int(number), decoded(key), decoded(value)))
            return {key: value for _, key, value in sorted(found)}

        reply: Deferred[Any] = self._client.execute(("HGETALL", self._names.values(kind)))
        return reply.addCallback(ordered)
