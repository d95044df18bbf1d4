"""The actions that a session returns. ``ChatFactory.act`` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from twisted_net.chat.bans import Sanction
from twisted_net.chat.messages import Event
from twisted_net.chat.registry import Room, User
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.store.log import Message, Position


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send an event to one user."""

    user: User
    event: Event


@dataclass(frozen=True, slots=True)
class Append:
    """Append a message to a room's log, and then send it to all members of the room."""

    user: User
    room: Room
    message: Message


@dataclass(frozen=True, slots=True)
class Announce:
    """Send an event to all members of a room, after the messages that were sent before it.

    :ivar but: a user to leave out.
    """

    room: Room
    event: Event
    but: User | None = None


@dataclass(frozen=True, slots=True)
class Enter:
    """Add a user to a room's channel.

    :ivar since: the position after which the user asks for missed messages.
    :ivar told: whether to send the user a ``RoomJoined`` event.
    :ivar quietly: whether to leave the join unannounced, because the user was a member before.
    """

    user: User
    room: Room
    since: Position | None = None
    told: bool = True
    quietly: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """Remove a user from a room's channel. For ``quietly``, see :class:`Enter`."""

    user: User
    room: Room
    quietly: bool = False


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Send a user the last ``limit`` messages of a room, or the last before offset ``before``."""

    user: User
    room: Room
    before: int | None
    limit: int


@dataclass(frozen=True, slots=True)
class KeepBan:
    """Keep a ban in the store, so that it outlives the process; or forget it, if it is None.

    :ivar user: the operator, who is told if that fails.
    """

    user: User
    key: str
    ban: Sanction | None


@dataclass(frozen=True, slots=True)
class Verify:
    """Check a password and pass the result to the session.

    The connection processes no further messages until then.
    """

    user: User
    account: str
    password: str

    def __repr__(self) -> str:  # keeps the password out of logs
        return f"Verify({self.account!r})"


@dataclass(frozen=True, slots=True)
class LetIn:
    """Stop the time limit for logging in: a user is in the chat."""

    user: User


@dataclass(frozen=True, slots=True)
class Introduce:
    """Announce the joins of a user soon: until now, it may have been a health check."""

    user: User


@dataclass(frozen=True, slots=True)
class LogLogin:
    """Log that a user has logged in."""

    user: User


@dataclass(frozen=True, slots=True)
class LogName:
    """Log a user's new name. ``old`` is empty if it is the first one."""

    user: User
    old: str


@dataclass(frozen=True, slots=True)
class End:
    """Close a user's connection."""

    user: User
    reason: CloseReason
    detail: str = ""


Action: TypeAlias = (
    SendEvent | Append | Announce | Enter | Exit | ReadHistory | KeepBan | Verify | LetIn
    | Introduce | LogLogin | LogName | End
)  # fmt: skip
