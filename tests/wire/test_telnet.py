"""Telnet commands in a stream of text: :mod:`twisted_net.wire.telnet`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.feeding import cut, one_by_one
from twisted_net.wire.telnet import LONGEST_SUBNEGOTIATION, Telnet

many = settings(max_examples=300, database=None)

noise = st.lists(
    st.sampled_from(
        [b"\xff", b"\xfb", b"\xfd", b"\xfa", b"\xf0", b"\xff\xf0", b"\x01", b"\n", b"a"]
    )
).map(b"".join)


def fed(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed the pieces, and return the text and the answers."""
    telnet, text, answers = Telnet(), b"", b""
    for piece in pieces:
        more, answer = telnet.feed(piece)
        text, answers = text + more, answers + answer
    return text, answers


class TelnetTests(SynchronousTestCase):
    def assertFed(self, data: bytes, text: bytes, answers: bytes = b"") -> None:
        """Check the result for ``data`` whole, byte by byte, and split at every position."""
        for pieces in ([data], one_by_one(data), *(cut(data, [at]) for at in range(len(data)))):
            self.assertEqual(fed(pieces), (text, answers), pieces)

    def test_text_is_text(self) -> None:
        """Text passes unchanged in any language."""
        self.assertFed("grüße 日本 🐍\r\n".encode(), "grüße 日本 🐍\r\n".encode())

    def test_options_are_refused(self) -> None:
        """WILL is answered with DONT, DO with WONT, and refusals are not answered."""
        self.assertFed(b"a\xff\xfb\x18b\xff\xfd\x01c", b"abc", b"\xff\xfe\x18\xff\xfc\x01")
        self.assertFed(b"\xff\xfc\x18\xff\xfe\x01x", b"x")

    def test_an_option_is_refused_once(self) -> None:
        """An option is refused only once, so that two sides cannot loop."""
        self.assertFed(b"\xff\xfb\x18" * 5 + b"x", b"x", b"\xff\xfe\x18")

    def test_subnegotiations_go(self) -> None:
        """Subnegotiations are removed with their content, even line feeds and the byte 255."""
        self.assertFed(b"a\xff\xfa\x18\x00x\n\xff\xff\xff\xf0b", b"ab")

    def test_erasing(self) -> None:
        """The commands EC and EL of RFC 854 become the keys that do the same."""
        self.assertFed(b"ab\xff\xf7c\xff\xf8d", b"ab\x7fc\x15d")

    def test_other_commands_go(self) -> None:
        """Other commands, such as interrupt, are removed."""
        self.assertFed(b"a\xff\xf4\xff\xf6\xff\xf9\xff\xf2b\xff\xf0", b"ab")

    def test_what_is_no_command_stays(self) -> None:
        """Bytes that are not a command stay, and fail later as invalid UTF-8."""
        for data in (
            b"caf\xe9\xff\xfe\nx",
            b"\xff\n",
            b"\xff\xfb\r\n",
            b"\xff\xff\n",
            b"\xff\x41\n",
        ):
            self.assertFed(data, data)

    def test_a_subnegotiation_without_end(self) -> None:
        """A subnegotiation without an end swallows a limited number of bytes and stores none."""
        data = b"\xff\xfa" + b"x" * LONGEST_SUBNEGOTIATION + b"still here\n"
        self.assertFed(data, b"still here\n")

    @many
    @given(noise, st.lists(st.integers(0, 60), max_size=6))
    def test_the_split_makes_no_difference(self, data: bytes, places: list[int]) -> None:
        """Any bytes give the same result, however they are split."""
        self.assertEqual(fed(cut(data, places)), fed([data]))

    @many
    @given(st.binary(max_size=200))
    def test_noise(self, data: bytes) -> None:
        """Answers are never longer than the request, and text is part of the input.

        What erases is not: the commands for it become the keys that do the same.
        """
        text, answers = fed([data])
        self.assertLessEqual(len(answers), len(data))
        left = iter(data)
        self.assertTrue(all(byte in left for byte in text if byte not in b"\x7f\x15"))
