"""Recognises peers that speak another protocol than the chat, by the first line that they send.

A web page can make a browser send a form to any port. What the browser sends, its cookies included,
must not be said in a room, and the lines of the form must not be obeyed. The first line decides:
the page cannot choose it, because it is an HTTP request line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WHAT_THIS_IS = "This port speaks the chat: lines of text, or JSON."
"""The sentence for a peer that speaks another protocol."""

TLS_RECORD = b"\x16\x03"
"""How a TLS handshake begins (RFC 8446, 5.1). It need not contain a line feed."""

# How each form of it begins (RFC 9112, 3.2).
_TARGET = rb"(?:/|\*|(?i:https?)://|[a-z]+[a-z\d+.-]*:|\S+:\d)"

# A method, a target and a version (RFC 9112, 3). RTSP, SIP and ICAP have taken the form over, and
# the preface of HTTP/2 has it on purpose (RFC 9113, 3.4).
_REQUEST = re.compile(
    rb"([!#-'*+.^_`|~\w-]+) +" + _TARGET + rb".* (HTTP|RTSP|SIP|ICAP)/\d(?:\.\d)?\s*", re.ASCII
)

_METHODS = rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|CONNECT)"
_OLD_REQUEST = re.compile(_METHODS + rb" +/\S*\s*")  # HTTP/0.9: it has no version
_CUT_REQUEST = re.compile(_METHODS + rb" +" + _TARGET)  # the end is not known

MAY_BE_REQUEST = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|CONNECT|PRI)(?: |\Z)"
    rb"|(?:G|GE|H|HE|HEA|P|PO|POS|PU|D|DE|DEL|DELE|DELET|O|OP|OPT|OPTI|OPTIO|OPTION|T|TR|TRA|TRAC"
    rb"|PA|PAT|PATC|C|CO|CON|CONN|CONNE|CONNEC|PR)\Z"
)
"""The first bytes of a connection, if they may be those of a request."""

_OTHERS = (
    ("TLS", re.compile(re.escape(TLS_RECORD))),
    ("SSH", re.compile(rb"SSH-\d")),
    ("SMTP", re.compile(rb"(?:EHLO|HELO) +\S+\s*$")),
    (
        "IRC",
        re.compile(
            rb"CAP +(?:LS|LIST|REQ|END)\b|PASS +\S+\s*$|NICK +\S+\s*$|USER +\S+ +\S+ +\S+ +\S"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A peer that does not speak the chat.

    :ivar protocol: the name of what it speaks, for the log.
    :ivar answer: what to send before the connection is closed.
    """

    protocol: str
    answer: bytes


def recognise(line: bytes, whole: bool = True) -> Foreign | None:
    """Return what a connection's first line shows about its peer; None if it may be the chat.

    :param whole: whether this is the whole line, and not just its beginning.
    """
    request = _REQUEST.fullmatch(line)
    if request is not None and request[2] != b"HTTP":
        return _in_one_line(request[2].decode())
    request = request or (_OLD_REQUEST.fullmatch(line) if whole else _CUT_REQUEST.match(line))
    if request is not None:
        return Foreign("HTTP", _http_answer(request[1]))
    for protocol, beginning in _OTHERS:
        if beginning.match(line):
            return _in_one_line(protocol)
    return None


def _in_one_line(protocol: str) -> Foreign:
    return Foreign(protocol, f"! {WHAT_THIS_IS}\n".encode())


def _http_answer(method: bytes) -> bytes:
    # The preface of HTTP/2 is no method that could be allowed (RFC 9113, 3.4).
    if method in (b"GET", b"HEAD", b"PRI"):
        status = "400 Bad Request"
    else:
        status = "405 Method Not Allowed\r\nAllow: GET, HEAD"
    body = f"{WHAT_THIS_IS}\n"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return (head if method == b"HEAD" else head + body).encode()
