"""Leases the names of the users of this process, and learns those of other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat import moderation, names
from twisted_net.chat.actions import Action, End
from twisted_net.chat.members import store_error_text
from twisted_net.chat.messages import MemberJoined
from twisted_net.chat.registry import User
from twisted_net.chat.shared.chat import LocalChat
from twisted_net.chat.shared.directory import (
    GUESTS_IN_STOCK,
    NameDirectory,
    person_text,
    read_person,
)
from twisted_net.chat.shared.gathering import gather, in_batches
from twisted_net.policy.close_reasons import CLOSED
from twisted_net.store.interface import SharedStore

KIND = "name"

_AT_ONCE = 500  # leases that are renewed before the answers are awaited

_MOST_GUESTS = 500  # names of guests in one lease

_log = Logger()


class NameLeases:
    """The leases of names.

    :param failed: called if a lease could not be changed; call :meth:`retake` later.
    """

    def __init__(self, store: SharedStore, chat: LocalChat, failed: Callable[[], None]) -> None:
        self.directory = NameDirectory(self._flush_soon)
        self._store = store
        self._chat = chat
        self._failed = failed
        self._guest_waiters: list[Deferred[None]] = []
        self._is_stocking = False
        self._is_due = False
        self._checks_stock = False
        self._unreleased: dict[str, None] = {}

    def watch(self) -> Deferred[None]:
        """Learn the names of other processes from now on."""
        return self._store.watch_leases(KIND, self._changed)

    def stop(self) -> None:
        """Do not learn them any more, and forget them."""
        self._store.unwatch_leases(KIND, self._changed)
        self.directory.forget_others()

    def _changed(self, key: str, value: str | None, process: str) -> None:
        before = self.directory.lease_changed(key, value, process)
        if before is not None and self._chat.registry.ignorers_of:
            self._chat.registry.note_departed(before)
        now = read_person(value or "", process)
        local = None if now is None else self._chat.registry.by_origin.get(now.origin)
        # If two connections went on with a session at once, both processes keep the same one.
        if local is not None and self._store.process < process:
            self._act([End(local, CLOSED, "it has connected anew")])

    async def claim(self, user: User, name: str, keys: list[str]) -> None:
        """Lease a name for a user, and note whether another process has it.

        :raises StoreError: it is not known.
        """
        person = _Named(name, user)
        refusal = await self._store.lease(KIND, keys, person_text(person))
        if refusal is None and not user.connection.session.has_ended:
            self.directory.grant(user, name)
        elif refusal is None:
            self.directory.release(keys)
        else:
            self.directory.refuse(user, name)

    # Guests.

    def guests(self) -> Deferred[None]:
        """Lease names for guests. It fires when there are some, and fails with StoreError."""
        waiter: Deferred[None] = Deferred()
        self._guest_waiters.append(waiter)
        self._stock_up()
        return waiter

    def _stock_up(self) -> None:
        if not self._is_stocking:
            self._is_stocking = True
            stocked = Deferred.fromCoroutine(self._fill_stock())
            stocked.addBoth(self._stocked)

    def _stocked(self, result: Any) -> None:
        self._is_stocking = False
        waiters, self._guest_waiters = self._guest_waiters, []
        for waiter in waiters:
            waiter.errback(result) if isinstance(result, Failure) else waiter.callback(None)
        if isinstance(result, Failure) and not waiters:
            _log.warn("No names for guests: {why}", why=store_error_text(result))

    async def _fill_stock(self) -> None:
        directory = self.directory
        while self._guest_waiters or directory.wants_guests():
            count = min(max(GUESTS_IN_STOCK, len(self._guest_waiters)), _MOST_GUESTS)
            found = directory.next_guests(count)
            refusal = await self._store.lease(KIND, [names.key(name) for name in found], "")
            if refusal is None:  # otherwise another process was faster: try the next ones
                directory.add_guests(found)
                waiters, self._guest_waiters = self._guest_waiters, []
                for waiter in waiters:
                    waiter.callback(None)

    # Changes.

    def _flush_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._chat.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        """Change now what is to be changed. What is sent to the store later comes after it."""
        for keys, value in self.directory.take_changes():
            if value is None:
                self._release(keys)
            else:
                leased = self._store.lease(KIND, keys, value)
                leased.addCallbacks(self._renewed, self._not_changed)
        if self.directory.wants_guests() and not (self.directory.away or self._checks_stock):
            self._stock_up()

    def _renewed(self, refusal: str | None) -> None:
        if refusal is not None:  # the lease had ended, and another process was faster
            self._failed()

    def _release(self, keys: list[str]) -> None:
        def not_released(failure: Failure) -> None:
            self._unreleased.update(dict.fromkeys(keys))
            self._not_changed(failure)

        self._store.release(KIND, keys).addErrback(not_released)

    def _not_changed(self, failure: Failure) -> None:
        if not self.directory.away:
            _log.warn("A name was not leased: {why}", why=store_error_text(failure))
        self._failed()

    # Moving to another process, as by an upgrade in place.

    def export_state(self) -> dict[str, Any]:
        """Return what is leased, for :meth:`restore_state`."""
        state = self.directory.export_state()
        return {**state, "leased": [*state["leased"], *self._unreleased]}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped; then call :meth:`retake`, once it can be done.

        That releases the names of those users who have not moved.
        """
        self.directory.restore_state(state)
        self._unreleased = dict.fromkeys(state["leased"])

    # After the store was away.

    async def retake(self) -> None:
        """Take all names again. Who has lost one to another process gets a new one.

        :raises StoreError: the store is away again.
        """
        self.directory.release(self._unreleased)  # unless they are somebody's again
        self._unreleased = {}
        stock = self.directory.drop_guests()
        if stock:
            keys = [names.key(name) for name in stock]
            self._checks_stock = True
            try:
                refusal = await self._store.lease(KIND, keys, "")
            finally:
                self._checks_stock = False
            if refusal is None:
                self.directory.add_guests(stock)
            else:
                self.directory.release(keys)
        for some in in_batches(self.directory.all_held(), _AT_ONCE):
            taken = [self._store.lease(KIND, keys, person_text(user)) for user, keys in some]
            for (user, keys), refusal in zip(some, await gather(taken), strict=True):
                if refusal is not None and user.name and keys[0] == names.key(user.name):
                    await self._lost(user, refusal)

    async def _lost(self, user: User, refusal: str) -> None:
        """Give a user, whose name another process has, another one."""
        winner = read_person(refusal, "")
        if winner is not None and winner.origin == user.origin:
            self._act([End(user, CLOSED, "it has connected anew")])
            return
        await self.enough_guests(1)
        if not user.connection.session.has_ended:
            said = f"Somebody else took the name {user.name} while the store was away."
            name = user.name
            self._act(moderation.give_guest_name(self._chat.registry, user, said))
            for room in user.rooms:
                # Members have heard only that nobody has it any more.
                if name in room.elsewhere.values():
                    self._chat.announce_here(room, MemberJoined(room.name, name))

    async def enough_guests(self, count: int) -> None:
        """Wait until there are names for so many guests.

        :raises StoreError: there are not, as the store is away.
        """
        while not self.directory.has_guests(count):
            await self.guests()

    def _act(self, actions: Iterable[Action]) -> None:
        self._chat.act(actions)


class _Named:
    """A user under a name that is not the user's yet."""

    def __init__(self, name: str, user: User) -> None:
        self.name = name
        self.origin = user.origin
        self.account = user.account
        self.host = user.host
