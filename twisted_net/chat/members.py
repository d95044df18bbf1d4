"""The members of a channel: connections with a codec, and members that are still joining."""

from __future__ import annotations

from collections import deque

from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.codecs.codec import Codec
from twisted_net.chat.messages import Event
from twisted_net.chat.registry import User
from twisted_net.connection.heartbeat import Heartbeat
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Page, Position, StoredMessage

_log = Logger()


def store_error_text(failure: Failure) -> str:
    """Return why the store failed, for users. Log the failure if it is a bug of the server."""
    if isinstance(failure.value, StoreError):
        return str(failure.value)
    _log.failure("The store failed", failure)
    return "the server made a mistake"


class Member(Heartbeat):
    """A connection that can be a member of rooms.

    :ivar codec: encodes the events for this connection.
    """

    codec: Codec

    def send_event(self, event: Event, id: str = "") -> None:
        """Send an event to this connection only.

        :param id: the id of the request that it answers.
        """
        self.send_encoded(self.codec.encode(event, id))


class JoiningMember:
    """A member that has joined, but still waits for its history or its missed messages.

    :ivar since: the position after which the member asks for missed messages.
    :ivar told: whether to send the member a ``RoomJoined`` event.
    :ivar id: the id of the request to join.
    :ivar heard: the messages and encoded events since the join. If there are more than the
        maximum, the oldest are dropped; :func:`~twisted_net.chat.recovery.merge` finds the gap.
    :ivar page: what the store returned for the member.
    """

    __slots__ = ("codec", "connection", "heard", "id", "page", "since", "told", "user")

    def __init__(self, user: User, since: Position | None, told: bool, most: int, id: str) -> None:
        self.user = user
        self.connection: Member = user.connection
        self.codec = self.connection.codec
        self.since = since
        self.told = told
        self.id = id
        self.page: Page | None = None
        self.heard: deque[StoredMessage | bytes] = deque(maxlen=most)
