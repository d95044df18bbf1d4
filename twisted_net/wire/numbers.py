"""Numbers that people type: flags, options of endpoint strings and of stores, commands.

Python's ``int`` and ``float`` take more than people mean: ``1_000``, `` 5``, ``nan``, and digits of
other scripts. Here a number has ASCII digits, and a decimal one may have a point and an exponent.
"""

from __future__ import annotations

import re

MOST_COUNT = 1 << 30
"""Of connections, messages and the like. Nobody has as many; more is a typing error."""

MOST_BYTES = 1 << 40

MOST_RATE = 1e9
"""A second."""

MOST_SECONDS = 1e9
"""Thirty years. 1e308 would be a number too, but twice of it is none."""

_WHOLE = re.compile("[0-9]+")
_DECIMAL = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_SHOWN = 80


def parse_whole(text: str, least: int, most: int) -> int:
    """Read a whole number.

    :raises ValueError: none, or out of bounds; says what it should be, and not what it was.
    """
    # Python refuses thousands of digits, with an error of its own.
    if _WHOLE.fullmatch(text) and len(digits := text.lstrip("0")) <= len(str(most)):
        number = int(digits or "0")
        if least <= number <= most:
            return number
    raise ValueError(f"must be a whole number from {least} to {most}")


def parse_decimal(text: str, least: float, most: float, unit: str = "") -> float:
    """Read a number with or without a fraction.

    :param unit: what it counts, for the error.
    :raises ValueError: none, or out of bounds; says what it should be, and not what it was.
    """
    number = float(text) if _DECIMAL.fullmatch(text) else -1.0
    if not least <= number <= most:
        raise ValueError(f"must be a number{unit and f' of {unit}'} from {least:g} to {most:.0f}")
    return number


def parse_port(text: str, least: int = 0) -> int:
    """Read a port of TCP.

    :raises ValueError: none; names it.
    """
    try:
        return parse_whole(text, least, 65535)
    except ValueError as error:
        raise ValueError(f"port {shorten(text)}: {error}") from None


def shorten(text: str) -> str:
    """Give a text that somebody typed as it may stand in an error, which is one line."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode()
