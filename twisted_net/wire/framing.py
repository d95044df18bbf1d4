"""Framings: turn bytes into messages, and back.

:meth:`Framing.feed` takes bytes in pieces of any size and returns the messages that they complete.
:meth:`Framing.encode` turns a message into bytes. The size limit is checked before a message is
complete, so a peer cannot make the server store more than one message. No byte is scanned twice, so
a peer that sends one byte at a time costs no more than any other.

Errors of the peer raise :exc:`RemoteProtocolError` and nothing else. Errors of the local program
raise :exc:`LocalProtocolError`. The distinction is h11's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    runtime_checkable,
)

from twisted_net import TwistedNetError
from twisted_net.wire.json_values import ValueScanner, check_depth, encode_json, make_decoder

DEFAULT_MAX_SIZE = 65536
"""The most bytes in one message. Twisted's ``LineReceiver`` allows 16 KiB, asyncio's streams 64
KiB."""

MAX_DEPTH = 64
"""The deepest nesting of arrays and objects in one JSON message."""

SHOWN_OF_TOO_LONG = 256
"""The bytes of a message over the limit that a :class:`TooLong` shows."""

ErrorCode: TypeAlias = Literal["too-long", "bad-input", "peer-closed"]


class LocalProtocolError(TwistedNetError, ValueError):
    """The local program tried to send what cannot be sent. Nothing was sent.

    The framing cannot carry the message, or the connection has no transport yet.
    """


class RemoteProtocolError(TwistedNetError, ValueError):
    """No further message can be read from the peer: it broke the rules of the framing.

    :ivar code: ``"too-long"`` or ``"bad-input"``: the connection is closed for the reason with
        this code. ``"peer-closed"`` if the framing has an end of its own, as WebSocket has, and
        the peer has sent it.
    :ivar messages: the messages that were complete before the error, in order. They are valid.
    """

    def __init__(self, code: ErrorCode, text: str, messages: list[Any] | None = None) -> None:
        super().__init__(text)
        self.code: ErrorCode = code
        self.messages: list[Any] = [] if messages is None else messages


def as_bytes(data: object) -> bytes:
    """Return a copy of what is bytes in all but its type.

    :raises LocalProtocolError: if it is anything else.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise _not_bytes(data, "a connection")


def _not_bytes(message: object, sender: str, takes: str = "bytes") -> LocalProtocolError:
    hint = "text.encode()" if isinstance(message, str) else "str(x).encode()"
    return LocalProtocolError(f"{sender} takes {takes}, not {type(message).__name__}; send {hint}")


MessageT = TypeVar("MessageT")


class Framing(Protocol[MessageT]):
    """Mark where messages begin and end in a stream of bytes.

    One instance serves one connection.
    """

    def feed(self, data: bytes, /) -> list[MessageT]:
        """Take the next bytes of the stream and return the messages that they complete.

        :param data: may be empty.
        :raises RemoteProtocolError: if a message is over the limit (``too-long``) or malformed
            (``bad-input``); its ``messages`` are those that were complete before. Every later call
            raises it too. Nothing else may be raised.
        """

    def encode(self, message: MessageT, /) -> bytes:
        """Return the bytes that carry ``message``.

        :raises LocalProtocolError: if this framing cannot carry it.
        """

    @property
    def pending(self) -> bool:
        """Whether a message has begun but is not complete; after an error it does not matter."""


@runtime_checkable
class MovableFraming(Protocol):
    """A framing that another process can go on with, in the middle of a message.

    A framing may do without these methods. Then its connections are not moved.
    """

    def export_state(self) -> dict[str, Any] | None:
        """Return what the framing holds, as JSON with ``bytes``; None if it cannot be moved now."""

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        """Go on where another framing of this class has stopped. Called on a new one."""


FramingFactory: TypeAlias = Callable[..., Framing[Any]]
"""Makes a framing. Called with the keyword ``max_size``, the most bytes in one message."""


class BaseFraming(Generic[MessageT]):
    """The common part of the framings, and of your own: after an error, nothing more is read.

    A subclass has :meth:`parse`, ``encode`` and ``pending``, and, if it buffers,
    :meth:`drop_buffers`. A constructor of its own must take the keyword ``max_size``.

    :param max_size: the most bytes in one message; a connection passes ``max_message``.
    :cvar is_text: whether messages are text, in which no TLS record can begin: a peer that speaks
        TLS by mistake is recognised.
    """

    __slots__ = ("_dead", "max_size")

    is_text: ClassVar[bool] = False

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        self.max_size = max_size
        self._dead: tuple[ErrorCode, str] | None = None

    def feed(self, data: bytes, /) -> list[MessageT]:
        if self._dead is not None:
            raise RemoteProtocolError(*self._dead)
        messages: list[MessageT] = []
        try:
            self.parse(data, messages)
            return messages
        except RemoteProtocolError as error:
            # The error itself is not stored: its traceback would keep the fed data and this framing
            # alive.
            self._dead = error.code, str(error)
        self.drop_buffers()
        raise RemoteProtocolError(*self._dead, messages)

    def parse(self, data: bytes, messages: list[MessageT]) -> None:
        """Take the next bytes, and append the messages that they complete.

        :param data: may be empty.
        :param messages: where to append them, also if an error is raised after them.
        :raises RemoteProtocolError: if a message is over the limit or malformed.
        """
        raise NotImplementedError

    def drop_buffers(self) -> None:
        """Free the buffers. Called after an error."""

    @property
    def pending(self) -> bool:
        """Whether a message has begun but is not complete."""
        raise NotImplementedError


class Raw:
    """No framing: each piece of data is one message, exactly as it arrived (enough for RFC 862)."""

    __slots__ = ()

    pending = False

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        pass

    def feed(self, data: bytes, /) -> list[bytes]:
        return [data] if data else []

    def encode(self, message: bytes, /) -> bytes:
        return message  # the connection checks that it is bytes

    def export_state(self) -> dict[str, Any]:
        return {}

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        """Do nothing: there is nothing to hold."""


class TooLong:
    """Takes the place of a message over the limit, in a framing that skips such messages.

    :ivar max_size: the limit that the message exceeded, in bytes.
    :ivar start: the first bytes of the message, which may tell what it was; at most
        :data:`SHOWN_OF_TOO_LONG`. They do not matter to equality.
    """

    __slots__ = ("max_size", "start")

    def __init__(self, max_size: int, start: bytes = b"") -> None:
        self.max_size = max_size
        self.start = start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TooLong) and other.max_size == self.max_size

    def __hash__(self) -> int:
        return hash((TooLong, self.max_size))

    def __repr__(self) -> str:
        return f"TooLong(max_size={self.max_size})"


class Lines(BaseFraming[bytes]):
    """Lines that end with LF or CRLF. The ending is not part of the message.

    :param max_size: the most bytes in a line, not counting its ending.
    """

    __slots__ = "_buffer"
    is_text = True

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        super().__init__(max_size=max_size)
        self._buffer: bytes | bytearray = b""  # a bytearray only for a partial line

    def encode(self, message: bytes | str, /) -> bytes:
        """Return the line with LF added. A ``str`` is encoded as UTF-8.

        A line that ends with CR gets CRLF, so that the receiver does not remove the line's own CR.

        :raises LocalProtocolError: if the line contains a line feed, cannot be encoded as UTF-8, or
            is neither bytes nor text.
        """
        try:
            line = message.encode() if isinstance(message, str) else message
            if b"\n" in line:
                raise LocalProtocolError(f"a line cannot contain a line feed: {line[:40]!r}")
            return line + (b"\r\n" if line[-1:] == b"\r" else b"\n")
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"cannot be encoded as UTF-8: {error}") from None
        except (TypeError, LookupError):
            raise _not_bytes(message, "Lines", "bytes or str") from None

    @property
    def pending(self) -> bool:
        return bool(self._buffer)

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        lines, rest = self._cut(data)
        for line in lines:
            if len(line) > self.max_size:
                raise RemoteProtocolError("too-long", self._complaint())
            messages.append(line)
        self._keep(rest)
        if self._is_over():
            raise RemoteProtocolError("too-long", self._complaint())

    def drop_buffers(self) -> None:
        self._buffer = b""

    def export_state(self) -> dict[str, Any]:
        return {"buffer": bytes(self._buffer)} if self._buffer else {}

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        self._keep(state.get("buffer", b""))

    def _keep(self, rest: bytes) -> None:
        if self._buffer:
            self._buffer += rest
        elif rest:
            self._buffer = bytearray(rest)

    def _cut(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the complete lines, of any length, and the data after the last one."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._buffer:
            lines[0] = bytes(self._buffer) + lines[0]
            self._buffer = b""
        return [line[:-1] if line[-1:] == b"\r" else line for line in lines], rest

    def _is_over(self) -> bool:
        # A CR at the limit may be the first half of the ending.
        size = len(self._buffer)
        return size > self.max_size and not (size == self.max_size + 1 and self._buffer[-1] == 13)

    def _complaint(self) -> str:
        return f"a line is longer than {self.max_size} bytes"


class SkippingLines(Lines):
    """Lines that skip a line over the limit and continue after it, and also end with CR NUL.

    CR NUL is what a terminal in telnet's character mode sends for the return key (RFC 854).

    A :class:`TooLong` takes its place as soon as the limit is exceeded. The rest of the line, up to
    the next line feed, is dropped as it arrives.
    """

    __slots__ = ("_skipping",)

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        super().__init__(max_size=max_size)
        self._skipping = False

    def feed(self, data: bytes, /) -> list[bytes | TooLong]:  # type: ignore[override]  # also TooLong
        if b"\0" in data:
            data = self._end_at_nul(data)
        if not self._buffer and not self._skipping:
            end = len(data) - 1
            if end <= self.max_size and data.find(b"\n") == end >= 0:  # one line, the usual case
                return [data[:-2] if data[-2:] == b"\r\n" else data[:-1]]
        if self._skipping:
            _, ending, rest = data.partition(b"\n")
            if not ending:
                self._skip(data)
                return []
            self.drop_buffers()
            self._skipping = False
            data = rest
        lines, rest = self._cut(data)
        limit = self.max_size
        messages: list[bytes | TooLong] = [
            line if len(line) <= limit else TooLong(limit, line[:SHOWN_OF_TOO_LONG])
            for line in lines
        ]
        self._keep(rest)
        if self._is_over():
            messages.append(TooLong(limit, bytes(self._buffer[:SHOWN_OF_TOO_LONG])))
            self._skip(self._buffer)
        return messages

    def _skip(self, data: bytes | bytearray) -> None:
        """Drop ``data``, but keep a CR at its end: NUL may follow."""
        self._skipping = True
        if data:
            self._buffer = b"\r" if data[-1] == 13 else b""

    def _end_at_nul(self, data: bytes) -> bytes:
        """Return ``data`` with CR LF for each CR NUL, even if the CR came before."""
        if data[0] == 0 and self._buffer[-1:] == b"\r":
            data = b"\n" + data[1:]
        return data.replace(b"\r\0", b"\r\n")

    @property
    def pending(self) -> bool:
        return self._skipping or bool(self._buffer)

    def export_state(self) -> dict[str, Any]:
        state = super().export_state()
        return {**state, "skipping": True} if self._skipping else state

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        super().restore_state(state)
        self._skipping = state.get("skipping", False)


class Netstrings(BaseFraming[bytes]):
    """Netstrings, ``5:hello,`` (https://cr.yp.to/proto/netstrings.txt).

    :param max_size: the most bytes in one string.
    """

    __slots__ = ("_buffer", "_number", "_size")
    is_text = True

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        super().__init__(max_size=max_size)
        self._buffer = bytearray()
        self._number = -1  # the part of the length read so far; -1: no digit yet
        self._size = -1  # length of the string being read; -1: the length is being read

    def encode(self, message: bytes, /) -> bytes:
        """:raises LocalProtocolError: if the message is not bytes."""
        try:
            return b"%d:%b," % (len(message), message)
        except TypeError:
            raise _not_bytes(message, "Netstrings") from None

    @property
    def pending(self) -> bool:
        return self._number >= 0 or self._size >= 0

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        position = 0
        while position < len(data):
            if self._size < 0:
                position = self._feed_number(data, position)
                continue
            wanted = self._size + 1 - len(self._buffer)
            piece = data[position : position + wanted]
            position += len(piece)
            if len(piece) < wanted:
                self._buffer += piece
                return
            whole = bytes(self._buffer) + piece if self._buffer else piece
            if whole[-1] != 44:
                raise RemoteProtocolError("bad-input", "a netstring does not end with a comma")
            messages.append(whole[:-1])
            self._buffer.clear()
            self._size = -1

    def _feed_number(self, data: bytes, position: int) -> int:
        """Read digits up to the colon. Return the position after what was read."""
        while position < len(data):
            byte = data[position]
            position += 1
            if byte == 58 and self._number >= 0:
                self._size, self._number = self._number, -1
                break
            if not 48 <= byte <= 57 or self._number == 0:  # not a digit, or one after a leading 0
                raise RemoteProtocolError("bad-input", "a netstring does not begin with its length")
            self._number = max(self._number, 0) * 10 + byte - 48
            if self._number > self.max_size:
                raise RemoteProtocolError(
                    "too-long", f"a netstring is longer than {self.max_size} bytes"
                )
        return position

    def drop_buffers(self) -> None:
        self._buffer = bytearray()

    def export_state(self) -> dict[str, Any]:
        return {"number": self._number, "size": self._size, "buffer": bytes(self._buffer)}

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        self._number, self._size = state["number"], state["size"]
        self._buffer += state["buffer"]


class LengthPrefixed(BaseFraming[bytes]):
    """Messages with a length prefix, as in Erlang's ``{packet, N}`` and in Protocol Buffers.

    :param width: the bytes of the length: 1, 2, 4, 8, or ``"varint"`` (base-128, least significant
        group first, as in Protocol Buffers' delimited streams).
    :param byteorder: ``"big"`` (network order) or ``"little"``; ignored for a varint.
    :param max_size: the most bytes in one message.
    :raises ValueError: if the width or the byte order is invalid.
    """

    __slots__ = ("_buffer", "_byteorder", "_header", "_size", "_width")

    def __init__(
        self,
        width: Literal[1, 2, 4, 8, "varint"] = 4,
        byteorder: Literal["big", "little"] = "big",
        *,
        max_size: int = DEFAULT_MAX_SIZE,
    ) -> None:
        super().__init__()
        if width not in (1, 2, 4, 8, "varint"):
            raise ValueError(f"width must be 1, 2, 4, 8 or 'varint', not {width!r}")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        self._width = 0 if width == "varint" else width
        self._byteorder: Literal["big", "little"] = byteorder
        self.max_size = max_size
        self._header = b""
        self._buffer = bytearray()
        self._size = -1  # length of the message being read; -1: the length is being read

    def encode(self, message: bytes, /) -> bytes:
        """:raises LocalProtocolError: if the length does not fit the width, or it is not bytes."""
        try:
            size = len(message)
            if not self._width:
                return _varint(size) + message
            return size.to_bytes(self._width, self._byteorder) + message
        except OverflowError:
            raise LocalProtocolError(
                f"{size} bytes do not fit a length prefix of {self._width} byte(s)"
            ) from None
        except TypeError:
            raise _not_bytes(message, "LengthPrefixed") from None

    @property
    def pending(self) -> bool:
        return self._size >= 0 or bool(self._header)

    def parse(self, data: bytes, messages: list[bytes]) -> None:
        position = 0
        while True:
            if self._size < 0:
                position = self._feed_length(data, position)
                if self._size < 0:
                    return
            wanted = self._size - len(self._buffer)
            piece = data[position : position + wanted]
            position += len(piece)
            if len(piece) < wanted:
                self._buffer += piece
                return
            messages.append(bytes(self._buffer) + piece if self._buffer else piece)
            self._buffer.clear()
            self._size = -1

    def _feed_length(self, data: bytes, position: int) -> int:
        """Read the length, or a part of it. Return the position after what was read."""
        if not self._width:
            return self._feed_varint(data, position)
        piece = data[position : position + self._width - len(self._header)]
        self._header += piece
        if len(self._header) == self._width:
            self._begin(int.from_bytes(self._header, self._byteorder))
        return position + len(piece)

    def _feed_varint(self, data: bytes, position: int) -> int:
        while position < len(data):
            byte = data[position]
            position += 1
            self._header += bytes((byte,))
            if byte < 128:
                self._begin(sum((group & 127) << 7 * n for n, group in enumerate(self._header)))
                break
            if len(self._header) == 10:  # 64 bits need no more groups of seven
                raise RemoteProtocolError("bad-input", "a varint is longer than ten bytes")
        return position

    def _begin(self, size: int) -> None:
        if size > self.max_size:
            raise RemoteProtocolError(
                "too-long", f"a message of {size} bytes is longer than {self.max_size} bytes"
            )
        self._header = b""
        self._size = size

    def drop_buffers(self) -> None:
        self._buffer = bytearray()

    def export_state(self) -> dict[str, Any]:
        return {"header": self._header, "size": self._size, "buffer": bytes(self._buffer)}

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        self._header, self._size = state["header"], state["size"]
        self._buffer += state["buffer"]


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_decode = make_decoder(finite=True, unique=False)


def _encode_json(message: Any) -> bytes:
    try:
        return encode_json(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"cannot be encoded as JSON: {error}") from None


def _decode_json(text: bytes) -> Any:
    """Parse one JSON value.

    :raises RemoteProtocolError: if it is malformed, or valid only for Python's parser (``NaN``).
    """
    try:
        return _decode(text)
    except ValueError as error:
        raise RemoteProtocolError("bad-input", f"not JSON: {error}") from None


def _too_deep() -> RemoteProtocolError:
    return RemoteProtocolError("bad-input", f"JSON nests deeper than {MAX_DEPTH}")


class JsonLines(BaseFraming[Any]):
    """One JSON value per line (https://jsonlines.org). Empty lines are skipped.

    :param max_size: the most bytes in a line.
    """

    __slots__ = ("_lines",)
    is_text = True

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        super().__init__(max_size=max_size)
        self._lines = Lines(max_size=max_size)

    def encode(self, message: Any, /) -> bytes:
        """:raises LocalProtocolError: if the message cannot be written as JSON."""
        return _encode_json(message) + b"\n"

    @property
    def pending(self) -> bool:
        return self._lines.pending

    def parse(self, data: bytes, messages: list[Any]) -> None:
        late: tuple[ErrorCode, str] | None = None
        try:
            lines = self._lines.feed(data)
        except RemoteProtocolError as error:
            lines, late = error.messages, (error.code, str(error))
        for line in lines:
            if line and not line.isspace():
                try:
                    check_depth(line, MAX_DEPTH)
                except ValueError:
                    raise _too_deep() from None
                messages.append(_decode_json(line))
        if late is not None:
            raise RemoteProtocolError(*late)

    def drop_buffers(self) -> None:
        self._lines = Lines()

    def export_state(self) -> dict[str, Any]:
        return self._lines.export_state()

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        self._lines.restore_state(state)


class JsonStream(BaseFraming[Any]):
    """JSON objects and arrays, one after another, with white space or nothing between them.

    This is what ``socket.write(JSON.stringify(x))`` sends. Numbers, strings and literals at the top
    level are errors: without a separator, the end of a number cannot be found.

    :param max_size: the most bytes in one value.
    """

    __slots__ = ("_buffer", "_scanner")
    is_text = True

    _SPACE = re.compile(rb"[ \t\r\n]*")

    def __init__(self, *, max_size: int = DEFAULT_MAX_SIZE) -> None:
        super().__init__(max_size=max_size)
        self._buffer = bytearray()
        self._scanner: ValueScanner | None = None  # None: between two values

    def encode(self, message: Any, /) -> bytes:
        """:raises LocalProtocolError: if it is not an object or array that JSON can carry."""
        if not isinstance(message, (dict, list, tuple)):
            raise LocalProtocolError(
                f"only objects and arrays can be sent, not {type(message).__name__}"
            )
        return _encode_json(message)

    @property
    def pending(self) -> bool:
        return self._scanner is not None

    def parse(self, data: bytes, messages: list[Any]) -> None:
        position = 0
        while True:
            if self._scanner is None:
                position = self._skip_space(data, position)
                if position == len(data):
                    return
                if data[position] not in b"{[":
                    raise RemoteProtocolError("bad-input", "neither an object nor an array begins")
                self._scanner = ValueScanner(MAX_DEPTH)
            allowed = position + self.max_size - len(self._buffer)
            try:
                end = self._scanner.scan(data, position, min(allowed, len(data)))
            except ValueError:
                raise _too_deep() from None
            if end < 0:
                if allowed < len(data):
                    raise RemoteProtocolError(
                        "too-long", f"a value is longer than {self.max_size} bytes"
                    )
                self._buffer += data[position:]
                return
            text = bytes(self._buffer) + data[position:end] if self._buffer else data[position:end]
            messages.append(_decode_json(text))
            self._buffer.clear()
            self._scanner = None
            position = end

    def _skip_space(self, data: bytes, position: int) -> int:
        space = self._SPACE.match(data, position)
        return position if space is None else space.end()

    def drop_buffers(self) -> None:
        self._buffer = bytearray()

    def export_state(self) -> dict[str, Any]:
        return {"buffer": bytes(self._buffer)} if self._buffer else {}

    def restore_state(self, state: Mapping[str, Any], /) -> None:
        self.parse(state.get("buffer", b""), [])  # it is scanned again, once
