"""Parses the JSON messages of programs. It checks each field and names it in the error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from types import MappingProxyType
from typing import Any, TypeAlias

from twisted_net.chat.limits import LONGEST_ID
from twisted_net.chat.messages import (
    Ban,
    Bans,
    Hello,
    Help,
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

_lenient = json.JSONDecoder(strict=False)
_NAME = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_COMMA = re.compile(r"\s*,")

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
        raise RequestError("bad-json", f"The object has the field {name} twice.", name) from None
    except ValueError as error:
        raise RequestError("bad-json", f"The line is not valid JSON: {_why(error)}.") from None
    if not isinstance(message, dict):
        raise RequestError("bad-json", "A message must be a JSON object.")
    return message


def _why(error: ValueError) -> str:
    """Return what is wrong with a line, without the words of Python's parser."""
    if isinstance(error, JSONDecodeError):
        return f"it goes wrong at character {error.pos + 1}"
    if "digits" in str(error):  # sys.get_int_max_str_digits()
        return "a number has too many digits"
    return _plain(str(error))


def read_id(line: bytes) -> str:
    """Return the id in a line that may not be valid, or may be cut off.

    It reads the fields of the object one after another, up to the first that is wrong.

    :return: empty if there is no id before that, or if there are two of them.
    """
    # A surrogate stands for a byte that is not UTF-8. No id may contain one.
    text = line.decode(errors="surrogateescape").strip().lstrip("\ufeff")
    ids: list[dict[str, Any]] = []
    position = int(text.startswith("{"))
    while position and (name := _NAME.match(text, position)):
        try:
            value, end = _lenient.raw_decode(text, name.end())
        except (ValueError, RecursionError):
            break
        if _lenient.decode(name[1]) == "id":
            ids.append({"id": value})
        comma = _COMMA.match(text, end)
        position = comma.end() if comma else 0
    return id_of(ids[0]) if ids and all(each == ids[0] for each in ids) else ""


def id_of(message: dict[str, Any]) -> str:
    """Return the id of a message; empty if there is none, or none that can be sent back."""
    id = message.get("id")
    return id if isinstance(id, str) and len(id) <= LONGEST_ID and printable(id) == id else ""


def parse_request(
    message: dict[str, Any], own: Mapping[str, JsonRequest] = MappingProxyType({})
) -> Request:
    """Return the request of a message. Unknown fields are ignored. The id is checked here.

    :param own: the requests of the application, by type.
    :raises RequestError: ``missing``, ``bad-field`` or ``unknown-type``, with the field.
    """
    kind = raw(message, "type")
    make = REQUESTS.get(kind) or own.get(kind)
    if make is None:
        raise RequestError("unknown-type", f"There is no type {_plain(kind)}.", "type")
    if message.get("id") is not None and not id_of(message):
        raise bad_field("id", f"a string of 1 to {LONGEST_ID} printable characters")
    return make(message)


def bad_field(field: str, wanted: str) -> RequestError:
    """Return the error for a field that has a wrong value. ``wanted`` says what it must be."""
    return RequestError("bad-field", f"{field} must be {wanted}.", field)


def _present(message: dict[str, Any], field: str) -> Any:
    value = message.get(field)
    if value is None:
        raise RequestError("missing", f"{field} is missing.", field)
    return value


def _text(message: dict[str, Any], field: str) -> str:
    """Return a text field as one printable line."""
    text = raw(message, field)
    if not text.isprintable():  # true for most
        text = printable(text.replace("\r\n", " ").replace("\n", " ").replace("\r", " "))
    if is_blank(text):
        raise RequestError("bad-field", f"{field} must have a visible character.", field)
    return text


def raw(message: dict[str, Any], field: str) -> str:
    """Return a string as it was sent.

    :raises RequestError: ``missing`` or ``bad-field``.
    """
    value = message.get(field)
    if isinstance(value, str):
        return value
    _present(message, field)
    raise bad_field(field, "a string")


def optional(
    read: Callable[[dict[str, Any], str], Any], message: dict[str, Any], field: str
) -> Any:
    """Read an optional field. Return None if it is missing or null."""
    return None if message.get(field) is None else read(message, field)


def _number(message: dict[str, Any], field: str) -> int:
    value = _present(message, field)
    # In Python, True is an int.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise bad_field(field, f"a whole number from 0 to {_MOST}")
    return value


def _flag(message: dict[str, Any], field: str) -> bool:
    value = message.get(field, False)
    if not isinstance(value, bool):
        raise bad_field(field, "true or false")
    return value


def read_field(message: dict[str, Any], field: str, kind: str) -> Any:
    """Return a field of an application's request.

    :param kind: ``str``, ``int``, ``float`` or ``bool``.
    :raises RequestError: ``missing`` or ``bad-field``.
    """
    value = _present(message, field)
    if kind == "str":
        return _text(message, field)
    if kind == "bool":
        return _flag(message, field)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -_MOST <= value <= _MOST:
        raise bad_field(field, "a whole number" if kind == "int" else "a number")
    if kind == "int" and not isinstance(value, int):
        raise bad_field(field, "a whole number")
    return float(value) if kind == "float" else value


def _position(message: dict[str, Any], field: str) -> Position:
    value = message[field]
    if not isinstance(value, dict):
        raise bad_field(field, "an object with epoch and offset")
    try:
        return Position(raw(value, "epoch"), _number(value, "offset"))
    except RequestError as error:
        where = f"{field}.{error.field}"
        text = error.text.replace(error.field, where, 1)
        raise RequestError(error.code, text, where) from None


def _hello(message: dict[str, Any]) -> Hello:
    fields = ("nick", "room", "user", "password", "session")
    return Hello(*(optional(raw, message, field) or "" for field in fields))


def _say(message: dict[str, Any]) -> SendMessage:
    return SendMessage(
        _text(message, "text"),
        raw(message, "room"),
        _flag(message, "action"),
        message.get("id") or "",
    )


def _topic(message: dict[str, Any]) -> Topic:
    topic = optional(raw, message, "topic")
    if topic is not None:
        topic = "-" if is_blank(topic) else printable(topic)
    return Topic(raw(message, "room"), topic)


def _why_told(message: dict[str, Any]) -> str:
    return printable(optional(raw, message, "text") or "")


def _minutes(message: dict[str, Any], otherwise: int) -> int:
    minutes = optional(_number, message, "minutes")
    return otherwise if minutes is None else min(minutes, 10**8)


JsonRequest: TypeAlias = Callable[[dict[str, Any]], Request]
"""Makes the request of a JSON message; raises RequestError."""

REQUESTS: dict[str, JsonRequest] = {
    "hello": _hello,
    "login": lambda m: Login(raw(m, "user"), raw(m, "password")),
    "join": lambda m: Join(raw(m, "room"), optional(_position, m, "since")),
    "leave": lambda m: Leave(raw(m, "room")),
    "message": _say,
    "private": lambda m: SendPrivate(raw(m, "to"), _text(m, "text"), m.get("id") or ""),
    "nick": lambda m: Nick(raw(m, "nick")),
    "who": lambda m: Who(raw(m, "room")),
    "rooms": lambda m: Rooms(),
    "topic": _topic,
    "history": lambda m: History(
        raw(m, "room"), optional(_number, m, "before"), optional(_number, m, "limit")
    ),
    "kick": lambda m: Kick(raw(m, "nick"), _why_told(m)),
    "ban": lambda m: Ban(raw(m, "nick"), _minutes(m, 60), _why_told(m)),
    "bans": lambda m: Bans(),
    "unban": lambda m: Ban(raw(m, "nick"), 0),
    "mute": lambda m: Mute(raw(m, "nick"), _minutes(m, 10)),
    "help": lambda m: Help(optional(raw, m, "command") or ""),
    "ping": lambda m: Ping(),
    "pong": lambda m: Pong(),
    "quit": lambda m: Quit(),
}  # fmt: skip


def _plain(text: str) -> str:
    """Return a peer's text as at most 80 printable characters, for use in an error text."""
    return printable(text)[:80]
