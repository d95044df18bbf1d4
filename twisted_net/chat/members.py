"""Those who hear a room: connections with a form, and newcomers who are not there quite yet."""

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
    """Give why the store could not do something; what is our mistake is logged."""
    if isinstance(failure.value, StoreError):
        return str(failure.value)
    _log.failure("The store failed", failure)
    return "the server made a mistake"


class Member(Heartbeat):
    """A connection that hears rooms.

    :ivar codec: how it is told what it hears.
    """

    codec: Codec

    def tell(self, event: Event) -> None:
        """Tell this one alone."""
        self.send_encoded(self.codec.encode(event))


class JoiningMember:
    """Somebody who has joined, until it has been told what was before.

    :ivar heard: what was said meanwhile: messages, and encoded events. Where it is too much, what
        is lost is noticed when it is put together.
    :ivar page: what was read for it.
    """

    __slots__ = ("codec", "connection", "heard", "page", "since", "told", "user")

    def __init__(self, user: User, since: Position | None, told: bool, most: int) -> None:
        self.user = user
        self.connection: Member = user.connection
        self.codec = self.connection.codec
        self.since = since
        self.told = told
        self.page: Page | None = None
        self.heard: deque[StoredMessage | bytes] = deque(maxlen=most)
