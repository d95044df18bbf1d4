"""The token of the operator's view, in a file that may change while the server runs."""

from __future__ import annotations

import os

from twisted.logger import Logger

LEAST_TOKEN, MOST_TOKEN = 16, 1024
"""Bytes. ``openssl rand -hex 16`` makes 32."""

_log = Logger()


class TokenError(ValueError):
    """A token file cannot be used. The text says why."""


class TokenFile:
    """Reads a token, again whenever its file has changed. What cannot be used leaves the old token.

    :param path: its first line is the token.
    :raises TokenError: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # twistd changes directories
        self._seen = self._stamp()
        self._token = _read(self.path)

    def token(self) -> bytes:
        """Return the token."""
        seen = self._stamp()
        if seen != self._seen:
            self._seen = seen
            try:
                self._token = _read(self.path)
            except TokenError as error:
                _log.error("The token stays as it was: {path}: {why}", path=self.path, why=error)
            else:
                _log.info("{path}: the token was read again", path=self.path)
        return self._token

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.path)
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: str) -> bytes:
    try:
        # Without O_NONBLOCK, a FIFO that nobody writes to would block the server.
        with open(
            path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
        ) as file:
            lines = (file.read(MOST_TOKEN + 2) or b"").splitlines()
    except OSError as error:
        raise TokenError(str(error.strerror)) from None
    token = lines[0].strip() if lines else b""
    check_token(token, "its first line ")
    return token


def check_token(token: bytes, what: str = "") -> None:
    """Check that a token can be used.

    :param what: what has it, for the error.
    :raises TokenError: it cannot.
    """
    if len(token) < LEAST_TOKEN:
        raise TokenError(f"{what}must have at least {LEAST_TOKEN} characters")
    if len(token) > MOST_TOKEN:
        raise TokenError(f"{what}must have at most {MOST_TOKEN} characters")
    if not token.isascii() or b" " in token:
        raise TokenError(f"{what}must be ASCII, without spaces")
