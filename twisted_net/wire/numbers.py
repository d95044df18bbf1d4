"""Parse numbers that people type, in flags, endpoint strings, store options and commands.

Python's ``int`` and ``float`` accept more than people mean: ``1_000``, `` 5``, ``nan``, and digits
of other scripts. Here a number has ASCII digits, and a decimal number may have a point and an
exponent.
"""

from __future__ import annotations

import re

MOST_COUNT = 1 << 30
"""The most connections, messages and the like. More than that is a typing error."""

MOST_BYTES = 1 << 40

MOST_RATE = 1e9
"""Per second."""

MOST_SECONDS = 1e9
"""About thirty years. Python accepts 1e308 too, but twice that is infinite."""

_WHOLE = re.compile("[0-9]+")
_DECIMAL = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_SHOWN = 80


def parse_whole(text: str, least: int, most: int) -> int:
    """Parse a whole number.

    :raises ValueError: if it is not a number or out of bounds. The message says what is allowed,
        but does not repeat the text.
    """
    # Python rejects thousands of digits, with an error of its own.
    if _WHOLE.fullmatch(text) and len(digits := text.lstrip("0")) <= len(str(most)):
        number = int(digits or "0")
        if least <= number <= most:
            return number
    raise ValueError(f"must be a whole number from {least} to {most}")


def parse_decimal(text: str, least: float, most: float, unit: str = "") -> float:
    """Parse a number with or without a fraction.

    :param unit: what the number counts, for the error message.
    :raises ValueError: if it is not a number or out of bounds. The message says what is allowed,
        but does not repeat the text.
    """
    number = float(text) if _DECIMAL.fullmatch(text) else -1.0
    if not least <= number <= most:
        raise ValueError(f"must be a number{unit and f' of {unit}'} from {least:g} to {most:.0f}")
    return number


def parse_port(text: str, least: int = 0) -> int:
    """Parse a TCP port.

    :raises ValueError: if it is not a port; the message contains the text.
    """
    try:
        return parse_whole(text, least, 65535)
    except ValueError as error:
        raise ValueError(f"port {shorten(text)}: {error}") from None


def shorten(text: str) -> str:
    """Return a typed text in a form that fits in an error message, which has one line."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode()
