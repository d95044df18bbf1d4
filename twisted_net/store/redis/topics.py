"""Notifications between processes. They are published, and nothing is kept of them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.store.interface import Lessee, NotificationListener
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.names import Names

_log = Logger()


class Topics:
    """Sends notifications to other processes, and receives theirs."""

    def __init__(self, client: RedisClient, names: Names, process: Lessee) -> None:
        self._client = client
        self._names = names
        self._process = process
        self._listeners: dict[str, list[NotificationListener]] = {}
        self._waiting: dict[str, list[Deferred[None]]] = {}  # for the first subscription

    def notify(self, topic: str, data: bytes, process: Lessee) -> Deferred[int]:
        if process == self._process:
            return succeed(0)
        channel = self._names.topic_channel(topic, process)
        sent = self._client.execute(("PUBLISH", channel, b"%b %b" % (self._process.encode(), data)))
        # Redis counts this process, if it listens too.
        is_among = not process and topic in self._listeners
        return sent.addCallback(lambda count: max(0, count - is_among))

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(received)
        waiting: Deferred[None] = Deferred()
        if topic in self._waiting:
            self._waiting[topic].append(waiting)
        elif len(listeners) > 1:
            waiting.callback(None)
        else:
            self._waiting[topic] = [waiting]
            confirmed = [
                self._client.subscribe(channel, lambda data: self._received(topic, data))
                for channel in self._channels(topic)
            ]
            gatherResults(confirmed, consumeErrors=True).addCallbacks(
                *(self._opened, self._not_opened), callbackArgs=(topic,), errbackArgs=(topic,)
            )
        return waiting

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        listeners = self._listeners.get(topic, [])
        if received in listeners:
            listeners.remove(received)
        if not listeners and self._listeners.pop(topic, None) is not None:
            for channel in self._channels(topic):
                self._client.unsubscribe(channel)

    async def silence(self) -> None:
        """Let nothing more be sent here. What was sent before is heard until this returns.

        After a reconnection, everything is heard again.

        :raises StoreError: there is no connection.
        """
        channels = [channel for topic in self._listeners for channel in self._channels(topic)]
        if channels:
            await self._client.silence(channels)

    def move(self, process: Lessee) -> None:
        """Go on for another process. Nobody listens yet."""
        self._process = process

    def _opened(self, _: object, topic: str) -> None:
        for each in self._waiting.pop(topic):
            each.callback(None)

    def _not_opened(self, failure: Failure, topic: str) -> None:
        assert isinstance(failure.value, FirstError)
        self._listeners.pop(topic, None)
        for channel in self._channels(topic):
            self._client.unsubscribe(channel)
        for each in self._waiting.pop(topic):
            each.errback(failure.value.subFailure)

    def _channels(self, topic: str) -> tuple[bytes, bytes]:
        names = self._names
        return names.topic_channel(topic), names.topic_channel(topic, self._process)

    def _received(self, topic: str, data: bytes) -> None:
        sender, _, rest = data.partition(b" ")
        process = sender.decode()
        if process == self._process:
            return
        for received in list(self._listeners.get(topic, ())):
            try:
                received(rest, process)
            except Exception:
                _log.failure("A listener of {topic} failed", topic=topic)
