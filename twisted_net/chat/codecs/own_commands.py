"""The commands of an application: functions whose parameters are the arguments of a command.

``def dice(user, sides: int = 6)`` is ``/dice [SIDES]`` in the text form, and ``{"type": "dice",
"sides": 6}`` in the JSON form. The first line of its docstring is its help.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from twisted_net.chat.codecs.json_requests import REQUESTS, JsonRequest, optional, raw, read_field
from twisted_net.chat.codecs.text_commands import COMMANDS, Command
from twisted_net.chat.messages import CallCommand, Request
from twisted_net.wire.text import is_blank

RESERVED_TYPES = frozenset((
    "welcome", "joined", "left", "message", "ack", "private", "nick", "who", "rooms", "bans",
    "topic", "history", "presence", "notice", "ping", "pong", "error", "goodbye",
))  # fmt: skip
"""The types of the messages that the server sends itself."""

_NAME = re.compile("[a-z][a-z0-9_-]{0,23}")
_TAKEN = ("type", "id", "room")  # fields that every request may have

_WHOLE = re.compile("[+-]?[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")
_TRUTH = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def _whole(word: str) -> int:
    if _WHOLE.fullmatch(word):
        return int(word)
    raise ValueError


def _decimal(word: str) -> float:
    if _DECIMAL.fullmatch(word):
        return float(word)
    raise ValueError


def _truth(word: str) -> bool:
    if word.lower() in _TRUTH:
        return _TRUTH[word.lower()]
    raise ValueError


_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _whole,
    "float": _decimal,
    "bool": _truth,
}
"""Reads a word of the text form, by the name of the parameter's type; may raise ValueError."""


def own_tables(
    functions: Iterable[Callable[..., object]],
) -> tuple[dict[str, Command], dict[str, JsonRequest]]:
    """Return the commands of the text form, and the requests of the JSON form, of functions.

    :raises ValueError: a function cannot be a command; the text says why.
    """
    commands: dict[str, Command] = {}
    requests: dict[str, JsonRequest] = {}
    for function in functions:
        name = getattr(function, "__name__", "")
        if not callable(function) or not name:
            raise ValueError(f"commands: {function!r} is not a function")
        try:
            if name in requests:
                raise ValueError("there are two commands of this name")
            own = _Own(name, function)
        except ValueError as error:
            raise ValueError(f"commands: {name}: {error}") from None
        commands[f"/{name}"] = own.command()
        requests[name] = own.from_json
    return commands, requests


class _Own:
    """A command of an application."""

    def __init__(self, name: str, run: Callable[..., object]) -> None:
        _check_name(name)
        self._name = name
        self._run = run
        self._parameters = _parameters(run)
        self._help = (inspect.getdoc(run) or "").strip()
        if not self._help:
            raise ValueError("it needs a docstring, whose first line is shown by /help")

    def command(self) -> Command:
        """Return the row for the table of the text form."""
        shown = [f"/{self._name}"]
        for name, (_, is_optional) in self._parameters.items():
            shown.append(f"[{name.upper()}]" if is_optional else name.upper())
        first, _, more = self._help.partition("\n")
        first = first[:1].lower() + first[1:].removesuffix(".")
        return Command(" ".join(shown), first, self._from_text, " ".join(more.split()))

    def _from_text(self, rest: str) -> Request | None:
        """Read the arguments: one word each, and the rest of the line for a text at the end."""
        arguments: dict[str, Any] = {}
        names = list(self._parameters)
        for name, (kind, is_optional) in self._parameters.items():
            if kind == "str" and name == names[-1]:
                word, rest = rest.strip(), ""
            else:
                word, _, rest = rest.strip().partition(" ")
            if not is_blank(word):
                arguments[name] = _READ[kind](word)
            elif not is_optional:
                return None
        return None if rest.strip() else CallCommand(self._name, self._run, arguments)

    def from_json(self, message: dict[str, Any]) -> Request:
        """Return the request of a JSON message.

        :raises RequestError: ``missing`` or ``bad-field``.
        """
        arguments = {
            name: read_field(message, name, kind)
            for name, (kind, is_optional) in self._parameters.items()
            if not is_optional or message.get(name) is not None
        }
        return CallCommand(self._name, self._run, arguments, optional(raw, message, "room") or "")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("a name has lower-case letters, digits, - and _, at most 24")
    if f"/{name}" in COMMANDS:
        raise ValueError("the chat has a command of this name already")
    if name in REQUESTS or name in RESERVED_TYPES:
        raise ValueError("the chat has a message of this type already")


def _parameters(function: Callable[..., object]) -> dict[str, tuple[str, bool]]:
    """Return the kind of each parameter after the user, and whether it is optional."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise ValueError("its first parameter must be the user")
    found: dict[str, tuple[str, bool]] = {}
    for each in parameters[1:]:
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise ValueError(f"{each.name} must be a parameter that can be named")
        if each.name in _TAKEN:
            raise ValueError(f"a parameter cannot be called {each.name}")
        # Not evaluated: a program may import the types in its annotations for type checkers only.
        kind = each.annotation if isinstance(each.annotation, str) else _type_name(each.annotation)
        kind = kind.removesuffix(" | None")
        if kind not in _READ:
            raise ValueError(f"{each.name} must be annotated as str, int, float or bool")
        is_optional = each.default is not each.empty
        if not is_optional and any(before for _, before in found.values()):
            raise ValueError(f"{each.name} must come before the parameters that have defaults")
        found[each.name] = kind, is_optional
    return found


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
