"""Checks the messages of the server before the client uses them.

A client may meet any server: a broken one, a newer one, or one that is no chat server at all.
Unknown types and unknown fields are allowed, so that newer servers work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from twisted_net.wire.numbers import shorten

LONGEST_HEARTBEAT = 86_400.0
"""The most seconds that a server's heartbeat may be: a day. A larger one is a mistake, and a client
would not notice that such a server is gone."""

_MOST = 2**53 - 1  # the largest integer that is exact in every program (RFC 8259, section 6)
_LONGEST_NAME = 256  # of users, rooms and ids: longer than any server of today allows
_MISSING = object()

Check: TypeAlias = Callable[[Any, str], None]


class Malformed(ValueError):
    """A message of the server is not valid. The text names the field, and shows its value."""


def check_server_message(message: Any) -> dict[str, Any]:
    """Return a message of the server, if all its known fields are valid.

    :raises Malformed: a field is missing or invalid; the text names it.
    """
    if not isinstance(message, dict):
        raise Malformed(f"a message must be an object, not {_shown(message)}")
    kind = message.get("type", _MISSING)
    _text(kind, "type")
    fields = _presence_fields(message) if kind == "presence" else _MESSAGES.get(kind, {})
    _check_fields(message, kind, fields)
    return message


def _presence_fields(message: dict[str, Any]) -> dict[str, Check]:
    if message.get("event") == "nick":
        return _RENAMED
    return _COUNTED if "count" in message else _SOMEBODY


def _check_fields(message: dict[str, Any], path: str, fields: dict[str, Check]) -> None:
    for name, check in fields.items():
        is_optional = name.endswith("?")
        name = name.removesuffix("?")
        if not (is_optional and name not in message):
            check(message.get(name, _MISSING), f"{path}.{name}")


def _shown(value: Any) -> str:
    return shorten(repr(value))


def _must(path: str, what: str, value: Any) -> Malformed:
    if value is _MISSING:
        return Malformed(f"{path}: missing; it must be {what}")
    return Malformed(f"{path}: must be {what}, not {_shown(value)}")


def _text(value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise _must(path, "a string", value)


def _name(value: Any, path: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise _must(path, f"a string of 1 to {_LONGEST_NAME} characters", value)


def _flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise _must(path, "true or false", value)


def _recovered(value: Any, path: str) -> None:
    if value is not None and not isinstance(value, bool):
        raise _must(path, "true, false or null", value)


def _whole(value: Any, path: str) -> None:
    # In Python, True is an int.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise _must(path, f"a whole number from 0 to {_MOST}", value)


def _seconds(value: Any, path: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= LONGEST_HEARTBEAT:
        raise _must(path, f"a number above 0, and at most {LONGEST_HEARTBEAT:.0f} seconds", value)


def _event(value: Any, path: str) -> None:
    if not isinstance(value, str) or value not in _EVENTS:
        raise _must(path, "join, leave or nick", value)


def _message_type(value: Any, path: str) -> None:
    if value != "message":
        raise _must(path, "'message'", value)


def _list_of(check: Check) -> Check:
    def check_list(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise _must(path, "an array", value)
        for place, each in enumerate(value):
            check(each, f"{path}[{place}]")

    return check_list


def _object_of(fields: dict[str, Check]) -> Check:
    def check_object(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise _must(path, "an object", value)
        _check_fields(value, path, fields)

    return check_object


_LIMITS = ("message", "nick", "topic", "id", "rooms", "history", "recover")

_MESSAGE: dict[str, Check] = {
    "type": _message_type,
    "room": _name,
    "offset": _whole,
    "from": _name,
    "text": _text,
    "time": _text,
    "action?": _flag,
    "id?": _name,
}

_ANY: dict[str, Check] = {"id?": _name}
"""The fields of every answer: the id of what it answers."""

_EVENTS = ("join", "leave", "nick")
_PRESENCE: dict[str, Check] = {"room": _name, "event": _event}
_SOMEBODY = _PRESENCE | {"nick": _name}
_RENAMED = _SOMEBODY | {"to": _name}
_COUNTED = _PRESENCE | {"count": _whole, "nick?": _name}

_MESSAGES: dict[str, dict[str, Check]] = {
    "welcome": {
        **_ANY,
        "nick": _name,
        "session": _name,
        "server": _text,
        "heartbeat": _seconds,
        "limits": _object_of(dict.fromkeys(_LIMITS, _whole)),
    },
    "joined": {
        **_ANY,
        "room": _name,
        "epoch": _text,
        "offset": _whole,
        "members": _list_of(_name),
        "count": _whole,
        "topic": _text,
        "recovered": _recovered,
    },
    "left": {**_ANY, "room": _name},
    "message": _MESSAGE,
    "ack": {**_ANY, "room?": _name, "offset?": _whole},
    "private": {**_ANY, "from": _name, "text": _text, "time": _text, "action?": _flag},
    "nick": {**_ANY, "nick": _name},
    "who": {**_ANY, "room": _name, "members": _list_of(_name), "count": _whole},
    "rooms": {
        **_ANY,
        "rooms": _list_of(_object_of({"room": _name, "count": _whole, "topic": _text})),
        "count": _whole,
    },
    "bans": {
        **_ANY,
        "bans": _list_of(_object_of({"nick": _text, "until": _text, "from": _text, "text": _text})),
        "count": _whole,
    },
    "topic": {**_ANY, "room": _name, "topic": _text, "from?": _name},
    "history": {
        **_ANY,
        "room": _name,
        "epoch": _text,
        "messages": _list_of(_object_of(_MESSAGE)),
        "more": _flag,
    },
    "notice": {**_ANY, "text": _text},
    "ping": _ANY,
    "pong": _ANY,
    "error": {**_ANY, "code": _name, "text": _text, "field?": _text, "retry_after?": _whole},
    "goodbye": {**_ANY, "code": _name, "text": _text, "retry": _flag},
}
"""The fields of the server's messages. Those with a question mark are optional."""
