"""Broadcast: the same bytes to many connections, with one write a member and a turn."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from twisted_net.transport.connection import Connection


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
        self._own: dict[Connection, set[int]] = {}  # what each has published itself this turn
        self._late: dict[Connection, int] = {}  # who came this turn, and after how much

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._members)

    def __contains__(self, member: Connection) -> bool:
        return member in self._members

    def add(self, member: Connection) -> None:
        """Let ``member`` hear what is published from now on."""
        self._members[member] = None
        if self._pending:
            self._late[member] = len(self._pending)

    def discard(self, member: Connection) -> None:
        """Let ``member`` hear no more; what was published before this is given to it now."""
        if member not in self._members:
            return
        if self._pending:
            self._give_part(member)
        del self._members[member]
        self._own.pop(member, None)
        self._late.pop(member, None)

    def publish(self, data: bytes, sender: Connection | None = None) -> None:
        """Send one encoded message to every member but ``sender``."""
        if not self._pending:
            self._clock.callLater(0, self._flush)
        if sender is not None:
            self._own.setdefault(sender, set()).add(len(self._pending))
        self._pending.append(data)

    def _flush(self) -> None:
        special = self._own.keys() | self._late.keys()
        count = len(self._pending)
        data = b"".join(self._pending)
        # A write can end a member, whose end may discard it from here.
        for member in list(self._members):
            if member in special:
                self._give_part(member)
            else:
                member.send_encoded(data, count)
        self._pending.clear()
        self._own.clear()
        self._late.clear()

    def _give_part(self, member: Connection) -> None:
        own = self._own.get(member, ())
        start = self._late.get(member, 0)
        part = [self._pending[n] for n in range(start, len(self._pending)) if n not in own]
        if part:
            member.send_encoded(b"".join(part), len(part))
