"""The requests and events of the chat. They are the same for every codec.

A request comes from one connection; an event goes to one or many. The codecs in
:mod:`twisted_net.chat.codecs` parse lines into requests and encode events into bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted_net import TwistedNetError
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.store.log import Position, StoredMessage


class ChatError(TwistedNetError):
    """A request is refused. An application raises it in its commands and checks.

    To a client, it says that a call has failed.

    :ivar code: a short and stable word, for programs: the server's, or one of the client's own.
        Those are ``stopped``, ``timeout``, ``not-connected``, ``disconnected``, ``not-in-room``,
        ``left``, and ``too-long`` or ``bad-field`` if the message cannot be sent.
    :ivar text: a sentence, for users.
    :ivar field: the wrong field in a program's message; may be empty.
    :ivar retry_after: the seconds after which the same request may be accepted; 0 if that does not
        depend on the time.
    """

    def __init__(self, code: str, text: str, field: str = "", retry_after: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.field = field
        self.retry_after = retry_after


class RequestError(ChatError):
    """The chat itself refuses a request.

    :ivar id: the id that the program gave its message; may be empty.
    """

    id = ""


# Requests. An empty room means the current room of a text user.


@dataclass(frozen=True, slots=True)
class Hello:
    """A program enters the chat. ``session`` is the session from an earlier welcome, if any."""

    nick: str = ""
    room: str = ""
    account: str = ""
    password: str = ""
    session: str = ""

    def __repr__(self) -> str:  # keeps the password out of logs
        return f"Hello({self.nick!r}, {self.account!r})"


@dataclass(frozen=True, slots=True)
class Login:
    """A user logs in to an account."""

    account: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.account!r})"


@dataclass(frozen=True, slots=True)
class Join:
    room: str
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    room: str = ""


@dataclass(frozen=True, slots=True)
class SendMessage:
    text: str
    room: str = ""
    action: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class SendPrivate:
    to: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Nick:
    nick: str


@dataclass(frozen=True, slots=True)
class Who:
    room: str = ""


@dataclass(frozen=True, slots=True)
class Rooms:
    pass


@dataclass(frozen=True, slots=True)
class Topic:
    room: str = ""
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    room: str = ""
    before: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    nick: str = ""
    on: bool = True


@dataclass(frozen=True, slots=True)
class Kick:
    nick: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ban:
    """Ban a user for some minutes: the name, the account and the address. 0 lifts the ban.

    ``nick`` may be an address or a range of addresses as well.
    """

    nick: str
    minutes: int = 60
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bans:
    """List the bans."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Stop a user from sending messages for some minutes. 0 lifts it."""

    nick: str
    minutes: int = 10


@dataclass(frozen=True, slots=True)
class Help:
    command: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping. It is both a request from a program and an event to a user."""


@dataclass(frozen=True, slots=True)
class Quit:
    pass


@dataclass(frozen=True, slots=True)
class CallCommand:
    """A user calls a command of the application."""

    name: str
    run: Callable[..., object]
    arguments: Mapping[str, Any]
    room: str = ""


Request: TypeAlias = (
    Hello | Login | Join | Leave | SendMessage | SendPrivate | Nick | Who | Rooms | Topic | History
    | Ignore | Kick | Ban | Bans | Mute | Help | Ping | Pong | Quit
    | CallCommand
)  # fmt: skip


# Events.


@dataclass(frozen=True, slots=True)
class Welcome:
    """The user is in the chat now. ``room`` is the room of a text user; empty for a program."""

    nick: str
    room: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class LoginRequired:
    """The user has to log in first."""


@dataclass(frozen=True, slots=True)
class RoomJoined:
    """The user has joined a room, at a position of its log.

    :ivar recovered: whether all messages after the request's ``since`` follow; None if the request
        had no ``since``.
    """

    room: str
    at: Position
    members: Sequence[str]
    count: int
    topic: str = ""
    recovered: bool | None = None


@dataclass(frozen=True, slots=True)
class RoomLeft:
    room: str
    now_in: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    id: str
    room: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """A private message, for its recipient."""

    sender: str
    text: str
    time: float
    action: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """A private message was passed on; for its sender."""

    to: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class NickSet:
    """The user has this name now.

    :ivar already: whether the user had it before.
    """

    nick: str
    already: bool = False


@dataclass(frozen=True, slots=True)
class MemberJoined:
    room: str
    nick: str


@dataclass(frozen=True, slots=True)
class MemberLeft:
    room: str
    nick: str


@dataclass(frozen=True, slots=True)
class PresenceSummary:
    """Many users joined (``join``) or left (``leave``) at once, so they are only counted."""

    room: str
    event: str
    count: int


@dataclass(frozen=True, slots=True)
class NickChanged:
    room: str
    nick: str
    to: str


@dataclass(frozen=True, slots=True)
class MemberList:
    room: str
    nicks: Sequence[str]
    count: int


@dataclass(frozen=True, slots=True)
class RoomList:
    """The rooms, each with its name, number of users and topic."""

    rooms: Sequence[tuple[str, int, str]]
    count: int


@dataclass(frozen=True, slots=True)
class BanList:
    """The bans, the last one first: each with its target, end, operator and reason."""

    bans: Sequence[tuple[str, float, str, str]]
    count: int


@dataclass(frozen=True, slots=True)
class TopicEvent:
    room: str
    topic: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a room's log, the oldest message first.

    :ivar more: whether the log has earlier messages.
    :ivar asked: whether the user asked for it; if not, it is shown on joining.
    """

    room: str
    epoch: str
    stored: Sequence[StoredMessage]
    more: bool
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    text: str


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A request was refused. See :class:`RequestError` for the fields."""

    code: str
    text: str
    field: str = ""
    id: str = ""
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class NoticeLines:
    """Several notices: one line each for text users, one notice for programs."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Goodbye:
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """An event of the application, for one user; or for a room, if it has one.

    :ivar text: for text users it is all; they see nothing if it is empty.
    :ivar fields: further fields for programs.
    :ivar origin: the origin of the user from whom it is; text users who ignore that do not see it.
    """

    type: str
    text: str
    fields: Mapping[str, Any]
    room: str = ""
    origin: str = ""


Event: TypeAlias = (
    Welcome | LoginRequired | RoomJoined | RoomLeft | Ack | PrivateMessage
    | Delivered | NickSet | MemberJoined | MemberLeft | PresenceSummary | NickChanged | MemberList
    | RoomList | BanList | TopicEvent | HistoryPage | Notice | ErrorReply | NoticeLines | Pong
    | Goodbye | OwnEvent
)  # fmt: skip
