"""Read untrusted JSON values (RFC 8259), and write JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any


class DuplicateName(ValueError):
    """An object contains a name twice.

    :ivar name: the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} twice")
        self.name = name


def make_decoder(*, finite: bool, unique: bool, whole: bool = False) -> Callable[[bytes], Any]:
    """Return a function that parses one value.

    It rejects what only Python accepts, such as ``NaN``.

    Python's parser is recursive, so check the depth first with :func:`check_depth`.

    :param finite: whether to reject numbers that are too large for a float, such as ``1e999``.
        Python reads them as infinity, which JSON does not have.
    :param unique: whether to reject objects that contain a name twice, with :exc:`DuplicateName`.
    :param whole: whether to return every number without a fraction as an int, also ``1.0`` and
        ``1e2``: JSON has only one kind of number, and JSON Schema calls these integers.
    :return: the function; it raises ValueError for bytes that are not a value.
    """
    read_float = _finite if finite else float
    decode = json.JSONDecoder(
        parse_float=(lambda text: _whole(read_float(text))) if whole else read_float,
        parse_constant=_refuse_constant,
        object_pairs_hook=_unique if unique else None,
    ).decode

    def decode_bytes(text: bytes) -> Any:
        try:
            return decode(text.decode())
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        except RecursionError as error:
            raise ValueError(str(error)) from None

    return decode_bytes


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _whole(number: float) -> float:
    return int(number) if number.is_integer() else number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DuplicateName(name)
            seen.add(name)
    return found


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


quote_json: Callable[[str], str] = encode_basestring
"""Return a text as a JSON string, with its quotes, as :func:`encode_json` writes it."""


def encode_json(message: Any) -> bytes:
    """Return a value as compact JSON.

    :raises TypeError: if it contains a type that JSON does not have.
    :raises ValueError: if it contains NaN, itself, or half a surrogate pair.
    :raises RecursionError: if it nests too deep.
    """
    return _encode(message).encode()


def check_depth(data: bytes, most: int) -> None:
    """Check how deep the arrays and objects of a value nest.

    :raises ValueError: if they nest deeper than ``most``.
    """
    if data.count(b"[") + data.count(b"{") > most:
        ValueScanner(most).scan(data, 0, len(data))


class ValueScanner:
    """Find the end of one JSON object or array, without scanning any byte twice.

    :param deepest: the deepest nesting allowed.
    """

    __slots__ = ("_deepest", "_depth", "_escaped", "_in_string")

    # A bracket; or a string, up to its end or to an escape in it.
    _OUTSIDE = re.compile(rb'([{\[])|([}\]])|"[^"\\]*+("?)')
    _INSIDE = re.compile(rb'["\\]')

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._depth = 0  # -1: the value has ended
        self._in_string = False
        self._escaped = False

    def scan(self, data: bytes, position: int, stop: int) -> int:
        """Scan from ``position``.

        Return the position after the value's end, or -1 if it is incomplete.

        :raises ValueError: if the value nests too deep.
        """
        while position < stop:
            if self._escaped:
                self._escaped = False
                position += 1
            elif self._in_string:
                found = self._INSIDE.search(data, position, stop)
                if found is None:
                    break
                position = found.end()
                self._in_string = self._escaped = data[position - 1] == 92
            else:
                position = self._scan_outside(data, position, stop)
                if self._depth < 0:
                    return position
        return -1

    def _scan_outside(self, data: bytes, position: int, stop: int) -> int:
        """Scan to the value's end, or into a string that has an escape or is incomplete."""
        depth = self._depth
        for found in self._OUTSIDE.finditer(data, position, stop):
            if found.lastindex == 1:
                depth += 1
                if depth > self._deepest:
                    raise ValueError(f"it nests deeper than {self._deepest}")
            elif found.lastindex == 2:
                depth -= 1
                if depth <= 0:
                    stop = found.end()
                    depth = -1
                    break
            elif not found[3]:
                self._in_string = True
                stop = found.end()
                break
        self._depth = depth
        return stop
