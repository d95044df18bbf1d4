"""What a line that the user has typed means, and how a word of it can be completed.

The commands are those that the server knows in its text form, for ``nc``. So both are typed alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twisted_net.chat import names
from twisted_net.chat.codecs.text_commands import COMMANDS, help_lines, parse_command
from twisted_net.chat.messages import Login, Request, RequestError, SendMessage
from twisted_net.terminal.chat_view import ChatView
from twisted_net.wire.text import is_blank, printable, strip_invisible

LOGIN_ADVICE = "To log in, start netchat-client with --user NAME: it asks for the password."

MSG_HELP = "/msg NAME: talk to somebody alone. What you type goes there until you turn elsewhere."

KEYS_HELP = (
    "Alt-Up and Alt-Down turn to another room or person, as /join does.",
    "Tab completes commands, #rooms and names. Up and Down show what you typed before.",
    "Ctrl-C clears the line. On an empty line, it leaves the chat, and so does Ctrl-D.",
)
"""What ``/help`` says besides the commands."""

_TAKE_ROOMS = ("/join", "/leave", "/who")
_TAKE_NAMES = ("/msg", "/ignore", "/unignore", "/kick", "/ban", "/mute", "/unban")


class TalkTo:
    """The user turns to a person, with ``/msg NAME``."""

    def __init__(self, nick: str) -> None:
        self.nick = nick


def parse_typed(text: str) -> Request | TalkTo | None:
    """Return what a typed line asks for; None if nothing is in it.

    :raises RequestError: it is a command that does not exist or is used wrongly, or has a password,
        which everybody could read on the screen.
    """
    line = printable(text)
    if is_blank(line):
        return None
    words = strip_invisible(line).split()
    if words[0].lower() == "/login":
        raise RequestError("not-secret", LOGIN_ADVICE)
    if not line.startswith("/"):
        return SendMessage(line)
    if words[0].lower() == "/msg" and len(words) == 2:
        return TalkTo(words[1].removeprefix("@"))
    request = parse_command(line)
    assert not isinstance(request, Login)
    return request


def help_text(word: str) -> list[str]:
    """Return the lines of ``/help``, or those about one command.

    :raises RequestError: there is no such command.
    """
    lines = [line for line in help_lines(word, operator=True) if not line.startswith("/login")]
    if not word:
        return [*lines, *KEYS_HELP]
    if word.lower().lstrip("/") == "login":
        return [LOGIN_ADVICE]
    return [*lines, MSG_HELP] if word.lower().lstrip("/") == "msg" else lines


def pasted_lines(text: str) -> list[str]:
    """Return the lines of a pasted text that have something in them."""
    lines = [printable(each) for each in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return [each for each in lines if not is_blank(each)]


def completions(before: str, view: ChatView) -> Iterator[tuple[str, str]]:
    """Return what the word before the cursor may become: the word as typed, and its completion."""
    place = before.rfind(" ") + 1
    word, command = before[place:], before.split(" ", 1)[0].lower()
    if place == 0 and word.startswith("/"):
        for each in _starting(word, (each for each in COMMANDS if each != "/login")):
            yield word, f"{each} "
        return
    if word.startswith("#") or command in _TAKE_ROOMS:
        bare = word.removeprefix("#")
        mark = "#" if word.startswith("#") else ""
        for each in _starting(bare, view.rooms):
            yield word, f"{mark}{each} "
        return
    if command.startswith("/") and command not in (*_TAKE_NAMES, "/me"):
        return
    if not word:
        return
    mark = "@" if word.startswith("@") else ""
    after = ": " if place == 0 and not mark else " "
    for each in _starting(word.removeprefix("@"), known_names(view)):
        yield word, f"{mark}{each}{after}"


def known_names(view: ChatView) -> set[str]:
    """Return the names of others: of those in the room in front, and of those spoken with."""
    found = {each.name for each in view.conversations.values() if not each.is_room}
    if view.current:
        found |= view.conversations[view.current].members
    return {each for each in found if names.fold(each) != names.fold(view.nick)}


def _starting(word: str, candidates: Iterable[str]) -> list[str]:
    key = names.fold(word)
    return sorted((each for each in candidates if names.fold(each).startswith(key)), key=names.fold)
