"""What the parts of a shared chat need of the chat: a part of ``ChatFactory``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from twisted_net.chat.actions import Action
from twisted_net.chat.messages import Event
from twisted_net.chat.registry import Registry, Room, User
from twisted_net.store.log import Position


class LocalChat(Protocol):
    """The users and the rooms of this process."""

    registry: Registry
    now: Callable[[], float]

    @property
    def clock(self) -> IReactorTime:
        """The reactor."""

    def act(self, actions: Iterable[Action]) -> Awaitable[None] | None:
        """Carry out the actions of a session."""

    def announce_here(self, room: Room, event: Event, but: User | None = None) -> None:
        """Send an event to the members of a room who are in this process."""

    def tell_loss(self, room: str, at: Position) -> None:
        """Tell the members of a room in this process that messages were lost."""

    def send_to_all(self, message: str) -> None:
        """Send a notice to all users of this process."""
