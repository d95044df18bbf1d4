"""The errors of a client's calls."""

from __future__ import annotations

from typing import Any

from twisted_net.wire.numbers import shorten


def check_type(name: str, value: Any) -> None:
    """:raises TypeError: ``value`` is not a string; the text names it."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a string, not {shorten(repr(value))}")


def check_text(name: str, value: Any) -> None:
    """:raises TypeError: ``value`` is not a string.
    :raises ValueError: it cannot be sent as UTF-8.
    """
    check_type(name, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {shorten(ascii(value))} has half a surrogate pair") from None
