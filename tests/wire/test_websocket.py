"""Frames: each rule of RFC 6455 and RFC 7692 that a peer may break, and what a message costs."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.testing import same_for_every_split
from twisted_net.wire import websocket
from twisted_net.wire.framing import LocalProtocolError, RemoteProtocolError
from twisted_net.wire.websocket import (
    CloseFrame,
    PingFrame,
    PongFrame,
    WebSocket,
    compress,
    encode_frame,
)

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
MASK = b"\x12\x34\x56\x78"


def frame(first: int, payload: bytes = b"", mask: bytes = MASK) -> bytes:
    """Return a frame as a client sends it."""
    return encode_frame(first, payload, mask)


def run(pieces: list[bytes], **settings: Any) -> tuple[list[Any], str, int]:
    """Return the messages, the error's code (or ""), and the close code."""
    framing = WebSocket(**settings)
    messages: list[Any] = []
    for piece in pieces:
        try:
            messages += framing.feed(piece)
        except RemoteProtocolError as error:
            return messages + error.messages, error.code, framing.close_code
    return messages, "", framing.close_code


class Case(SynchronousTestCase):
    def received(self, data: bytes, **settings: Any) -> list[Any]:
        """Return the messages of correct input, fed whole, byte by byte, and in other pieces."""
        result = same_for_every_split(data, lambda pieces: run(pieces, **settings))
        self.assertEqual(result[1], "")
        return result[0]

    def refused(self, data: bytes, **settings: Any) -> int:
        """Return the close code of wrong input, fed in many ways."""
        result = same_for_every_split(data, lambda pieces: run(pieces, **settings))
        self.assertEqual(result[1], "too-long" if result[2] == 1009 else "bad-input")
        return result[2]


class MessageTests(Case):
    def test_text_and_bytes(self) -> None:
        sizes = [0, 1, 3, 125, 126, 127, 65535, 65536, 70000]
        for size in sizes:
            framing = WebSocket(max_size=1 << 20)
            data = frame(FIN | 1, b"x" * size) + frame(FIN | 2, b"y" * size)
            self.assertEqual(framing.feed(data), ["x" * size, b"y" * size])
            self.assertFalse(framing.pending)
        data = b"".join(frame(FIN | 1, b"x" * size) for size in (0, 1, 126))
        self.assertEqual(self.received(data), ["", "x", "x" * 126])

    def test_fragments_with_control_frames_between(self) -> None:
        data = (
            frame(1, "ä".encode()[:1])
            + frame(FIN | 9, b"?")
            + frame(0, "ä".encode()[1:])
            + frame(0)
            + frame(FIN | 10)
            + frame(FIN | 0, b"!")
            + frame(FIN | 2, b"next")
        )
        self.assertEqual(self.received(data), [PingFrame(b"?"), PongFrame(b""), "ä!", b"next"])

    def test_closing(self) -> None:
        """A close frame has a code and a reason, or nothing. What follows it is ignored."""
        self.assertEqual(self.received(frame(FIN | 8)), [CloseFrame(1005, "")])
        data = frame(FIN | 8, b"\x03\xe8bye") + frame(0x0F, b"garbage")
        self.assertEqual(self.received(data), [CloseFrame(1000, "bye")])
        self.assertEqual(self.received(frame(1, b"x") + data), [CloseFrame(1000, "bye")])

    def test_pending(self) -> None:
        """A part of a head, of a payload or of a message is pending; a whole one is not."""
        data = frame(1, b"a") + frame(FIN, b"b")
        framing = WebSocket()
        for index in range(len(data) - 1):
            self.assertEqual(framing.feed(data[index : index + 1]), [])
            self.assertTrue(framing.pending)
        self.assertEqual(framing.feed(data[-1:]), ["ab"])
        self.assertFalse(framing.pending)

    def test_client(self) -> None:
        """A client masks what it sends, and takes what is not masked."""
        client = WebSocket(make_mask=lambda: MASK)
        server = WebSocket()
        for message in (
            "text",
            b"bytes",
            PingFrame(b"1"),
            PongFrame(b"2"),
            "x" * 300,
            CloseFrame(1000, "bye"),
        ):
            self.assertEqual(server.feed(client.encode(message)), [message])
            self.assertEqual(client.feed(WebSocket().encode(message)), [message])


class ErrorTests(Case):
    def test_malformed_frames(self) -> None:
        """1002: masks, reserved bits and opcodes, control frames, lengths, fragments."""
        for data in (
            frame(FIN | 1, b"x", mask=b""),
            frame(FIN | RSV1 | 1, b"x"),
            frame(FIN | RSV2 | 1, b"x"),
            frame(FIN | RSV3 | 9),
            *(frame(FIN | opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            frame(9),
            frame(FIN | 9, b"x" * 126),
            frame(FIN | 8, b"x"),
            frame(FIN | 0, b"x"),
            frame(1, b"x") + frame(1, b"x"),
            frame(1, b"x") + frame(FIN | 2, b"x"),
            bytes([FIN | 1, 0x80 | 126, 0, 125]) + MASK + bytes(125),
            bytes([FIN | 1, 0x80 | 127]) + (65535).to_bytes(8) + MASK,
            bytes([FIN | 1, 0x80 | 127]) + (1 << 63).to_bytes(8) + MASK,
        ):
            self.assertEqual(self.refused(data), 1002, data[:20])
        self.assertEqual(run([frame(FIN | 1, b"x")], make_mask=lambda: MASK)[2], 1002)

    def test_messages_before_the_error_are_delivered(self) -> None:
        messages, code, _ = run([frame(FIN | 1, b"good") + frame(FIN | 3)])
        self.assertEqual((messages, code), (["good"], "bad-input"))

    def test_it_fails_at_the_first_wrong_byte(self) -> None:
        """The head of a frame is enough, and so is half of a payload."""
        framing = WebSocket()
        self.assertRaises(RemoteProtocolError, framing.feed, bytes([FIN | 3, 0x80]))
        framing = WebSocket(max_size=1000)
        self.assertRaises(
            RemoteProtocolError, framing.feed, bytes([FIN | 1, 0xFE]) + (1001).to_bytes(2) + MASK
        )
        framing = WebSocket()
        text = frame(FIN | 1, b"good \xff and more")
        self.assertEqual(framing.feed(text[:11]), [])
        self.assertRaises(RemoteProtocolError, framing.feed, text[11:12])
        self.assertRaises(RemoteProtocolError, framing.feed, b"")

    def test_text(self) -> None:
        """1007: bytes that are no UTF-8, also as the reason of a close frame."""
        for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xbd"):
            self.assertEqual(self.refused(frame(FIN | 1, wrong)), 1007)
            self.assertEqual(self.refused(frame(1, wrong) + frame(FIN | 0)), 1007)
            self.assertEqual(self.refused(frame(FIN | 8, b"\x03\xe8" + wrong)), 1007)
            self.assertEqual(self.received(frame(FIN | 2, wrong)), [wrong])

    def test_close_codes(self) -> None:
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            self.assertEqual(self.refused(frame(FIN | 8, code.to_bytes(2))), 1002, code)
        for code in (1000, 1003, 1007, 1011, 1014, 3000, 4999):
            self.assertEqual(
                self.received(frame(FIN | 8, code.to_bytes(2))), [CloseFrame(code, "")]
            )

    def test_sizes(self) -> None:
        """1009: a frame over the limit, or fragments that are together."""
        self.assertEqual(self.received(frame(FIN | 1, b"x" * 10), max_size=10), ["x" * 10])
        self.assertEqual(self.refused(frame(FIN | 1, b"x" * 11), max_size=10), 1009)
        fragments = frame(2, b"x" * 6) + frame(FIN, b"x" * 5)
        self.assertEqual(self.refused(fragments, max_size=10), 1009)

    def test_fragments(self) -> None:
        """1008: more than 1,024 in a message, whatever is in them, at no cost in memory."""
        most = frame(1) + frame(0) * 1022 + frame(FIN)
        self.assertEqual(run([most]), ([""], "", 1000))
        for payload, count in ((b"x", 65_000), (b"", 1_000_000)):
            data = frame(2, payload) + frame(0, payload) * count
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                result = run([data[at : at + 65536] for at in range(0, len(data), 65536)])
                after = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertEqual(result, ([], "bad-input", 1008))
            self.assertLess(after - before - len(data), 1_000_000)


class DeflateTests(Case):
    def deflated(self, text: bytes, first: int = FIN | RSV1 | 1) -> bytes:
        return frame(first, compress(text))

    def test_whole_and_in_fragments(self) -> None:
        text = b"the same " * 500
        data = self.deflated(text)
        self.assertEqual(self.received(data, window_bits=12), [text.decode()])
        squeezed = compress(text)
        data = frame(RSV1 | 1, squeezed[:5]) + frame(0, squeezed[5:9]) + frame(FIN, squeezed[9:])
        self.assertEqual(self.received(data, window_bits=12), [text.decode()])
        self.assertEqual(self.received(frame(FIN | 1, b"plain"), window_bits=12), ["plain"])
        self.assertEqual(self.received(frame(FIN | RSV1 | 2, b"\x00"), window_bits=12), [b""])

    def test_a_stream_that_ends(self) -> None:
        """A final block may be followed by another stream (RFC 7692, 7.2.3.4), not by many."""
        done = zlib.compressobj(wbits=-15)
        final = done.compress(b"Hello") + done.flush()
        self.assertEqual(
            self.received(frame(FIN | RSV1 | 1, final + b"\x00"), window_bits=12), ["Hello"]
        )
        data = frame(FIN | RSV1 | 1, final * 3 + b"\x00")
        self.assertEqual(self.received(data, window_bits=12), ["Hello" * 3])
        data = frame(FIN | RSV1 | 1, b"\x03\x00" * 1000 + b"\x00")
        self.assertEqual(self.refused(data, window_bits=12), 1008)

    def test_a_window_of_32_kib(self) -> None:
        """A client that was not asked for less may use the largest window."""
        text = os.urandom(30_000).hex().encode() * 2
        deflater = zlib.compressobj(wbits=-15)
        squeezed = (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        framing = WebSocket(max_size=1 << 20, window_bits=12)
        self.assertEqual(framing.feed(frame(FIN | RSV1 | 1, squeezed)), [text.decode()])

    def test_errors(self) -> None:
        self.assertEqual(self.refused(frame(FIN | RSV1 | 1, b"\xff\xff"), window_bits=12), 1002)
        self.assertEqual(self.refused(self.deflated(b"x\xff"), window_bits=12), 1007)
        self.assertEqual(self.refused(frame(FIN | RSV1 | 9), window_bits=12), 1002)
        data = frame(RSV1 | 1, b"") + frame(FIN | RSV1 | 0, b"")
        self.assertEqual(self.refused(data, window_bits=12), 1002)

    def test_a_bomb(self) -> None:
        """A gigabyte in a megabyte never takes more memory than the limit and a little."""
        deflater = zlib.compressobj(9, wbits=-15)
        megabyte = bytes(1 << 20)
        bomb = b"".join(deflater.compress(megabyte) for _ in range(1024))
        bomb += deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]
        for limit in (65536, 1 << 20):
            data = frame(FIN | RSV1 | 2, bomb)
            pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
            tracemalloc.start()
            try:
                result = run(pieces, max_size=limit, window_bits=12)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertEqual(result, ([], "too-long", 1009))
            self.assertLess(peak, limit + (1 << 20))

    def test_what_is_sent(self) -> None:
        """Long messages are compressed if that makes them smaller; short ones never."""
        framing = WebSocket(window_bits=12)
        for message in ("a" * 2000, b"a" * 2000):
            data = framing.encode(message)
            self.assertEqual(data[0] & RSV1, RSV1)
            self.assertLess(len(data), 100)
            self.assertEqual(
                WebSocket(window_bits=12, make_mask=lambda: MASK).feed(data), [message]
            )
        for message in ("a" * 1000, os.urandom(2000), CloseFrame(1000, "bye")):
            self.assertEqual(framing.encode(message), WebSocket().encode(message))


class EncodeTests(SynchronousTestCase):
    def test_what_cannot_be_sent(self) -> None:
        for message, text in (
            (42, "a WebSocket takes str, bytes, PingFrame, PongFrame or CloseFrame, not int"),
            (None, "not NoneType"),
            ("\ud800", "cannot be encoded as UTF-8"),
            (PingFrame(b"x" * 126), "a control frame has at most 125 bytes, not 126"),
            (CloseFrame(1006, ""), "a close frame cannot carry the code 1006"),
            (CloseFrame(1000, "x" * 124), "at most 125 bytes, not 126"),
            (CloseFrame(1005, "why"), "without a code cannot carry a reason"),
        ):
            error = self.assertRaises(LocalProtocolError, WebSocket().encode, message)
            self.assertIn(text, str(error))

    def test_text_that_is_encoded_already(self) -> None:
        for text in ("", "Hello", "\u00e9" * 100, "the same " * 500):
            for bits in (0, 12):
                framing = WebSocket(window_bits=bits)
                self.assertEqual(framing.encode_utf8(text.encode()), framing.encode(text))

    def test_frames(self) -> None:
        """The examples of RFC 6455, 5.7."""
        framing = WebSocket()
        self.assertEqual(framing.encode("Hello"), b"\x81\x05Hello")
        self.assertEqual(framing.encode(PingFrame(b"Hello")), b"\x89\x05Hello")
        self.assertEqual(framing.encode(bytes(256))[:4], b"\x82\x7e\x01\x00")
        self.assertEqual(framing.encode(bytes(65536))[:10], b"\x82\x7f" + (65536).to_bytes(8))
        self.assertEqual(framing.encode(CloseFrame()), b"\x88\x00")
        self.assertEqual(framing.encode(CloseFrame(1001, "x")), b"\x88\x03\x03\xe9x")
        mask = bytes.fromhex("37fa213d")
        masked = WebSocket(make_mask=lambda: mask).encode("Hello")
        self.assertEqual(masked, bytes.fromhex("818537fa213d7f9f4d5158"))

    def test_the_slow_mask(self) -> None:
        """Without its C extension, the library masks as well."""
        from websockets.utils import apply_mask

        for size in (0, 1, 4, 7, 100):
            data = os.urandom(size)
            self.assertEqual(apply_mask(data, MASK), websocket.apply_mask(data, MASK))
