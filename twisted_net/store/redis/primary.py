"""Where to connect: to Redis itself, or to the primary that Sentinel names."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from twisted_net.endpoints.client import client_endpoint, connect
from twisted_net.interfaces import AnyInterface
from twisted_net.store.redis.connection import RedisConnection, RedisConnectionFactory
from twisted_net.store.redis.errors import RedisUnavailable, single_line
from twisted_net.store.redis.framing import RedisCommand
from twisted_net.store.redis.handshake import find_primary
from twisted_net.store.redis.location import RedisLocation, show_address
from twisted_net.tls.sessions import TLSSessions


@implementer(IStreamClientEndpoint)
class PrimaryEndpoint(AnyInterface):
    """Connects to the Redis that can be written to.

    :param failed: called with the reason if a connection cannot be established.
    """

    def __init__(
        self, reactor: Any, location: RedisLocation, failed: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._location = location
        self._failed = failed
        self._sentinels = deque(location.hosts)  # the one that answered last comes first
        self._sessions = TLSSessions()

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        location = self._location
        try:
            address = await self._primary() if location.service else location.hosts[0]
            how: dict[str, Any] = {}
            if location.tls:
                how = {"tls": True, "ca": location.cafile or None, "sessions": self._sessions}
            endpoint = client_endpoint(self._reactor, address, timeout=location.timeout, **how)
            connected: IProtocol = await endpoint.connect(factory)
            return connected
        except CancelledError:
            raise
        except Exception as error:
            self._failed(single_line(str(error)) or type(error).__name__)
            raise

    async def _primary(self) -> tuple[str, int]:
        problems = []
        for host, port in list(self._sentinels):
            try:
                found = await self._ask(host, port)
            except CancelledError:
                raise
            except Exception as error:
                problems.append(
                    f"Sentinel at {show_address(host, port)}: {single_line(str(error))}"
                )
                self._sentinels.rotate(-1)
            else:
                return found
        raise RedisUnavailable("; ".join(problems))

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        location = self._location
        factory = _SentinelFactory(self._reactor, location, "", _Nobody())
        asking = connect(self._reactor, (host, port), factory, timeout=location.timeout)
        connection = await asking.addTimeout(location.timeout, self._reactor)
        assert isinstance(connection, RedisConnection)
        try:
            return await connection.run(find_primary(location))
        finally:
            connection.close()


class _SentinelFactory(RedisConnectionFactory):
    """Makes connections to a Sentinel, which speaks the same protocol. It needs no login."""

    def first_steps(self) -> Generator[RedisCommand, Any, None]:
        yield from ()


class _Nobody:
    """Does not care about a connection that asks one question."""

    def opened(self, connection: RedisConnection, /) -> None:
        """Do nothing."""

    def closed(self, connection: RedisConnection, problem: str, /) -> None:
        """Do nothing: the question fails by itself."""

    def pushed(self, channel: bytes, data: bytes, /) -> None:
        """Do nothing: there are no subscriptions."""
