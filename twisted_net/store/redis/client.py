"""A client of Redis that stays connected.

How it lives:

1. :class:`~twisted_net.endpoints.client.ReconnectingClient` connects. With Sentinel, the endpoint
   asks it first where the primary is; see :mod:`~twisted_net.store.redis.primary`.
2. The connection logs in and checks the server; see :mod:`~twisted_net.store.redis.handshake`. If
   that fails, the client tries again later, after a growing delay with jitter.
3. :meth:`RedisClient.execute` sends a command, however many wait for their replies already. The
   transport writes all commands of a turn at once. Replies come in the order of the commands.
4. What is published arrives between the replies (RESP3).
5. A command without its reply in time ends the connection. Then all commands that wait fail, and
   the client connects again. It takes up its subscriptions before anything else.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.endpoints.client import ReconnectingClient
from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.backoff import Backoff, Delays
from twisted_net.store.interface import StoreError
from twisted_net.store.redis.connection import (
    MOST_COMMANDS,
    RedisConnection,
    RedisConnectionFactory,
)
from twisted_net.store.redis.errors import RedisDamaged, RedisUnavailable
from twisted_net.store.redis.framing import RedisCommand
from twisted_net.store.redis.location import RedisLocation
from twisted_net.store.redis.script import Script
from twisted_net.store.redis.seals import open_published, open_reply, seal_command

RECONNECT = Backoff(first=0.1, longest=5.0)
"""The delays between two attempts to connect."""

_CHANNELS_AT_ONCE = 500

_log = Logger()

Published = Callable[[bytes], None]
"""Called with what was published on a channel. It may raise StoreError: that is no message."""

_Result = TypeVar("_Result")


class RedisClient:
    """Stays connected to one Redis.

    :param endpoint: where to connect.
    :param name: the connection's name, for ``CLIENT LIST``.
    :param opened: called when a connection is ready, and its subscriptions are taken up.
    :param closed: called with the reason when there is no connection any more, and after each
        attempt to connect that has failed.
    :ivar connection: the connection, while it is ready.
    :ivar problem: why there is no connection.
    """

    def __init__(
        self,
        reactor: Any,
        location: RedisLocation,
        endpoint: ClientEndpoint,
        name: str,
        opened: Callable[[], None],
        closed: Callable[[str], None],
        *,
        backoff: Delays = RECONNECT,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.connection: RedisConnection | None = None
        self.problem = "there is no connection to Redis yet"
        self._opened = opened
        self._closed = closed
        self._published: dict[bytes, Published] = {}
        self._leaving: Counter[bytes] = Counter()  # channels until their ends are confirmed
        self._clock: IReactorTime = reactor
        self._timeout = location.timeout
        self._starting: IDelayedCall | None = None  # while it may connect for the first time
        self._wait_started: list[Deferred[None]] = []
        factory = RedisConnectionFactory(reactor, location, name, self)
        self._service = ReconnectingClient(
            reactor, endpoint, factory, backoff=backoff, jitter=jitter
        )

    def start(self) -> None:
        """Connect, and stay connected. What is asked for until then waits, for ``timeout``."""
        self._starting = self._clock.callLater(self._timeout, self._started)
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Disconnect."""
        self.connection = None
        self.problem = "the store is closed"
        self._started()
        stopped: Deferred[None] | None = self._service.stopService()
        return stopped or succeed(None)

    # Commands.

    def execute(self, command: RedisCommand, channels: Sequence[bytes] = ()) -> Deferred[Any]:
        """Send a command.

        :param channels: what it subscribes to, or unsubscribes from.
        :return: fires with the reply. Fails with a RedisError, at once if there is no connection.
        """
        connection = self.connection
        if connection is None:
            return self._once_started(lambda: self.execute(command, channels))
        return connection.execute(command, channels)

    def call(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[str | bytes | int],
        read: Callable[[list[bytes]], _Result],
    ) -> Deferred[_Result]:
        """Run a script, and read its reply. Both are sealed.

        If the reply was changed on its way, the connection is replaced.

        :param read: makes the result of the items of the reply.
        :return: fails with :exc:`StoreError` also if ``read`` cannot make anything of them.
        """
        sealed = seal_command(keys, arguments)

        def opened(reply: Any) -> _Result:
            try:
                return read(open_reply(sealed[-1], reply))
            except RedisDamaged:
                problem = f"the reply about {decoded_name(keys[0])} was changed on its way"
                self._abort(problem)
                raise RedisDamaged(problem) from None
            except (ValueError, TypeError, LookupError):
                text = f"what Redis has about {decoded_name(keys[0])} is not of this chat"
                raise StoreError(text) from None

        return self.run_script(script, keys, sealed).addCallback(opened)

    def run_script(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[str | bytes | int]
    ) -> Deferred[Any]:
        """Run a script that was sealed. If the server has forgotten it, it is loaded again."""
        connection = self.connection
        if connection is None:
            return self._once_started(lambda: self.run_script(script, keys, arguments))
        command = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
        return connection.execute(command, (), script)

    def _abort(self, problem: str) -> None:
        if self.connection is not None:
            self.connection.abort(detail=problem)

    # Channels.

    def subscribe(self, channel: bytes, published: Published) -> Deferred[Any]:
        """Call ``published`` with what is published on a channel, also after a reconnection.

        :return: fires once Redis has confirmed it. If that fails, nothing is called.
        """
        if channel in self._published:
            raise ValueError(f"{channel!r} is subscribed to already")
        connection = self.connection
        if connection is None:
            return self._once_started(lambda: self.subscribe(channel, published))
        self._published[channel] = published

        def failed(failure: Failure) -> Failure:
            self._published.pop(channel, None)
            return failure

        return connection.execute(("SUBSCRIBE", channel), (channel,)).addErrback(failed)

    def unsubscribe(self, channel: bytes) -> None:
        """End a subscription. If there is none, do nothing."""
        if self._published.pop(channel, None) is not None:
            self._leave(channel)

    def _leave(self, channel: bytes) -> None:
        def left(_: object) -> None:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]

        if self.connection is not None:
            self._leaving[channel] += 1
            self.connection.execute(("UNSUBSCRIBE", channel), (channel,)).addBoth(left)

    def silence(self, channels: Sequence[bytes]) -> Deferred[Any]:
        """Hear nothing more on channels until there is another connection.

        :return: fires when everything has been heard that was published before.
        """
        return self.execute(("UNSUBSCRIBE", *channels), channels)

    # The first connection.

    def _once_started(self, ask: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """Ask for something when the first connection is there. There must be none now."""
        if self._starting is None or len(self._wait_started) >= MOST_COMMANDS:
            return fail(RedisUnavailable(self.problem))
        waiting: Deferred[None] = Deferred()
        self._wait_started.append(waiting)
        return waiting.addCallback(lambda _: ask())

    def _started(self) -> None:
        """The first connection is there, or will not be in time."""
        if self._starting is not None:
            if self._starting.active():
                self._starting.cancel()
            self._starting = None
        waiting, self._wait_started = self._wait_started, []
        for each in waiting:
            each.callback(None)

    # What the connection tells.

    def opened(self, connection: RedisConnection) -> None:
        """A connection is ready."""
        subscribing, subscribed = [], list(self._published)
        channels = iter(subscribed)
        while some := list(islice(channels, _CHANNELS_AT_ONCE)):
            subscribing.append(connection.execute(("SUBSCRIBE", *some), some))
        gatherResults(subscribing, consumeErrors=True).addCallbacks(
            *(self._begin, self._not_subscribed),
            callbackArgs=(connection, subscribed),
            errbackArgs=(connection,),
        )

    def _begin(self, _: object, connection: RedisConnection, subscribed: list[bytes]) -> None:
        if connection.reason is None:
            self.connection = connection
            for channel in subscribed:
                if channel not in self._published:  # it was left meanwhile
                    self._leave(channel)
            self._opened()
            self._started()

    def _not_subscribed(self, failure: Failure, connection: RedisConnection) -> None:
        error = failure.value
        text = str(getattr(error, "subFailure", failure).value)
        connection.abort(detail=text)

    def closed(self, connection: RedisConnection | None, problem: str) -> None:
        """A connection was lost, or an attempt to connect has failed."""
        if connection is not None and self.connection not in (connection, None):
            return
        self.connection = None
        self.problem = problem
        self._started()
        self._closed(problem)

    def pushed(self, channel: bytes, data: bytes) -> None:
        """Something was published."""
        published = self._published.get(channel)
        if published is None:
            if self.connection is not None and not self._leaving[channel]:
                self._abort("Redis sent something of a channel that nobody has subscribed to")
            return
        try:
            published(open_published(channel, data))
        except RedisDamaged:
            self._abort(f"what was published on {decoded_name(channel)} was changed on its way")
        except StoreError as error:
            shown = decoded_name(channel)
            _log.error("What was published on {channel}: {why}", channel=shown, why=error)
        except Exception:
            _log.failure("Handling what Redis published failed")


def decoded_name(name: bytes) -> str:
    """Return a key or a channel for the log."""
    return name.decode("utf-8", "backslashreplace")
