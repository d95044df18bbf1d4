"""Joins secrets that a stream brings in pieces, for a tap. Pure.

A service without messages, as ``netidle --upstream``, shows each read by itself: ``PASS sec`` and
``ret`` would both be shown. So what may be the beginning of a secret is held back until its line,
command or JSON value ends, and at most :data:`MOST_HELD_BACK` bytes. All else is shown at once.
"""

from __future__ import annotations

import re

from twisted_net.web.admin.redaction import HIDDEN

MOST_HELD_BACK = 4096
"""Bytes that are held back. Passwords and cookies are shorter, as a rule; browsers allow a cookie
of this size (RFC 6265, 6.1)."""

_WORDS = (
    *(b"PASS", b"AUTH", b"HELLO", b"AUTHORIZATION", b"PROXY-AUTHORIZATION", b"COOKIE"),
    *(b"SET-COOKIE", b"X-API-KEY", b"X-AUTH-TOKEN"),
)
"""Those before the secrets that :mod:`~twisted_net.web.admin.redaction` hides in lines."""

_BEHIND_A_WORD = (b"", b" ", b"\t", b":")

_JSON = (b"{", b"[", b'"')
_JSON_END = (b"}", b"]")

# A header may go on in the next line, which begins with a blank.
_OPEN_HEADER = re.compile(
    rb"(?im)^(?:(?:Proxy-)?Authorization|Cookie|Set-Cookie|X-Api-Key|X-Auth-Token)[ \t]*:"
    rb"(?:[^\r\n]|\r?\n[ \t])*\r?\n?\Z"
)
_COMMAND = re.compile(rb"(?m)^\*(\d{1,4})\r\n")
_COMMAND_BEGINS = re.compile(rb"\*\d{0,4}\r?\Z")
_ARGUMENT = re.compile(rb"\$(\d{1,9})\r\n")
_ARGUMENT_BEGINS = re.compile(rb"\$?\d{0,9}\r?\Z")
_AUTH = re.compile(rb"(?i)\$4\r\nAUTH\r\n")


class SplitSecrets:
    """One direction of a stream."""

    def __init__(self) -> None:
        self._held = b""
        self._hides_line = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return what may be shown now, each piece with whole secrets or none."""
        if self._hides_line:
            end = data.find(b"\n")
            if end < 0:
                return []
            self._hides_line, data = False, data[end:]
        data, self._held = self._held + data, b""
        start = _unfinished(data)
        if len(data) - start <= MOST_HELD_BACK:
            self._held = data[start:]
            return [data[:start]] if start else []
        if _is_secret(data[start:]):
            self._hides_line = True
            hidden = f"{HIDDEN} ({len(data) - start} bytes, and the rest of the line)".encode()
            return [data[:start], hidden] if start else [hidden]
        # A long JSON value, or command: what is shown ends before its last part.
        comma = data.rfind(b",", len(data) - MOST_HELD_BACK)
        start = comma if comma > 0 and data[start : start + 1] in _JSON else len(data)
        self._held = data[start:]
        return [data[:start]]

    def flush(self) -> list[bytes]:
        """Return what was held back, because nothing more comes."""
        held, self._held = self._held, b""
        return [held] if held else []


def _unfinished(data: bytes) -> int:
    """Return where something begins that has not ended, and may have a secret; else the end."""
    line = data.rfind(b"\n") + 1
    header = _OPEN_HEADER.search(data)
    return min(
        line if _may_begin_a_secret(data[line:]) else len(data),
        len(data) if header is None else header.start(),
        _unfinished_command(data, line),
    )


def _may_begin_a_secret(line: bytes) -> bool:
    line = line.strip(b" \t\r")
    if line[:1] in _JSON:
        return line[-1:] not in _JSON_END
    return bool(line) and (_has_word(line) or any(w.startswith(line.upper()) for w in _WORDS))


def _has_word(line: bytes) -> bool:
    start = line[:32].upper()
    return any(
        start.startswith(word) and start[len(word) : len(word) + 1] in _BEHIND_A_WORD
        for word in _WORDS
    )


def _is_secret(data: bytes) -> bool:
    """Return whether what is too long to be held back has a secret, and no JSON around it."""
    return _AUTH.search(data) is not None or _has_word(data.lstrip(b" \t"))


def _unfinished_command(data: bytes, line: int) -> int:
    """Return where a command of Redis begins whose arguments have not all come; else the end.

    :param line: where the last line begins.
    """
    if _COMMAND_BEGINS.match(data, line):
        return line
    start = max((each.start() for each in _COMMAND.finditer(data)), default=-1)
    if start < 0:
        return len(data)
    head = _COMMAND.match(data, start)
    assert head is not None
    place = head.end()
    for _ in range(int(head[1])):
        argument = _ARGUMENT.match(data, place)
        if argument is None:
            return start if _ARGUMENT_BEGINS.match(data, place) else len(data)
        place = argument.end() + int(argument[1]) + 2
        if place > len(data):
            return start
    return len(data)
