"""A connection to Redis: many commands may wait for their replies, each with a limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.store.redis.errors import (
    RedisReplyError,
    RedisUnavailable,
    TooManyCommands,
    ends_connection,
)
from twisted_net.store.redis.framing import Push, RedisCommand, Resp, encode_command
from twisted_net.store.redis.handshake import log_in
from twisted_net.store.redis.location import RedisLocation
from twisted_net.store.redis.script import Script

MOST_COMMANDS = 20_000
"""Commands that may wait for their replies. Further ones fail at once."""

MOST_COMMAND_BYTES = 32 << 20
"""The bytes of these commands."""

MOST_REPLY_BYTES = 64 << 20
"""The bytes of one reply."""

_Answer = TypeVar("_Answer")


_Waiting: TypeAlias = tuple[Deferred[Any], float, bytes, Sequence[bytes], Script | None]
"""A command that waits for its reply: its result, when it is due, the command itself, the channels
that it subscribes to or unsubscribes from, as each is confirmed, and the script that it runs. It is
a plain tuple, as there are many."""


class RedisConnection(Connection):
    """A connection to Redis. Commands go out at once; each has a Deferred for its reply."""

    framing = Resp
    factory: RedisConnectionFactory

    def __init__(self) -> None:
        self._commands: deque[_Waiting] = deque()
        self._bytes = 0
        self._confirmed = 0  # channels of the first command
        self._gathered: list[bytes] | None = None  # what is sent while replies are handled
        self._reply_deadline: IDelayedCall | None = None

    # The beginning.

    def become_ready(self) -> None:
        """Log in first."""
        self.run(self.factory.first_steps()).addCallbacks(self._logged_in, self._refused)

    def run(self, steps: Generator[RedisCommand, Any, _Answer]) -> Deferred[_Answer]:
        """Send the commands of a generator, one after the other, and send it the replies."""
        return Deferred.fromCoroutine(self._run(steps))

    async def _run(self, steps: Generator[RedisCommand, Any, _Answer]) -> _Answer:
        reply: Any = None
        while True:
            try:
                command = steps.send(reply)
            except StopIteration as end:
                answer: _Answer = end.value
                return answer
            try:
                reply = await self.execute(command)
            except RedisReplyError as error:
                reply = error

    def _logged_in(self, _: object) -> None:
        if self.reason is None:
            super().become_ready()

    def _refused(self, failure: Failure) -> None:
        self.abort(detail=failure.getErrorMessage())

    def connected(self) -> None:
        self.factory.owner.opened(self)

    # Commands.

    def execute(
        self,
        command: RedisCommand,
        channels: Sequence[bytes] = (),
        script: Script | None = None,
    ) -> Deferred[Any]:
        """Send a command.

        :param channels: what it subscribes to, or unsubscribes from.
        :param script: what it runs: if the server has forgotten it, it is loaded again, once.
        :return: fires with the last reply. Fails with :exc:`RedisReplyError`; with
            :exc:`TooManyCommands` if too much waits, and nothing was sent; and with
            :exc:`RedisUnavailable` if the connection is lost, or the reply does not come in time.
        """
        if self.reason is not None:
            return fail(RedisUnavailable(self.detail or "the connection to Redis was lost"))
        data = encode_command(command)
        commands = self._commands
        if len(commands) >= MOST_COMMANDS or self._bytes + len(data) > MOST_COMMAND_BYTES:
            return fail(TooManyCommands(f"{len(commands)} commands wait for Redis already"))
        result: Deferred[Any] = Deferred()
        self._send(result, data, channels, script)
        return result

    def _send(
        self, result: Deferred[Any], data: bytes, channels: Sequence[bytes], script: Script | None
    ) -> None:
        factory = self.factory
        clock, timeout = factory.clock, factory.location.timeout
        self._commands.append((result, clock.seconds() + timeout, data, channels, script))
        self._bytes += len(data)
        if self._reply_deadline is None:
            self._reply_deadline = clock.callLater(timeout, self._check_deadline)
        if self._gathered is None:
            self.send_encoded(data)
        else:
            self._gathered.append(data)

    def dataReceived(self, data: bytes) -> None:
        # What is sent because of these replies goes out together.
        gathered = self._gathered = []
        try:
            super().dataReceived(data)
        finally:
            self._gathered = None
            if gathered:
                self.send_encoded(b"".join(gathered), len(gathered))

    def message_received(self, message: Any) -> None:
        is_push = type(message) is Push
        if is_push and is_published(message):
            self.factory.owner.pushed(message[1], message[2])
            return
        if not self._commands:
            self.abort(detail="Redis sent a reply without a command")
            return
        result, _, data, channels, script = self._commands[0]
        is_error = isinstance(message, RedisReplyError)
        if (channels or is_push) and not is_error:
            if not is_confirmation(message, channels, self._confirmed):
                self.abort(detail="Redis sent something that was not asked for")
                return
            self._confirmed += 1
            if self._confirmed < len(channels):
                return
        self._confirmed = 0
        self._commands.popleft()
        self._bytes -= len(data)
        if not is_error:
            result.callback(message)
            return
        if script is not None and message.code == "NOSCRIPT":
            # Not by EVAL, which would run whatever a faulty network makes of it.
            self.execute(("SCRIPT", "LOAD", script.text)).addErrback(lambda _: None)
            self._send(result, data, channels, None)
            return
        result.errback(message)
        if self.ready and ends_connection(message):
            self.abort(detail=str(message))

    def _check_deadline(self) -> None:
        self._reply_deadline = None
        if not self._commands or self.reason is not None:
            return
        clock = self.factory.clock
        left = self._commands[0][1] - clock.seconds()
        if left > 0:
            self._reply_deadline = clock.callLater(left, self._check_deadline)
        else:
            self.abort(detail=f"Redis does not answer within {self.factory.location.timeout:g} s")

    # The end.

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._reply_deadline is not None:
            self._reply_deadline.cancel()
            self._reply_deadline = None
        problem = self.detail or "the connection to Redis was lost"
        commands, self._commands = self._commands, deque()
        self.factory.owner.closed(self, problem)
        for result, *_ in commands:
            result.errback(RedisUnavailable(problem))


def is_published(push: Push) -> bool:
    """Return whether a push is something that was published on a channel."""
    return len(push) == 3 and push[0] == b"message" and type(push[1]) is type(push[2]) is bytes


def is_confirmation(message: Any, channels: Sequence[bytes], count: int) -> bool:
    """Return whether a message confirms the next of the channels, after ``count`` of them."""
    return (
        type(message) is Push
        and len(message) == 3
        and message[0] in (b"subscribe", b"unsubscribe")
        and count < len(channels)
        and message[1] == channels[count]
    )


class ConnectionOwner(Protocol):
    """What a connection tells about itself."""

    def opened(self, connection: RedisConnection, /) -> None:
        """It has logged in."""

    def closed(self, connection: RedisConnection, problem: str, /) -> None:
        """It has ended, perhaps before it had logged in."""

    def pushed(self, channel: bytes, data: bytes, /) -> None:
        """Something was published on a channel that it has subscribed to."""


class RedisConnectionFactory(ConnectionFactory):
    """Makes the connections of one client.

    :param name: the connections' name, for ``CLIENT LIST``.
    :param owner: is told about them.
    """

    def __init__(
        self, clock: IReactorTime, location: RedisLocation, name: str, owner: ConnectionOwner
    ) -> None:
        super().__init__(
            clock=clock,
            max_message=MOST_REPLY_BYTES,
            queue_limit=2 * MOST_COMMAND_BYTES,
            handshake_timeout=location.timeout,
            message_timeout=0,  # each command has a limit of its own
            close_grace=1,
            log_ends=False,
        )
        self.protocol = RedisConnection
        self.location = location
        self.name = name
        self.owner = owner

    def first_steps(self) -> Generator[RedisCommand, Any, None]:
        """Return what a connection does before it is ready."""
        return log_in(self.location, self.name)
