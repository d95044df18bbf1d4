"""The protocol of Redis: :mod:`twisted_net.store.redis.framing`."""

from __future__ import annotations

from functools import partial
from typing import Any

import hiredis
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.feeding import cut, one_by_one, outcome
from twisted_net.store.redis.errors import SENTENCES, RedisReplyError
from twisted_net.store.redis.framing import Push, Resp, encode_command
from twisted_net.wire.framing import LocalProtocolError, RemoteProtocolError

many = settings(max_examples=150, database=None)

values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def reply(value: Any) -> bytes:
    """Return what Redis would send for a value."""
    match value:
        case None:
            return b"_\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(reply, value))
    raise TypeError(value)


class RespTests(SynchronousTestCase):
    def check(self, data: bytes, *replies: Any) -> None:
        """Check what data gives: whole, byte by byte, and with the beginning of more after it."""
        expected = (list(replies), None)
        self.assertEqual(outcome(Resp, [data]), expected)
        self.assertEqual(outcome(Resp, one_by_one(data)), expected)
        for size in range(len(data) + 1):
            pieces = [data + data[:size], data[size:]]
            self.assertEqual(outcome(Resp, pieces), (list(replies) * 2, None))

    def test_replies(self) -> None:
        """Every kind of reply that Redis sends."""
        self.check(b"+OK\r\n:1\r\n$0\r\n\r\n$3\r\n\r\n\xff\r\n", b"OK", 1, b"", b"\r\n\xff")
        self.check(b"_\r\n$-1\r\n*-1\r\n*0\r\n", None, None, None, [])
        self.check(b"*2\r\n:-5\r\n*1\r\n$1\r\nx\r\n", [-5, [b"x"]])
        self.check(b"%1\r\n+a\r\n:1\r\n#t\r\n#f\r\n,1.5\r\n", {b"a": 1}, True, False, 1.5)
        self.check(b"=7\r\ntxt:a\nb\r\n", b"a\nb")

    def test_errors_are_replies(self) -> None:
        """An error is a reply with a code; its text is a sentence for users."""
        (error,) = Resp().feed(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        self.assertIsInstance(error, RedisReplyError)
        self.assertEqual((error.code, str(error)), ("OOM", SENTENCES["OOM"]))
        (error,) = Resp().feed(b"-ERR unknown command 'x'\r\n")
        self.assertEqual((error.code, str(error)), ("ERR", "Redis says: ERR unknown command 'x'"))
        (found,) = Resp().feed(b"*1\r\n-ERR x\r\n")
        self.assertIsInstance(found[0], RedisReplyError)
        (long,) = Resp().feed(b"-ERR %b\r\n" % (b"x\t" * 500))
        self.assertLess(len(str(long)), 250)

    def test_what_is_published(self) -> None:
        """A push is told apart from a list."""
        push, other = Resp().feed(b">3\r\n+message\r\n+c\r\n+x\r\n*3\r\n+message\r\n+c\r\n+x\r\n")
        self.assertIs(type(push), Push)
        self.assertEqual((list(push), type(other)), (other, list))

    def test_what_is_not_redis(self) -> None:
        """Anything else is an error, after the replies before it, for ever."""
        for pieces in ([b":1\r\nHTTP/1.1 400\r\n"], one_by_one(b":1\r\nHTTP/1.1 400\r\n")):
            self.assertEqual(outcome(Resp, pieces), ([1], "bad-input"))
        framing = Resp()
        for data in (b"x", b":1\r\n", b""):
            error = self.assertRaises(RemoteProtocolError, framing.feed, data)
            self.assertIn("this is not Redis", str(error))

    def test_a_reply_that_is_too_long(self) -> None:
        """A reply over the limit fails before it is complete; many short ones do not."""
        make = partial(Resp, max_size=100)
        short = reply(b"x" * 40)
        self.assertEqual(outcome(make, [short] * 50), ([b"x" * 40] * 50, None))
        self.assertEqual(outcome(make, [short[:20], short[20:] + short[:20], short[20:]])[1], None)
        long = reply([b"x" * 40] * 5)
        for pieces in ([long[:150]], one_by_one(long[:150])):
            self.assertEqual(outcome(make, pieces), ([], "too-long"))

    def test_pending(self) -> None:
        """Whether a reply has begun."""
        framing = Resp()
        self.assertFalse(framing.pending)
        framing.feed(b":1\r\n$3")
        self.assertTrue(framing.pending)
        framing.feed(b"\r\nabc\r\n")
        self.assertFalse(framing.pending)

    def test_commands(self) -> None:
        """Text, bytes and whole numbers make a command; nothing else does."""
        data = Resp().encode(("SET", b"\xff", "å", 5))
        self.assertEqual(data, b"*4\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$2\r\n\xc3\xa5\r\n$1\r\n5\r\n")
        for wrong in (("GET", None), ("GET", ["x"]), ("GET", "\ud800")):
            self.assertRaises(LocalProtocolError, encode_command, wrong)

    @many
    @given(st.lists(values, max_size=6), st.lists(st.integers(0, 200), max_size=8))
    def test_any_replies_in_any_pieces(self, replies: list[Any], places: list[int]) -> None:
        """However the bytes are cut, the replies are the same."""
        data = b"".join(map(reply, replies))
        self.assertEqual(outcome(Resp, cut(data, places)), (replies, None))
        self.assertEqual(outcome(Resp, one_by_one(data)), (replies, None))

    @many
    @given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
    def test_any_bytes(self, data: bytes, places: list[int]) -> None:
        """Whatever comes, nothing but a RemoteProtocolError is raised."""
        whole = outcome(Resp, [data])
        pieces = outcome(Resp, cut(data, places))
        self.assertEqual(repr(pieces), repr(whole))

    @many
    @given(st.lists(st.binary(max_size=9) | st.integers(0, 99) | st.text(max_size=5), min_size=1))
    def test_a_command_is_read_as_a_list(self, words: list[bytes | int | str]) -> None:
        """What is sent is what a parser reads."""
        try:
            data = encode_command(words)
        except LocalProtocolError:  # half a surrogate pair
            return
        reader = hiredis.Reader()
        reader.feed(data)
        expected = [
            word.encode()
            if isinstance(word, str)
            else b"%d" % word
            if isinstance(word, int)
            else word
            for word in words
        ]
        self.assertEqual(reader.gets(), expected)
