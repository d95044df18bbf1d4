"""JSON values (RFC 8259): how they are read, with mistrust, and how they are written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any


class DuplicateName(ValueError):
    """An object has a name twice.

    :ivar name: which.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} twice")
        self.name = name


def make_decoder(*, finite: bool, unique: bool) -> Callable[[bytes], Any]:
    """Give what reads one value. What only Python takes for JSON, ``NaN`` for one, is refused.

    Python's parser recurses. So look at the depth before: :func:`check_depth`.

    :param finite: whether to refuse numbers that are too large for a float, such as ``1e999``. They
        would be infinite, which JSON has not.
    :param unique: whether to refuse objects that have a name twice, by :exc:`DuplicateName`.
    :return: raises ValueError for bytes that are no value.
    """
    decode = json.JSONDecoder(
        parse_float=_finite if finite else None,
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


def encode_json(message: Any) -> bytes:
    """Give a value as JSON, as short as it can be.

    :raises TypeError: it has what JSON has not, or, as ValueError, NaN, itself, or half a surrogate
        pair; RecursionError where it nests without end.
    """
    return _encode(message).encode()


def check_depth(data: bytes, most: int) -> None:
    """Look how deep the arrays and objects of a value nest.

    :raises ValueError: deeper than ``most``.
    """
    if data.count(b"[") + data.count(b"{") > most:
        ValueScanner(most).scan(data, 0, len(data))


class ValueScanner:
    """Finds where one JSON object or array ends, without looking at any byte twice.

    :param deepest: how deep it may nest.
    """

    __slots__ = ("_deepest", "_depth", "_escaped", "_in_string")

    # A bracket; or a string, up to its end or to an escape in it.
    _OUTSIDE = re.compile(rb'([{\[])|([}\]])|"[^"\\]*+("?)')
    _INSIDE = re.compile(rb'["\\]')

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._depth = 0  # -1: it has ended
        self._in_string = False
        self._escaped = False

    def scan(self, data: bytes, position: int, stop: int) -> int:
        """Go on from ``position``; give the position after the value's end, or -1 if it goes on.

        :raises ValueError: it nests too deep.
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
        """Go on up to the value's end, or into a string with an escape, or one that goes on."""
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
