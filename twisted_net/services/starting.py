"""A start that fails: one line that names the flag, exit status 1, and no traceback."""

from __future__ import annotations

import atexit
import os
import re
import sys
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IReactorCore

from twisted_net.transport.listening import ListenerService, ListenFailed


# twistd lets a SystemExit through, which Python ends with its line and status 1. As an Exception
# it first has twistd remove its pid file, and tell the parent of a daemon.
class StartError(SystemExit, Exception):
    """The service cannot start; the one line that its user is to see."""

    def show(self) -> StartError:
        """Show the line now: by this time the log has taken standard error over."""
        print(self, file=sys.__stderr__, flush=True)
        self.code = 1
        return self


def fail_late(reactor: IReactorCore, line: str) -> None:
    """End a start that turned out to be impossible after the reactor began to run.

    Nothing that is raised within the reactor reaches twistd, and its exit status would be 0.
    """
    print(line, file=sys.__stderr__, flush=True)
    atexit.register(_exit_with_failure)
    reactor.stop()


def _exit_with_failure() -> None:
    sys.stdout.flush()
    os._exit(1)


_PLAINLY = (
    (re.compile(r"required positional arguments?: (.*)"), "{} is missing"),
    (re.compile(r"unexpected keyword argument (.*)"), "{} is not known here"),
    (re.compile(r"takes .* positional arguments? but"), "there is a part too many"),
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), "{} is not a number"),
)


def plainly(error: BaseException) -> str:
    """Say what is wrong with an endpoint, which tells it by whatever its parser stumbled over."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, SSL.Error | crypto.Error) and error.args:
        return "OpenSSL: " + "; ".join(str(entry[-1]) for entry in error.args[0])
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, sentence in _PLAINLY:
        found = pattern.search(text)
        if found:
            return sentence.format(*found.groups())
    return text


class NamedService(ListenerService):
    """A listening service whose start fails as its user expects, under the service's name."""

    def __init__(self, command: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.command = command

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except ListenFailed as error:
            raise self._start_error(error) from None

    def startService(self) -> None:
        try:
            super().startService()
        except ListenFailed as error:
            raise self._start_error(error) from None

    def listen_failed_late(self, failure: ListenFailed) -> None:
        from twisted.internet import reactor

        fail_late(reactor, f"{self.command}: {failure}")

    def _start_error(self, error: ListenFailed) -> StartError:
        return StartError(f"{self.command}: {error}").show()
