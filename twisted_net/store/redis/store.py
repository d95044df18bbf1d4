"""A store in Redis, which several processes on several machines share.

How it lives:

1. :meth:`RedisStore.start` checks once that Redis can be used, and then begins to connect.
2. On each new connection, the first pulse goes out. When it is heard, everything is taken up that
   was interrupted: the leases of others are compared, and each room reads what it has missed. Then
   :attr:`RedisStore.trouble` is over.
3. An append is one script. Its messages come back with the reply; those of other processes are
   published. Both go through the room's feed, which delivers them in order.
4. While Redis is away, whatever needs it fails at once. Members stay, and what they ask for may be
   in the ring of their room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    FirstError,
    gatherResults,
    succeed,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.interfaces import ClientEndpoint
from twisted_net.store.interface import (
    LeaseWatcher,
    Lessee,
    LossWatcher,
    NotificationListener,
    StoreError,
    Subscriber,
)
from twisted_net.store.local import LocalSubscribers
from twisted_net.store.log import Appended, Bounds, Message, Page, Position, StoredMessage
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.errors import RedisReplyError, RedisUnavailable, concerns_all
from twisted_net.store.redis.feed import RoomFeed
from twisted_net.store.redis.leases import Leases
from twisted_net.store.redis.location import REDIS_BOUNDS, RedisLocation
from twisted_net.store.redis.names import Names
from twisted_net.store.redis.pulse import Pulse
from twisted_net.store.redis.records import NewMessages, decode_messages, parse_header
from twisted_net.store.redis.rooms import RoomCommands, Written
from twisted_net.store.redis.topics import Topics
from twisted_net.store.redis.trouble import Trouble
from twisted_net.store.redis.values import RedisValues

_RESUME_AT_ONCE = 100  # rooms

_log = Logger()


class RedisStore(LocalSubscribers):
    """A :class:`~twisted_net.store.interface.SharedStore` in Redis.

    :param location: where Redis is.
    :param endpoint: makes the endpoint to connect to. It is called with a function to tell why a
        connection could not be established.
    :param check: called at the start; raises :exc:`StoreError` if Redis cannot be used.
    :param now: returns the time, in seconds since 1970.
    :param token: returns a random text, different each time.
    """

    def __init__(
        self,
        reactor: Any,
        location: RedisLocation,
        endpoint: Callable[[Callable[[str], None]], ClientEndpoint],
        check: Callable[[], None],
        now: Callable[[], float],
        token: Callable[[], str],
        bounds: Bounds = REDIS_BOUNDS,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._location = location
        self._make_endpoint = endpoint
        self._check = check
        self._now = now
        self._token = token
        self._bounds = bounds
        self._trouble = Trouble(location.shown)
        self._loss_watchers: list[LossWatcher] = []
        self._prepare()

    def _prepare(self) -> None:
        """Make everything for one start, which has a process id of its own."""
        self._process = process = self._token()
        names = Names(self._location.prefix, self._location.db)

        def opened() -> None:
            if self._client is client:  # not one from before the last start
                self._pulse.begin()

        def closed(problem: str) -> None:
            if self._client is client:
                self._closed(problem)

        client = RedisClient(
            *(self._reactor, self._location, self._make_endpoint(self._failed_to_connect)),
            *(f"netchat-{process}", opened, closed),
        )
        self._client = client
        self._commands = RoomCommands(client, names, self._bounds, process, self._now, self._token)
        self._topics = Topics(client, names, process)
        self._values = RedisValues(client, names)
        self._leases = Leases(client, self._reactor, names, process)
        self._pulse = Pulse(
            *(client, self._reactor, names, process, self._location.timeout),
            heard=self._heard,
            failed=self._refused,
            lost=self._leases_lost,
        )
        self._feeds: dict[str, RoomFeed] = {}
        self._opening: dict[str, list[tuple[Subscriber, Deferred[Position]]]] = {}
        self._broken: set[str] = set()  # rooms whose gap could not be closed; to be tried again
        self._told: dict[str, str] = {}  # what was logged about rooms that cannot be read
        self._is_running = self._is_resumed = self._is_resuming = False
        self._has_stopped = self._is_suspended = False

    # The beginning and the end.

    def start(self) -> None:
        if self._is_running:
            return  # it was about to be suspended, and was not
        if not self._is_suspended:
            self._check()
        if self._has_stopped:
            self.subscribers.clear()
            self._prepare()
        self._is_running, self._is_suspended = True, False
        self._trouble.expect(self._client.problem)
        self._client.start()

    def stop(self) -> Deferred[None]:
        if not self._is_running:
            return succeed(None)
        self._is_running = False
        self._has_stopped = True
        self._leases.stop()
        self._pulse.end()
        client = self._client
        farewell = self._pulse.say_farewell()  # after all appends, whose results come first

        def disconnect(_: object) -> Deferred[None]:
            return client.stop()

        return farewell.addBoth(disconnect)

    # Moving to another process, as by an upgrade in place.

    def suspend(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._suspend())

    async def _suspend(self) -> None:
        try:
            await self._topics.silence()
            # What was heard until then may have had answers: they are on their way before this.
            await self._client.execute(("PING",))
        except StoreError:
            pass  # there is no connection
        except CancelledError:  # it takes too long: hear everything again
            if self._client.connection is not None:
                self._client.connection.abort(detail="Redis has not answered in time")
            raise
        self._is_running, self._is_suspended = False, True
        self._topics.lose()
        self._leases.stop()
        self._pulse.end()
        await self._client.stop()
        self._trouble.expect(self._client.problem)

    def export_state(self) -> dict[str, Any]:
        return {
            "process": self._process,
            "views": self._leases.export_state(),
            "heard": self._topics.export_state(),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        self._process = process = state["process"]
        for each in (self._commands, self._pulse):
            each.move(process)
        self._topics.restore_state(process, state.get("heard", {}))
        self._leases.restore_state(process, state["views"])

    # Messages.

    def append(self, room: str, messages: Sequence[Message]) -> Deferred[Appended]:
        feed = self._feeds.get(room)
        if feed is None:
            known = self._commands.room(room)
        else:
            known = feed.room
            feed.appends += 1
        written = self._commands.append(known, messages)
        if self._location.wait:
            written = Deferred.fromCoroutine(self._confirmed(written))
        return written.addCallbacks(
            *(self._appended, self._append_failed), callbackArgs=(feed,), errbackArgs=(feed,)
        )

    def _appended(self, written: Written, feed: RoomFeed | None) -> Any:
        appended = written.appended
        result: Any = appended
        if written.problem:
            result = Failure(RedisUnavailable(written.problem))  # type: ignore[no-untyped-call]
        if feed is None:
            return result
        is_delivered = True
        if appended.fresh:
            batch = NewMessages(appended.epoch, written.base, written.first, appended.fresh)
            is_delivered = feed.take(batch)
        feed.appended()
        return result if is_delivered else feed.settled().addCallback(lambda _: result)

    async def _confirmed(self, written: Deferred[Written]) -> Written:
        """Wait until replicas have confirmed an append.

        If they do not, it is delivered all the same, as it is in the log; but not as its sender's:
        the sender is told that it has failed, and may send it again, which only waits again.
        """
        wait, milliseconds = self._location.wait, int(self._location.timeout * 500)
        # Twice, as nothing shows whether one number was changed on its way.
        confirming = [
            self._client.execute(("WAIT", wait, patience)) for patience in (milliseconds, 1)
        ]
        counts = []
        try:
            result = await written
        finally:
            for each in confirming:
                with suppress(StoreError):
                    counts.append(await each)
        count = min(counts) if len(counts) == 2 and all(type(n) is int for n in counts) else 0
        if count >= wait:
            return result
        problem = f"{count} of {wait} replicas of Redis have confirmed it"
        fresh = [
            StoredMessage(offset, message._replace(origin="", id=""))
            for offset, message in result.appended.fresh
        ]
        return result._replace(appended=result.appended._replace(fresh=fresh), problem=problem)

    def _append_failed(self, failure: Failure, feed: RoomFeed | None) -> Failure:
        if feed is not None:
            feed.appended()
        self._note(failure)
        return failure

    def since(self, room: str, epoch: str, offset: int, limit: int) -> Deferred[Page | None]:
        feed = self._feeds.get(room)
        if feed is None:
            return self._commands.since(self._commands.room(room), epoch, offset, limit)
        return feed.since(epoch, offset, limit, self._now())

    def before(self, room: str, offset: int | None, limit: int) -> Deferred[Page]:
        feed = self._feeds.get(room)
        if feed is None:
            return self._commands.before(self._commands.room(room), offset, limit)
        return feed.before(offset, limit, self._now())

    # Rooms that are followed.

    def subscribe(self, room: str, deliver: Subscriber) -> Deferred[Position]:
        waiting: Deferred[Position] = Deferred()
        opening = self._opening.get(room)
        if opening is not None:
            opening.append((deliver, waiting))
            return waiting
        self._opening[room] = [(deliver, waiting)]
        feed = self._feeds.get(room)
        if feed is None:
            feed = self._feeds[room] = self._make_feed(room)
            channel = feed.room.names.channel
            both = gatherResults(  # on their way at the same time
                [
                    self._client.subscribe(channel, lambda data: self._published(room, data)),
                    feed.resume(),
                ],
                consumeErrors=True,
            )
            both.addCallbacks(
                lambda _: self._room_opened(room), self._not_opened, errbackArgs=(room,)
            )
        elif feed.live:
            feed.settled().addCallback(lambda _: self._room_opened(room))
        else:
            self._fail_opening(room, RedisUnavailable(self._client.problem))
        return waiting

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        super().unsubscribe(room, deliver)
        if room not in self.subscribers and room not in self._opening:
            self._close_feed(room)

    def _make_feed(self, room: str) -> RoomFeed:
        def deliver(epoch: str, fresh: Sequence[StoredMessage]) -> None:
            if self._feeds.get(room) is feed:  # not one that is closed, and still gets a reply
                self.publish(room, epoch, fresh)

        feed = RoomFeed(
            *(self._commands, self._commands.room(room), self._bounds, deliver),
            *(lambda: self._broken.add(room), lambda position: self._lost(room, position)),
        )
        return feed

    def _room_opened(self, room: str) -> None:
        feed = self._feeds[room]
        if not feed.live:
            self._fail_opening(room, RedisUnavailable(self._client.problem))
            return
        for deliver, waiting in self._opening.pop(room):
            self.subscribers.setdefault(room, []).append(deliver)
            waiting.callback(feed.position)

    def _not_opened(self, failure: Failure, room: str) -> None:
        assert isinstance(failure.value, FirstError)
        self._note(failure.value.subFailure)
        self._fail_opening(room, failure.value.subFailure)

    def _fail_opening(self, room: str, problem: Exception | Failure) -> None:
        opening = self._opening.pop(room)
        if room not in self.subscribers:
            self._close_feed(room)
        for _, waiting in opening:
            waiting.errback(problem)

    def _close_feed(self, room: str) -> None:
        feed = self._feeds.pop(room, None)
        self._broken.discard(room)
        if feed is not None:
            feed.lose()
            self._client.unsubscribe(feed.room.names.channel)
            self._commands.close(feed.room).addErrback(lambda _: None)  # it only tidies up

    def _published(self, room: str, data: bytes) -> None:
        header = parse_header(data)
        feed = self._feeds.get(room)
        if header.process == self._process or feed is None:
            return  # its own come with the reply
        stored = decode_messages(header.base, header.records)
        feed.take(NewMessages(header.epoch, header.base, header.first, stored))

    # Small texts, leases and notifications.

    def put(self, kind: str, key: str, value: str | None) -> Deferred[None]:
        return self._values.put(kind, key, value).addErrback(self._noted)

    def values(self, kind: str) -> Deferred[dict[str, str]]:
        return self._values.values(kind)

    @property
    def process(self) -> Lessee:
        return self._process

    def lease(self, kind: str, keys: Sequence[str], value: str) -> Deferred[str | None]:
        return self._leases.lease(kind, keys, value).addErrback(self._noted)

    def release(self, kind: str, keys: Sequence[str]) -> Deferred[None]:
        return self._leases.release(kind, keys).addErrback(self._noted)

    def leases(self, kind: str) -> Deferred[dict[str, tuple[str, Lessee]]]:
        return self._leases.leases(kind)

    def watch_leases(self, kind: str, changed: LeaseWatcher) -> Deferred[None]:
        return self._leases.watch(kind, changed)

    def unwatch_leases(self, kind: str, changed: LeaseWatcher) -> None:
        self._leases.unwatch(kind, changed)

    def notify(self, topic: str, data: bytes, process: Lessee = "") -> Deferred[int]:
        return self._topics.notify(topic, data, process)

    def listen(self, topic: str, received: NotificationListener) -> Deferred[None]:
        return self._topics.listen(topic, received)

    def unlisten(self, topic: str, received: NotificationListener) -> None:
        self._topics.unlisten(topic, received)

    # Trouble.

    @property
    def trouble(self) -> str:
        return self._trouble.text

    def watch_trouble(self, changed: Callable[[str], None]) -> None:
        self._trouble.watch(changed)

    def watch_losses(self, lost: LossWatcher) -> None:
        self._loss_watchers.append(lost)

    def _lost(self, room: str, position: Position) -> None:
        _log.warn("Messages in #{room} were lost", room=room)
        if room in self.subscribers:
            for lost in list(self._loss_watchers):
                lost(room, position)

    def _note(self, failure: Failure) -> None:
        """Note an error that concerns more than one command."""
        error = failure.value
        if isinstance(error, RedisReplyError) and concerns_all(error):
            self._trouble.set(str(error))

    def _noted(self, failure: Failure) -> Failure:
        self._note(failure)
        return failure

    # What the client and the pulse tell.

    def _failed_to_connect(self, problem: str) -> None:
        self._client.closed(None, problem)

    def _closed(self, problem: str) -> None:
        self._is_resumed = False
        self._broken.clear()
        self._topics.lose()
        self._pulse.end()
        self._leases.stop()
        for feed in self._feeds.values():
            feed.lose()
        if self._is_running:
            self._trouble.set(problem)

    def _refused(self, failure: Failure) -> None:
        if self._client.connection is not None:
            self._trouble.set(str(failure.value))

    def _heard(self) -> None:
        if not self._is_running:
            return
        if not self._is_resumed:
            self._resume()
            return
        self._trouble.set("")
        broken, self._broken = self._broken, set()
        for room in broken:
            self._resume_feed(room).addErrback(lambda _: None)

    def _leases_lost(self) -> None:
        self._trouble.set("Redis has lost what this process had put there")
        self._resume()

    def _resume(self) -> None:
        if not self._is_resuming:
            self._is_resuming = True
            Deferred.fromCoroutine(self._take_up()).addErrback(
                lambda failure: _log.failure("Taking up the store failed", failure)
            )

    async def _take_up(self) -> None:
        """Catch up with what was missed. If that fails, the next pulse tries again."""
        connection = self._client.connection
        try:
            await self._leases.resume()
            await self._topics.resume()
            at_once = DeferredSemaphore(_RESUME_AT_ONCE)
            rooms = [room for room, feed in self._feeds.items() if not feed.live]
            resumed = [at_once.run(self._resume_feed, room) for room in rooms]
            await gatherResults(resumed, consumeErrors=True)
        except (StoreError, FirstError) as error:
            problem = error.subFailure.value if isinstance(error, FirstError) else error
            if self._client.connection is not None:
                self._trouble.set(str(problem))
        else:
            if connection is self._client.connection:  # and not lost meanwhile
                self._is_resumed = True
                self._trouble.set("")
        finally:
            self._is_resuming = False

    def _resume_feed(self, room: str) -> Deferred[None]:
        """Read what a room has missed. What is wrong with this room alone is only logged.

        :return: fails with :exc:`StoreError` if nothing works.
        """
        feed = self._feeds.get(room)
        if feed is None:
            return succeed(None)

        def failed(failure: Failure) -> Failure | None:
            if concerns_all(failure.value):
                return failure
            text = failure.getErrorMessage()
            if self._told.get(room) != text:
                _log.error("#{room} cannot be read: {why}", room=room, why=text)
            self._told[room] = text
            return None

        def resumed(_: object) -> None:
            self._told.pop(room, None)

        return feed.resume().addCallbacks(resumed, failed)
