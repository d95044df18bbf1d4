"""The command line of ``netchat-client``."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import idna

from twisted_net import __version__
from twisted_net.chat import names
from twisted_net.chat.messages import RequestError
from twisted_net.wire.numbers import parse_decimal, parse_port, parse_whole, shorten

PLAIN_PORT = 8080
TLS_PORT = 8443

_DESCRIPTION = "Talk in a netchat server. In a pipe, send what is read."

_EPILOG = """\
examples:
  netchat-client localhost                      talk in #lobby, on port 8080
  netchat-client -n ann -r dev -r ops tls://chat.example.org
                                                two rooms, over TLS, port 8443
  netchat-client --user ann tls://chat.example.org:443
                                                log in; asks for the password
  make 2>&1 | tail -1 | netchat-client -n builder localhost
                                                say one line in #lobby
  netchat-client --listen localhost </dev/null | grep -i help
                                                print what others say

In a pipe, each line that is read is sent as a message. The exit status is 0
only if the server has stored all of them, 1 if it has not, 2 for a wrong
command line. In a terminal, /help lists the commands.
"""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the command line asks for.

    :ivar where: what ``ChatClient`` connects to.
    :ivar shown: the same as the user wrote it.
    :ivar password_file: the file of the password; empty to ask for it.
    :ivar tls: the keywords of ``ChatClient`` about TLS.
    :ivar listen: whether to print what others say, as plain lines.
    :ivar timeout: seconds within which the server must ack a line in a pipe.
    """

    where: str | tuple[str, int]
    shown: str
    nick: str
    rooms: tuple[str, ...]
    user: str
    password_file: str
    history: int
    listen: bool
    timeout: float
    tls: dict[str, Any] = field(default_factory=dict)


def parse_flags(arguments: Sequence[str] | None = None) -> ClientSettings:
    """Parse the command line.

    :raises SystemExit: it is wrong (2), or it asks for help or the version (0).
    """
    parser = _parser()
    flags = parser.parse_args(arguments)
    try:
        return _settings(flags)
    except ValueError as error:
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    """Ends with one line, and not with the whole usage, if the command line is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _settings(flags: argparse.Namespace) -> ClientSettings:
    where, is_tls = parse_where(flags.where)
    tls: dict[str, Any] = {"tls": True} if is_tls else {}
    for name in ("ca", "cert", "key", "server_name"):
        value = getattr(flags, name)
        if value is None:
            continue
        flag = f"--{name.replace('_', '-')}"
        if not value:
            raise ValueError(f"{flag}: is empty")
        if not is_tls:
            raise ValueError(f"{flag} {shorten(value)}: is about TLS; write tls://{flags.where}")
        tls[name] = value
    if is_tls:
        _check_host(repr(shorten(flags.where)), where[0])
    if flags.server_name:
        _check_host(f"--server-name {shorten(flags.server_name)}", flags.server_name)
    if flags.password_file is not None and not flags.user:
        raise ValueError(f"--password-file {shorten(flags.password_file)}: requires --user")
    if flags.user and not (is_tls or flags.allow_plain_login or _is_here(where)):
        raise ValueError(
            f"--user {shorten(flags.user)}: the password would be sent without encryption; write "
            f"tls://{flags.where}, or add --allow-plain-login"
        )
    return ClientSettings(
        where=where,
        shown=flags.where,
        nick=_named("--nick", flags.nick, names.nick) if flags.nick else "",
        rooms=tuple(_named("--room", each, names.room) for each in flags.room or ["lobby"]),
        user=flags.user,
        password_file=flags.password_file or "",
        history=_parsed("--history", flags.history, lambda text: parse_whole(text, 0, 100)),
        listen=flags.listen,
        timeout=_parsed("--timeout", flags.timeout, lambda text: parse_decimal(text, 1, 86400)),
        tls=tls,
    )


def parse_where(text: str) -> tuple[str | tuple[str, int], bool]:
    """Parse ``[tls://]HOST[:PORT]`` or ``unix:PATH``.

    :return: what ``ChatClient`` takes, and whether it is over TLS.
    :raises ValueError: it is neither; the text says what to write.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        path = text.removeprefix("unix:").replace("\\", "\\\\").replace(":", "\\:")
        return f"unix:{path}", False
    is_tls = text.lower().startswith("tls://")
    rest = text[len("tls://") :] if is_tls else text
    # An IPv6 address has brackets if there is a port, and may have them if there is none.
    match = re.fullmatch(r"\[([^\[\]]+)\](?::(.*))?|([^:/\[\]\s]+)(?::(.*))?", rest)
    if match is None or "//" in rest:
        if rest.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.]+", rest):
            return (rest, TLS_PORT if is_tls else PLAIN_PORT), is_tls
        raise ValueError(f"{shorten(text)!r}: write [tls://]HOST[:PORT], or unix:PATH")
    host = match[1] or match[3]
    port = match[2] if match[1] else match[4]
    if port is None:
        return (host, TLS_PORT if is_tls else PLAIN_PORT), is_tls
    try:
        return (host, parse_port(port, least=1)), is_tls
    except ValueError as error:
        raise ValueError(f"{shorten(text)!r}: {error}") from None


def _check_host(what: str, name: str) -> None:
    """:raises ValueError: no certificate can be for this name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        try:
            idna.encode(name)
        except idna.IDNAError as error:
            raise ValueError(f"{what}: no valid host name ({shorten(str(error))})") from None


def _is_here(where: str | tuple[str, int]) -> bool:
    """Whether what is sent does not leave this machine."""
    if isinstance(where, str) or where[0] == "localhost":
        return True
    try:  # a name such as 127.example.org is no address
        return ipaddress.ip_address(where[0]).is_loopback
    except ValueError:
        return False


def _parsed(flag: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{flag} {shorten(text)}: {error}") from None


def _named(flag: str, text: str, parse: Callable[[str], str]) -> str:
    try:
        return parse(text)
    except RequestError as error:
        raise ValueError(f"{flag} {shorten(text)}: {error.text.rstrip('.')}") from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="netchat-client",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("where", metavar="[tls://]HOST[:PORT]", help="the server; or unix:PATH. Default port: "
        f"{PLAIN_PORT}, or {TLS_PORT} for TLS")  # fmt: skip
    add("--version", action="version", version=f"netchat-client {__version__}")
    who = parser.add_argument_group("who and where").add_argument
    who("-n", "--nick", default="", metavar="NAME", help="your name. Default: the server gives one")
    who("-r", "--room", action="append", metavar="ROOM", help="a room to join; repeatable. In a "
        "pipe, the first is spoken in. Default: lobby")  # fmt: skip
    who("--user", default="", metavar="NAME", help="log in to this account")
    who("--password-file", metavar="FILE", help="file whose first line is the password. Default: "
        "ask for it")  # fmt: skip
    who("--allow-plain-login", action="store_true", help="send the password to another machine "
        "without encryption")  # fmt: skip
    tls = parser.add_argument_group("TLS: the server's certificate is always verified").add_argument
    tls("--ca", metavar="FILE", help="trust the CAs of this PEM file, not those of the system")
    tls("--server-name", metavar="NAME", help="name to verify. Default: HOST")
    tls("--cert", metavar="FILE", help="your own certificate, if the server asks for one")
    tls("--key", metavar="FILE", help="its private key. Default: in the file of --cert")
    show = parser.add_argument_group("what is shown").add_argument
    show("--history", default="20", metavar="N", help="messages to show from before you join a "
         "room, at most 100. Default: 20")  # fmt: skip
    pipe = parser.add_argument_group("in a pipe").add_argument
    pipe("--listen", action="store_true", help="print what others say, a line each, until "
         "interrupted")  # fmt: skip
    pipe("--timeout", default="30", metavar="S", help="seconds within which the server must store "
         "a line; it may be away meanwhile. Default: 30")  # fmt: skip
    return parser
