"""What a session has decided, for others to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from twisted_net.chat.messages import Event
from twisted_net.chat.registry import Room, User
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.store.log import Message, Position


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Tell one person."""

    user: User
    event: Event


@dataclass(frozen=True, slots=True)
class Append:
    """Put a message into a room's log; everybody in the room hears it then."""

    user: User
    room: Room
    message: Message


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell everybody in a room but one; what was said before it is told before it."""

    room: Room
    event: Event
    but: User | None = None


@dataclass(frozen=True, slots=True)
class Enter:
    """Somebody is in a room now.

    :ivar since: from where it wants to hear what it missed.
    :ivar told: whether it is told that it is there.
    :ivar quietly: whether the others are not told, since for them it was there before.
    """

    user: User
    room: Room
    since: Position | None = None
    told: bool = True
    quietly: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """Somebody is in a room no more; as for :class:`Enter`."""

    user: User
    room: Room
    quietly: bool = False


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Read a part of a room's log for somebody."""

    user: User
    room: Room
    before: int | None
    limit: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Look whether a password is right, and tell the session; read nothing more until then."""

    user: User
    account: str
    password: str

    def __repr__(self) -> str:  # whatever happens, no password stands in a log
        return f"Verify({self.account!r})"


@dataclass(frozen=True, slots=True)
class End:
    """Close somebody's connection."""

    user: User
    reason: CloseReason
    detail: str = ""


Action: TypeAlias = SendEvent | Append | Announce | Enter | Exit | ReadHistory | Verify | End
