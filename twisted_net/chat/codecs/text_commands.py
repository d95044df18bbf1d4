"""The commands of the text form: how to parse each into a request, and its help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from twisted_net.chat.messages import (
    Ban,
    Bans,
    Help,
    History,
    Ignore,
    Join,
    Kick,
    Leave,
    Login,
    Mute,
    Nick,
    Ping,
    Quit,
    Request,
    RequestError,
    Rooms,
    SendMessage,
    SendPrivate,
    Topic,
    Who,
)
from twisted_net.wire.numbers import parse_whole
from twisted_net.wire.text import is_blank

_MOST_TYPED = 99_999_999
"""The largest number that a command accepts. As minutes, it is 190 years."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the text form.

    :ivar usage: how to type it.
    :ivar help: what it does, in one line.
    :ivar request: parses the text after the command's word into a request; returns None, or raises
        ValueError, if the text is not valid.
    :ivar more: further help.
    :ivar operator: whether the command is for operators, and so listed to them only.
    """

    usage: str
    help: str
    request: Callable[[str], Request | None]
    more: str = ""
    operator: bool = False


def parse_command(line: str, own: Mapping[str, Command] = MappingProxyType({})) -> Request:
    """Return the request of a line that begins with a slash.

    A line that begins with two slashes is a message that begins with one.

    :param own: the commands of the application.
    :raises RequestError: ``no-command`` for an unknown command, ``usage`` for wrong arguments.
    """
    if line.startswith("//"):
        return SendMessage(line[1:])
    word, _, rest = line.partition(" ")
    command = COMMANDS.get(word.lower()) or own.get(word.lower())
    if command is None:
        raise RequestError("no-command", f"There is no command {word}. /help lists commands.")
    try:
        request = command.request(rest.strip())
    except ValueError:  # not a number
        request = None
    if request is None:
        raise RequestError("usage", f"Usage: {command.usage}")
    return request


def help_lines(
    word: str, operator: bool, own: Mapping[str, Command] = MappingProxyType({})
) -> list[str]:
    """Return the help for a command; for an empty ``word``, one line for each command.

    :param operator: whether the user is an operator.
    :param own: the commands of the application.
    :raises RequestError: ``no-command``.
    """
    if not word:
        rows = [row for _, row in sorted({**COMMANDS, **own}.items())]
        shown = [each for each in rows if operator or not each.operator]
        return [f"{each.usage}: {each.help}" for each in shown]
    word_typed = f"/{word.lower().lstrip('/')}"
    command = COMMANDS.get(word_typed) or own.get(word_typed)
    if command is None:
        raise RequestError("no-command", f"There is no command {word}. /help lists commands.")
    return [f"{command.usage}: {command.help}", *filter(None, [command.more])]


def _words(rest: str, count: int) -> list[str]:
    """Split into ``count`` parts. The last part is the whole rest; missing parts are empty."""
    parts = [part.strip() for part in rest.split(None, count - 1)]
    return parts + [""] * (count - len(parts))


def _msg(rest: str) -> Request | None:
    to, text = _words(rest, 2)
    return None if is_blank(text) else SendPrivate(to, text)


def _login(rest: str) -> Request | None:
    user, password = _words(rest, 2)
    return Login(user, password) if password else None


def _topic(rest: str) -> Request | None:
    return Topic(topic=None if is_blank(rest) else rest)


def _history(rest: str) -> Request | None:
    return History(limit=parse_whole(rest, 0, _MOST_TYPED)) if rest else History()


def _kick(rest: str) -> Request | None:
    nick, text = _words(rest, 2)
    return Kick(nick, text) if nick else None


def _ban(rest: str) -> Request | None:
    nick, minutes, text = _words(rest, 3)
    return Ban(nick, _minutes(minutes, 60), text) if nick else None


def _mute(rest: str) -> Request | None:
    nick, minutes = _words(rest, 2)
    return Mute(nick, _minutes(minutes, 10)) if nick else None


def _minutes(text: str, otherwise: int) -> int:
    return parse_whole(text, 0, _MOST_TYPED) if text else otherwise


COMMANDS = {
    "/ban": Command(
        "/ban NAME [MINUTES [WHY]]", "ban someone from the chat", _ban,
        "Bans the name, the account and the address, for 60 minutes by default. NAME may be an "
        "address or a range, such as 192.0.2.0/24. See also /unban and /bans.",
        operator=True,
    ),
    "/bans": Command(
        "/bans", "list the bans", lambda rest: Bans(),
        "The last one first, each with its end, in UTC.", operator=True,
    ),
    "/help": Command("/help [COMMAND]", "list the commands, or explain one", Help),
    "/history": Command(
        "/history [COUNT]", "show earlier messages", _history,
        "The last messages of your current room. Times are UTC.",
    ),
    "/ignore": Command(
        "/ignore [NAME]", "hide the messages of someone", lambda rest: Ignore(rest),
        "Without a name, it lists the users you ignore. /unignore NAME ends it.",
    ),
    "/join": Command(
        "/join ROOM", "join a room", lambda rest: Join(rest) if rest else None,
        "You stay in your other rooms. What you type goes to the room you joined last.",
    ),
    "/kick": Command(
        "/kick NAME [WHY]", "close someone's connection", _kick,
        "The user may come back; see /ban.", operator=True,
    ),
    "/leave": Command("/leave [ROOM]", "leave a room", lambda rest: Leave(rest)),
    "/login": Command(
        "/login NAME PASSWORD", "log in to your account", _login,
        "You take the name of the account. Requires TLS, unless the server allows plain TCP.",
    ),
    "/me": Command(
        "/me TEXT", "say what you do",
        lambda rest: None if is_blank(rest) else SendMessage(rest, action=True),
        "/me waves is shown as: * ann waves",
    ),
    "/msg": Command("/msg NAME TEXT", "send a private message", _msg),
    "/mute": Command(
        "/mute NAME [MINUTES]", "stop someone from sending messages", _mute,
        "For 10 minutes by default. 0 ends it.", operator=True,
    ),
    "/nick": Command("/nick NAME", "change your name", lambda rest: Nick(rest) if rest else None),
    "/ping": Command("/ping", "check that the server answers", lambda rest: Ping()),
    "/quit": Command("/quit", "leave the chat", lambda rest: Quit()),
    "/rooms": Command("/rooms", "list the rooms", lambda rest: Rooms()),
    "/topic": Command(
        "/topic [TEXT]", "show or set the topic of the room", _topic,
        "/topic - removes the topic.",
    ),
    "/unban": Command(
        "/unban NAME", "end a ban", lambda rest: Ban(rest, 0) if rest else None,
        "NAME is what was banned, as /bans lists it; or an address.", operator=True,
    ),
    "/unignore": Command(
        "/unignore NAME", "show the messages of someone again",
        lambda rest: Ignore(rest, on=False) if rest else None,
    ),
    "/who": Command("/who [ROOM]", "list the users in a room", lambda rest: Who(rest)),
}  # fmt: skip
