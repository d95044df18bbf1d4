"""Notifications between processes.

Those for all are published, and kept for a while. A process that was away, because its connection
was lost or because it was about to move, reads what it has missed: so it misses nothing if it is
back in time. What is published while it reads is held, and follows. Notifications for one process
are only published: whoever sends one learns at once whether it was heard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.store.interface import Lessee, NotificationListener, StoreError
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.damage import note_damage
from twisted_net.store.redis.errors import concerns_all
from twisted_net.store.redis.names import Names
from twisted_net.store.redis.shared_scripts import MISSED, NOTIFY

NOTIFICATIONS_KEPT = 1000
"""Notifications that are kept for a topic."""

KEPT_SECONDS = 60
"""Seconds for which they are kept after the last one. An upgrade takes less, and so does a
reconnection once Redis is back."""

_MOST_HELD = 2000

_log = Logger()


@dataclass(slots=True)
class _Topic:
    """A topic that somebody listens to.

    :ivar last: the id of the last notification for all that was heard; empty if none was.
    :ivar held: what is published while missed ones are read, or are still to be read; None if it
        is told at once.
    :ivar waiting: who waits for the first subscription; None once it was confirmed.
    """

    listeners: list[NotificationListener]
    last: str
    held: list[bytes] | None = field(default_factory=list)
    waiting: list[Deferred[None]] | None = field(default_factory=list)


class Topics:
    """Sends notifications to other processes, and receives theirs."""

    def __init__(self, client: RedisClient, names: Names, process: Lessee) -> None:
        self._client = client
        self._names = names
        self._process = process
        self._topics: dict[str, _Topic] = {}
        self._moved: dict[str, str] = {}  # the last ids that another process has heard

    def notify(self, topic: str, data: bytes, process: Lessee) -> Deferred[int]:
        if process == self._process:
            return succeed(0)
        # Redis counts this process, if it listens too.
        is_among = not process and topic in self._topics

        def reached(reply: list[bytes]) -> int:
            return max(0, int(reply[0]) - is_among)

        kept = 0 if process else NOTIFICATIONS_KEPT
        channel = self._names.topic_channel(topic, process)
        arguments = (self._process, channel, data, kept, KEPT_SECONDS * 1000)
        return self._client.call(NOTIFY, (self._names.notifications(topic),), arguments, reached)

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        found = self._topics.get(topic)
        if found is not None and found.waiting is None:
            found.listeners.append(received)
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if found is not None and found.waiting is not None:
            found.listeners.append(received)
            found.waiting.append(waiting)
            return waiting
        found = self._topics[topic] = _Topic([received], self._moved.pop(topic, ""))
        assert found.waiting is not None
        found.waiting.append(waiting)
        confirmed = [
            self._client.subscribe(channel, lambda data: self._published(topic, data))
            for channel in self._channels(topic)
        ]
        confirmed.append(self._read_missed(topic, found))
        gatherResults(confirmed, consumeErrors=True).addCallbacks(
            *(self._opened, self._not_opened), callbackArgs=(topic,), errbackArgs=(topic,)
        )
        return waiting

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        found = self._topics.get(topic)
        if found is None:
            return
        if received in found.listeners:
            found.listeners.remove(received)
        if not found.listeners:
            del self._topics[topic]
            for channel in self._channels(topic):
                self._client.unsubscribe(channel)

    def _opened(self, _: object, topic: str) -> None:
        found = self._topics.get(topic)
        if found is not None:  # and not left meanwhile
            waiting, found.waiting = found.waiting or [], None
            for each in waiting:
                each.callback(None)

    def _not_opened(self, failure: Failure, topic: str) -> None:
        assert isinstance(failure.value, FirstError)
        found = self._topics.pop(topic, None)
        if found is None:
            return
        if found.last:
            self._moved[topic] = found.last
        for channel in self._channels(topic):
            self._client.unsubscribe(channel)
        for each in found.waiting or ():
            each.errback(failure.value.subFailure)

    def _channels(self, topic: str) -> tuple[bytes, bytes]:
        names = self._names
        return names.topic_channel(topic), names.topic_channel(topic, self._process)

    # Moving to another process, as by an upgrade in place.

    async def silence(self) -> None:
        """Let nothing more be sent here. What was sent before is heard until this returns.

        After a reconnection, everything is heard again.

        :raises StoreError: there is no connection.
        """
        channels = [channel for topic in self._topics for channel in self._channels(topic)]
        if channels:
            await self._client.silence(channels)

    def export_state(self) -> dict[str, str]:
        """Return what was heard, for :meth:`restore_state`."""
        return {**self._moved, **{topic: found.last for topic, found in self._topics.items()}}

    def restore_state(self, process: Lessee, last: Mapping[str, str]) -> None:
        """Go on for another process. Nobody listens yet."""
        self._process = process
        self._moved = dict(last)

    # After an interruption.

    def lose(self) -> None:
        """The connection was lost: from now on, notifications are missed."""
        for found in self._topics.values():
            found.held = []

    async def resume(self) -> None:
        """Tell what was missed.

        :raises StoreError: that cannot be read.
        """
        for topic, found in list(self._topics.items()):
            if found.held is not None and found.waiting is None:
                await self._read_missed(topic, found)

    def _read_missed(self, topic: str, found: _Topic) -> Deferred[None]:
        def read(reply: list[bytes]) -> None:
            last, *rest = reply
            missed = list(zip(rest[::3], rest[1::3], rest[2::3], strict=True))
            for id, process, data in missed:
                try:
                    self._tell(found, id.decode(), process.decode(), data)
                except ValueError:
                    note_damage(f"a notification of {topic}", id)
            if not found.last:
                found.last = last.decode() or "0-0"
            self._go_on(topic, found, {id for id, _, _ in missed})

        def not_read(failure: Failure) -> None:
            if concerns_all(failure.value):
                failure.raiseException()
            why = failure.getErrorMessage()
            _log.error("Notifications cannot be read, and may be missed: {why}", why=why)
            self._go_on(topic, found)

        keys = (self._names.notifications(topic),)
        return self._client.call(MISSED, keys, (found.last,), read).addErrback(not_read)

    def _go_on(self, topic: str, found: _Topic, told: Collection[bytes] = ()) -> None:
        """Tell what was held, except for what was told already, and hold nothing any more."""
        held, found.held = found.held or [], None
        for each in held:
            if each.partition(b" ")[0] not in told:
                try:
                    self._published(topic, each)
                except StoreError as error:
                    _log.error("What was published for {topic}: {why}", topic=topic, why=error)

    # What others send.

    def _published(self, topic: str, data: bytes) -> None:
        found = self._topics.get(topic)
        if found is None:
            return
        if found.held is not None:
            if len(found.held) >= _MOST_HELD:  # those for all are kept; answers come too late
                found.held.clear()
            found.held.append(data)
            return
        try:
            id, process, content = data.split(b" ", 2)
            self._tell(found, id.decode(), process.decode(), content)
        except ValueError:
            raise StoreError("it is no notification") from None

    def _tell(self, found: _Topic, id: str, process: Lessee, data: bytes) -> None:
        found.last = id or found.last
        if process == self._process:
            return
        for received in list(found.listeners):
            try:
                received(data, process)
            except Exception:
                _log.failure("A listener failed")
