"""Read the head of an HTTP request, before it is known what the rest is (pure)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_net.wire.framing import Framing, LocalProtocolError, RemoteProtocolError

MAX_HEAD = 8192
"""The most bytes in the head of a request. Apache takes as many in one line; Node 16 KiB in all."""

_END = b"\r\n\r\n"


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
            raise RemoteProtocolError(
                "too-long", f"the head of a request is longer than {MAX_HEAD} bytes"
            )
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
