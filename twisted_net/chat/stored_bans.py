"""Keeps the bans in the store, so that they outlive the process."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.bans import Sanction, Sanctions
from twisted_net.chat.members import store_error_text
from twisted_net.store.interface import KeyValueStore, Store

_log = Logger()


class StoredBans:
    """The bans in a store. If the store keeps only messages, it has none.

    :param store: the store of the chat.
    :param bans: the bans of the chat.
    :param now: returns the time, in seconds since 1970.
    :param kind: under which they are kept: ``ban``, or ``mute``.
    :ivar unkept: the bans that could not be kept, and None for those that could not be forgotten.
    """

    def __init__(
        self,
        store: Store | KeyValueStore,
        bans: Sanctions,
        now: Callable[[], float],
        kind: str = "ban",
    ) -> None:
        self._store = store if isinstance(store, KeyValueStore) else None
        self._bans = bans
        self._now = now
        self._kind = kind
        self.unkept: dict[str, Sanction | None] = {}

    def load(self, loaded: Callable[[], object], exactly: bool = False) -> None:
        """Read the bans, and call ``loaded`` if there are any. Those that have ended are deleted.

        A store that fails is logged: the chat goes on without its bans.

        :param exactly: whether to lift those that the store does not have: another process has
            lifted them.
        """
        if self._store is None:
            return

        def read(values: dict[str, str]) -> None:
            for key, text in values.items():
                try:
                    ban = Sanction.from_json(text)
                except ValueError as error:
                    _log.warn("The store has {key!r}, which is {error}", key=key, error=error)
                    continue
                if ban.until > self._now():
                    Sanctions.add(self._bans, ban, self._now())  # it is known to all already
                else:
                    self.keep(key, None)
            if exactly:
                for ban in self._bans.current(self._now()):
                    if ban.key not in values:
                        Sanctions.lift(self._bans, ban.key)
            if self._bans:
                loaded()

        self._store.values(self._kind).addCallbacks(
            read, lambda failure: self._failed(failure, "read")
        )

    def keep(self, key: str, ban: Sanction | None) -> Deferred[str]:
        """Keep a ban, or forget it.

        :return: fires with why that failed; with an empty text if it did not.
        """
        if self._store is None:
            return succeed("")

        def failed(failure: Failure) -> str:
            self.unkept[key] = ban
            return self._failed(failure, "written")

        self.unkept.pop(key, None)
        kept = self._store.put(self._kind, key, None if ban is None else ban.to_json())
        return kept.addCallbacks(lambda _: "", failed)

    def _failed(self, failure: Failure, how: str) -> str:
        text = store_error_text(failure)
        _log.error("The {kind}s cannot be {how}: {why}", kind=self._kind, how=how, why=text)
        return text
