"""Broadcast: the same bytes to many connections, with one write a member and a turn."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_net.policy.closing import FAILED
from twisted_net.transport.connection import Connection

_log = Logger()


class Group:
    """Connections that hear the same.

    What is published within one turn of the reactor is gathered, joined once, and given to every
    member in one write, at the beginning of the next turn. A member hears what was published
    after it came and before it left, in order, and nothing of its own.

    :param clock: the reactor whose turns count.
    """

    __slots__ = ("_clock", "_late", "_members", "_own", "_pending")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._members: dict[Connection, None] = {}
        self._pending: list[bytes] = []
        self._own: dict[Connection, dict[int, bytes]] = {}  # what each is sent in another's place
        self._late: dict[Connection, int] = {}  # who came this turn, and after how much

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._members)

    def __contains__(self, member: Connection) -> bool:
        return member in self._members

    def add(self, member: Connection) -> None:
        """Let ``member`` hear what is published from now on."""
        if member in self._members:
            return
        self._members[member] = None
        if self._pending:
            self._late[member] = len(self._pending)

    def discard(self, member: Connection) -> None:
        """Let ``member`` hear no more; what was published before this is given to it now."""
        if member not in self._members:
            return
        # First out, then given: what it is given can end it, and its end discards it.
        del self._members[member]
        own, start = self._own.pop(member, {}), self._late.pop(member, 0)
        _give_part(member, self._pending, own, start)

    def publish(self, data: bytes, sender: Connection | None = None) -> None:
        """Send one encoded message to every member but ``sender``."""
        if not self._pending:
            self._clock.callLater(0, self.flush)
        self.put(data, sender)

    def put(self, data: bytes, sender: Connection | None = None, instead: bytes = b"") -> None:
        """As :meth:`publish`, for those who call :meth:`flush` themselves.

        :param instead: what ``sender`` is sent in its place among the others; may be empty.
        """
        if sender is not None:
            self._own.setdefault(sender, {})[len(self._pending)] = instead
        self._pending.append(data)

    def give(self, member: Connection, data: bytes) -> None:
        """As :meth:`put`, for one member alone."""
        self._own.setdefault(member, {})[len(self._pending)] = data
        self._pending.append(b"")

    def leave_out(self, member: Connection) -> None:
        """Do not give ``member`` what was put last."""
        self._own.setdefault(member, {})[len(self._pending) - 1] = b""

    def flush(self) -> None:
        """Give the members what was gathered."""
        if not self._pending:
            return
        pending, own, late = self._pending, self._own, self._late
        # What a write ends, adds, discards or publishes from here on belongs to the next turn.
        self._pending, self._own, self._late = [], {}, {}
        data, count = b"".join(pending), len(pending)
        special = own.keys() | late.keys()
        for member in list(self._members):
            if member not in self._members:  # an earlier member's end has taken it along
                continue
            try:
                if member in special:
                    _give_part(member, pending, own.get(member, {}), late.get(member, 0))
                else:
                    member.send_encoded(data, count)
            except Exception:
                _log.failure("Connection {id}: a broadcast to it failed", id=member.id)
                member.abort(FAILED)


def _give_part(member: Connection, pending: list[bytes], own: dict[int, bytes], start: int) -> None:
    part = pending[start:]
    count = len(part)
    for number, data in own.items():
        if number >= start:
            part[number - start] = data
            if not data:
                count -= 1
    if count:
        member.send_encoded(b"".join(part), count)
