"""The JSON form of the chat in WebSocket frames: one object in each."""

from __future__ import annotations

from twisted_net.chat.codecs.codec import Codec
from twisted_net.chat.messages import Event, Request
from twisted_net.store.log import StoredMessage
from twisted_net.wire.websocket import PingFrame, WebSocket, is_compressed


class FrameCodec:
    """Puts what a JSON codec encodes into text frames.

    :param json: encodes one object a line.
    :param window_bits: the window of long messages, which are compressed; 0 for no compression.
    :ivar compressed_bytes: the bytes of compressed messages so far.
    """

    is_text = False
    compressed_bytes = 0  # of all messages so far

    def __init__(self, json: Codec, window_bits: int) -> None:
        self._json = json
        self._frames = WebSocket(window_bits=window_bits)
        self.listed = json.listed
        # A browser does not show a page the one, and other programs may not know the other.
        self.ping = self._frames.encode(PingFrame()) + self._frame(json.ping)

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        return self._json.parse(line)

    def read_id(self, line: bytes) -> str:
        return self._json.read_id(line)

    def encode(self, event: Event, id: str = "") -> bytes:
        return self._frame(self._json.encode(event, id))

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        return self._frame(self._json.encode_message(room, stored, id))

    def _frame(self, line: bytes) -> bytes:
        if not line:
            return b""
        frames = self._frames
        frame = frames.encode_utf8(line[:-1])  # the frame ends it, and not a line feed
        if frames.window_bits and is_compressed(frame):
            self.compressed_bytes += len(frame)
        return frame
