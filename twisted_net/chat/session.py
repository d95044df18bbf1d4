"""What one person's line means: pure, so that every sentence of the chat can be read here.

A :class:`Lobby` is the one room and its people. It takes lines that are already fit for other
people's terminals and gives what is to be done about them, in order; it does nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from twisted_net.policy.closing import QUIT, Reason

ROOM = "#lobby"

LONGEST_NAME = 24
"""Characters in a name. IRC servers allow from 9 (RFC 2812) to 32."""

WHO_AT_MOST = 50
"""So many names are listed by ``/who``: a line that a terminal can still show."""

# Without the four Hangul fillers: letters to Unicode, which nobody sees.
_NAME = re.compile("(?![._-])(?:(?![\u115f\u1160\u3164\uffa0])[\\w.-])+")


@dataclass(frozen=True, slots=True)
class Reply:
    """A line to the person itself."""

    line: str


@dataclass(frozen=True, slots=True)
class Say:
    """A line to all the others in the room."""

    line: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A line to one person."""

    name: str
    line: str


@dataclass(frozen=True, slots=True)
class Rename:
    """The person has another name from now on."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The connection is to be closed."""

    reason: Reason


Action: TypeAlias = Reply | Say | Tell | Rename | Leave


class Lobby:
    """The room: who is in it, and what their lines cause."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # by their folded form: Ann and ann are one name
        self._last_guest = 0

    def __len__(self) -> int:
        """How many people are in the room."""
        return len(self._names)

    def enter(self) -> str:
        """Let a guest in, and give its name."""
        while True:
            self._last_guest += 1
            name = f"guest-{self._last_guest}"
            if name not in self._names:
                self._names[name] = name
                return name

    def leave(self, name: str) -> None:
        """Let ``name`` go; the name is free again."""
        self._names.pop(name.casefold(), None)

    def welcome(self, name: str) -> str:
        """Give the first line that a person sees."""
        return f"Welcome to the chat server! You are {name} in {ROOM}. /help lists commands."

    def receive(self, name: str, line: str) -> list[Action]:
        """Give what is to be done about a line of ``name``'s."""
        if line.startswith("//"):
            line = line[1:]
        elif line.startswith("/"):
            return self._command(name, line)
        if not line.strip():
            return []
        return [Say(f"<{name}> {line}")]

    def _command(self, name: str, line: str) -> list[Action]:
        word, _, rest = line.partition(" ")
        command = _COMMANDS.get(word.lower())
        if command is None:
            return [Reply(f"! There is no command {word}. /help lists commands.")]
        return command.run(self, name, rest.strip())

    def _help(self, name: str, rest: str) -> list[Action]:
        return [Reply(f"* {each.usage}: {each.help}") for each in _COMMANDS.values()]

    def _me(self, name: str, rest: str) -> list[Action]:
        return [Say(f"* {name} {rest}")] if rest else [_usage("/me")]

    def _msg(self, name: str, rest: str) -> list[Action]:
        to, _, text = rest.partition(" ")
        text = text.strip()
        if not text:
            return [_usage("/msg")]
        known = self._names.get(to.casefold())
        if known is None:
            return [Reply(f"! There is nobody called {to} here.")]
        return [Tell(known, f"* {name} tells you: {text}"), Reply(f"* You told {known}: {text}")]

    def _nick(self, name: str, rest: str) -> list[Action]:
        if not rest:
            return [_usage("/nick")]
        if len(rest) > LONGEST_NAME:
            return [Reply(f"! A name has at most {LONGEST_NAME} characters.")]
        if not _NAME.fullmatch(rest):
            return [Reply("! A name has letters and digits, and then also . _ and -")]
        if rest == name:
            return [Reply(f"* You are {name} already.")]
        folded = rest.casefold()
        if folded in self._names and folded != name.casefold():
            return [Reply(f"! The name {rest} is taken.")]
        del self._names[name.casefold()]
        self._names[folded] = rest
        return [Rename(name, rest), Reply(f"* You are {rest} now.")]

    def _ping(self, name: str, rest: str) -> list[Action]:
        return [Reply("* pong")]

    def _quit(self, name: str, rest: str) -> list[Action]:
        return [Leave(QUIT)]

    def _who(self, name: str, rest: str) -> list[Action]:
        shown = sorted(self._names.values(), key=str.casefold)[:WHO_AT_MOST]
        more = len(self._names) - len(shown)
        listed = ", ".join(shown) + (f" and {more} more" if more else "")
        return [Reply(f"* {len(self._names)} in {ROOM}: {listed}")]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is typed, what it does, and what runs it."""

    usage: str
    help: str
    run: Callable[[Lobby, str, str], list[Action]]


_COMMANDS = {
    "/help": Command("/help", "list the commands", Lobby._help),
    "/me": Command("/me TEXT", "say what you do", Lobby._me),
    "/msg": Command("/msg NAME TEXT", "tell one person something", Lobby._msg),
    "/nick": Command("/nick NAME", "take another name", Lobby._nick),
    "/ping": Command("/ping", "see whether the server is there", Lobby._ping),
    "/quit": Command("/quit", "leave", Lobby._quit),
    "/who": Command("/who", "list who is here", Lobby._who),
}


def _usage(word: str) -> Reply:
    return Reply(f"! Usage: {_COMMANDS[word].usage}")
