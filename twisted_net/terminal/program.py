"""What the command ``netchat-client`` starts."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogBeginner

from twisted_net.terminal.flags import ClientSettings, parse_flags
from twisted_net.wire.text import printable

NAME = "netchat-client"

NEEDS_EXTRA = (
    "in a terminal, this program needs prompt_toolkit: pip install 'twisted_net[client]'. "
    "In a pipe, and with --listen, it works without"
)

DUMB_TERMINALS = ("", "dumb", "unknown")
"""Values of ``TERM`` that say that the cursor cannot be moved."""

IS_DUMB = (
    "the variable TERM says that this terminal cannot move its cursor. With --listen, or in a "
    "pipe, this program works all the same"
)

IS_CLOSED = "--listen: the standard output is closed"

LONGEST_PASSWORD = 4096
"""Bytes of the first line of a password's file."""


class _Impossible(Exception):
    """The program cannot start. The text says why."""


def run_program(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    :return: its exit status: 0, 1 for a failure, 2 for a wrong command line, 128 and the number of
        the signal that has ended it.
    """
    is_writable = sys.stdout is not None
    open_standard_streams()
    settings = parse_flags(arguments)
    is_piped = settings.listen or not (sys.stdin.isatty() and sys.stdout.isatty())
    try:
        if settings.listen and not is_writable:
            raise _Impossible(IS_CLOSED)
        if not is_piped and find_spec("prompt_toolkit") is None:
            raise _Impossible(NEEDS_EXTRA)
        if not is_piped and os.environ.get("TERM", "") in DUMB_TERMINALS:
            raise _Impossible(IS_DUMB)
        password = find_password(settings) if settings.user else ""
    except _Impossible as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    return _run(settings, password, is_piped)


def open_standard_streams() -> None:
    """Open ``/dev/null`` for each standard stream that was closed when the program started.

    A closed input is then an empty one. And no socket gets the number of a standard stream, which
    lines would be read from or written to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
            setattr(sys, name, os.fdopen(null, mode))


def complain(line: str) -> None:
    """Write a line to the standard error.

    All that this program says there passes here, and a reason may be a server's own words. So it
    is cleaned here: a server must not control the terminal, nor write a second line.
    """
    print(f"{NAME}: {printable(line)}", file=sys.stderr, flush=True)


def find_password(settings: ClientSettings) -> str:
    """Return the password of the account: from its file, or from whoever is at the terminal.

    :raises _Impossible: there is none, or nobody to ask.
    """
    path = settings.password_file
    password = _password_in(path) if path else _asked_for(settings.user)
    if not password:
        raise _Impossible(f"--password-file {path}: the first line is empty" if path
                          else f"--user {settings.user}: the password is empty")  # fmt: skip
    return password


def _password_in(path: str) -> str:
    try:
        with open(path, "rb") as file:
            line = file.readline(LONGEST_PASSWORD)
    except OSError as error:
        raise _Impossible(f"--password-file {path}: {error.strerror}") from None
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise _Impossible(f"--password-file {path}: not UTF-8 text") from None


def _asked_for(user: str) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise _Impossible(
            f"--user {user}: there is no terminal to ask for the password; use --password-file"
        ) from None
    try:
        return getpass.getpass(f"Password of {user}: ")
    except UnicodeDecodeError:
        raise _Impossible(f"--user {user}: the password is not UTF-8 text") from None
    except EOFError:
        return ""


def _run(settings: ClientSettings, password: str, is_piped: bool) -> int:
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor as installed

    reactor: Any = installed
    try:
        client = _make_client(reactor, settings, password, is_piped)
    except ValueError as problem:  # it begins with the keyword of ChatClient, such as ca
        complain(f"--{problem}")
        return 1
    _log_failures(client.complain)
    ends: list[int] = []

    def start() -> None:
        running = Deferred.fromCoroutine(_supervised(client))
        running.addCallback(ends.append).addBoth(lambda _: reactor.stop())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, signalled, number, running)

    def signalled(number: signal.Signals, running: Deferred[int]) -> None:
        ends.append(128 + number)
        running.cancel()

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    if client.problem:
        complain(client.problem)
    return ends[0]


def _make_client(reactor: Any, settings: ClientSettings, password: str, is_piped: bool) -> Any:
    """Return the client for a pipe or for a terminal.

    :raises ValueError: a setting of TLS cannot be used.
    """
    if is_piped:
        from twisted_net.terminal.piped import PipedClient

        return PipedClient(reactor, settings, password, complain)
    from twisted_net.terminal.interactive import InteractiveClient
    from twisted_net.terminal.screen import TerminalScreen

    return InteractiveClient(reactor, settings, password, TerminalScreen())


async def _supervised(client: Any) -> int:
    try:
        status: int = await client.run()
    except CancelledError:
        return 1  # a signal, whose number counts
    except Exception:
        _complain_of(traceback.format_exc(), complain)
        return 1
    return status


def _complain_of(trace: str, say: Callable[[str], None]) -> None:
    """Say a traceback, which has several lines."""
    for line in f"failed: {trace}".splitlines():
        say(line)


def _log_failures(say: Callable[[str], None]) -> None:
    """Let failures that nothing has caught be said. Twisted would print them over the screen."""

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if event["log_level"] >= LogLevel.critical and failure is not None:
            _complain_of(failure.getTraceback(), say)

    globalLogBeginner.beginLoggingTo(
        [cast(ILogObserver, observe)], discardBuffer=True, redirectStandardIO=False
    )


if __name__ == "__main__":
    sys.exit(run_program())
