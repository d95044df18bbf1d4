"""The subscriptions of stores that serve a single process."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from twisted_net.store.interface import Subscriber
from twisted_net.store.log import StoredMessage

_log = Logger()


class LocalSubscribers:
    """Subscriptions within this process."""

    def __init__(self) -> None:
        self.subscribers: dict[str, list[Subscriber]] = {}

    def unsubscribe(self, room: str, deliver: Subscriber) -> None:
        subscribers = self.subscribers.get(room, [])
        if deliver in subscribers:
            subscribers.remove(deliver)
        if not subscribers:
            self.subscribers.pop(room, None)

    def publish(self, room: str, epoch: str, fresh: Sequence[StoredMessage]) -> None:
        """Call the subscribers with new messages. If one fails, the others are still called."""
        if not fresh:
            return
        for deliver in list(self.subscribers.get(room, ())):
            try:
                deliver(epoch, fresh)
            except Exception:
                _log.failure("A subscriber of room {room} failed", room=room)
