"""Cleaning lines from clients: :mod:`twisted_net.wire.text`."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.text import counted, decode_line, is_blank, noun_for, printable

many = settings(max_examples=300, database=None)

# The parts of escape sequences, far more often than by chance.
hostile = st.text(
    st.sampled_from("\x1b\x1b\x9b\x9d\x90\x9c\x07[]P0;m \\~\t\r\n\0\x7f\u202e\u2066\u2028\ud800ä")
    | st.characters(),
    max_size=20,
)


FLAG = "\U0001f3f4"
END = "\U000e007f"


def tags(text: str) -> str:
    """Return a text in tag characters."""
    return "".join(chr(0xE0000 + ord(each)) for each in text)


class BlankTests(SynchronousTestCase):
    """Texts of which nobody sees anything."""

    def test_invisible(self) -> None:
        """Spaces, joiners, fillers, variation selectors and tags are not seen."""
        for text in (
            "", " ", "\u3000\t", "\u200b", "\u200d\u2060", "\u00ad", "\u3164", "\u2800", "\ufe0f",
            "\U000e0101", "\ufeff", "\u202e", tags("abc"), "\u2065",
        ):  # fmt: skip
            self.assertTrue(is_blank(text), ascii(text))

    def test_visible(self) -> None:
        """Anything else is seen, also a mark, and an emoji that Python does not know yet."""
        for text in ("a", " !", "~", "\u200bx", "\u0301", "\u2801", "\U0001f3f4", "\U0001fae8",
                     "\U0001faea", "\ue000", "\u3164\u3131"):  # fmt: skip
            self.assertFalse(is_blank(text), ascii(text))


class DecodeLineTests(SynchronousTestCase):
    def test_utf8_is_text(self) -> None:
        """Any valid UTF-8 is decoded."""
        self.assertEqual(decode_line("grüße 🐍\0".encode()), "grüße 🐍\0")

    def test_anything_else_is_bad_input(self) -> None:
        """The error has the position of a stray byte, overlong form, surrogate or cut letter."""
        for line, place in ((b"ab\xff", 2), (b"\xc0\xaf", 0), (b"a\xed\xa0\x80", 1), (b"\xc3", 0)):
            error = self.assertRaises(RemoteProtocolError, decode_line, line)
            self.assertEqual(error.code, "bad-input")
            self.assertIn(f"at byte {place} ", str(error))


class PrintableTests(SynchronousTestCase):
    def test_ordinary_text_stays_as_it_is(self) -> None:
        """Text in any script stays unchanged, with accents and emoji."""
        for text in ("", "hello, world", "grüße", "e\u0301", "日本語", "שלום", "[31m ok", "🐍"):
            self.assertEqual(printable(text), text)

    def test_joiners_stay(self) -> None:
        """Zero-width joiners and non-joiners stay: emoji and several scripts need them."""
        for text in ("👨\u200d👩\u200d👧", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"):
            self.assertEqual(printable(text), text)

    def test_flags_of_subdivisions_stay(self) -> None:
        """Tag characters stay in a whole flag, such as Scotland's, and nowhere else."""
        for region in ("gbsct", "gbwls", "usca", "gb1"):
            flag = f"\U0001f3f4{tags(region)}\U000e007f"
            self.assertEqual(printable(f"a{flag}b{flag}"), f"a{flag}b{flag}")
            self.assertEqual(printable(f"\x1b[31m{flag}\x07"), flag)

    def test_other_tags_go(self) -> None:
        """Tag characters without a flag, without an end, or as a long hidden text are removed."""
        for hidden in (tags("gbsct") + END, f"{FLAG}{tags('gbsct')}", f"{FLAG}{END}",
                       f"{FLAG}{tags('gb')}{END}", f"{FLAG}{tags('a hidden text')}{END}",
                       f"{FLAG}{tags('GBSCT')}{END}",
                       f"\U0001f3f3{tags('gbsct')}{END}"):  # fmt: skip
            shown = "".join(each for each in hidden if each < "\U000e0000")
            self.assertEqual(printable(f"a{hidden}b"), f"a{shown}b")

    def test_escape_sequences_go_as_a_whole(self) -> None:
        """No tail of a colour, a window title or a device string is left."""
        for sequence in (
            "\x1b[31m", "\x1b[2J", "\x1b[?1049h", "\x1b[38;5;1m", "\x1b[4 q", "\x9b31m",
            "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9d0;title\x9c",
            "\x1bP1$r\x1b\\", "\x90q\x9c", "\x1b_x\x1b\\", "\x1b^x\x9c", "\x1bXx\x9c",
            "\x1bc", "\x1b(0", "\x1b7", "\x1b#8", "\x1b\x1b[31m",
        ):  # fmt: skip
            self.assertEqual(printable(f"a{sequence}b"), "ab", ascii(sequence))

    def test_an_unended_sequence_leaves_no_control_character(self) -> None:
        """An incomplete sequence leaves no control character and does not affect later lines."""
        for sequence in ("\x1b", "\x1b[", "\x1b[31", "\x9b", "\x1b]0;title", "\x1bP"):
            self.assertEqual(printable(f"a{sequence}"), "a", ascii(sequence))

    def test_a_tab_becomes_a_space(self) -> None:
        """A tab becomes a space, so that words stay apart."""
        self.assertEqual(printable("a\tb"), "a b")

    def test_control_characters_go(self) -> None:
        """C0, DEL and C1 are removed, with line feeds, so that no line can be forged."""
        for number in (*range(9), *range(10, 32), 127, *range(128, 160)):
            self.assertNotIn(chr(number), printable(f"a{chr(number)}b"))
        self.assertEqual(printable("a\r\n* b\0\x7f\x85\b"), "a* b")

    def test_nothing_reorders_the_text(self) -> None:
        """Bidirectional marks, embeddings, overrides and isolates are removed (UAX #9)."""
        marks = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        self.assertEqual(printable(f"a{marks}b"), "ab")

    def test_what_nobody_sees_goes(self) -> None:
        """Line separators, byte order marks, annotations and tags are removed."""
        self.assertEqual(
            printable("a\u2028\u2029\ufeff\ufff9\ufffa\ufffb\U000e0041\U000e007fb"), "ab"
        )

    def test_what_utf8_cannot_carry_goes(self) -> None:
        """Lone surrogates, which JSON can name, are removed."""
        self.assertEqual(printable("a\ud800\udfffb"), "ab")

    @many
    @given(hostile)
    def test_the_result_is_harmless_whatever_comes(self, text: str) -> None:
        """The result has no controls or direction marks, is UTF-8, and does not change again."""
        result = printable(text)
        result.encode()
        for character in result:
            self.assertNotIn(unicodedata.category(character), ("Cc", "Cs", "Zl", "Zp"))
            self.assertNotIn(
                unicodedata.bidirectional(character),
                ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
            )
        self.assertEqual(printable(result), result)

    @many
    @given(hostile)
    def test_nothing_is_made_up(self, text: str) -> None:
        """The result is a subsequence of the input."""
        left = iter(text.replace("\t", " "))
        self.assertTrue(all(character in left for character in printable(text)))

    @many
    @given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20))
    def test_text_without_controls_is_not_touched(self, text: str) -> None:
        """Text without control characters is unchanged."""
        self.assertEqual(printable(text), text)


class CountedTests(SynchronousTestCase):
    def test_one_and_several(self) -> None:
        """A noun stands in the plural, except after 1."""
        for number, noun, text in (
            (0, "line", "0 lines"),
            (1, "line", "1 line"),
            (99_999_999, "minute", "99999999 minutes"),
            (1, "person", "1 person"),
            (2, "person", "2 people"),
        ):
            self.assertEqual(counted(number, noun), text)
        self.assertEqual(noun_for(0.5, "second"), "seconds")
