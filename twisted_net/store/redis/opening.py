"""Makes the store for a location."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted_net.store.log import Bounds
from twisted_net.store.redis.location import RedisLocation
from twisted_net.store.redis.preflight import check_redis
from twisted_net.store.redis.primary import PrimaryEndpoint
from twisted_net.store.redis.store import RedisStore


def redis_store(
    reactor: Any, location: RedisLocation, token: Callable[[], str], bounds: Bounds
) -> RedisStore:
    """Return the store in the Redis at a location. It is not opened yet."""
    return RedisStore(
        reactor,
        location,
        partial(PrimaryEndpoint, reactor, location),
        partial(check_redis, location),
        time.time,
        token,
        bounds,
    )
