"""Makes the chat of this process a part of one that several processes share.

What is common, and how:

- a name is a lease, and so are the members of rooms: ``name_leases``, ``room_leases``;
- bans, mutes and topics are in the store, and others are told of changes;
- a user of another process is reached through that process: ``calls``, ``orders``.

While the store is away, members stay. When it is back, everything is leased again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.actions import AskProcess, ClaimName, ListElsewhere, SendEvent, answering
from twisted_net.chat.bans import Sanction
from twisted_net.chat.members import store_error_text
from twisted_net.chat.messages import ErrorReply, Event, TopicEvent
from twisted_net.chat.registry import Room, User
from twisted_net.chat.session import SessionSettings
from twisted_net.chat.shared.bans import SharedMutes
from twisted_net.chat.shared.calls import TOPIC, Calls, Order
from twisted_net.chat.shared.chat import LocalChat
from twisted_net.chat.shared.forwarding import answered
from twisted_net.chat.shared.listing import Listing
from twisted_net.chat.shared.name_leases import NameLeases
from twisted_net.chat.shared.orders import Orders, event_order
from twisted_net.chat.shared.room_leases import RoomLeases
from twisted_net.chat.shared.session import SharedSession
from twisted_net.chat.stored_bans import StoredBans
from twisted_net.store.interface import SharedStore, StoreError

LOST = "The store cannot be reached; messages are refused until it is back."
BACK = "The store is back."

START_PATIENCE = 5.0
"""Seconds for which those who come wait at the start, until the store can be used."""

RETRY = 5.0
"""Seconds until leases that could not be changed are taken again, if the store is not away."""

MOVE_PATIENCE = 1.0
"""Seconds that others have to answer, and names to be leased, before this process moves."""

_LOOK = 0.005  # seconds between two looks whether they have

SharedAction = ClaimName | AskProcess | ListElsewhere

_log = Logger()


class Cluster:
    """The parts of a chat that several processes have in common.

    :param bans: the bans in the store.
    :param end_banned: ends the connections of users who are banned.
    """

    def __init__(
        self,
        store: SharedStore,
        chat: LocalChat,
        bans: StoredBans,
        end_banned: Callable[[], object],
    ) -> None:
        self._store = store
        self._chat = chat
        self._bans = bans
        self._end_banned = end_banned
        registry = chat.registry
        registry.mutes = SharedMutes(self._mute_changed)
        self._mutes = StoredBans(store, registry.mutes, chat.now, "mute")
        self._names = NameLeases(store, chat, self._retake_later)
        self._directory = registry.elsewhere = self._names.directory
        self.rooms = RoomLeases(store, chat, self._retake_later)
        registry.make_room = self.rooms.make_room
        self._listing = Listing(store, chat)
        self._orders = Orders(chat, self._names, self._announce)
        self._calls = Calls(store, chat.clock, self._orders.carry_out)
        self._claiming: dict[User, Deferred[None]] = {}
        self._has_begun = self._is_retaking = self._is_listening = self._is_running = False
        self._is_watching_trouble = self._is_moved = False
        self._listening: Deferred[None] | None = None  # these are begun by restore_state()
        self._watched: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []  # claims, until the names elsewhere are known
        self._retry: IDelayedCall | None = None

    # Beginning and end.

    def start(self) -> None:
        """Learn what other processes have. The store is open."""
        self._is_running = True
        self._directory.away = False
        if self._store.trouble:  # it may only be connecting yet
            self._retry = self._chat.clock.callLater(START_PATIENCE, self._give_up_start)
        if not self._is_watching_trouble:
            self._is_watching_trouble = True
            self._store.watch_trouble(self._trouble_changed)
            self._store.watch_losses(self._chat.tell_loss)
        self._retake()

    def _give_up_start(self) -> None:
        self._retry = None
        if not self._has_begun:
            self._lose(self._store.trouble)
            self._retake_later()

    def stop(self) -> None:
        """Stop, because the store is about to be closed. It gives the leases up."""
        self._is_running = self._has_begun = self._is_listening = False
        self.rooms.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._names.stop()
        self._store.unlisten(TOPIC, self._calls.received)

    # Moving to another process, as by an upgrade in place.

    async def prepare_move(self) -> None:
        """Let what is under way end, and suspend the store: others are to notice nothing.

        What ends too late has failed, and whoever waits for it is told.
        """
        clock = self._chat.clock
        until = clock.seconds() + MOVE_PATIENCE
        while (self._calls.are_waiting or self._claiming) and clock.seconds() < until:
            await deferLater(clock, _LOOK)
        self._calls.give_up()
        self._names.flush()
        self._is_running = False
        self.rooms.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        await self._store.suspend()
        self._directory.away = True

    def cancel_move(self) -> None:
        """Go on: the store is about to be opened again."""
        self._is_running = True
        self._directory.away = False

    def export_state(self) -> dict[str, Any]:
        """Return what this process has in the store, for :meth:`restore_state`."""
        return {
            "names": self._names.export_state(),
            "rooms": self.rooms.export_state(),
            "calls": self._calls.export_state(),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped. The store has its state already."""
        self._names.restore_state(state["names"])
        self.rooms.restore_state(state["rooms"])
        self._calls.restore_state(state["calls"])
        self._is_moved = True
        self._listening = self._listen()  # as soon as it can be, as others write to users here
        self._watched = self._names.watch()  # tells what the other process knew

    # What is common.

    def _listen(self) -> Deferred[None]:
        return self._store.listen(TOPIC, self._calls.received)

    async def _begin(self) -> None:
        if not self._is_listening:
            listening, self._listening = self._listening or self._listen(), None
            await listening
            self._is_listening = True
        watched, self._watched = self._watched or self._names.watch(), None
        await watched
        self._has_begun = True
        self._read_sanctions()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _read_sanctions(self) -> None:
        for kind, stored in (("ban", self._bans), ("mute", self._mutes)):
            for key, sanction in list(stored.unkept.items()):
                stored.keep(key, sanction)
                self._calls.tell(_sanction_order(kind, key, sanction))
        self._bans.load(self._end_banned, exactly=True)
        self._mutes.load(lambda: None, exactly=True)

    def _trouble_changed(self, why: str) -> None:
        if not self._is_running or (why and not self._has_begun):
            return
        if why:
            if not self._directory.away:
                self._chat.send_to_all(LOST)
                self._lose(why)
            return
        if self._directory.away:
            self._directory.away = False
            self._chat.send_to_all(BACK)
        self._retake()

    def _lose(self, why: str) -> None:
        self._directory.away = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(StoreError(why))

    def _retake_later(self) -> None:
        """Take all leases again in a moment, because one could not be changed."""
        if self._is_running and self._retry is None and not self._store.trouble:
            self._retry = self._chat.clock.callLater(RETRY, self._retake_now)

    def _retake_now(self) -> None:
        self._retry = None
        self._retake()

    def _retake(self) -> None:
        if self._is_running and not self._is_retaking and not self._store.trouble:
            self._is_retaking = True
            Deferred.fromCoroutine(self._retake_all()).addBoth(self._retaken)

    async def _retake_all(self) -> None:
        if not self._has_begun:
            await self._begin()
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            if not self._is_moved:
                return
            self._is_moved = False
        await self._names.retake()
        await self.rooms.retake()
        self._read_sanctions()

    def _retaken(self, result: Any) -> None:
        self._is_retaking = False
        if isinstance(result, Failure):
            _log.warn("Other processes cannot be reached: {why}", why=store_error_text(result))
            self._retake_later()
        elif not self._store.trouble:
            self._directory.away = False

    # Actions.

    def session(
        self, user: User, settings: SessionSettings, token: Callable[[], str], secret: bool
    ) -> SharedSession:
        """Return the session of a new connection."""
        return SharedSession(self._directory, user, self._chat.registry, settings, token, secret)

    def act(self, action: SharedAction) -> Deferred[None]:
        """Carry out an action of a session. It fires when the next message may be processed."""
        if isinstance(action, ClaimName):
            claiming = self._claiming[action.user] = self._run(self._claim(action))
            claiming.addBoth(self._claimed, action.user, claiming)
            return _follow(claiming)
        if isinstance(action, AskProcess):
            return _follow(self._run(self._ask(action)))
        return _follow(self._run(self._list(action)))

    def wait_for_name(self, user: User) -> Deferred[None] | None:
        """Return what fires when a claim has ended that a user waits for; None for none."""
        claiming = self._claiming.get(user)
        return None if claiming is None else _follow(claiming)

    @staticmethod
    def _run(what: Coroutine[Any, Any, None]) -> Deferred[None]:
        done = Deferred.fromCoroutine(what)
        return done.addErrback(lambda failure: _log.failure("A shared action failed", failure))

    def _claimed(self, result: Any, user: User, claiming: Deferred[None]) -> Any:
        if self._claiming.get(user) in (claiming, None):
            self._claiming.pop(user, None)
        return result

    async def _claim(self, action: ClaimName) -> None:
        user = action.user
        session: SharedSession = user.connection.session
        keys = self._directory.claim(user, action.name) if action.name else []
        try:
            await self._claim_name(action, keys)
            actions = session.resume(self._chat.now())
        except StoreError:
            actions = [] if session.has_ended else session.claim_failed()
        if session.has_ended:
            self._directory.settle(user)
        waiting = self._chat.act(answering(actions, user, action.id))
        if waiting is not None:
            await waiting

    async def _claim_name(self, action: ClaimName, keys: list[str]) -> None:
        if not self._has_begun:
            if self._directory.away:
                raise StoreError(self._store.trouble)
            begun: Deferred[None] = Deferred()
            self._waiting.append(begun)
            await begun
        if action.ask is not None:
            asked = action.ask.user
            order = {"do": action.ask.order, "origin": asked.origin, "name": action.user.account}
            answer = await self._calls.ask(asked.process, order)
            registry = self._chat.registry
            for id in (answer or {}).get("delivered", ()):
                registry.delivered.add(asked.origin, id)
            self._directory.asked(action.user, action.ask, bool(answer and "name" in answer))
        elif action.name:
            await self._names.claim(action.user, action.name, keys)
        else:
            await self._names.guests()

    async def _ask(self, action: AskProcess) -> None:
        registry = self._chat.registry
        answer = await self._calls.ask(action.to.process, action.order)
        if answer is not None and "name" not in answer:
            moved = self._directory.find(action.to.name)  # to a third process, just now
            if moved is not None and moved.process != action.to.process:
                answer = await self._calls.ask(moved.process, action.order)
        self._chat.act(answered(registry, action, answer, self._chat.now()))

    async def _list(self, action: ListElsewhere) -> None:
        event: Event
        try:
            if action.room:
                event = await self._listing.members(action.room)
            else:
                event = await self._listing.rooms()
        except StoreError as error:
            event = ErrorReply("store", f"The list cannot be read: {error}.")
        self._chat.act([SendEvent(action.user, event, action.id)])

    # What others are told.

    def _announce(self, room: Room, event: Event, but: str) -> None:
        self._chat.announce_here(room, event, self._chat.registry.by_origin.get(but))
        self.announced(room, event, but)

    def announced(self, room: Room, event: Event, but: str) -> None:
        """Tell other processes of an event that was announced here, unless they learn it anyway.

        :param but: the origin of a user who does not get it; may be empty.
        """
        order = event_order(room.name, event, but)
        if order is None:
            return
        if isinstance(event, TopicEvent):
            self.rooms.set_topic(room).addErrback(_not_kept, "The topic of a room")
        self._calls.tell(order)

    def ban_kept(self, key: str, ban: Sanction | None) -> None:
        """Tell other processes of a ban; or that it was lifted, if it is None."""
        self._calls.tell(_sanction_order("ban", key, ban))

    def _mute_changed(self, key: str, mute: Sanction | None) -> None:
        self._mutes.keep(key, mute)
        self._calls.tell(_sanction_order("mute", key, mute))


def _follow(work: Deferred[None]) -> Deferred[None]:
    """Return what fires with ``work``. If it is cancelled, as its connection is gone, the work goes
    on: what was asked of the store cannot be called back."""
    following: Deferred[None] = Deferred()

    def ended(result: Any) -> Any:
        following.callback(None)
        return result

    work.addBoth(ended)
    return following


def _sanction_order(kind: str, key: str, sanction: Sanction | None) -> Order:
    if sanction is None:
        return {"do": f"un{kind}", "key": key}
    return {"do": kind, kind: sanction.to_json()}


def _not_kept(failure: Failure, what: str) -> None:
    _log.warn("{what} was not kept: {why}", what=what, why=store_error_text(failure))
