"""Properties of every framing in :mod:`twisted_net.wire.framing`, for any input."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, ClassVar, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.feeding import Make, cut, held, one_by_one, outcome
from twisted_net.wire.framing import (
    ErrorCode,
    JsonLines,
    JsonStream,
    LengthPrefixed,
    Lines,
    Netstrings,
    RemoteProtocolError,
    SkippingLines,
    TooLong,
)

LIMIT = 12
"""A small limit, so that Hypothesis finds the edge cases."""

many = settings(max_examples=60, database=None)

cuts = st.lists(st.integers(0, 60), max_size=8)
short = st.binary(max_size=LIMIT)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # No lone surrogates: JSON can name them, but UTF-8 cannot carry them.
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('a\\"{]', max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


class Properties:
    """Properties of every framing. Subclasses set the framing and its interesting streams."""

    make: ClassVar[Make]
    alphabet: ClassVar[bytes]  # bytes with a meaning in this framing, and a few others
    messages: ClassVar[st.SearchStrategy[Any]] = short
    slack: ClassVar[int] = 1  # bytes that may be stored besides the message

    def stream(self, data: st.DataObject) -> bytes:
        """Return a mix of valid messages and noise."""
        encode = self.make().encode
        noise = st.lists(st.sampled_from(self.alphabet), max_size=20).map(bytes)
        parts = st.lists(self.messages.map(encode) | noise | st.binary(max_size=20), max_size=5)
        return b"".join(data.draw(parts, "stream"))

    @many
    @given(st.data())
    def test_any_chunking_gives_the_messages_and_the_error_of_the_whole(self, data: Any) -> None:
        """However the bytes are split, the messages and the error are the same."""
        stream = self.stream(data)
        whole = outcome(self.make, [stream])
        self.assertEqual(outcome(self.make, cut(stream, data.draw(cuts, "cuts"))), whole)
        self.assertEqual(outcome(self.make, one_by_one(stream)), whole)
        self.assertIn(whole[1], (None, *get_args(ErrorCode)))

    @many
    @given(st.data())
    def test_what_was_encoded_is_fed_back_as_it_was(self, data: Any) -> None:
        """Encoded messages are decoded again, once and in order."""
        messages = data.draw(st.lists(self.messages, max_size=5), "messages")
        parser = type(self).make(max_size=1 << 20)
        stream = b"".join(map(parser.encode, messages))
        pieces = cut(stream, data.draw(cuts, "cuts"))
        self.assertEqual([got for piece in pieces for got in parser.feed(piece)], messages)
        self.assertEqual(parser.feed(b""), [])

    @many
    @given(st.data())
    def test_never_remembers_more_than_the_limit(self, data: Any) -> None:
        """However much is fed, at most one message is stored."""
        parser = self.make()
        for piece in cut(self.stream(data), data.draw(cuts, "cuts")):
            with contextlib.suppress(RemoteProtocolError):
                parser.feed(piece)
            self.assertLessEqual(held(parser), LIMIT + self.slack)


class FailingProperties(Properties):
    """Properties of every framing that can fail."""

    failure: ClassVar[tuple[bytes, str]]  # bytes of which the last causes an error, and its code
    failure_limit: ClassVar[int] = 1 << 20

    @many
    @given(st.data())
    def test_messages_before_an_error_are_not_lost(self, data: Any) -> None:
        """Messages before an error come with it, and none come after it."""
        tail, code = self.failure
        messages = data.draw(st.lists(self.messages, max_size=4), "messages")
        parser = type(self).make(max_size=self.failure_limit)
        stream = b"".join(map(parser.encode, messages)) + tail
        got: list[Any] = []
        for piece in cut(stream[:-1], data.draw(cuts, "cuts")):
            got += parser.feed(piece)
        error = self.assertRaises(RemoteProtocolError, parser.feed, stream[-1:] + b"1:a,\n{}\n")
        self.assertEqual((got + error.messages, error.code), (messages, code))
        for later in (b"", stream, b"\n"):
            again = self.assertRaises(RemoteProtocolError, parser.feed, later)
            self.assertEqual((again.code, str(again), again.messages), (code, str(error), []))


class LinesProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(Lines, max_size=LIMIT))
    failure = (b"x" * (LIMIT + 1), "too-long")
    failure_limit = LIMIT
    alphabet = b"a\r\n"
    messages = st.lists(st.sampled_from(b"ab\r\xff"), max_size=4).map(bytes)

    @many
    @given(st.lists(st.sampled_from(b"ab\r\n"), max_size=60).map(bytes), cuts)
    def test_gives_what_splitting_the_whole_gives(self, stream: bytes, places: list[int]) -> None:
        """Lines are what is between line feeds, without the CR before each."""
        *lines, _ = stream.split(b"\n")
        expected = [line.removesuffix(b"\r") for line in lines]
        make = partial(Lines, max_size=100)
        self.assertEqual(outcome(make, cut(stream, places)), (expected, None))


class SkippingLinesProperties(Properties, SynchronousTestCase):
    make = staticmethod(partial(SkippingLines, max_size=LIMIT))
    alphabet = b"a\r\n\0"
    messages = LinesProperties.messages

    @many
    @given(st.lists(st.sampled_from(b"aab\r\n\0"), max_size=60).map(bytes), cuts)
    def test_puts_too_long_where_a_line_was(self, stream: bytes, places: list[int]) -> None:
        """Each line over the limit becomes one TooLong, and the others are unchanged."""
        ended = stream.replace(b"\r\0", b"\r\n")  # CR NUL ends a line too
        *lines, rest = (line.removesuffix(b"\r") for line in ended.split(b"\n"))
        if len(rest) > LIMIT:
            lines.append(rest)
        expected = [line if len(line) <= LIMIT else TooLong(LIMIT) for line in lines]
        self.assertEqual(outcome(self.make, cut(stream, places)), (expected, None))


class NetstringsProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(Netstrings, max_size=LIMIT))
    alphabet = b"0123:,a"
    failure = (b"3:abc;", "bad-input")


class LengthPrefixedProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(LengthPrefixed, 2, max_size=LIMIT))
    failure = (b"\xff\xff", "too-long")
    failure_limit = LIMIT
    alphabet = b"\0\0\0\1\2\x09"


class LittleEndianProperties(LengthPrefixedProperties):
    make = staticmethod(partial(LengthPrefixed, 4, "little", max_size=LIMIT))
    failure = (b"\0\0\0\xff", "too-long")


class VarintProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(LengthPrefixed, "varint", max_size=LIMIT))
    alphabet = b"\0\1\2\x80\x80\x81"
    failure = (b"\x80" * 10, "bad-input")


class JsonLinesProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(JsonLines, max_size=LIMIT))
    alphabet = b'{}[]":,\\1 \r\n\xc3\xa4'
    messages = json_values
    failure = (b"{]\n", "bad-input")


class JsonStreamProperties(FailingProperties, SynchronousTestCase):
    make = staticmethod(partial(JsonStream, max_size=LIMIT))
    alphabet = b'{{}}[]"":,\\1 \n\xc3\xa4'
    messages = json_values.map(lambda value: [value])
    failure = (b"{]", "bad-input")
