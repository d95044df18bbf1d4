"""Clients of WebSockets in memory."""

from __future__ import annotations

from typing import Any

from twisted_net.testing import Peer
from twisted_net.wire.websocket import CloseFrame, WebSocket

MASK = b"\x01\x02\x03\x04"


def opening(path: str = "/", *fields: str, host: str = "192.0.2.1") -> bytes:
    """Return an opening request."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *fields,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


class WebSocketPeer:
    """The client's side of a connection in memory.

    :ivar answer: the head of the answer to its request.
    """

    def __init__(self, peer: Peer, request: bytes | None = None, window_bits: int = 0) -> None:
        self.peer = peer
        self.frames = WebSocket(make_mask=lambda: MASK, window_bits=window_bits, max_size=1 << 24)
        self.answer = b""
        peer.send(opening() if request is None else request)
        self.answer, _, rest = peer.take().partition(b"\r\n\r\n")
        self._rest = rest

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.answer.split()[1])

    def send(self, *messages: Any) -> None:
        """Send messages or frames, in one piece."""
        self.peer.send(b"".join(map(self.frames.encode, messages)))

    def take(self) -> list[Any]:
        """Return the messages and frames that have come."""
        data, self._rest = self._rest + self.peer.take(), b""
        return self.frames.feed(data)

    def close_frame(self) -> CloseFrame:
        """Return the close frame that has come, after nothing else."""
        (frame,) = self.take()
        assert isinstance(frame, CloseFrame)
        return frame
