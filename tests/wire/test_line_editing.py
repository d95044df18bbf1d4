"""Tests of :mod:`twisted_net.wire.line_editing`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.wire.line_editing import edit_line

CHARACTERS = ("a", "é", "ß", "日", "🐍", "e\u0301", "न\u0940", "👩\u200d👩\u200d👧", "❤\ufe0f")
"""Characters of one and of several code points, each of which a key press erases."""


class EditLineTests(SynchronousTestCase):
    def assertEdited(self, line: str | bytes, expected: str | bytes) -> None:
        """Check what becomes of a line, and that nothing is left to edit."""
        line = line.encode() if isinstance(line, str) else line
        expected = expected.encode() if isinstance(expected, str) else expected
        self.assertEqual(edit_line(line), expected)
        self.assertEqual(edit_line(expected), expected)

    def test_a_character(self) -> None:
        """Backspace and DEL erase one character, of however many bytes and combining marks."""
        for key in "\x08\x7f":
            for character in CHARACTERS:
                self.assertEdited(f"x{character}{key}y", "xy")
                self.assertEdited(f"{character}{character}{key}", character)
            self.assertEdited(f"helo{key}lo", "hello")
            self.assertEdited(f"/nivk{key}{key}ck ann", "/nick ann")

    def test_nothing_is_left(self) -> None:
        """More presses than there are characters do nothing."""
        self.assertEdited("ab\x7f\x7f\x7f\x08c", "c")
        self.assertEdited("\x08\x08", "")
        self.assertEdited("\u0301\x7fa", "a")

    def test_a_word(self) -> None:
        """Ctrl-W erases a word, and the spaces after it."""
        self.assertEdited("hello big  world\x17all", "hello big  all")
        self.assertEdited("hello big  \x17all", "hello all")
        self.assertEdited("hello\x17\x17", "")

    def test_the_line(self) -> None:
        """Ctrl-U erases everything before it."""
        self.assertEdited("/login ann secret\x15hello", "hello")
        self.assertEdited("a\x15b\x15", "")

    def test_other_keys(self) -> None:
        """Escape sequences, such as arrow keys, are not characters that a key erases."""
        self.assertEdited("ab\x1b[Dc\x7f", "ab")
        self.assertEdited("ab\x1b[D\x7fc", "ac")

    def test_what_is_no_utf_8(self) -> None:
        """It stays, so that it is refused, unless it is erased: then nothing is wrong."""
        self.assertEdited(b"caf\xe9\x7fe", b"cafe")
        self.assertEdited(b"caf\xe9x\x7f", b"caf\xe9")

    def test_other_lines(self) -> None:
        """Lines without editing keys stay as they are, whatever is in them."""
        for line in (b"", b"hello", "grüße".encode(), b"\x1b[31m", b"\xff\0", b"a\tb"):
            self.assertIs(edit_line(line), line)

    @settings(max_examples=300, database=None)
    @given(st.lists(st.sampled_from([*"ab c", "é", "日", "\x08", "\x7f"])))
    def test_like_a_list(self, keys: list[str]) -> None:
        """Any keys leave what a list of characters would have."""
        model: list[str] = []
        for key in keys:
            if key not in "\x08\x7f":
                model.append(key)
            elif model:
                model.pop()
        self.assertEqual(edit_line("".join(keys).encode()).decode(), "".join(model))
