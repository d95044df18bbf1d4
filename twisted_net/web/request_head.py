"""Read the head of an HTTP request, before it is known what the rest is (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NoReturn

from twisted_net.wire.framing import (
    BaseFraming,
    Framing,
    LocalProtocolError,
    RemoteProtocolError,
)

MAX_HEAD = 8192
"""The most bytes in the head of a request. Apache takes as many in one line; Node 16 KiB in all."""

_END = b"\r\n\r\n"

# A method, a target and a version (RFC 9112, 3); and how much of that can be seen without the end.
_LINE = re.compile(rb"([!#-'*+.^_`|~\w-]+) ([^\x00-\x20\x7f]+) HTTP/(\d+(?:\.\d+)?)", re.ASCII)
_BEGINNING = re.compile(rb"\Z|[!#-'*+.^_`|~\w-]+(?:\Z| )", re.ASCII)
_VERSION = re.compile(rb"1\.\d")

_URL = re.compile(r"https?://([^/?#@]+)((?:[/?].*)?)", re.IGNORECASE)

_BODY = re.compile(
    rb"\r\n(?:content-length[ \t]*:(?![ \t]*0+[ \t]*\r)|transfer-encoding[ \t]*:)", re.I
)


@dataclass(frozen=True, slots=True)
class HeadFault:
    """Why a request is not read any further. What comes behind it cannot be understood.

    :ivar status: of the answer.
    :ivar text: a sentence for the answer, and for the log.
    :ivar head: what is known of the head.
    """

    status: HTTPStatus
    text: str
    head: bytes = field(default=b"", repr=False)  # it may have a password

    @property
    def is_too_long(self) -> bool:
        """Whether nothing is wrong with it but its length."""
        return self.status in _TOO_LONG


_TOO_LONG = (HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def find_line_fault(line: bytes) -> HeadFault | None:
    """Return what is wrong with a request line, without its end; None if nothing is."""
    match = _LINE.fullmatch(line)
    if match is None or match[3] == b"1":
        text = "The first line of a request is METHOD TARGET HTTP/1.1, and ends with CR LF."
        return HeadFault(HTTPStatus.BAD_REQUEST, text, line)
    if _VERSION.fullmatch(match[3]) is None:
        text = "This server speaks HTTP/1.1."
        return HeadFault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, text, line)
    if not _may_ask(match[1], match[2]):
        text = "The target of a request is a path, or a URL of http or https with a host."
        return HeadFault(HTTPStatus.BAD_REQUEST, text, line)
    return None


def _may_ask(method: bytes, target: bytes) -> bool:
    """Return whether a target has one of the forms that its method may have (RFC 9112, 3.2)."""
    if method == b"CONNECT":
        return True
    if target == b"*":
        return method not in (b"GET", b"HEAD", b"POST")
    return target.startswith(b"/") or _URL.fullmatch(target.decode("latin-1")) is not None


def split_target(target: str) -> tuple[str, str]:
    """Return the host that a request's target names, and the path and the query.

    A client may ask for a whole URL, as a proxy's has to. Then its host is the one that is asked
    for, whatever ``Host`` says (RFC 9112, 3.2.2). Otherwise the host is empty.
    """
    match = _URL.fullmatch(target)
    if match is None:
        return "", target
    path = match[2]
    return match[1], path if path.startswith("/") else f"/{path}"


def too_long(line_size: int, head: bytes = b"") -> HeadFault:
    """Return the fault of a head that is longer than :data:`MAX_HEAD`.

    :param line_size: the bytes of its first line. It is what has to be made shorter if it has more
        than half of the head.
    """
    if line_size > MAX_HEAD // 2:
        text = f"The URL is too long: with it, the head of a request has at most {MAX_HEAD} bytes."
        return HeadFault(HTTPStatus.REQUEST_URI_TOO_LONG, text, head)
    text = f"The head of a request has at most {MAX_HEAD} bytes."
    return HeadFault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text, head)


def find_fault(head: bytes, is_whole: bool, checked: int = 0) -> HeadFault | None:
    """Return what is wrong with a head; None if nothing is known to be.

    :param head: the head without the empty line at its end, as far as it has come.
    :param is_whole: whether all of it has come.
    :param checked: the bytes in which nothing was found.
    """
    # Empty lines before it are ignored (RFC 9112, 2.2).
    start = len(head) - len(head.lstrip(b"\r\n"))
    end = head.find(b"\n", start)
    if len(head) > MAX_HEAD + (0 if is_whole else len(_END) - 1):  # its end may have begun
        return too_long((end if end >= 0 else len(head)) - start, head)
    if end >= 0 or is_whole:
        # Without its CR, the line keeps its LF, and is refused: so the empty line at the end of the
        # head is not waited for, which would be none either.
        line = head[start:] if end < 0 else head[start : end + 1].removesuffix(b"\r\n")
        return find_line_fault(line) if is_whole or end >= checked else None
    return None if _BEGINNING.match(head, start) else find_line_fault(head)


def _fail(fault: HeadFault) -> NoReturn:
    raise RemoteProtocolError("too-long" if fault.is_too_long else "bad-input", fault.text)


class RequestHead:
    """Collects the head of a request, and gives it and what follows to somebody else.

    :param on_head: called once, with the head and what has come after it. Returns the framing that
        reads the rest, or None if nothing more is read here.
    :param on_fault: called instead, as soon as it is known that the head is none or too long.
        Nothing is read after that.
    """

    __slots__ = ("_buffer", "_next", "_on_fault", "_on_head")

    def __init__(
        self,
        *,
        max_size: int = MAX_HEAD,
        on_head: Callable[[bytes, bytes], Framing[Any] | None] = lambda head, rest: None,
        on_fault: Callable[[HeadFault], object] = _fail,
    ) -> None:
        self._buffer = b""
        self._on_fault = on_fault
        self._on_head: Callable[[bytes, bytes], Framing[Any] | None] | None = on_head
        self._next: Framing[Any] | None = None

    @property
    def pending(self) -> bool:
        """Whether a head, or a message after it, has begun but is not complete."""
        return bool(self._buffer) or (self._next is not None and self._next.pending)

    def feed(self, data: bytes, /) -> list[Any]:
        """Take the next bytes. Return the messages that came behind the head.

        :raises RemoteProtocolError: there is a fault, and no ``on_fault``; or what the next framing
            raises.
        """
        if self._on_head is None:
            return [] if self._next is None else self._next.feed(data)
        before = len(self._buffer)
        self._buffer += data
        end = self._buffer.find(_END, max(0, before - len(_END) + 1))
        start = self._buffer if end < 0 else self._buffer[:end]
        fault = find_fault(start, end >= 0, before)
        if fault is not None:
            self._on_head, self._buffer = None, b""
            self._on_fault(fault)
            return []
        if end < 0:
            return []
        end += len(_END)
        head, rest = self._buffer[:end], self._buffer[end:]
        on_head, self._on_head, self._buffer = self._on_head, None, b""
        self._next = on_head(head, rest)
        return self._next.feed(rest) if self._next is not None and rest else []

    def encode(self, message: Any, /) -> bytes:
        """:raises LocalProtocolError: always: nothing can be sent before the answer."""
        raise LocalProtocolError("the WebSocket is not open yet; send in connected(), or later")


class RequestHeads(BaseFraming[bytes | HeadFault]):
    """Cuts the requests of a connection at their heads: each head is a message.

    After the head of a request with a body, everything is passed on as it comes, because a body may
    look like a head. In place of a head that is none, or too long, the last message is a
    :class:`HeadFault`.

    :param is_last: returns whether a head is the last one. What comes behind it is kept in
        :attr:`rest`, for somebody else.
    :ivar is_over: whether the last head was found.
    """

    __slots__ = ("_buffer", "_is_faulty", "_is_last", "_is_open_ended", "is_over")

    def __init__(self, *, max_size: int, is_last: Callable[[bytes], bool] | None = None) -> None:
        super().__init__(max_size=max_size)
        self._buffer = b""
        self._is_last = is_last
        self._is_open_ended = self._is_faulty = self.is_over = False

    @property
    def rest(self) -> bytes:
        """What has come behind the last head."""
        return self._buffer

    @property
    def pending(self) -> bool:
        """Whether a head has begun but is not complete."""
        return bool(self._buffer) and not self.is_over

    def drop_buffers(self) -> None:
        self._buffer = b""

    def parse(self, data: bytes, messages: list[bytes | HeadFault]) -> None:
        if self.is_over or self._is_faulty:
            self._buffer += data if self.is_over else b""
            return
        checked = len(self._buffer)
        data = self._buffer + data
        start = 0
        while not self._is_open_ended:
            end = data.find(_END, max(start, checked - len(_END) + 1))
            fault = find_fault(data[start:] if end < 0 else data[start:end], end >= 0, checked)
            checked = 0
            if fault is not None:
                self._is_faulty, self._buffer = True, b""
                messages.append(fault)
                return
            if end < 0:
                self._buffer = data[start:]
                return
            end += len(_END)
            head = data[start:end]
            messages.append(head)
            start = end
            if self._is_last is not None and self._is_last(head):
                self.is_over = True
                self._buffer = data[start:]
                return
            self._is_open_ended = has_body(head)
        self._buffer = b""
        if start < len(data):
            messages.append(data[start:])

    def encode(self, message: bytes | HeadFault, /) -> bytes:
        """Return the bytes as they are: answers have no framing here."""
        assert isinstance(message, bytes)
        return message


def has_body(head: bytes) -> bool:
    """Return whether a request has more than its head."""
    return _BODY.search(head) is not None


def asking_to_close(head: bytes) -> bytes:
    """Return the head of a request with the wish that the connection closes after the answer."""
    line, _, fields = head.lstrip(b"\r\n").partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + fields
