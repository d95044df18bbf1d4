"""Frames held against the protocol of the library ``websockets``.

The known differences:

- it fails in the middle of a frame whose text is not UTF-8, and does not leave that to the reader;
- it refuses lengths with more bytes than they need (RFC 6455, 5.2);
- of a frame that is wrong and too long, it tells what is wrong; theirs looks at the length first;
- of a close frame whose code and reason are both wrong, it tells the code;
- a close frame may come between fragments (RFC 6455, 5.4); theirs calls that an error;
- it takes 1,024 fragments in a message at most;
- it reads on after a final DEFLATE block (RFC 7692, 7.2.3.4); theirs ignores the rest;
- it knows compression without context only, and always takes the largest window.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close as TheirClose
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.websocket import (
    CloseFrame,
    PingFrame,
    PongFrame,
    WebSocket,
    compress,
    encode_frame,
)

MAX_SIZE = 300

ALSO = {1009: (1009, 1002, 1007), 1007: (1007, 1002)}
"""What ours may say of a frame that has two faults, by what theirs says."""

payloads = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(str.encode),
    st.binary(min_size=120, max_size=130),
    st.sampled_from([b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"a" * 400, b"\xe4\xbd"]),
)


@st.composite
def frames(draw: Any) -> bytes:
    """A frame: mostly correct, sometimes with a wrong bit, compressed, or not masked."""
    opcode = draw(st.sampled_from([0, 0, 1, 1, 2, 2, 8, 9, 10, 9, 3, 15]))
    fin = draw(st.sampled_from([0x80, 0x80, 0]))
    bits = draw(st.sampled_from([0, 0, 0, 0, 0x40, 0x40, 0x20, 0x10]))
    payload = draw(payloads)
    if bits == 0x40:  # the other begins with a block of a type that there is not
        payload = compress(payload) if draw(st.booleans()) else b"\xff" + payload
    mask = draw(st.sampled_from([b"\x01\x02\x03\x04"] * 9 + [b""]))
    return encode_frame(fin | bits | opcode, payload, mask)


def ours(data: bytes, cuts: list[int], deflate: bool) -> tuple[list[Any], int]:
    """Return the messages and the close code of our framing."""
    framing = WebSocket(max_size=MAX_SIZE, window_bits=12 * deflate)
    messages: list[Any] = []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, stop in pairwise(places):
        try:
            messages += framing.feed(data[start:stop])
        except RemoteProtocolError as error:
            return messages + error.messages, framing.close_code
    return messages, 1000


def theirs(data: bytes, deflate: bool) -> tuple[list[Any], int]:
    """Return the same for their protocol, whose frames are put together here."""
    protocol = ServerProtocol(state=OPEN, max_size=MAX_SIZE)
    if deflate:
        protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
    protocol.receive_data(data)
    messages: list[Any] = []
    parts: list[bytes] = []
    kind: Opcode | None = None
    for frame in protocol.events_received():
        content = bytes(frame.data)  # type: ignore[union-attr]
        opcode = frame.opcode  # type: ignore[union-attr]
        if opcode is Opcode.PING:
            messages.append(PingFrame(content))
        elif opcode is Opcode.PONG:
            messages.append(PongFrame(content))
        elif opcode is Opcode.CLOSE:
            try:
                close = TheirClose.parse(content)
            except UnicodeDecodeError:
                return messages, 1007
            messages.append(CloseFrame(int(close.code), close.reason))
        else:
            kind = opcode if kind is None else kind
            parts.append(content)
            if kind is Opcode.TEXT and not _may_begin_text(b"".join(parts)):
                return messages, 1007
            if frame.fin:  # type: ignore[union-attr]
                whole = b"".join(parts)
                try:
                    messages.append(whole.decode() if kind is Opcode.TEXT else whole)
                except UnicodeDecodeError:
                    return messages, 1007
                parts, kind = [], None
    error = protocol.parser_exc
    if error is None or isinstance(error, EOFError):
        return messages, 1000
    if isinstance(error, PayloadTooBig):
        return messages, 1009
    return messages, 1007 if isinstance(error, UnicodeDecodeError) else 1002


def _may_begin_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


class PropertyTests(SynchronousTestCase):
    @settings(max_examples=500)
    @given(
        st.lists(frames(), max_size=6).map(b"".join),
        st.lists(st.integers(0, 2000), max_size=4),
        st.booleans(),
    )
    def test_the_same_as_the_library(self, data: bytes, cuts: list[int], deflate: bool) -> None:
        messages, code = ours(data, cuts, deflate)
        expected, expected_code = theirs(data, deflate)
        if (code, expected_code) == (1000, 1002) and isinstance(messages[-1], CloseFrame):
            del messages[-1]  # it came between fragments
            expected_code = 1000
        self.assertEqual(messages, expected)
        self.assertIn(code, ALSO.get(expected_code, (expected_code,)))

    @settings(max_examples=200)
    @given(st.one_of(st.text(max_size=2000), st.binary(max_size=2000)), st.booleans())
    def test_what_we_send_they_read(self, message: str | bytes, deflate: bool) -> None:
        protocol = ServerProtocol(state=OPEN, max_size=1 << 20)
        if deflate:
            protocol.extensions = [PerMessageDeflate(True, True, 15, 12)]
        client = WebSocket(window_bits=12 * deflate, make_mask=lambda: b"\x05\x06\x07\x08")
        protocol.receive_data(client.encode(message))
        (frame,) = protocol.events_received()
        content = bytes(frame.data)  # type: ignore[union-attr]
        self.assertEqual(content, message.encode() if isinstance(message, str) else message)
