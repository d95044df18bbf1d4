"""What waits for one peer that reads slower than it is written to: bounded, with a rule.

While a peer keeps up, nothing is queued here: bytes go straight to its transport.
"""

from __future__ import annotations

from collections import deque

from twisted_net.policy.limits import OverflowPolicy


class SendQueue:
    """A bounded queue of encoded messages for one peer. A message is kept whole or not at all.

    :param limit: bytes that may wait.
    :param rule: what happens past the limit.
    :ivar size: bytes that wait now.
    :ivar missed: messages that were dropped since the last :meth:`take_missed`.
    """

    __slots__ = ("_entries", "_limit", "_rule", "missed", "size")

    def __init__(self, limit: int, rule: OverflowPolicy = OverflowPolicy.CLOSE) -> None:
        self._limit = limit
        self._rule = rule
        self._entries: deque[tuple[bytes, int]] = deque()
        self.size = 0
        self.missed = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._entries)

    def put(self, data: bytes, messages: int = 1) -> bool:
        """Queue ``data``, which carries so many messages.

        :return: whether the peer may stay. False: the rule is ``CLOSE`` and the limit is reached;
            then ``data`` was not queued.
        """
        if self.size + len(data) > self._limit and self._entries:
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
        """Take whole entries from the front until ``at_least`` bytes; give them joined, and the
        count of messages in them.
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
        """Give how many messages were dropped since the last call."""
        missed, self.missed = self.missed, 0
        return missed

    def clear(self) -> None:
        """Forget what waits."""
        self._entries.clear()
        self.size = 0
