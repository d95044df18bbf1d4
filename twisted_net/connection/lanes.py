"""Lanes: the members of a broadcast that receive exactly the same, and are sent to as one.

Nearly all members of a room are in the same position: each has everything published before, nothing
waits to be sent to it, and it is in no other broadcast. For these, a lane keeps their sockets next
to each other. What is the same for all of them is kept once: their position, and how much they were
sent. So a message to a lane is one ``send`` after another, and touches no other object of a member.
After a pause, the first look at an object takes as long as everything else that Python does for a
delivery, because its memory has left the processor's caches.

A member leaves its lane as soon as anything else happens to it: it is sent something alone, its
socket is full, it closes, it speaks, or an operator looks on. Its transport says so; see
:meth:`twisted_net.eager.transports.Eager.join_lane`. The broadcast lets it in again later.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted_net.eager.transports import send_on


class Membership:
    """The broadcasts that a connection is a member of.

    :ivar bytes_sent: what they have sent it and it has not counted itself, in its
        ``own_bytes_sent``. There is also :attr:`messages_sent`.
    """

    __slots__ = ("broadcasts",)

    bytes_sent = 0
    messages_sent = 0

    def __init__(self, broadcasts: tuple[Any, ...]) -> None:
        self.broadcasts = broadcasts

    def remove(self, member: Any) -> None:
        """Take a member out of its lane, if it is in one."""


NOWHERE = Membership(())
"""For a connection that is in no broadcast."""


def bytes_sent_to(connections: Iterable[Any]) -> list[int]:
    """Return the ``bytes_sent`` of each of many connections, in half the time."""
    return [each.own_bytes_sent + each.membership.bytes_sent for each in connections]


def messages_sent_to(connections: Iterable[Any]) -> list[int]:
    """Return the ``messages_sent`` of each of many connections, in half the time."""
    return [each.own_messages_sent + each.membership.messages_sent for each in connections]


class Lane(Membership):
    """Members of one broadcast in the same position.

    :param broadcast: told by its ``left_lane`` which members leave.
    :ivar position: the number of the next message to send them.
    :ivar members: the members, and in the same order their :attr:`sockets`.
    """

    __slots__ = ("bytes_sent", "members", "messages_sent", "position", "sockets")

    def __init__(self, broadcast: Any, position: int) -> None:
        super().__init__((broadcast,))
        self.position = position
        self.bytes_sent = self.messages_sent = 0
        self.members: list[Any] = []
        self.sockets: list[socket.socket] = []

    def __len__(self) -> int:
        return len(self.members)

    def add(self, member: Any) -> None:
        """Let a member in. Its transport has joined: see :meth:`Eager.join_lane`."""
        member.own_bytes_sent -= self.bytes_sent
        member.own_messages_sent -= self.messages_sent
        member.membership = self
        self.members.append(member)
        self.sockets.append(member.transport.socket)

    def take(self, lane: Lane, most: int) -> list[Any]:
        """Let members of another lane in, which is in the same position.

        :param most: at most so many of them.
        :return: the members.
        """
        most = min(most, len(lane.members))
        start = len(lane.members) - most
        moved = lane.members[start:]
        size, count = lane.bytes_sent - self.bytes_sent, lane.messages_sent - self.messages_sent
        for member in moved:
            member.own_bytes_sent += size
            member.own_messages_sent += count
            member.membership = self
        self.members += moved
        self.sockets += lane.sockets[start:]
        del lane.members[start:], lane.sockets[start:]
        return moved

    def remove(self, member: Any) -> None:
        place = self.members.index(member)
        del self.members[place], self.sockets[place]
        member.own_bytes_sent += self.bytes_sent
        member.own_messages_sent += self.messages_sent
        member.transport.leave_lane()
        self.broadcasts[0].left_lane(member, self.position)

    def send(self, data: bytes, messages: int) -> None:
        """Send to all members."""
        self.bytes_sent += len(data)
        self.messages_sent += messages
        members = self.members
        behind = [(members[at], sent, errno) for at, sent, errno in send_on(self.sockets, data)]
        for member, sent, errno in behind:  # now, because they leave
            member.transport.queue_after(data, sent, errno)
