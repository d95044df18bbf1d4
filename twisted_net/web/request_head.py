"""Read the head of an HTTP request, before it is known what the rest is (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted_net.wire.framing import (
    BaseFraming,
    Framing,
    LocalProtocolError,
    RemoteProtocolError,
)

MAX_HEAD = 8192
"""The most bytes in the head of a request. Apache takes as many in one line; Node 16 KiB in all."""

_END = b"\r\n\r\n"

_BODY = re.compile(
    rb"\r\n(?:content-length[ \t]*:(?![ \t]*0+[ \t]*\r)|transfer-encoding[ \t]*:)", re.I
)


class RequestHead:
    """Collects the head of a request, and gives it and what follows to somebody else.

    :param on_head: called once, with the head and what has come after it. Returns the framing that
        reads the rest, or None if nothing more is read here.
    """

    __slots__ = ("_buffer", "_next", "_on_head")

    def __init__(
        self,
        *,
        max_size: int = MAX_HEAD,
        on_head: Callable[[bytes, bytes], Framing[Any] | None] = lambda head, rest: None,
    ) -> None:
        self._buffer = b""
        self._on_head: Callable[[bytes, bytes], Framing[Any] | None] | None = on_head
        self._next: Framing[Any] | None = None

    @property
    def pending(self) -> bool:
        """Whether a head, or a message after it, has begun but is not complete."""
        return bool(self._buffer) or (self._next is not None and self._next.pending)

    def feed(self, data: bytes, /) -> list[Any]:
        """Take the next bytes. Return the messages that came behind the head.

        :raises RemoteProtocolError: the head is too long; or what the next framing raises.
        """
        if self._on_head is None:
            return [] if self._next is None else self._next.feed(data)
        searched = max(0, len(self._buffer) - len(_END) + 1)
        self._buffer += data
        end = self._buffer.find(_END, searched)
        if end > MAX_HEAD or (end < 0 and len(self._buffer) > MAX_HEAD):
            raise _too_long()
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


class RequestHeads(BaseFraming[bytes]):
    """Cuts the requests of a connection at their heads: each head is a message.

    After the head of a request with a body, everything is passed on as it comes, because a body may
    look like a head.

    :param is_last: returns whether a head is the last one. What comes behind it is kept in
        :attr:`rest`, for somebody else.
    :ivar is_over: whether the last head was found.
    """

    __slots__ = ("_buffer", "_is_last", "_is_open_ended", "is_over")

    def __init__(self, *, max_size: int, is_last: Callable[[bytes], bool] | None = None) -> None:
        super().__init__(max_size=max_size)
        self._buffer = b""
        self._is_last = is_last
        self._is_open_ended = self.is_over = False

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

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        """:raises RemoteProtocolError: if a head is longer than :data:`MAX_HEAD`."""
        if self.is_over:
            self._buffer += data
            return
        searched = max(0, len(self._buffer) - len(_END) + 1)
        data = self._buffer + data
        start = 0
        while not self._is_open_ended:
            end = data.find(_END, max(start, searched))
            if (end if end >= 0 else len(data)) - start > MAX_HEAD:
                raise _too_long()
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

    def encode(self, message: bytes, /) -> bytes:
        """Return the bytes as they are: answers have no framing here."""
        return message


def has_body(head: bytes) -> bool:
    """Return whether a request has more than its head."""
    return _BODY.search(head) is not None


def asking_to_close(head: bytes) -> bytes:
    """Return the head of a request with the wish that the connection closes after the answer."""
    line, _, fields = head.lstrip(b"\r\n").partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + fields


def _too_long() -> RemoteProtocolError:
    return RemoteProtocolError("too-long", f"the head of a request is longer than {MAX_HEAD} bytes")
