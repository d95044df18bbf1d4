"""Hides passwords in what a tap shows. Pure.

These are hidden: the password of ``/login`` and of a program's ``hello`` and ``login``, the secret
of a session, and the passwords of other protocols that a service may carry: ``AUTH`` of Redis and
SMTP, ``PASS`` of FTP, POP and IRC, and the headers in which HTTP has secrets. Passwords that other
protocols have elsewhere are not recognised. Those that arrive in several pieces are joined before:
see :mod:`~twisted_net.web.admin.split_secrets`.
"""

from __future__ import annotations

import re
from typing import Any

from twisted_net.wire.json_values import check_depth, encode_json, make_decoder
from twisted_net.wire.line_editing import edit_line
from twisted_net.wire.text import strip_invisible

HIDDEN = "***"
"""Stands for a secret."""

_SECRETS = {"password", "session", "token", "secret"}

_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
_DEEPEST = 64
_decode = make_decoder(finite=False, unique=True)  # of two values, the first would be forgotten

# Typed by people, so anything may stand before it.
_LOGIN = re.compile(r"(/login(?:\s+\S+)?)\s.*", re.IGNORECASE | re.DOTALL)

_COMMAND = re.compile(
    rb"(?im)^([ \t]*(?:PASS|AUTH(?:[ \t]+(?:PLAIN|LOGIN))?"
    rb"|HELLO[ \t]+\d+[ \t]+(?:SETNAME[ \t]+\S+[ \t]+)?AUTH)[ \t]+)[^\r\n]+"
)
_REDIS_AUTH = re.compile(rb"(?i)(\$4\r\nAUTH\r\n).*", re.DOTALL)
_HEADER = re.compile(
    rb"(?im)^((?:Proxy-)?Authorization|Cookie|Set-Cookie|X-Api-Key|X-Auth-Token)([ \t]*:[ \t]*)"
    rb"(?:[^\r\n]|\r?\n[ \t])+"  # a line that begins with a blank belongs to the one before
)
_ESCAPE = re.compile(rb"\\u[0-9A-Fa-f]{4}")
_JSON_SECRET = re.compile(
    rb"""(?i)(["'](?:password|session|token|secret)["']\s*:\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|[^,}\s]+)"""
)


def hide_typed_secrets(line: bytes) -> bytes:
    """Return a line of the chat without its passwords, and without what the typist has erased."""
    line = edit_line(line)
    if b"login" in line.lower():
        text = strip_invisible(line.decode(errors="replace"))
        found = _LOGIN.search(text)
        if found is not None:
            return f"{text[: found.start()]}{found[1]} {HIDDEN}".encode()
    return hide_secrets(line)


def hide_secrets(data: bytes) -> bytes:
    """Return a message without its passwords. One without any is returned as it is."""
    start = data.lstrip(_BEFORE_JSON)
    if start[:1] in (b"{", b"["):
        try:
            return _hide_in_json(data, start)
        except ValueError:
            # An escape could hide the word, and a missing quote the end of the password.
            if _ESCAPE.search(data) or _JSON_SECRET.search(data):
                return f"{HIDDEN} ({len(data)} bytes that are not sound JSON)".encode()
    data = _COMMAND.sub(rb"\1***", data)
    data = _REDIS_AUTH.sub(rb"\1***", data)
    data = _HEADER.sub(rb"\1\2***", data)
    return _JSON_SECRET.sub(rb'\1"***"', data)


def _hide_in_json(data: bytes, start: bytes) -> bytes:
    """Return a message without its passwords.

    :param start: the message from where its JSON begins.
    :raises ValueError: it is not JSON, or it has two values of the same name.
    """
    check_depth(start, _DEEPEST)
    value = _decode(start)
    hidden = _without_secrets(value)
    return data if hidden == value else encode_json(hidden)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if key.lower() in _SECRETS and each else _without_secrets(each)
            for key, each in value.items()
        }
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value
