"""Attributes of many instances, kept in little memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress


def share_names(cls: type, names: Iterable[str]) -> None:
    """Let instances of ``cls`` have attributes of these names without a dictionary for each.

    CPython keeps an instance's attributes in an array, whose names all instances of the class
    share, as long as there are at most thirty and nearly all have come up before thirty instances
    were made. An instance that comes to have another name gets a dictionary for itself, which
    takes three times as much. Ten thousand connections may come in one turn, and say something,
    finish a handshake or end only later; so the names are said here, once for the class.
    """
    with suppress(TypeError):  # it has abstract methods
        example: object = object.__new__(cls)
        for name in names:
            if not hasattr(getattr(cls, name, None), "__set__"):  # a property of a subclass
                object.__setattr__(example, name, None)
