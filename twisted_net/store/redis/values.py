"""The small texts in Redis: one hash for each kind. A number before each value is for the order."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.damage import note_damage
from twisted_net.store.redis.names import Names, decoded, encoded, shielded
from twisted_net.store.redis.shared_scripts import PUT, VALUES


class RedisValues:
    """A :class:`~twisted_net.store.interface.KeyValueStore` in Redis."""

    def __init__(self, client: RedisClient, names: Names) -> None:
        self._client = client
        self._names = names

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        values = self._names.values(kind)
        arguments = [encoded(kind), shielded(key)]
        if value is not None:
            arguments.append(shielded(value))
        keys = values, self._names.value_numbers
        return self._client.call(PUT, keys, arguments, lambda _: None)

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        def ordered(reply: list[bytes]) -> dict[str, str]:
            found = []
            for key, entry in zip(reply[::2], reply[1::2], strict=True):
                number, _, value = entry.partition(b" ")
                try:
                    found.append((int(number), decoded(key), decoded(value)))
                except ValueError:
                    note_damage(f"a text of the kind {kind}", key)
            return {key: value for _, key, value in sorted(found)}

        return self._client.call(VALUES, (self._names.values(kind),), (), ordered)
