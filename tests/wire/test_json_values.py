"""Reading untrusted JSON values: :mod:`twisted_net.wire.json_values`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.wire.json_values import (
    DuplicateName,
    ValueScanner,
    check_depth,
    encode_json,
    make_decoder,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.text('{}[]"\\\\', max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab{["\\\\'), inner),
    max_leaves=20,
)
containers = st.lists(values) | st.dictionaries(st.text('ab{["\\\\'), values)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


class DecodingTests(SynchronousTestCase):
    def test_what_only_python_takes_is_refused(self) -> None:
        for finite in (True, False):
            decode = make_decoder(finite=finite, unique=False)
            for text in (b"NaN", b"-Infinity", b"\xff", b"", b"{'a':1}", b"[1,]", b"[" * 100_000):
                error = self.assertRaises(ValueError, decode, text)
                self.assertNotIsInstance(error, UnicodeDecodeError)

    def test_numbers_too_large_for_a_float(self) -> None:
        """Numbers too large for a float are errors, if requested."""
        error = self.assertRaises(ValueError, make_decoder(finite=True, unique=True), b"[1e999]")
        self.assertEqual(str(error), "1e999 is too large a number")
        self.assertEqual(make_decoder(finite=False, unique=True)(b"-1e999"), float("-inf"))

    def test_whole_numbers(self) -> None:
        """Numbers without a fraction are ints, however they are written, if requested."""
        text = b"[1.0,-2e1,0.5,1e999,-0.0,true]"
        for finite in (True, False):
            decode = make_decoder(finite=finite, unique=False, whole=True)
            if finite:
                self.assertRaises(ValueError, decode, text)
            found = decode(text.replace(b"1e999", b"7") if finite else text)
            self.assertEqual(
                [type(each) for each in found],
                [int, int, float, int if finite else float, int, bool],
            )
            self.assertEqual(found[:3], [1, -20, 0.5])

    def test_names_that_stand_twice(self) -> None:
        """Duplicate names are errors with the name, if requested; otherwise the last one counts."""
        text = b'[{"b":1,"a":{"x":1},"a":2}]'
        error = self.assertRaises(DuplicateName, make_decoder(finite=True, unique=True), text)
        self.assertEqual((error.name, str(error)), ("a", "a twice"))
        self.assertEqual(make_decoder(finite=True, unique=False)(text), [{"b": 1, "a": 2}])

    @given(values)
    def test_what_was_written_is_read(self, value: Any) -> None:
        text = encode_json(value)
        self.assertNotIn(b"\n", text)
        self.assertEqual(make_decoder(finite=True, unique=True)(text), value)


class DepthTests(SynchronousTestCase):
    @given(values, st.booleans())
    def test_the_depth_of_any_value(self, value: Any, is_ascii: bool) -> None:
        text = json.dumps(value, ensure_ascii=is_ascii).encode()
        check_depth(text, depth(value))
        if depth(value):
            error = self.assertRaises(ValueError, check_depth, text, depth(value) - 1)
            self.assertEqual(str(error), f"it nests deeper than {depth(value) - 1}")

    @given(containers, st.lists(st.integers(0, 200)), st.binary(max_size=9))
    def test_the_end_is_found_in_any_split(
        self, value: Any, places: list[int], rest: bytes
    ) -> None:
        text = encode_json(value)
        data = text + rest
        scanner = ValueScanner(99)
        position = 0
        for place in sorted({each for each in places if each < len(text)} | {len(text) - 1}):
            self.assertEqual(scanner.scan(data, position, place), -1)
            position = place
        self.assertEqual(scanner.scan(data, position, len(data)), len(text))

    def test_brackets_in_a_text_are_no_depth(self) -> None:
        for text in (rb'"\"[[[[[[[["', rb'["\\\"{{{{{{{"]', b'{"[[[[[[":"{{{{{{"}', b'"[[[[[[["'):
            check_depth(text, 1)

    def test_what_is_no_value(self) -> None:
        """Malformed values are scanned like others, and the parser rejects them."""
        self.assertRaises(ValueError, check_depth, b'x "\\"" [[[', 2)
        check_depth(b"][[[", 2)
