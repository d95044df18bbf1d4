"""The actions that a session returns. ``ChatFactory.act`` carries them out.

The ``id`` of an action is that of the request which it answers; empty if the request had none, or
if it answers none. :func:`answering` sets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from twisted_net.chat.bans import Sanction
from twisted_net.chat.messages import CallCommand, Event, PrivateMessage, TopicEvent
from twisted_net.chat.registry import Room, User
from twisted_net.chat.shared.directory import AskFirst, RemoteUser
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.store.log import Message, Position


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send an event to one user."""

    user: User
    event: Event
    id: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """Append a message to a room's log, and then send it to all members of the room."""

    user: User
    room: Room
    message: Message


@dataclass(frozen=True, slots=True)
class Announce:
    """Send an event to all members of a room, after the messages that were sent before it.

    :ivar but: a user to leave out. With an ``id``, the user gets the event with it instead.
    """

    room: Room
    event: Event
    but: User | None = None
    id: str = ""


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
    id: str = ""


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
    id: str = ""


@dataclass(frozen=True, slots=True)
class KeepBan:
    """Keep a ban in the store, so that it outlives the process; or forget it, if it is None.

    :ivar user: the operator, who is told if that fails.
    """

    user: User
    key: str
    ban: Sanction | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Verify:
    """Check a password and pass the result to the session.

    The connection processes no further messages until then.
    """

    user: User
    account: str
    password: str
    id: str = ""

    def __repr__(self) -> str:  # keeps the password out of logs
        return f"Verify({self.account!r})"


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command of the application.

    The connection processes no further messages until it is done.
    """

    user: User
    call: CallCommand
    id: str = ""


@dataclass(frozen=True, slots=True)
class ClaimName:
    """Claim a name that several processes could give, and tell the session, which goes on then.

    The connection processes no further messages until then.

    :ivar name: the name; empty for a guest's.
    :ivar ask: what another process is asked for first, instead of claiming a name.
    """

    user: User
    name: str
    ask: AskFirst | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class AskProcess:
    """Ask the process of a user there to do something, and pass its answer to the user here.

    The connection processes no further messages until then.

    :ivar to: whom the request names.
    :ivar order: what to do; see ``chat/shared/orders.py``.
    """

    user: User
    to: RemoteUser
    order: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class ListElsewhere:
    """List the users of a room that is open in other processes only; or all rooms, if it is ""."""

    user: User
    room: str
    id: str = ""


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
    id: str = ""


Action: TypeAlias = (
    SendEvent | Append | Announce | Enter | Exit | ReadHistory | KeepBan | Verify | RunCommand
    | ClaimName | AskProcess | ListElsewhere | LetIn | Introduce | LogLogin | LogName | End
)  # fmt: skip


def answering(actions: Iterable[Action], user: User, id: str) -> list[Action]:
    """Return the actions with the id of the user's request, where they answer it."""
    return [_answering(each, user, id) for each in actions] if id else list(actions)


def _answering(action: Action, user: User, id: str) -> Action:
    match action:
        case Announce(event=TopicEvent(), but=None):
            return replace(action, but=user, id=id)
        case SendEvent(event=PrivateMessage()):
            return action  # of a user to themselves: the ack is the answer
        case ClaimName() | AskProcess() | ListElsewhere():
            return replace(action, id=id)
        case SendEvent() | Enter() | ReadHistory() | KeepBan() | Verify() | RunCommand() | End():
            return replace(action, id=id) if action.user is user else action
    return action
