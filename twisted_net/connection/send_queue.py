"""The send queue: a bounded buffer for one peer that reads more slowly than it is sent to.

While a peer keeps up, nothing is queued here: bytes go straight to its transport.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted_net.policy.limits import OverflowPolicy


class SendQueue:
    """A bounded queue of encoded messages for one peer. Messages are queued whole or dropped whole.

    :param limit: the most bytes that may wait. A single larger message is queued if nothing else
        waits.
    :param rule: the overflow policy: what happens when the limit is reached.
    :ivar size: the bytes that wait now.
    :ivar missed: the messages dropped since the last :meth:`take_missed`.
    """

    __slots__ = ("_entries", "_limit", "_rule", "missed", "size")

    def __init__(self, limit: int, rule: OverflowPolicy = OverflowPolicy.CLOSE) -> None:
        self._limit = limit
        self._rule = rule
        self._entries: deque[tuple[bytes, int]] = deque()
        self.size = 0
        self.missed = 0

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._entries)

    def change(self, limit: int, rule: OverflowPolicy) -> None:
        """Have another limit and policy from now on. What waits stays, even if it is more."""
        self._limit, self._rule = limit, rule

    def put(self, data: bytes, messages: int = 1, is_last: bool = False) -> bool:
        """Add ``data`` to the queue.

        :param messages: the number of messages in ``data``.
        :param is_last: whether it is added although the limit is reached.
        :return: False if the policy is ``CLOSE`` and the limit is reached: ``data`` was not queued
            and the connection must be closed. Otherwise True.
        """
        if self.size + len(data) > self._limit and self._entries and not is_last:
            if self._rule is OverflowPolicy.CLOSE:
                return False
            if self._rule is OverflowPolicy.DROP_NEWEST:
                self.missed += messages
                return True
            while self._entries and self.size + len(data) > self._limit:
                dropped, count = self._entries.popleft()
                self.size -= len(dropped)
                self.missed += count
        self._entries.append((data, messages))
        self.size += len(data)
        return True

    def take(self, at_least: int) -> tuple[bytes, int]:
        """Remove whole entries from the front until they have ``at_least`` bytes, or all entries.

        :return: the entries, joined, and the number of messages in them.
        """
        pieces = []
        size = messages = 0
        while self._entries and size < at_least:
            data, count = self._entries.popleft()
            pieces.append(data)
            size += len(data)
            messages += count
        self.size -= size
        return b"".join(pieces), messages

    def take_missed(self) -> int:
        """Return the number of messages dropped since the last call."""
        missed, self.missed = self.missed, 0
        return missed

    def export_state(self) -> list[Any]:
        """Return what waits, for :meth:`restore_state`."""
        return [self.missed, *map(list, self._entries)]

    def restore_state(self, state: Sequence[Any]) -> None:
        """Queue what waited in another queue, whatever the limit is."""
        self.missed, *entries = state
        self._entries.extend((data, count) for data, count in entries)
        self.size = sum(len(data) for data, _ in self._entries)

    def clear(self) -> None:
        """Drop everything that waits."""
        self._entries.clear()
        self.size = 0
