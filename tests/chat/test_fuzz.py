"""Tests with a hostile peer that sends any bytes; see ``tests.chat.chat_attack``.

``python -m tests.chat.fuzz_chat`` searches longer, guided by coverage.
"""

from __future__ import annotations

import io
import json
import sys
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_attack import SCHEMA, Complaint, attack, check_answers, check_people
from tests.chat.fuzz_chat import main
from twisted_net.chat.codecs.text_commands import COMMANDS

_NAMES = st.sampled_from(["ann", "bob", "BOB", "eve", "lobby", "#x", "a\u202eb", "\x1b[31m", "zoë"])
_WORDS = _NAMES | st.text(max_size=8) | st.integers().map(str)
_SIZES = st.binary(min_size=4, max_size=4) | st.just(bytes(4))

_TEXT = st.builds(
    lambda start, words: " ".join([start, *words]).encode("utf-8", "replace"),
    st.sampled_from(["", "/", *COMMANDS]),
    st.lists(_WORDS, max_size=4),
)
_VALUES = _WORDS | st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2)
_JSON = st.builds(
    lambda kind, more: json.dumps({"type": kind, **more}).encode(),
    st.sampled_from([name[7:] for name in SCHEMA["$defs"] if name.startswith("client-")]),
    st.dictionaries(
        st.sampled_from(["nick", "room", "text", "to", "id", "topic", "action", "since", "limit"]),
        _VALUES,
        max_size=5,
    ),
)


def _sent(lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return lines with noise between them, with random sizes of pieces."""
    each = st.one_of(lines, lines, lines, st.binary(max_size=30))
    ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\xff\xfb\x01\n", b""])
    body = st.lists(st.tuples(each, ends).map(b"".join), max_size=6).map(b"".join)
    return st.tuples(_SIZES, body).map(b"".join)


class AnythingTests(SynchronousTestCase):
    """Whatever a peer sends, nothing fails and others see only valid messages."""

    @settings(max_examples=100, database=None)
    @given(_sent(_TEXT))
    def test_in_the_text_form(self, data: bytes) -> None:
        """Try commands with any words, and noise, in any pieces."""
        attack(data, "text")

    @settings(max_examples=100, database=None)
    @given(_sent(_JSON))
    def test_in_the_json_form(self, data: bytes) -> None:
        """Try messages with any fields, and noise, in any pieces."""
        attack(data, "json")


class WatchTests(SynchronousTestCase):
    """Tests of the checks of ``chat_attack`` themselves."""

    def test_answers_that_are_none(self) -> None:
        """Invalid answers are found, such as control characters and invalid JSON."""
        for received in (
            b"* \x1b[31m\n",
            b"* hi",
            b"* \xff\n",
            b"hi\n",
            b"{\n",
            b'{"type":"x"}\n',
            "* \u202e\n".encode(),
            b'{"type":"pong","x":1}\n',
            b'{"type":"pong"}\n* hi\n',
        ):
            self.assertRaises(Complaint, check_answers, received)
        check_answers(b'Welcome to the chat server! hi\n* hi\n{"type":"pong"}\n')

    def test_lines_that_are_forged(self) -> None:
        """Lines of others, additional lines and missing lines are found."""
        said = {"type": "message", "from": "eve", "text": "hi"}
        forged = {"type": "message", "from": "bob", "text": "hi"}
        for lines, told in (
            (["<bob> hi"], [said]),
            (["<eve> hi", "<bob> hi"], [said]),
            (["<bob> hi"], [forged]),
            (["* bob tells you: hi"], []),
            ([], [said]),
        ):
            self.assertRaises(Complaint, check_people, lines, told, {"eve"})
        check_people(["<eve> hi", "* eve tells you: hi"], [said], {"eve"})


class CommandTests(SynchronousTestCase):
    """Tests of ``python -m tests.chat.fuzz_chat``."""

    def test_without_atheris(self) -> None:
        """Without atheris, the command says in one line that it needs it."""
        self.patch(sys, "argv", ["fuzz_chat", "--seconds", "1"])
        self.patch(sys, "stderr", io.StringIO())
        with patch.dict(sys.modules, {"atheris": None}):  # None makes the import fail
            ended = self.assertRaises(SystemExit, main)
        self.assertEqual(ended.code, 2)
        self.assertEqual(sys.stderr.getvalue(), "This needs atheris: pip install atheris\n")
