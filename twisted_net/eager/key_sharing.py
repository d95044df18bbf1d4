"""Attributes of many instances, kept in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any


def share_keys(cls: type, names: Iterable[str]) -> None:
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


class Fileno:
    """A transport's ``fileno``: its socket's own method, made when asked for and not kept."""

    def __get__(self, transport: Any, owner: type) -> Any:
        if transport is None:
            return self
        sock = getattr(transport, "socket", None)
        return _no_fileno if sock is None else sock.fileno

    def __set__(self, transport: Any, method: object) -> None:
        """The socket's method it is anyway."""

    def __delete__(self, transport: Any) -> None:
        """The socket goes, and its method with it."""


def _no_fileno() -> int:
    return -1


class LazyAttribute:
    """Something that is only for people, made when asked for, unless it has been set."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __get__(self, transport: Any, owner: type) -> Any:
        return self if transport is None else self._make(transport)
