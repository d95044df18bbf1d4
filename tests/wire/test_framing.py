"""Framings by example: :mod:`twisted_net.wire.framing`.

Every stream is fed whole, byte by byte, and with the beginning of the next message. Properties that
hold for any stream are in :mod:`tests.wire.test_framing_properties`.
"""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.feeding import Make, held, one_by_one, outcome
from twisted_net.wire import framing
from twisted_net.wire.framing import (
    MAX_DEPTH,
    SHOWN_OF_TOO_LONG,
    JsonLines,
    JsonStream,
    LengthPrefixed,
    Lines,
    LocalProtocolError,
    Netstrings,
    Raw,
    RemoteProtocolError,
    SkippingLines,
    TooLong,
)


class FramingTestCase(SynchronousTestCase):
    """Adds the assertions that every example uses."""

    def assert_gives(self, make: Make, data: bytes, messages: list[Any]) -> None:
        """Check that ``data`` yields ``messages``, also if the next message has begun after it."""
        self.assertEqual(outcome(make, [data]), (messages, None))
        self.assertEqual(outcome(make, one_by_one(data)), (messages, None))
        for size in range(len(data) + 1):
            pieces = [data + data[:size], data[size:]]
            self.assertEqual(outcome(make, pieces), (messages * 2, None), pieces)

    def assert_fails(self, make: Make, data: bytes, code: str, *messages: Any) -> None:
        """Check that ``data`` yields the messages and then the error, whatever follows."""
        for pieces in ([data], one_by_one(data), [data + b"1:a,\n{}\n"]):
            self.assertEqual(outcome(make, pieces), (list(messages), code), pieces)


class RawTests(SynchronousTestCase):
    def test_messages_are_the_bytes_as_they_arrived(self) -> None:
        """Raw splits, joins, limits and changes nothing. An empty read is not a message."""
        raw = Raw(max_size=1)
        self.assertEqual(raw.feed(b"a\r\n\0b"), [b"a\r\n\0b"])
        self.assertEqual(raw.feed(b""), [])
        self.assertEqual(raw.encode(b"a\r\n\0b"), b"a\r\n\0b")
        self.assertEqual(held(raw), 0)


class LinesTests(FramingTestCase):
    make = staticmethod(partial(Lines, max_size=3))

    def test_lines_end_with_lf_or_crlf(self) -> None:
        """Both line endings are removed; a CR anywhere else stays."""
        self.assert_gives(self.make, b"ab\ncd\r\n\n\r\n", [b"ab", b"cd", b"", b""])
        self.assert_gives(self.make, b"a\rb\n\r\r\n", [b"a\rb", b"\r"])

    def test_a_line_of_the_limit_is_allowed_with_either_ending(self) -> None:
        """The line ending does not count toward the limit."""
        self.assert_gives(self.make, b"abc\nabc\r\n", [b"abc", b"abc"])

    def test_a_line_of_one_byte_more_is_too_long(self) -> None:
        """One byte more fails with either ending, after the earlier lines."""
        self.assert_fails(self.make, b"a\nabcd\n", "too-long", b"a")
        self.assert_fails(self.make, b"abc\r\r\n", "too-long")

    def test_the_limit_is_looked_at_before_the_ending_comes(self) -> None:
        """A line without an end fails at its first byte over the limit."""
        self.assert_fails(self.make, b"abcd", "too-long")
        self.assert_fails(self.make, b"abc\rx", "too-long")

    def test_a_cr_after_the_limit_may_become_the_ending(self) -> None:
        """A CR just past the limit is an error only if something other than LF follows."""
        parser = self.make()
        self.assertEqual(parser.feed(b"abc\r"), [])
        self.assertEqual(parser.feed(b"\nd\n"), [b"abc", b"d"])

    def test_text_is_sent_as_utf8(self) -> None:
        """Text and bytes can both be sent."""
        self.assertEqual(self.make().encode("ä"), b"\xc3\xa4\n")
        self.assertEqual(self.make().encode(b"\xff"), b"\xff\n")

    def test_what_is_no_line_is_not_sent(self) -> None:
        """A line with a line feed inside, or text with a lone surrogate, cannot be sent."""
        for message in ("a\nb", b"\n", "\ud800"):
            self.assertRaises(LocalProtocolError, self.make().encode, message)


class SkippingLinesTests(FramingTestCase):
    make = staticmethod(partial(SkippingLines, max_size=3))

    def test_every_ending(self) -> None:
        """LF, CR LF and CR NUL end a line, in any mixture; a NUL or a CR alone does not."""
        too_long = TooLong(3)
        for data, messages in (
            (b"a\r\0b\r\nc\nd\r\0", [b"a", b"b", b"c", b"d"]),
            (b"\r\0\r\0\n", [b"", b"", b""]),
            (b"abc\r\0", [b"abc"]),
            (b"abcd\r\0e\r\0", [too_long, b"e"]),
            (b"abcdef\r\0\r\0e\n", [too_long, b"", b"e"]),
            (b"abcd\rx\0y\r\r\0e\n", [too_long, b"e"]),
            (b"a\0b\n\0\n", [b"a\0b", b"\0"]),
            (b"a\rb\r\0", [b"a\rb"]),
            (b"a\r\r\0", [b"a\r"]),
            (b"\0\r\0", [b"\0"]),
        ):
            self.assert_gives(self.make, data, messages)

    def test_a_line_over_the_limit_is_reported_at_once_and_once(self) -> None:
        """TooLong comes with the first byte over the limit, and later lines are still read."""
        parser = self.make()
        self.assertEqual(parser.feed(b"abc"), [])
        self.assertEqual(parser.feed(b"d"), [TooLong(3)])
        self.assertEqual(parser.feed(b"efghi"), [])
        self.assertEqual(parser.feed(b"\r\nok\n"), [b"ok"])

    def test_the_limit_counts_no_ending(self) -> None:
        """A line at the limit is returned with either ending; one byte more gives TooLong."""
        self.assert_gives(self.make, b"abc\nabc\r\n", [b"abc", b"abc"])
        self.assert_gives(self.make, b"abcd\nx\nabcd\r\n", [TooLong(3), b"x", TooLong(3)])
        self.assert_gives(self.make, b"abc\r\r\nabc\rx\n", [TooLong(3)] * 2)
        for line, given in (
            (b"\n", b""), (b"\r\n", b""), (b"abc\n", b"abc"), (b"abc\r\n", b"abc"),
            (b"abcd\n", TooLong(3)), (b"abcd\r\n", TooLong(3)),
        ):  # fmt: skip
            self.assert_gives(self.make, line, [given])

    def test_too_long_says_its_limit(self) -> None:
        """Two with the same limit are equal, and their repr can be logged."""
        self.assertEqual({TooLong(3), TooLong(3)}, {TooLong(3)})
        self.assertNotEqual(TooLong(3), TooLong(4))
        self.assertNotEqual(TooLong(3), b"")
        self.assertEqual(repr(TooLong(3)), "TooLong(max_size=3)")

    def test_the_start_of_a_line_over_the_limit(self) -> None:
        """It is known how a line over the limit began, whether or not its end has arrived."""
        for data in (b"abcd" + b"x" * 300, b"abcd" + b"x" * 300 + b"\n"):
            for pieces in ([data], [data[:2], data[2:]]):
                parser = self.make()
                found = [each for piece in pieces for each in parser.feed(piece)]
                starts = [each.start for each in found if isinstance(each, TooLong)]
                self.assertEqual(starts, [data[:SHOWN_OF_TOO_LONG]])


class NetstringsTests(FramingTestCase):
    make = staticmethod(partial(Netstrings, max_size=12))

    def test_strings_follow_one_another(self) -> None:
        """The specification's example, an empty string, and a string at the limit are accepted."""
        strings = [b"hello", b"", b"hello world!"]
        self.assert_gives(self.make, b"5:hello,0:,12:hello world!,", strings)

    def test_one_over_the_limit_is_refused_with_its_length(self) -> None:
        """A string over the limit fails at its length, before any of its bytes."""
        self.assert_fails(self.make, b"1:a,13", "too-long", b"a")
        self.assert_fails(self.make, b"9999999999", "too-long")

    def test_what_is_no_netstring_is_bad_input(self) -> None:
        """A missing length, a leading zero, a sign, a space, or a missing comma is an error."""
        for data in (b":", b"x", b"00:", b"01:a,", b"-1:", b" 1:a,", b"1 :a,", b"1:a;", b"0:x"):
            self.assert_fails(self.make, data, "bad-input")
        self.assert_fails(self.make, b"1:a,,", "bad-input", b"a")


class LengthPrefixedTests(FramingTestCase):
    def test_every_width_and_order_has_its_bytes(self) -> None:
        """The length prefix has the requested width and byte order."""
        for arguments, header in (
            ((1,), b"\x03"), ((2,), b"\0\x03"), ((), b"\0\0\0\x03"), ((8,), bytes(7) + b"\x03"),
            ((2, "little"), b"\x03\0"), ((4, "little"), b"\x03\0\0\0"), (("varint",), b"\x03"),
        ):  # fmt: skip
            self.assertEqual(LengthPrefixed(*arguments).encode(b"abc"), header + b"abc")
            self.assert_gives(partial(LengthPrefixed, *arguments), header + b"abc", [b"abc"])

    def test_a_varint_has_its_least_group_first(self) -> None:
        """300 is AC 02, as in the Protocol Buffers documentation, and 128 takes two bytes."""
        for size, header in ((127, b"\x7f"), (128, b"\x80\1"), (16384, b"\x80\x80\1")):
            self.assertEqual(LengthPrefixed("varint").encode(bytes(size)), header + bytes(size))
        message = b"x" * 300
        self.assertEqual(LengthPrefixed("varint").encode(message), b"\xac\x02" + message)
        self.assert_gives(partial(LengthPrefixed, "varint"), b"\xac\x02" + message, [message])

    def test_an_empty_message_is_complete_with_its_length(self) -> None:
        """An empty message is complete with its length."""
        self.assert_gives(partial(LengthPrefixed, 2), bytes(4), [b"", b""])

    def test_one_over_the_limit_is_refused_with_its_length(self) -> None:
        """A message at the limit is accepted; a larger one fails at its length."""
        self.assert_gives(partial(LengthPrefixed, 2, max_size=3), b"\0\3abc", [b"abc"])
        self.assert_fails(partial(LengthPrefixed, 2, max_size=3), b"\0\1a\0\4", "too-long", b"a")
        self.assert_fails(partial(LengthPrefixed, 8), b"\xff" * 8, "too-long")
        self.assert_fails(partial(LengthPrefixed, "varint"), b"\xff" * 9 + b"\1", "too-long")

    def test_a_varint_ends_within_ten_bytes(self) -> None:
        """Ten groups of seven carry 64 bits, so an eleventh is an error at once."""
        self.assert_gives(partial(LengthPrefixed, "varint"), b"\x81" + b"\x80" * 8 + b"\0a", [b"a"])
        self.assert_fails(partial(LengthPrefixed, "varint"), b"\x80" * 10, "bad-input")

    def test_a_length_that_does_not_fit_is_not_sent(self) -> None:
        """The largest length that fits is sent; one more is an error."""
        self.assertEqual(LengthPrefixed(1).encode(bytes(255)), b"\xff" + bytes(255))
        self.assertRaises(LocalProtocolError, LengthPrefixed(1).encode, bytes(256))

    def test_unknown_widths_and_orders_are_named(self) -> None:
        """An unknown width or byte order raises in the constructor."""
        self.assertIn("3", str(self.assertRaises(ValueError, LengthPrefixed, 3)))
        self.assertIn("middle", str(self.assertRaises(ValueError, LengthPrefixed, 4, "middle")))


class JsonTests(FramingTestCase):
    """JSON lines and JSON streams."""

    def test_a_json_line_is_any_value(self) -> None:
        """Blank lines are skipped, CRLF is an ending, and non-ASCII text is unchanged."""
        data = '{"a":[1,null]}\n\n  \r\n "ä" \r\n3\n'.encode()
        self.assert_gives(JsonLines, data, [{"a": [1, None]}, "ä", 3])
        self.assertEqual(JsonLines().encode({"a": "ä\n"}), '{"a":"ä\\n"}\n'.encode())

    def test_a_stream_needs_no_separator(self) -> None:
        """Brackets and quotes inside strings end nothing."""
        data = rb'{"a":"}\"]\\"}[[]] ' + b'\t\r\n{"[":{}}'
        self.assert_gives(JsonStream, data, [{"a": '}"]\\'}, [[]], {"[": {}}])

    def test_a_stream_is_of_objects_and_arrays(self) -> None:
        """A stream neither reads nor sends bare numbers, whose end cannot be found."""
        for data in (b"1", b'"a"', b"null", b",", b"]", b"\xef\xbb\xbf{}"):
            self.assert_fails(JsonStream, b"{}" + data, "bad-input", {})
        for message in (1, "a", None):
            self.assertRaises(LocalProtocolError, JsonStream().encode, message)

    def test_the_limit_is_exact(self) -> None:
        """A value at the limit is read; one byte more is an error, complete or not."""
        self.assert_gives(partial(JsonStream, max_size=5), b'[] ["a"]', [[], ["a"]])
        self.assert_gives(partial(JsonLines, max_size=5), b'["a"]\n["a"]\r\n', [["a"], ["a"]])
        for data in (b'{}["ab"]', b'{}["abcd'):
            self.assert_fails(partial(JsonStream, max_size=5), data, "too-long", {})
        for data in (b'{}\n["ab"]\n', b'{}\n["ab"]'):
            self.assert_fails(partial(JsonLines, max_size=5), data, "too-long", {})

    def test_what_is_not_json_is_bad_input(self) -> None:
        """Malformed JSON, invalid UTF-8, and the NaN and Infinity of Python's parser are errors."""
        for text in (b"{]", b"[1,]", b"[NaN]", b"[-Infinity]", b'["\xff"]', b"['a']", b"{1:2}"):
            self.assert_fails(JsonStream, b"[]" + text, "bad-input", [])
            self.assert_fails(JsonLines, b"[]\n" + text + b"\n", "bad-input", [])
        self.assert_fails(JsonLines, b"[" + b"1" * 5000 + b"]\n", "bad-input")

    def test_a_number_too_large_for_a_float_is_bad_input(self) -> None:
        """A number too large for a float would be infinite, which JSON cannot express."""
        self.assert_fails(JsonStream, b"[1e999]", "bad-input")
        self.assert_fails(JsonLines, b"-1e999\n", "bad-input")

    def test_nesting_has_a_limit(self) -> None:
        """Nesting up to the limit is read, deeper nesting is an error, and width does not count."""
        for make, end in ((partial(JsonLines, max_size=1 << 20), b"\n"), (JsonStream, b"")):
            deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + end
            self.assertEqual(outcome(make, [deep])[1], None)
            deeper = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + end
            self.assertEqual(outcome(make, [deeper]), ([], "bad-input"))
            self.assertEqual(outcome(make, [b'{"a":[' * 50000 + end]), ([], "bad-input"))
            wide = b"[" + b"[]," * 99 + b'"' + b"[" * 99 + b'"]' + end
            self.assertEqual(outcome(make, [wide])[1], None)

    def test_what_json_cannot_say_is_not_sent(self) -> None:
        """NaN, sets, circular or endlessly nested values, and lone surrogates cannot be sent."""
        circle: list[Any] = []
        circle.append(circle)
        deep: list[Any] = []
        for _ in range(100000):
            deep = [deep]
        for message in ([float("nan")], [{1}], circle, deep, ["\ud800"]):
            for make in (JsonLines, JsonStream):
                self.assertRaises(LocalProtocolError, make().encode, message)
        while deep:  # freeing all of it at once would recurse as deep
            deep = deep.pop()


class CountingBuffer(bytearray):
    """Counts the bytes that are added, removed, or searched."""

    touched = 0

    def __iadd__(self, data: Any) -> CountingBuffer:
        self.touched += len(data)
        super().__iadd__(data)
        return self

    def __bytes__(self) -> bytes:
        self.touched += len(self)
        return bytes(memoryview(self))


def _counted(name: str) -> Any:
    def method(self: CountingBuffer, *arguments: Any) -> Any:
        self.touched += len(self)
        return getattr(bytearray, name)(self, *arguments)

    return method


for _name in ("__add__", "__contains__", "count", "find", "index", "partition", "rfind", "split"):
    setattr(CountingBuffer, _name, _counted(_name))


class CostTests(SynchronousTestCase):
    """The work that a peer can cause in a framing."""

    def assert_touched_twice(self, parser: Any, owner: Any, stream: bytes) -> None:
        """Check that, byte by byte, each byte enters the buffer once and leaves it once."""
        first, *pieces, last = one_by_one(stream)
        self.assertEqual(parser.feed(first), [])  # some framings begin to buffer here
        buffer = owner._buffer = CountingBuffer(owner._buffer)
        messages = [message for piece in pieces for message in parser.feed(piece)]
        self.assertIs(owner._buffer, buffer, "counted what is no longer used")
        messages += parser.feed(last)
        self.assertEqual(len(messages), 1)
        self.assertLessEqual(buffer.touched, 2 * len(stream))

    def test_byte_by_byte_costs_no_more_than_at_once(self) -> None:
        """No byte is copied or searched again for each byte that follows it."""
        size = 1 << 15
        for parser in (Lines(), SkippingLines(), Netstrings(), LengthPrefixed()):
            self.assert_touched_twice(parser, parser, parser.encode(b"x" * size))
        lines = JsonLines()
        self.assert_touched_twice(lines, lines._lines, lines.encode("x" * size))

    def test_a_stream_of_json_is_scanned_once(self) -> None:
        """Finding the end of a JSON value scans no byte twice."""
        scanned = 0

        class Counting(framing.ValueScanner):
            def scan(self, data: bytes, position: int, stop: int) -> int:
                nonlocal scanned
                scanned += stop - position
                return super().scan(data, position, stop)

        self.patch(framing, "ValueScanner", Counting)
        parser = JsonStream()
        stream = parser.encode(["{x\\" * 9999])
        self.assert_touched_twice(parser, parser, stream)
        self.assertEqual(scanned, len(stream))

    def test_what_never_ends_is_not_remembered(self) -> None:
        """A mebibyte without an end stores at most the limit."""
        varint = partial(LengthPrefixed, "varint")
        for make, begin, more in (
            (Lines, b"", b"x"), (SkippingLines, b"", b"x"), (SkippingLines, b"", b"\r"),
            (Netstrings, b"1000:", b"x"), (Netstrings, b"1", b"0"),
            (LengthPrefixed, b"\0\0\3\xe8", b"x"), (varint, b"", b"\x80"),
            (JsonLines, b"", b" "), (JsonStream, b"", b" "), (JsonStream, b'["', b"\\"),
            (JsonStream, b"", b"["),
        ):  # fmt: skip
            parser = make(max_size=1000)
            for piece in (begin, *[more * 999] * 1050):
                with contextlib.suppress(RemoteProtocolError):
                    parser.feed(piece)
                self.assertLessEqual(held(parser), 1001, (make, more))

    def test_an_error_keeps_nothing_of_what_was_fed(self) -> None:
        """Once the caller has dropped the error, the bytes that caused it are freed."""
        for make in (Lines, Netstrings, LengthPrefixed, JsonLines, JsonStream):
            data = bytes([255]) * 1000 + b"\n"
            parser = make(max_size=9)
            before = sys.getrefcount(data)
            self.assertEqual(outcome(lambda parser=parser: parser, [data])[0], [])
            self.assertEqual(sys.getrefcount(data), before, make)
