"""WebSocket frames (RFC 6455) and their compression (RFC 7692): bytes to messages, and back.

:class:`WebSocket` is a framing, as those of :mod:`twisted_net.wire.framing` are. It returns ``str``
for a text message, ``bytes`` for a binary one, and :class:`PingFrame`, :class:`PongFrame` and
:class:`CloseFrame` for the frames that control the connection, or gives these to a listener. The
opening handshake is HTTP, and not done here.

It is strict, and fails as early as it can: text is checked while its frame still arrives, and sizes
before and while a message is decompressed. :attr:`WebSocket.close_code` then says with which code
the connection has to be closed.

Compression keeps no context from one message to the next (``server_no_context_takeover`` and
``client_no_context_takeover``). So one compressed frame serves any number of peers, and a quiet
connection has no memory for it.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias

from twisted_net.wire.framing import (
    DEFAULT_MAX_SIZE,
    BaseFraming,
    LocalProtocolError,
    RemoteProtocolError,
)

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets was installed without its C extension
    from websockets.utils import apply_mask

MAX_FRAGMENTS = 1024
"""The most frames in one message."""

MAX_CONTROL = 125
"""The most bytes in a control frame (RFC 6455, 5.5)."""

MAX_REASON = MAX_CONTROL - 2
"""The most bytes in the reason of a close frame."""

COMPRESS_FROM = 1024
"""The bytes of a message from which it is compressed. Below, it is not worth the time."""

WINDOW_BITS = 12
"""The window of compressed messages that are sent, as a power of two in bytes, unless a peer asks
for less."""

LEAST_WINDOW_BITS = 9
"""The least that zlib can."""

MAX_DEFLATE_STREAMS = 16
"""The most DEFLATE streams in one message. Compressors make one; each costs the receiver time."""

_INFLATED_AT_ONCE = 1 << 16  # bytes, so that a message is not in memory twice

# The codes of the close frame (RFC 6455, 7.4.1).
NORMAL = 1000
PROTOCOL_ERROR = 1002
NO_CODE = 1005
INVALID_TEXT = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _RSV1, _RSV2_3, _OPCODE, _CONTROL = 0x80, 0x40, 0x30, 0x0F, 0x08
_MASKED, _LENGTH = 0x80, 0x7F
_WHOLE = {_FIN | _TEXT: True, _FIN | _BINARY: False}  # first byte -> whether it is text

_MOVED = (
    *("first", "left", "mask", "control", "data", "is_text", "checked"),
    *("fragments", "announced"),
)
"""What another process needs of a message of which a part has come."""

_TAIL = b"\x00\x00\xff\xff"  # left out at the end of a compressed message (RFC 7692, 7.2.1)
_SHORT = Struct("!BB")
_MEDIUM = Struct("!BBH")
_LONG = Struct("!BBQ")


class PingFrame(NamedTuple):
    """A ping, which must be answered by a :class:`PongFrame` with the same data.

    :ivar data: at most :data:`MAX_CONTROL` bytes.
    """

    data: bytes = b""


class PongFrame(NamedTuple):
    """The answer to a ping, or a sign of life.

    :ivar data: at most :data:`MAX_CONTROL` bytes.
    """

    data: bytes = b""


class CloseFrame(NamedTuple):
    """The last frame of a side.

    :ivar code: see RFC 6455, 7.4; 1005 if the frame has none.
    :ivar reason: for people; at most :data:`MAX_REASON` bytes in UTF-8.
    """

    code: int = NO_CODE
    reason: str = ""


class ControlFrames(Protocol):
    """Is told of control frames as soon as they are here."""

    def control_frame(self, frame: PingFrame | PongFrame, /) -> None:
        """Handle a ping or a pong, which may come in the middle of a message."""


WebSocketMessage: TypeAlias = str | bytes | PingFrame | PongFrame | CloseFrame


def is_close_code(code: int) -> bool:
    """Return whether a close frame may carry the code (RFC 6455, 7.4)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def encode_frame(first: int, payload: bytes, mask: bytes = b"") -> bytes:
    """Return one frame.

    :param first: its first byte: FIN, the reserved bits, and the opcode.
    :param mask: four bytes if the sender is a client; a server does not mask.
    """
    masked = _MASKED if mask else 0
    size = len(payload)
    if size <= MAX_CONTROL:
        head = _SHORT.pack(first, masked | size)
    elif size < 1 << 16:
        head = _MEDIUM.pack(first, masked | 126, size)
    else:
        head = _LONG.pack(first, masked | 127, size)
    return b"".join((head, mask, apply_mask(payload, mask))) if mask else head + payload


def is_compressed(frame: bytes) -> bool:
    """Return whether a frame is the first one of a compressed message."""
    return bool(frame[0] & _RSV1)


def decoder_of_sent(*, max_size: int) -> WebSocket:
    """Return a framing that reads what a server sends. Nothing is to be sent with it."""
    return WebSocket(max_size=max_size, window_bits=zlib.MAX_WBITS, make_mask=lambda: bytes(4))


def compress(payload: bytes, window_bits: int = WINDOW_BITS) -> bytes:
    """Return the payload of a compressed message (RFC 7692, 7.2.1)."""
    deflater = zlib.compressobj(wbits=-window_bits, memLevel=WINDOW_BITS - 7)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


class WebSocket(BaseFraming[WebSocketMessage]):
    """The frames of one connection, after its opening handshake.

    :param max_size: the most bytes in a message; for text, in UTF-8. It counts after decompression.
    :param window_bits: the window of compressed messages that are sent, 9 to 15, if
        ``permessage-deflate`` was agreed without context takeover; 0 if not.
    :param listener: is given the pings and pongs. The peer's close frame is then the end of its
        input, a :exc:`RemoteProtocolError` with the code ``peer-closed``. Without a listener,
        control frames are messages.
    :param make_mask: returns four unpredictable bytes. Only a client has it (RFC 6455, 5.3).
    :ivar close_code: after an error, the code with which to close the connection. After a close
        frame, that frame's.
    """

    __slots__ = (
        "_head",
        "_incoming",
        "_make_mask",
        "_over",
        "close_code",
        "listener",
        "window_bits",
    )

    def __init__(
        self,
        *,
        max_size: int = DEFAULT_MAX_SIZE,
        window_bits: int = 0,
        listener: ControlFrames | None = None,
        make_mask: Callable[[], bytes] | None = None,
    ) -> None:
        super().__init__(max_size=max_size)
        self.window_bits = window_bits
        self.listener = listener
        self.close_code = NORMAL
        self._make_mask = make_mask
        self._head = b""  # the beginning of a frame, up to its payload
        self._incoming: _Incoming | None = None  # a message of which a part is here
        self._over = False  # a close frame has come

    # What is sent.

    def encode(self, message: WebSocketMessage, /) -> bytes:
        """Return the frame of a message: text, binary, or a control frame.

        :raises LocalProtocolError: if it cannot be sent: text that is not UTF-8, a control frame
            that is too long, a code that a close frame may not carry, or something else than a
            message.
        """
        if isinstance(message, str):
            first, payload = _FIN | _TEXT, _utf8(message)
        elif isinstance(message, (bytes, bytearray, memoryview)):
            first, payload = _FIN | _BINARY, bytes(message)
        else:
            first, payload = _control(message)
        return self._encode(first, payload)

    def encode_utf8(self, text: bytes) -> bytes:
        """Return the frame of a text message whose text is UTF-8 already. That is not checked."""
        return self._encode(_FIN | _TEXT, text)

    def _encode(self, first: int, payload: bytes) -> bytes:
        if self.window_bits and len(payload) >= COMPRESS_FROM:
            smaller = compress(payload, self.window_bits)
            if len(smaller) < len(payload):
                first, payload = first | _RSV1, smaller
        return encode_frame(first, payload, self._make_mask() if self._make_mask else b"")

    # What is received.

    @property
    def pending(self) -> bool:
        """Whether a message or a frame has begun but is not complete."""
        return self._incoming is not None or bool(self._head)

    def drop_buffers(self) -> None:
        self._head = b""
        self._incoming = None

    def parse(self, data: bytes, messages: list[WebSocketMessage]) -> None:
        position = 0
        if self._head:
            data = self._head + data
            self._head = b""
        elif self._incoming is not None and self._incoming.left:
            position = self._take_payload(data, 0, messages)
        masked = 0 if self._make_mask else _MASKED
        end = len(data)
        while end - position >= 2 and not self._over:
            first, second = data[position], data[position + 1]
            size = second & _LENGTH
            if second & _MASKED != masked:
                self._fail("a frame is not masked" if masked else "a frame is masked")
            start = position + 2
            if first not in _WHOLE or self._incoming is not None:
                self._check_first(first, size)
            if size > MAX_CONTROL:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = self._long_size(data[position + 2 : start], size)
            if masked:
                start += 4
            if end < start:
                break
            stop = start + size
            if stop <= end and self._incoming is None and first in _WHOLE:  # the usual case
                if size > self.max_size:
                    self._too_big()
                payload = data[start:stop]
                if masked:
                    payload = apply_mask(payload, data[start - 4 : start])
                messages.append(self._decoded(payload) if _WHOLE[first] else payload)
                position = stop
                continue
            self._begin_frame(first, size, data[start - 4 : start] if masked else b"")
            position = self._take_payload(data, start, messages)
        if position < end and not self._over:
            self._head = data[position:]

    def export_state(self) -> dict[str, Any] | None:
        """Return what has come of a message; None in the middle of a compressed one.

        zlib cannot tell what it has of a stream.
        """
        incoming = self._incoming
        if self._over or (incoming is not None and incoming.inflater is not None):
            return None
        state: dict[str, Any] = {"window_bits": self.window_bits}
        if self._head:
            state["head"] = self._head
        if incoming is not None:
            state["incoming"] = {name: getattr(incoming, name) for name in _MOVED}
        return state

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        """Go on where another one has stopped. The listener has to be set besides."""
        self.window_bits = state["window_bits"]
        self._head = state.get("head", b"")
        if "incoming" in state:
            incoming = self._incoming = _Incoming()
            for name, value in state["incoming"].items():
                setattr(incoming, name, value)
            incoming.control = bytearray(incoming.control)
            if incoming.data is not None:
                incoming.data = bytearray(incoming.data)

    def _check_first(self, first: int, size: int) -> None:
        """Check the first byte of a frame, as soon as it and the next one are here."""
        opcode = first & _OPCODE
        if first & _RSV2_3 or (first & _RSV1 and not self.window_bits):
            self._fail("a reserved bit is set")
        if opcode & _CONTROL:
            if opcode > _PONG:
                self._fail(f"the opcode {opcode:#x} is reserved")
            if not first & _FIN:
                self._fail("a control frame is fragmented")
            if size > MAX_CONTROL:
                self._fail(f"a control frame is longer than {MAX_CONTROL} bytes")
            if first & _RSV1:
                self._fail("a control frame is compressed")
            return
        if opcode > _BINARY:
            self._fail(f"the opcode {opcode:#x} is reserved")
        incoming = self._incoming
        if opcode == _CONTINUATION:
            if incoming is None or incoming.data is None:
                self._fail("a continuation has no beginning")
            if first & _RSV1:
                self._fail("a continuation is marked as compressed")
            if incoming.fragments >= MAX_FRAGMENTS:
                self._fail(f"a message has more than {MAX_FRAGMENTS} fragments", POLICY_VIOLATION)
        elif incoming is not None and incoming.data is not None:
            self._fail("a message begins inside another")

    def _long_size(self, field: bytes, size: int) -> int:
        long = int.from_bytes(field)
        if long >> 63:
            self._fail("a length is negative")
        if long <= MAX_CONTROL or (size == 127 and long < 1 << 16):
            self._fail("a length has more bytes than it needs")
        return long

    def _begin_frame(self, first: int, size: int, mask: bytes) -> None:
        """Prepare for the payload of a frame whose head was checked."""
        incoming = self._incoming
        if incoming is None:
            incoming = self._incoming = _Incoming()
        incoming.first, incoming.left, incoming.mask = first, size, mask
        if first & _CONTROL:
            incoming.control = bytearray()
            return
        if incoming.data is None:
            incoming.data = bytearray()
            incoming.is_text = first & _OPCODE == _TEXT
            if first & _RSV1:
                incoming.inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        incoming.fragments += 1
        incoming.announced += size
        # A compressor may make a message a little longer; 1/8 is more than any does.
        spare = 0 if incoming.inflater is None else COMPRESS_FROM + self.max_size // 8
        if incoming.announced > self.max_size + spare:
            self._too_big()

    def _take_payload(self, data: bytes, position: int, messages: list[WebSocketMessage]) -> int:
        """Take what is here of a frame's payload, and return the position after it."""
        incoming = self._incoming
        assert incoming is not None
        piece = data[position : position + incoming.left]
        position += len(piece)
        incoming.left -= len(piece)
        if incoming.mask and piece:
            mask = incoming.mask
            piece = apply_mask(piece, mask)
            turn = len(piece) & 3
            if turn:
                incoming.mask = mask[turn:] + mask[:turn]
        if incoming.first & _CONTROL:
            incoming.control += piece
            if not incoming.left:
                self._end_control(incoming, messages)
            return position
        assert incoming.data is not None
        if incoming.inflater is None:
            incoming.data += piece
        else:
            self._inflate(incoming, incoming.data, piece)
        is_last = not incoming.left and bool(incoming.first & _FIN)
        if is_last and incoming.inflater is not None:
            self._inflate(incoming, incoming.data, _TAIL)
        if incoming.is_text:
            self._check_text(incoming, incoming.data, is_last)
        if is_last:
            self._incoming = None
            messages.append(incoming.data.decode() if incoming.is_text else bytes(incoming.data))
        return position

    def _end_control(self, incoming: _Incoming, messages: list[WebSocketMessage]) -> None:
        opcode, payload = incoming.first & _OPCODE, bytes(incoming.control)
        incoming.control = bytearray()
        incoming.first = 0
        if incoming.data is None:
            self._incoming = None
        if opcode == _CLOSE:
            close = self._parse_close(payload)
            self.close_code = close.code
            self._over = True  # nothing after it counts (RFC 6455, 5.5.1)
            self.drop_buffers()
            if self.listener is not None:
                raise RemoteProtocolError("peer-closed", f"{close.code} {close.reason}".rstrip())
            messages.append(close)
            return
        frame = PingFrame(payload) if opcode == _PING else PongFrame(payload)
        if self.listener is None:
            messages.append(frame)
        else:
            self.listener.control_frame(frame)

    def _parse_close(self, payload: bytes) -> CloseFrame:
        if not payload:
            return CloseFrame()
        code = int.from_bytes(payload[:2])
        if len(payload) == 1 or not is_close_code(code):
            self._fail(f"the close code {code} is not allowed")
        return CloseFrame(code, self._decoded(payload[2:]))

    def _inflate(self, incoming: _Incoming, into: bytearray, piece: bytes) -> None:
        """Decompress a piece, never to more than the limit."""
        inflater = incoming.inflater
        while piece:
            try:
                most = min(self.max_size - len(into) + 1, _INFLATED_AT_ONCE)
                into += inflater.decompress(piece, most)
            except zlib.error as error:
                self._fail(f"a message cannot be decompressed: {error}")
            if len(into) > self.max_size:
                self._too_big()
            piece = inflater.unconsumed_tail
            if not piece and inflater.unused_data:
                # The stream has ended, and another follows (RFC 7692, 7.2.3.4).
                incoming.streams += 1
                if incoming.streams > MAX_DEFLATE_STREAMS:
                    self._fail("a message has too many compressed streams", POLICY_VIOLATION)
                piece = inflater.unused_data
                inflater = incoming.inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def _check_text(self, incoming: _Incoming, data: bytearray, is_last: bool) -> None:
        """Check what has come of a text, as far as its characters are complete."""
        try:
            checked = codecs.utf_8_decode(data[incoming.checked :], "strict", is_last)[1]
        except UnicodeDecodeError:
            self._fail("text is not UTF-8", INVALID_TEXT)
        incoming.checked += checked

    def _decoded(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            self._fail("text is not UTF-8", INVALID_TEXT)

    def _too_big(self) -> NoReturn:
        self._fail(f"a message is longer than {self.max_size} bytes", TOO_BIG)

    def _fail(self, text: str, close_code: int = PROTOCOL_ERROR) -> NoReturn:
        self.close_code = close_code
        raise RemoteProtocolError("too-long" if close_code == TOO_BIG else "bad-input", text)


class _Incoming:
    """A message, or a control frame, of which a part has come.

    :ivar first: the first byte of the current frame.
    :ivar left: the bytes of its payload that are still to come.
    :ivar mask: its mask, turned to the next byte.
    :ivar control: the payload of a control frame, which may come between fragments.
    :ivar data: the message, as far as it has come; None if there is only a control frame.
    :ivar checked: the bytes of a text that are known to be UTF-8.
    :ivar announced: the bytes of its frames, by their heads.
    """

    __slots__ = (
        *("first", "left", "mask", "control", "data", "is_text", "checked"),
        *("fragments", "announced", "inflater", "streams"),
    )

    def __init__(self) -> None:
        self.first = self.left = 0
        self.mask = b""
        self.control = bytearray()
        self.data: bytearray | None = None
        self.is_text = False
        self.checked = self.fragments = self.announced = 0
        self.inflater: Any = None  # zlib does not name its type
        self.streams = 1


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"cannot be encoded as UTF-8: {error}") from None


def _control(message: object) -> tuple[int, bytes]:
    """Return the first byte and the payload of a control frame.

    :raises LocalProtocolError: if it cannot be sent.
    """
    if isinstance(message, CloseFrame):
        code, payload = message.code, _utf8(message.reason)
        if code != NO_CODE:
            if not is_close_code(code):
                raise LocalProtocolError(f"a close frame cannot carry the code {code}")
            payload = code.to_bytes(2) + payload
        elif payload:
            raise LocalProtocolError("a close frame without a code cannot carry a reason")
        first = _FIN | _CLOSE
    elif isinstance(message, (PingFrame, PongFrame)):
        first, payload = _FIN | (_PING if isinstance(message, PingFrame) else _PONG), message.data
    else:
        name = type(message).__name__
        raise LocalProtocolError(
            f"a WebSocket takes str, bytes, PingFrame, PongFrame or CloseFrame, not {name}"
        )
    if len(payload) > MAX_CONTROL:
        raise LocalProtocolError(
            f"a control frame has at most {MAX_CONTROL} bytes, not {len(payload)}"
        )
    return first, payload
