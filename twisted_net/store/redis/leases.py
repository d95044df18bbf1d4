"""Leases: what belongs to one process of all that share the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_net.store.interface import LeaseWatcher, Lessee, StoreError
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.damage import note_damage
from twisted_net.store.redis.names import Names, decoded, encoded, shielded
from twisted_net.store.redis.shared_scripts import LEASE, LEASES, RELEASE

RETAKE = 5.0
"""Seconds that other processes have to take their leases again after an interruption. Only then are
those told as ended that are missing. Otherwise all users of other processes would seem to leave and
to come back when Redis has lost its data."""

_log = Logger()

View: TypeAlias = dict[str, tuple[str, Lessee]]
"""Values and processes, by key."""


class Leases:
    """The leases of all processes."""

    def __init__(
        self, client: RedisClient, clock: IReactorTime, names: Names, process: Lessee
    ) -> None:
        self._client = client
        self._clock = clock
        self._names = names
        self._process = process
        self._watchers: dict[str, list[LeaseWatcher]] = {}
        self._views: dict[str, View] = {}
        self._moved: dict[str, View] = {}  # what another process knew, until it is compared
        self._second_look: IDelayedCall | None = None

    def lease(self, kind: str, keys: Sequence[str], value: str) -> Deferred[str | None]:
        if not keys:
            return succeed(None)
        names = self._names
        return self._client.call(
            LEASE,
            (names.leases(kind), names.processes, names.held(self._process)),
            (
                *(self._process, encoded(kind), names.lease_channel(kind), shielded(value)),
                *map(shielded, keys),
            ),
            lambda reply: decoded(reply[0]) if reply else None,
        )

    def release(self, kind: str, keys: Sequence[str]) -> Deferred[None]:
        if not keys:
            return succeed(None)
        names = self._names
        return self._client.call(
            RELEASE,
            (names.leases(kind), names.held(self._process)),
            (self._process, encoded(kind), names.lease_channel(kind), *map(shielded, keys)),
            lambda reply: None,
        )

    def leases(self, kind: str) -> Deferred[View]:
        def parsed(reply: list[bytes]) -> View:
            found = {}
            for key, entry in zip(reply[::2], reply[1::2], strict=True):
                process, _, value = entry.partition(b" ")
                try:
                    found[decoded(key)] = (decoded(value), process.decode())
                except ValueError:
                    note_damage(f"a lease of the kind {kind}", key)
            return found

        keys = (self._names.leases(kind), self._names.processes)
        return self._client.call(LEASES, keys, (), parsed)

    # Watching.

    def watch(self, kind: str, changed: LeaseWatcher) -> Deferred[None]:
        return Deferred.fromCoroutine(self._watch(kind, changed))

    async def _watch(self, kind: str, changed: LeaseWatcher) -> None:
        watchers = self._watchers.setdefault(kind, [])
        is_first = not watchers
        if is_first:
            self._views[kind] = dict(self._moved.get(kind, {}))
        for key, (value, process) in self._views[kind].items():
            _tell(changed, key, value, process)
        watchers.append(changed)
        channel = self._names.lease_channel(kind)
        try:
            if is_first:
                await self._client.subscribe(channel, lambda data: self._published(kind, data))
            await self._look(kind, final=is_first)
            self._moved.pop(kind, None)
        except StoreError:
            self.unwatch(kind, changed)
            raise

    def unwatch(self, kind: str, changed: LeaseWatcher) -> None:
        watchers = self._watchers.get(kind, [])
        if changed in watchers:
            watchers.remove(changed)
        if not watchers and self._watchers.pop(kind, None) is not None:
            del self._views[kind]
            self._client.unsubscribe(self._names.lease_channel(kind))

    # Moving to another process, as by an upgrade in place.

    def export_state(self) -> dict[str, View]:
        """Return what is known of others, for :meth:`restore_state`."""
        return {**self._moved, **self._views}

    def restore_state(
        self, process: Lessee, views: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> None:
        """Go on for another process. Whoever watches is told first what that one knew."""
        self._process = process
        for kind, view in views.items():
            self._moved[kind] = {key: (value, owner) for key, (value, owner) in view.items()}

    # After an interruption.

    async def resume(self) -> None:
        """Tell what has changed during an interruption.

        :raises StoreError: that cannot be read.
        """
        for kind in list(self._watchers):
            await self._look(kind, final=False)
        self.stop()
        self._second_look = self._clock.callLater(RETAKE, self._look_again)

    def stop(self) -> None:
        """Do not look again."""
        if self._second_look is not None:
            self._second_look.cancel()
            self._second_look = None

    def _look_again(self) -> None:
        self._second_look = None
        for kind in list(self._watchers):
            looking = Deferred.fromCoroutine(self._look(kind, final=True))
            looking.addErrback(lambda _: None)  # the connection is lost: resume() follows

    async def _look(self, kind: str, *, final: bool) -> None:
        """Compare with what Redis has.

        :param final: whether what is missing there has ended.
        """
        found = await self.leases(kind)
        view = self._views.get(kind)
        if view is None:
            return
        for key, (value, process) in found.items():
            if process != self._process:
                self._change(kind, key, value, process)
        for key, (_, process) in list(view.items()):
            owner = found.get(key, (None, None))[1]
            if owner == self._process or (owner is None and final):
                self._change(kind, key, None, process)

    def _published(self, kind: str, data: bytes) -> None:
        process, value, keys = _parse_change(data)
        for key in keys:
            if process != self._process:
                self._change(kind, key, value, process)
            elif value is not None and key in self._views[kind]:
                # What another process had before it died is this process's now.
                self._change(kind, key, None, self._views[kind][key][1])

    def _change(self, kind: str, key: str, value: str | None, process: Lessee) -> None:
        view = self._views.get(kind)
        if view is None:
            return
        before = view.get(key)
        if value is None:
            if before is None or before[1] != process:
                return
            del view[key]
        else:
            if before == (value, process):
                return
            view[key] = (value, process)
        for changed in list(self._watchers.get(kind, ())):
            _tell(changed, key, value, process)


def _parse_change(data: bytes) -> tuple[Lessee, str | None, list[str]]:
    """Return the process, the value and the keys of a change that was published.

    :raises StoreError: it is none.
    """
    process, _, rest = data.partition(b" ")
    try:
        value, keys = json.loads(decoded(rest))
        if isinstance(value, str | None) and all(isinstance(key, str) for key in keys):
            return process.decode(), value, keys
    except (ValueError, TypeError, RecursionError):
        pass
    raise StoreError("it is no change of leases")


def _tell(changed: LeaseWatcher, key: str, value: str | None, process: Lessee) -> None:
    try:
        changed(key, value, process)
    except Exception:
        _log.failure("A watcher of leases failed")
