"""Keeps the bans in the store, so that they outlive the process."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.bans import Sanction, Sanctions
from twisted_net.chat.members import store_error_text
from twisted_net.store.interface import KeyValueStore, Store

_KIND = "ban"

_log = Logger()


class StoredBans:
    """The bans in a store. If the store keeps only messages, it has none.

    :param store: the store of the chat.
    :param bans: the bans of the chat.
    :param now: returns the time, in seconds since 1970.
    """

    def __init__(self, store: Store, bans: Sanctions, now: Callable[[], float]) -> None:
        self._store = store if isinstance(store, KeyValueStore) else None
        self._bans = bans
        self._now = now

    def load(self, loaded: Callable[[], object]) -> None:
        """Read the bans, and call ``loaded`` if there are any. Those that have ended are deleted.

        A store that fails is logged: the chat goes on without its bans.
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
                    self._bans.add(ban, self._now())
                else:
                    self.keep(key, None)
            if self._bans:
                loaded()

        self._store.values(_KIND).addCallbacks(read, lambda failure: _failed(failure, "read"))

    def keep(self, key: str, ban: Sanction | None) -> Deferred[str]:
        """Keep a ban, or forget it.

        :return: fires with why that failed; with an empty text if it did not.
        """
        if self._store is None:
            return succeed("")
        kept = self._store.put(_KIND, key, None if ban is None else ban.to_json())
        return kept.addCallbacks(lambda _: "", lambda failure: _failed(failure, "written"))


def _failed(failure: Failure, how: str) -> str:
    text = store_error_text(failure)
    _log.error("The bans cannot be {how}: {why}", how=how, why=text)
    return text
