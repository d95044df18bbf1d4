"""What people ask of the chat, and what it tells them: the same things in every form.

A request comes from one connection; an event goes to one or to many. :mod:`commands` and
:mod:`forms` turn text and JSON into requests, and events into text and JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from twisted_net.policy.close_reasons import CloseReason
from twisted_net.store.log import Position, StoredMessage


class RequestError(Exception):
    """A request cannot be granted.

    :ivar code: short and stable, for programs.
    :ivar text: a sentence for people.
    :ivar field: what is wrong in a program's message; may be empty.
    :ivar id: that the program gave its message; may be empty.
    """

    def __init__(self, code: str, text: str, field: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.field = field
        self.id = ""


# Requests. A room of "" is the one that somebody in the text form talks in.


@dataclass(frozen=True, slots=True)
class Hello:
    """A program introduces itself; ``session`` is what an earlier welcome gave it."""

    nick: str = ""
    room: str = ""
    account: str = ""
    password: str = ""
    session: str = ""

    def __repr__(self) -> str:  # whatever happens, no password stands in a log
        return f"Hello({self.nick!r}, {self.account!r})"


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody says whose account this is."""

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
    """Somebody may not come in, under this name or account, for some minutes; none lifts it."""

    nick: str
    minutes: int = 60
    text: str = ""


@dataclass(frozen=True, slots=True)
class Mute:
    """Somebody may not speak for some minutes; none lifts it."""

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
    """The answer to a ping, whoever has sent that: a request of a program's, and an event to it."""


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Request: TypeAlias = (
    Hello | Login | Join | Leave | SendMessage | SendPrivate | Nick | Who | Rooms | Topic | History
    | Ignore | Kick | Ban | Mute | Help | Ping | Pong | Quit
)  # fmt: skip


# Events.


@dataclass(frozen=True, slots=True)
class Welcome:
    """Somebody may talk now; ``room`` is where, for those who did not say it themselves."""

    nick: str
    room: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class LoginRequired:
    """Nobody is let in without an account."""


@dataclass(frozen=True, slots=True)
class RoomJoined:
    """The reader is in a room, at a position of its log.

    :ivar recovered: whether everything after the ``since`` of the request follows; None where
        there was none.
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
    """A private message, to the one that it is for."""

    sender: str
    text: str
    time: float
    action: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """A private message has been passed on; to its sender."""

    to: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class NickSet:
    """The reader has this name now."""

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
    """So many have come (``join``) or gone (``leave``) that they are only counted."""

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
    """The rooms, each with how many are in it and its topic."""

    rooms: Sequence[tuple[str, int, str]]
    count: int


@dataclass(frozen=True, slots=True)
class TopicEvent:
    room: str
    topic: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a room's log, the oldest first.

    :ivar more: whether the log has something before it.
    :ivar asked: whether it was asked for, or is shown on joining.
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
    """A request was refused.

    :ivar id: of the message that was refused; may be empty.
    """

    code: str
    text: str
    field: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class NoticeLines:
    """Several notices, for people."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Goodbye:
    reason: CloseReason


Event: TypeAlias = (
    Welcome | LoginRequired | RoomJoined | RoomLeft | Ack | PrivateMessage
    | Delivered | NickSet | MemberJoined | MemberLeft | PresenceSummary | NickChanged | MemberList
    | RoomList | TopicEvent | HistoryPage | Notice | ErrorReply | NoticeLines | Pong | Goodbye
)  # fmt: skip
