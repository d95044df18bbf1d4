"""A channel queues the messages of a room, stores them, and then sends them to all members.

All messages and events of a room go through one queue, so all members receive them in the same
order. The messages of one turn of the reactor are one append to the store. Each message is encoded
once per codec, and each member gets one write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.codecs.codec import Codec
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.members import JoiningMember, Member, store_error_text
from twisted_net.chat.messages import (
    Ack,
    ErrorReply,
    Event,
    HistoryPage,
    OwnEvent,
    RequestError,
    RoomJoined,
)
from twisted_net.chat.recovery import merge
from twisted_net.chat.registry import Registry, Room, User
from twisted_net.connection.broadcast import Broadcast, WriteScheduler
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.store.interface import Store, StoreError
from twisted_net.store.log import Appended, Message, Page, Position, StoredMessage
from twisted_net.wire.text import noun_for

_log = Logger()


class Channel:
    """The messages of one room, in this process.

    :param scheduler: shares the turns of the reactor between the rooms.
    :param registry: used to look up who sent a message and who ignores whom.
    :param expel: called for each user who cannot join, because the store cannot open the room.
    :param prepare: reads what other processes know of the room, before anybody is told.
    :ivar at: the position of the last message that was sent to the members.
    """

    def __init__(
        self,
        room: Room,
        store: Store,
        clock: IReactorTime,
        scheduler: WriteScheduler,
        limits: ChatLimits,
        registry: Registry,
        expel: Callable[[User, Room], None],
        prepare: Callable[[Room], Deferred[None]] | None = None,
    ) -> None:
        self.room = room
        self.name = room.name
        self.at = Position("", 0)
        self._store = store
        self._clock = clock
        self._scheduler = scheduler
        self._limits = limits
        self._registry = registry
        self._expel = expel
        self._prepare = prepare
        self._broadcasts: dict[Codec, Broadcast] = {}
        self._joining: dict[Member, JoiningMember] = {}
        self._queue: deque[Message | tuple[Event, Member | None, str]] = deque()
        self._opening: Deferred[Any] | None = None
        self._open = False
        self._storing = self._working = self._closed = False
        self._is_due = False
        # While it catches up after a move: the messages that have come meanwhile.
        self._early: list[StoredMessage] | None = None

    # Members.

    def broadcast(self, codec: Codec) -> Broadcast:
        """Return the broadcast to the members that use this codec."""
        broadcast = self._broadcasts.get(codec)
        if broadcast is None:
            broadcast = self._broadcasts[codec] = Broadcast(self._clock, self._scheduler)
        return broadcast

    def enter(self, user: User, since: Position | None, told: bool, id: str = "") -> None:
        """Add a member. It first receives its history or the messages that it missed.

        :param since: the position after which the member asks for missed messages.
        :param told: whether to send it a ``RoomJoined`` event.
        :param id: the id of the request to join.
        """
        joining = JoiningMember(user, since, told, 2 * self._limits.recover, id)
        self._joining[joining.connection] = joining
        if self._open:
            self._receive(joining)
        elif self._opening is None:
            self._opening = self._subscribe()
            self._opening.addCallbacks(self._opened, self._not_opened)

    def _subscribe(self) -> Deferred[Position]:
        if self._prepare is None:
            return self._store.subscribe(self.name, self._deliver)
        prepared = self._prepare(self.room)
        return prepared.addCallback(lambda _: self._store.subscribe(self.name, self._deliver))

    def leave(self, connection: Member) -> None:
        """Remove a member, after sending it what was published before."""
        self._work()
        self._joining.pop(connection, None)
        for broadcast in self._broadcasts.values():
            broadcast.discard(connection)

    def change_codec(self, connection: Member, old: Codec, new: Codec) -> None:
        """Move a member to the broadcast of another codec."""
        if old is not new and connection in self.broadcast(old):
            self._work()
            self.broadcast(old).discard(connection)
            self.broadcast(new).add(connection)

    def change_limits(self, limits: ChatLimits) -> None:
        """Have other limits from now on."""
        self._limits = limits

    def close(self) -> None:
        """Close the channel of an empty room. Queued messages are still stored."""
        self._closed = True
        self._work()
        self._close_if_done()

    # Messages and events.

    def submit(self, message: Message) -> None:
        """Queue a message, which is stored and then sent to the members.

        :raises RequestError: ``busy``: too many messages of the room are queued already.
        """
        if len(self._queue) >= self._limits.waiting:
            raise RequestError("busy", "Too much is being said at once. Try again.")
        self._queue.append(message)
        self._soon()

    def announce(self, event: Event, but: Member | None, id: str = "") -> None:
        """Queue an event for all members except ``but``.

        :param id: the id of the request of ``but``, which gets the event with it, as an answer.
        """
        self._queue.append((event, but, id))
        self._soon()

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._scheduler.before_next(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self._work()

    def _work(self) -> None:
        """Process the queue until it is empty or has to wait for the store."""
        if self._working:
            return
        self._working = True
        queue = self._queue
        while queue and self._open and not self._storing:
            if isinstance(queue[0], Message):
                messages = []
                while queue and isinstance(message := queue[0], Message):
                    messages.append(message)
                    queue.popleft()
                self._append(messages)
            else:
                self._enqueue_event(*queue.popleft())
        self._working = False

    def _append(self, messages: list[Message]) -> None:
        self._storing = True
        stored = self._store.append(self.name, messages)
        if stored.called and isinstance(stored.result, Appended):  # a store in memory
            self._stored(stored.result, messages)
            return
        stored.addCallbacks(
            self._stored, self._not_stored, callbackArgs=(messages,), errbackArgs=(messages,)
        )
        stored.addErrback(lambda failure: _log.failure("Telling a room failed", failure))

    def _stored(self, appended: Appended, messages: list[Message]) -> None:
        self._storing = False
        if len(appended.fresh) < len(messages):
            self._ack_again(appended, messages)
        self._go_on()

    def _not_stored(self, failure: Failure, messages: list[Message]) -> None:
        self._storing = False
        why = store_error_text(failure)
        were = "was" if len(messages) == 1 else "were"
        _log.error(
            f"{{count}} {noun_for(len(messages), 'message')} in #{{room}} {were} refused: {{why}}",
            count=len(messages),
            room=self.name,
            why=why,
        )
        for message in messages:
            connection = self._connection_of(message)
            if connection is not None:
                text = "Your message was not sent: the server cannot store it now."
                self._give(
                    connection, connection.codec.encode(ErrorReply("store", text, id=message.id))
                )
        self._go_on()

    def _go_on(self) -> None:
        if not self._working:  # the store answered after _work() had returned
            self._work()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._closed and self._open and not self._queue and not self._storing:
            self._open = False
            self._store.unsubscribe(self.name, self._deliver)

    # Sending.

    def _deliver(self, epoch: str, fresh: Sequence[StoredMessage]) -> None:
        """Send new messages of the store to the members."""
        if self._early is not None:
            self._early.extend(fresh)
            return
        for codec, broadcast in self._broadcasts.items():
            if broadcast.members:
                self._enqueue(codec, broadcast, fresh)
        for joining in self._joining.values():
            joining.heard.extend(fresh)
        self.at = Position(epoch, fresh[-1].offset)
        for joining in list(self._joining.values()):
            if joining.page is not None:
                self._recover(joining.page, joining)

    def _enqueue(self, codec: Codec, broadcast: Broadcast, fresh: Sequence[StoredMessage]) -> None:
        speakers, members = self._registry.by_origin, broadcast.members
        for stored in fresh:
            message = stored.message
            data = codec.encode_message(self.name, stored)
            user = speakers.get(message.origin)
            speaker = None if user is None else user.connection
            if speaker not in members:
                broadcast.enqueue(data)
            elif codec.is_text:
                broadcast.enqueue(data, speaker)
            else:
                ack = codec.encode(Ack(message.id, self.name, stored.offset))
                broadcast.enqueue(data, speaker, ack)
            if codec.is_text and self._registry.ignorers_of:
                self._skip_ignorers(broadcast, message.origin)

    def _skip_ignorers(self, broadcast: Broadcast, origin: str) -> None:
        """Do not send what was enqueued last to those who ignore its sender."""
        sender = self._registry.by_origin.get(origin)
        for each in self._registry.ignorers_of_origin(origin):
            if each is not sender and each.connection in broadcast.members:
                broadcast.skip(each.connection)

    def _connection_of(self, message: Message) -> Member | None:
        """Return the connection of a message's sender, if it is connected to this process."""
        user = self._registry.by_origin.get(message.origin)
        return None if user is None else user.connection

    def _enqueue_event(self, event: Event, but: Member | None, id: str) -> None:
        origin = event.origin if isinstance(event, OwnEvent) else ""
        for codec, broadcast in self._broadcasts.items():
            if broadcast.members:
                data = codec.encode(event)
                if data:
                    broadcast.enqueue(data, but, codec.encode(event, id) if id else b"")
                    if origin and codec.is_text:
                        self._skip_ignorers(broadcast, origin)
        ignorers = self._registry.ignorers_of_origin(origin) if origin else ()
        for connection, joining in self._joining.items():
            if joining.codec.is_text and joining.user in ignorers:
                continue
            if connection is not but:
                joining.heard.append(joining.codec.encode(event))
            elif id:
                joining.heard.append(joining.codec.encode(event, id))

    def _ack_again(self, appended: Appended, messages: list[Message]) -> None:
        """Ack the messages that had been stored before."""
        fresh = {stored.offset for stored in appended.fresh}
        for message, offset in zip(messages, appended.offsets, strict=True):
            if offset in fresh:
                fresh.discard(offset)  # _enqueue() has sent its ack
                continue
            connection = self._connection_of(message)
            if connection is not None:
                self._give(connection, connection.codec.encode(Ack(message.id, self.name, offset)))

    def _give(self, connection: Member, data: bytes) -> None:
        """Send data to one member, after everything that was queued for it before."""
        joining = self._joining.get(connection)
        if joining is not None:
            joining.heard.append(data)
            return
        for broadcast in self._broadcasts.values():
            if connection in broadcast:
                broadcast.enqueue_for(connection, data)
                return
        connection.send_encoded(data)

    def tell_loss(self, at: Position) -> None:
        """Tell all members that messages were lost. The room goes on after another position."""
        if self._early is not None:
            self._not_restored(Failure(StoreError("some of its messages are gone")))  # type: ignore[no-untyped-call]
        if not self._open:
            return
        self.at = at
        for codec, broadcast in self._broadcasts.items():
            if broadcast.members:
                broadcast.enqueue(codec.encode(self._joined_event(codec, False)))
        for joining in list(self._joining.values()):
            heard = [each for each in joining.heard if isinstance(each, bytes)]
            joining.heard.clear()  # its messages were before the loss
            joining.heard.extend(heard)
            if joining.since is not None:
                self._let_in(joining, [], False)

    # Moving to another process, as by an upgrade in place.

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the store."""
        return self._open and not (self._queue or self._storing or self._joining)

    def flush(self) -> None:
        """Send now, in this turn, everything that is queued and does not wait for the store."""
        self._work()
        for broadcast in self._broadcasts.values():
            broadcast.flush()

    def sends_by(self, broadcast: Broadcast) -> bool:
        """Return whether a broadcast is one of this channel's."""
        return broadcast in self._broadcasts.values()

    def restore_member(self, member: Member) -> None:
        """Add a member that another process has let in."""
        self.broadcast(member.codec).add(member)

    def restore(self, at: Position) -> None:
        """Go on where another process has stopped.

        :param at: the position of the last message that was sent to the members.
        """
        self.at = at
        self._early = []
        self._opening = self._store.subscribe(self.name, self._deliver)
        self._opening.addCallback(self._catch_up).addErrback(self._not_restored)

    def _catch_up(self, position: Position) -> Deferred[None] | None:
        """Send what another process has stored meanwhile, if there is one that shares the store."""
        at = self.at
        if position == at:
            self._caught_up(None)
            return None
        if position.epoch != at.epoch:
            raise StoreError("its messages are of another epoch")
        missed = self._store.since(self.name, *at, self._limits.recover)
        return missed.addCallback(self._caught_up_with)

    def _caught_up_with(self, page: Page | None) -> None:
        if self._early is None:
            return  # a loss has closed the members
        if page is None:
            raise StoreError("some of its messages are gone")
        self._caught_up(page)

    def _caught_up(self, page: Page | None) -> None:
        early, self._early = self._early or [], None
        merged = [] if page is None and not early else merge(page or self._nothing, early)
        if merged is None:
            raise StoreError("some of its messages are missing")
        if merged:
            self._deliver(self.at.epoch, merged)
        self._opened(self.at)

    @property
    def _nothing(self) -> Page:
        return Page(self.at.epoch, self.at.offset, [], self.at.offset + 1)

    def _not_restored(self, failure: Failure) -> None:
        """Close the members: they come back, and ask for what they have missed."""
        self._opening = self._early = None
        text = f"#{self.name} cannot go on: {store_error_text(failure)}."
        _log.error("{text}", text=text)
        for broadcast in self._broadcasts.values():
            for member in list(broadcast.members):
                member.close(DRAINING)

    # Joining members.

    def _opened(self, position: Position) -> None:
        self._open = True
        self._opening = None
        self.at = position
        for joining in list(self._joining.values()):
            self._receive(joining)
        self._soon()
        if self._closed:
            self._work()
            self._close_if_done()

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        text = f"#{self.name} cannot be opened: {store_error_text(failure)}."
        _log.error("{text}", text=text)
        waiting, self._joining = self._joining, {}
        for connection, joining in waiting.items():
            connection.send_event(ErrorReply("store", text, "room"), joining.id)
            self._expel(joining.user, self.room)

    def _receive(self, joining: JoiningMember) -> None:
        """Read the history or the missed messages for a joining member."""
        if joining.codec.is_text and self._limits.history and self.at.offset:
            history = self._store.before(self.name, None, self._limits.history)
            history.addCallback(self._show_history, joining).addErrback(self._show_nothing, joining)
        elif joining.since is not None:
            since = joining.since
            missed = self._store.since(self.name, *since, self._limits.recover)
            missed.addCallback(self._recover, joining).addErrback(self._show_nothing, joining)
        else:
            self._let_in(joining, [], None)

    def _show_nothing(self, failure: Failure, joining: JoiningMember) -> None:
        _log.warn("#{room}: {why}", room=self.name, why=store_error_text(failure))
        self._let_in(joining, [], None if joining.since is None else False)

    def _show_history(self, page: Page, joining: JoiningMember) -> None:
        if self._joining.get(joining.connection) is not joining:
            return  # it has left meanwhile
        live = [each.offset for each in joining.heard if isinstance(each, StoredMessage)]
        # Messages since the join follow as new messages.
        stored = [each for each in page.stored if not live or each.offset < live[0]]
        history = HistoryPage(self.name, page.epoch, stored, False, asked=False)
        if joining.told:
            joining.told = False
            self._send_joined(joining, None)
        joining.connection.send_encoded(joining.codec.encode(history))
        self._let_in(joining, [], None)

    def _recover(self, page: Page | None, joining: JoiningMember) -> None:
        if page is not None and page.top > self.at.offset:
            joining.page = page  # the store is ahead: wait for _deliver() to catch up
            return
        live = [each for each in joining.heard if isinstance(each, StoredMessage)]
        merged = merge(page, live)
        if merged is None:
            self._let_in(joining, [], False)
            return
        connection = joining.connection
        missed = []
        for stored in merged:
            # Its own messages carry their ids: it may not know yet that they were stored.
            is_own = self._connection_of(stored.message) is connection
            id = stored.message.id if is_own else ""
            missed.append(joining.codec.encode_message(self.name, stored, id))
        if sum(map(len, missed)) > joining.connection.factory.limits.queue_limit:
            self._let_in(joining, [], False)
        else:
            self._let_in(joining, missed, True)

    def _let_in(self, joining: JoiningMember, missed: list[bytes], recovered: bool | None) -> None:
        connection, codec = joining.connection, joining.codec
        if self._joining.get(connection) is not joining:
            return  # it has left meanwhile
        del self._joining[connection]
        if joining.told:
            self._send_joined(joining, recovered)
        pieces = list(missed)
        for heard in joining.heard:
            if isinstance(heard, bytes):
                pieces.append(heard)
            elif self._connection_of(heard.message) is connection:
                pieces.append(codec.encode(Ack(heard.message.id, self.name, heard.offset)))
            elif codec.is_text:
                ignorers = self._registry.ignorers_of_origin(heard.message.origin)
                if joining.user not in ignorers:
                    pieces.append(codec.encode_message(self.name, heard))
        pieces = [piece for piece in pieces if piece]
        if pieces:
            connection.send_encoded(b"".join(pieces), len(pieces))
        self.broadcast(connection.codec).add(connection)

    def _send_joined(self, joining: JoiningMember, recovered: bool | None) -> None:
        codec = joining.codec
        joined = self._joined_event(codec, recovered, joining.user.name)
        joining.connection.send_encoded(codec.encode(joined, joining.id))

    def _joined_event(self, codec: Codec, recovered: bool | None, to: str = "") -> RoomJoined:
        room = self.room
        members = list(islice(room.names(), codec.listed))
        if not codec.is_text:  # which says only how many there are
            room.presence.listed(to)
        return RoomJoined(self.name, self.at, members, room.count, room.topic, recovered)
