"""The names that other processes hold, and those that this process has claimed.

A name is the user's once this process has a lease of all its keys. Whoever needs a name that is not
leased yet raises :exc:`NameNeeded` before anything has changed; the session tries again once the
name is claimed, or refused. This module is pure: ``name_leases`` takes and releases the leases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from twisted_net.chat import names
from twisted_net.chat.messages import RequestError

GUESTS_IN_STOCK = 8
"""Names of guests that are leased before somebody needs them, so that most guests do not wait."""

Change: TypeAlias = tuple[list[str], str | None]
"""Keys, and the value to lease them with; None to release them."""


class Person(Protocol):
    """What other processes learn of a user: see :class:`~twisted_net.chat.registry.User`."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def host(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RemoteUser:
    """A user of another process. The attributes are those of a user.

    :ivar process: the process that has the user.
    """

    name: str
    origin: str
    account: str
    host: str
    process: str


@dataclass(frozen=True, slots=True)
class AskFirst:
    """What another process has to do before a name is free.

    :ivar order: ``yield``: end the connection whose session goes on here; or ``evict``: give the
        user another name, because the name is an account's.
    """

    order: str
    user: RemoteUser


class NameNeeded(Exception):
    """A name has to be claimed first. Nothing has changed yet.

    :ivar name: the name; empty for some guest's name.
    :ivar ask: what another process has to do first; then ``name`` is not claimed yet.
    """

    def __init__(self, name: str, ask: AskFirst | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.ask = ask


class IsElsewhere(Exception):
    """The user whom a request names is a user of another process."""

    def __init__(self, user: RemoteUser) -> None:
        super().__init__(user.name)
        self.user = user


class NameDirectory:
    """All names, of this process and of the others.

    :param changed: called when :meth:`take_changes` has something new.
    :ivar away: whether the store cannot be reached.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.away = False
        self._elsewhere: dict[str, tuple[str, str]] = {}  # what is leased, by key
        self._origins: dict[str, tuple[str, ...]] = {}  # the keys of the names, by origin
        self._held: dict[str, Person] = {}  # who has a name here, by each of its keys
        self._claims: dict[str, Person] = {}  # who waits for a name, or may take it now
        self._claimed: dict[Person, list[str]] = {}  # the keys of these claims
        self._granted: dict[Person, str] = {}
        self._refused: dict[Person, set[str]] = {}
        self._asked: dict[Person, list[tuple[AskFirst, bool]]] = {}  # and whether it was done
        self._stock: dict[str, str] = {}  # names of guests that nobody has yet, by key
        self._last_guest = 0
        self._pending: dict[str, None] = {}  # keys whose lease is to be changed

    # Other processes.

    def lease_changed(self, key: str, value: str | None, process: str) -> RemoteUser | None:
        """Note what another process holds.

        :return: who had the key before.
        """
        before = self._person(key)
        if value is None:
            if self._elsewhere.get(key, ("", ""))[1] != process:
                return before  # another process has it already
            del self._elsewhere[key]
        else:
            self._elsewhere[key] = value, process
        after = self._person(key)
        if before is not None:
            keys = tuple(each for each in self._origins.pop(before.origin, ()) if each != key)
            if keys:
                self._origins[before.origin] = keys
        if after is not None:
            self._origins[after.origin] = (*self._origins.get(after.origin, ()), key)
        return before

    def forget_others(self) -> None:
        """Forget what other processes hold, and what is in stock: the store is about to close."""
        self._elsewhere.clear()
        self._origins.clear()
        self._stock.clear()

    def find(self, name: str) -> RemoteUser | None:
        """Return the user of another process with this name, in any case."""
        found = self._person(names.key(name)) if len(name) <= 200 else None
        return found if found and names.fold(found.name) == names.fold(name) else None

    def of_origin(self, origin: str) -> RemoteUser | None:
        """Return the user of another process with this origin."""
        keys = self._origins.get(origin)
        return self._person(keys[-1]) if keys else None

    def owner(self, name: str) -> RemoteUser | None:
        """Return the user of another process who has a name, or one that looks like it."""
        found = map(self._person, names.keys(name))
        return next((each for each in found if each is not None), None)

    def has(self, name: str, user: Person) -> bool:
        """Return whether a name is none that ``user`` may have, for it is held or claimed."""
        if name in self._refused.get(user, ()):
            return True
        return any(
            key in self._elsewhere or self._claims.get(key, user) is not user
            for key in names.keys(name)
        )

    def _person(self, key: str) -> RemoteUser | None:
        value, process = self._elsewhere.get(key, ("", ""))
        return read_person(value, process)

    # Claims.

    def check(self, user: Person, name: str) -> None:
        """Check whether a user may take a name now.

        :raises RequestError: ``taken``.
        :raises NameNeeded: it has to be claimed first.
        """
        if self._granted.get(user) == name or self._holds(user, name):
            return
        owner = self.owner(name)
        if owner is not None and names.fold(owner.name) != names.fold(name):
            raise RequestError("taken", f"The name {name} looks like {owner.name}.", "nick")
        if self.has(name, user):
            raise RequestError("taken", f"The name {name} is taken.", "nick")
        raise NameNeeded(name)

    def _holds(self, user: Person, name: str) -> bool:
        return all(self._held.get(key) is user for key in names.keys(name))

    def claim(self, user: Person, name: str) -> list[str]:
        """Reserve a name for a user who waits for it. Return the keys to lease."""
        keys = list(names.keys(name))
        self._claimed.setdefault(user, []).extend(keys)
        for key in keys:
            self._claims[key] = user
            self._stock.pop(key, None)
            self._pending.pop(key, None)
        return keys

    def has_claims(self, user: Person) -> bool:
        """Return whether the user's request has waited for a name."""
        return user in self._granted or user in self._refused or user in self._asked

    def grant(self, user: Person, name: str) -> None:
        """Note that a name is leased for a user."""
        self._granted[user] = name

    def refuse(self, user: Person, name: str) -> None:
        """Note that another process holds a name that a user wants."""
        self._refused.setdefault(user, set()).add(name)
        self._drop_claims(user)

    def settle(self, user: Person) -> None:
        """Forget what a user has waited for. What is leased and was not taken is released."""
        if self.has_claims(user):
            self._granted.pop(user, None)
            self._refused.pop(user, None)
            self._asked.pop(user, None)
        self._drop_claims(user)

    def _drop_claims(self, user: Person) -> None:
        claimed = self._claimed.pop(user, ())
        dropped = [key for key in claimed if self._claims.get(key) is user]
        for key in dropped:
            self._claims.pop(key, None)
        self._change(dropped)

    def release(self, keys: Iterable[str]) -> None:
        """Release what was leased for a user who is gone, unless somebody else has it here."""
        self._change(keys)

    # Sessions and accounts.

    def ghost(self, user: Person, origin: str) -> RemoteUser | None:
        """Return who had a session that continues here; None if no other process had it.

        :raises NameNeeded: the other process has to end it first.
        """
        for ask, done in self._asked.get(user, ()):
            if ask.order == "yield":
                return ask.user if done else None
        found = self.of_origin(origin)
        if found is not None:
            raise NameNeeded("", AskFirst("yield", found))
        return None

    def check_account(self, user: Person, name: str) -> None:
        """Check whether another process must take a name from someone, as it is an account's.

        :raises NameNeeded: it must.
        """
        owner = self.owner(name)
        if owner is None:
            return
        for ask, _ in self._asked.get(user, ()):
            if (ask.order, ask.user.process) == ("evict", owner.process):
                return  # if it did not do it, the user gets a similar name
        if set(names.keys(owner.account)).isdisjoint(names.keys(name)):
            raise NameNeeded("", AskFirst("evict", owner))

    def asked(self, user: Person, ask: AskFirst, done: bool) -> None:
        """Note that another process was asked.

        :param done: whether it has done it; if not, it may be dead.
        """
        self._asked.setdefault(user, []).append((ask, done))
        if done:  # its releases may still be on their way
            for key in names.keys(ask.user.name):
                self.lease_changed(key, None, ask.user.process)

    # Guests.

    def need_guests(self, count: int = 1) -> None:
        """Check whether there are names for some guests.

        :raises NameNeeded: there are not.
        """
        if not self.has_guests(count):
            raise NameNeeded("")

    def guest_name(self) -> str:
        """Return the name of a new guest. It is leased.

        :raises NameNeeded: there is none.
        """
        self.need_guests()
        return self._stock.pop(next(iter(self._stock)))

    def has_guests(self, count: int) -> bool:
        """Return whether there are names for some guests."""
        return len(self._stock) >= count

    def wants_guests(self) -> bool:
        """Return whether the stock of guests' names is half empty."""
        return 2 * len(self._stock) < GUESTS_IN_STOCK

    def next_guests(self, count: int) -> list[str]:
        """Return the next guests' names that nobody is known to have."""
        found: list[str] = []
        while len(found) < count:
            self._last_guest += 1
            name = f"guest-{self._last_guest}"
            key = names.key(name)
            if not any(key in each for each in (self._elsewhere, self._held, self._claims)):
                found.append(name)
        return found

    def add_guests(self, found: Iterable[str]) -> None:
        """Note that names of guests are leased."""
        for name in found:
            key = names.key(name)
            if key not in self._held and key not in self._claims:
                self._stock[key] = name

    def drop_guests(self) -> list[str]:
        """Forget the stock of guests' names, and return it."""
        found, self._stock = list(self._stock.values()), {}
        return found

    def give_back_guest(self, name: str) -> None:
        """Use the name of a guest who left, and whom nobody has seen, for the next one."""
        key = names.key(name)
        self._stock = {key: name, **self._stock}
        self._change([key])

    # Moving to another process, as by an upgrade in place.

    def export_state(self) -> dict[str, Any]:
        """Return what is leased, for :meth:`restore_state`."""
        leased = {**self._held, **self._claims, **self._pending}
        return {
            "last_guest": self._last_guest,
            "stock": list(self._stock.values()),
            "leased": [key for key in leased if key not in self._stock],
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped."""
        self._last_guest = state["last_guest"]
        self.add_guests(state["stock"])

    # What this process holds.

    def took(self, user: Person, name: str) -> None:
        """Note that a user of this process has a name now."""
        keys = names.keys(name)
        for key in keys:
            self._held[key] = user
            if self._claims.get(key) is user:
                del self._claims[key]
        self._change(keys)

    def gave_up(self, user: Person, name: str) -> None:
        """Note that a user of this process does not have a name any more."""
        keys = [key for key in names.keys(name) if self._held.get(key) is user]
        for key in keys:
            del self._held[key]
        self._change(keys)

    def touch(self, user: Person) -> None:
        """Note that something that others know of a user has changed."""
        keys = names.keys(user.name) if user.name else ()
        if keys and self._held.get(keys[0]) is user:
            self._change(keys)

    def _change(self, keys: Collection[str] | Iterable[str]) -> None:
        was_empty = not self._pending
        self._pending.update(dict.fromkeys(keys))
        if was_empty and self._pending:
            self._changed()

    def take_changes(self) -> list[Change]:
        """Return the leases to change, and forget that."""
        pending, self._pending = self._pending, {}
        users: dict[Person, list[str]] = {}
        stocked, released = [], []
        for key in pending:
            if key in self._held:
                users.setdefault(self._held[key], []).append(key)
            elif key in self._stock:
                stocked.append(key)
            elif key not in self._claims:
                released.append(key)
        changes: list[Change] = [([each], "") for each in stocked]
        if released:
            changes.append((released, None))
        return changes + [(keys, person_text(user)) for user, keys in users.items()]

    def all_held(self) -> list[tuple[Any, list[str]]]:
        """Return the users of this process, each with the keys of the name."""
        found: dict[Person, list[str]] = {}
        for key, user in self._held.items():
            found.setdefault(user, []).append(key)
        return list(found.items())


def person_text(person: Person) -> str:
    """Return what other processes learn of a user, as the value of a lease."""
    found = [person.name, person.origin, person.account, person.host]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def read_person(value: str, process: str) -> RemoteUser | None:
    """Return the user of a value from :func:`person_text`; None if it is of no user."""
    try:
        name, origin, account, host = map(str, json.loads(value)) if value else ("",) * 4
    except (TypeError, ValueError):  # another version wrote it
        return None
    return RemoteUser(name, origin, account, host, process) if name else None
