"""Stores in a real Redis, for the tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tests.live.redis_server import Pumped, RedisServer, pumped
from tests.store.store_contract import StoreCase
from twisted_net.store.log import Bounds
from twisted_net.store.redis.location import parse_location
from twisted_net.store.redis.preflight import check_redis
from twisted_net.store.redis.primary import PrimaryEndpoint
from twisted_net.store.redis.store import RedisStore

Result = TypeVar("Result")


class RedisCase(StoreCase):
    """Makes stores in a Redis of the test's own.

    :cvar options: lines of the configuration of Redis.
    :cvar seconds: the store's ``timeout``, which a busy machine must not exceed.
    """

    options: tuple[str, ...] = ()
    seconds = "5"

    def setUp(self) -> None:
        super().setUp()
        self.stores: list[RedisStore] = []
        self.pumped = pumped()
        self.server = self.serve(*self.options)

    def serve(self, *options: str, sentinel: bool = False) -> RedisServer:
        """Start a Redis, which ends with the test."""
        server = RedisServer(Path(self.mktemp()).absolute(), *options, sentinel=sentinel)
        self.addCleanup(server.kill)
        return server

    def make(
        self, bounds: Bounds, url: str = "", on: Pumped | None = None, **options: str
    ) -> RedisStore:
        location = parse_location(url or self.server.url, {"timeout": self.seconds} | options)
        reactor = (on or self.pumped).reactor
        return RedisStore(
            *(reactor, location, partial(PrimaryEndpoint, reactor, location)),
            partial(check_redis, location),
            *(lambda: self.now, self.token, bounds),
        )

    def started(self, **bounds: Any) -> RedisStore:
        return self.begun(self.make(Bounds(**bounds)))

    def begun(self, store: RedisStore, on: Pumped | None = None) -> RedisStore:
        """Start a store, wait until it works, and stop it when the test ends."""
        on = on or self.pumped
        store.start()
        self.stores.append(store)
        self.addCleanup(lambda: on.run(store.stop()))
        on.until(lambda: not store.trouble, "the store to work")
        return store

    def value(self, result: Deferred[Result]) -> Result:
        return self.successResultOf(self.pumped.run(result))

    def failure(self, result: Deferred[Any], kind: type[Exception]) -> str:
        """Return the text of the error with which a Deferred fails."""
        return str(self.failureResultOf(self.pumped.run(result), kind).value)

    def settle(self) -> None:
        for store in self.stores:
            self.value(store.values("none"))  # it is answered after everything before
