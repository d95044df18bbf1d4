"""What the state of a client tells the client to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send a message to the server."""

    message: JsonObject


@dataclass(frozen=True, slots=True)
class Deliver:
    """Pass a message of the server to the program."""

    message: JsonObject


@dataclass(frozen=True, slots=True)
class Acked:
    """The server has stored a message of the client. ``offset`` is 0 for a private message."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A message of the client was refused, or will not be answered."""

    id: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class GapDetected:
    """Some messages of a room may be lost; they cannot be recovered."""

    room: str


@dataclass(frozen=True, slots=True)
class RoomEntered:
    """The client is in a room now."""

    room: str


@dataclass(frozen=True, slots=True)
class RoomRefused:
    """The server does not let the client into a room, or the client has left it."""

    room: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Call :meth:`ClientState.ask_again` after a pause, which grows with ``attempt``."""

    room: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AskNameAgain:
    """Call :meth:`ClientState.ask_name_again` after a pause, which grows with ``attempt``."""

    attempt: int


@dataclass(frozen=True, slots=True)
class HelloRefused:
    """The server does not let the client in. ``for_good``: it would refuse the same hello again."""

    code: str
    text: str
    for_good: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The server has answered a request of the program."""

    id: str
    message: JsonObject


Output: TypeAlias = (
    SendRequest | Deliver | Acked | SendFailed | GapDetected | RoomEntered | RoomRefused | AskAgain
    | AskNameAgain | HelloRefused | Answered
)  # fmt: skip
