"""Parses the JSON messages of programs. It checks each field and names it in the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_net.chat.limits import LONGEST_ID
from twisted_net.chat.messages import (
    Ban,
    Bans,
    Hello,
    History,
    Join,
    Kick,
    Leave,
    Login,
    Mute,
    Nick,
    Ping,
    Pong,
    Quit,
    Request,
    RequestError,
    Rooms,
    SendMessage,
    SendPrivate,
    Topic,
    Who,
)
from twisted_net.store.log import Position
from twisted_net.wire.json_values import DuplicateName, check_depth, make_decoder
from twisted_net.wire.text import is_blank, printable

DEEPEST_REQUEST = 8
"""Maximum nesting depth of arrays and objects in a message. The known requests need two."""

# Not finite=True: a number that is too large for a float is an error of its field.
_decode = make_decoder(finite=False, unique=True, whole=True)

_MOST = 2**53 - 1  # the largest integer that is exact in every program (RFC 8259, section 6)


def decode(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line.

    :raises RequestError: ``bad-json``: the line is not a JSON object, has a value that only
        Python's parser accepts (such as ``NaN``), has a name twice, or nests too deep.
    """
    try:
        check_depth(line, DEEPEST_REQUEST)
        message = _decode(line)
    except DuplicateName as error:
        name = _plain(error.name)
        raise RequestError("bad-json", f"Not understood: {name} twice.", name) from None
    except ValueError as error:
        raise RequestError("bad-json", f"Not understood: {_plain(str(error))}.") from None
    if not isinstance(message, dict):
        raise RequestError("bad-json", "Not understood: a message is an object.")
    return message


def id_of(message: dict[str, Any]) -> str:
    """Return the id of a message; empty if there is none, or none that can be sent back."""
    id = message.get("id")
    return id if isinstance(id, str) and len(id) <= LONGEST_ID and printable(id) == id else ""


def parse_request(message: dict[str, Any]) -> Request:
    """Return the request of a message. Unknown fields are ignored.

    :raises RequestError: ``missing``, ``bad-field`` or ``unknown-type``, with the field.
    """
    kind = message.get("type")
    if not isinstance(kind, str):
        raise RequestError(
            "missing" if kind is None else "bad-field", "type: a text is needed.", "type"
        )
    make = _REQUESTS.get(kind)
    if make is None:
        raise RequestError("unknown-type", f"There is no type {_plain(kind)}.", "type")
    if "id" in message and not id_of(message):
        raise RequestError("bad-field", f"id: a text of 1 to {LONGEST_ID} characters.", "id")
    return make(message)


def _text(message: dict[str, Any], field: str) -> str:
    """Return a text field as one printable line."""
    value = _raw(message, field)
    text = printable(value.replace("\r\n", " ").replace("\n", " ").replace("\r", " "))
    if is_blank(text):
        raise RequestError("bad-field", f"{field}: there is nothing in it.", field)
    return text


def _raw(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    if value is None:
        raise RequestError("missing", f"{field}: a text is needed.", field)
    if not isinstance(value, str):
        raise RequestError("bad-field", f"{field}: it is a text.", field)
    return value


def _or(read: Callable[[dict[str, Any], str], Any], message: dict[str, Any], field: str) -> Any:
    """Read an optional field. Return None if it is missing or null."""
    return None if message.get(field) is None else read(message, field)


def _number(message: dict[str, Any], field: str) -> int:
    value = message.get(field)
    if value is None:
        raise RequestError("missing", f"{field}: a number is needed.", field)
    # In Python, True is an int.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise RequestError("bad-field", f"{field}: it is a whole number, 0 or more.", field)
    return value


def _flag(message: dict[str, Any], field: str) -> bool:
    value = message.get(field, False)
    if not isinstance(value, bool):
        raise RequestError("bad-field", f"{field}: it is true or false.", field)
    return value


def _position(message: dict[str, Any], field: str) -> Position:
    value = message[field]
    if not isinstance(value, dict):
        raise RequestError("bad-field", f"{field}: it has an epoch and an offset.", field)
    try:
        return Position(_raw(value, "epoch"), _number(value, "offset"))
    except RequestError as error:
        where = f"{field}.{error.field}"
        text = error.text.replace(error.field, where, 1)
        raise RequestError(error.code, text, where) from None


def _hello(message: dict[str, Any]) -> Hello:
    fields = ("nick", "room", "user", "password", "session")
    return Hello(*(_or(_raw, message, field) or "" for field in fields))


def _say(message: dict[str, Any]) -> SendMessage:
    return SendMessage(
        _text(message, "text"), _raw(message, "room"), _flag(message, "action"), id_of(message)
    )


def _topic(message: dict[str, Any]) -> Topic:
    topic = _or(_raw, message, "topic")
    if topic is not None:
        topic = "-" if is_blank(topic) else printable(topic)
    return Topic(_raw(message, "room"), topic)


def _minutes(message: dict[str, Any], otherwise: int) -> int:
    minutes = _or(_number, message, "minutes")
    return otherwise if minutes is None else min(minutes, 10**8)


_REQUESTS: dict[str, Callable[[dict[str, Any]], Request]] = {
    "hello": _hello,
    "login": lambda m: Login(_raw(m, "user"), _raw(m, "password")),
    "join": lambda m: Join(_raw(m, "room"), _or(_position, m, "since")),
    "leave": lambda m: Leave(_raw(m, "room")),
    "message": _say,
    "private": lambda m: SendPrivate(_raw(m, "to"), _text(m, "text"), id_of(m)),
    "nick": lambda m: Nick(_raw(m, "nick")),
    "who": lambda m: Who(_raw(m, "room")),
    "rooms": lambda m: Rooms(),
    "topic": _topic,
    "history": lambda m: History(
        _raw(m, "room"), _or(_number, m, "before"), _or(_number, m, "limit")
    ),
    "kick": lambda m: Kick(_raw(m, "nick"), printable(_or(_raw, m, "text") or "")),
    "ban": lambda m: Ban(_raw(m, "nick"), _minutes(m, 60), printable(_or(_raw, m, "text") or "")),
    "bans": lambda m: Bans(),
    "unban": lambda m: Ban(_raw(m, "nick"), 0),
    "mute": lambda m: Mute(_raw(m, "nick"), _minutes(m, 10)),
    "ping": lambda m: Ping(),
    "pong": lambda m: Pong(),
    "quit": lambda m: Quit(),
}  # fmt: skip


def _plain(text: str) -> str:
    """Return a peer's text as at most 80 printable characters, for use in an error text."""
    return printable(text)[:80]
