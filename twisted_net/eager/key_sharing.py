"""Save memory on the attributes of classes with many instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any


def share_keys(cls: type, names: Iterable[str]) -> None:
    """Let instances of ``cls`` store these attributes without a dictionary each.

    CPython stores instance attributes in an array, and all instances of the class share the names.
    That works for at most thirty names, and only if nearly all of them were set before thirty
    instances exist. An instance that gets another name later gets its own dictionary, which takes
    three times as much memory. Ten thousand connections may arrive in one turn and only later send
    data, finish a handshake or close. So this function sets all names once, on an example.
    """
    with suppress(TypeError):  # abstract classes cannot be instantiated
        example: object = object.__new__(cls)
        for name in names:
            if not hasattr(getattr(cls, name, None), "__set__"):  # subclasses may have a property
                object.__setattr__(example, name, None)


class Fileno:
    """A transport's ``fileno``: returns the socket's method without storing it."""

    def __get__(self, transport: Any, owner: type) -> Any:
        if transport is None:
            return self
        sock = getattr(transport, "socket", None)
        return _no_fileno if sock is None else sock.fileno

    def __set__(self, transport: Any, method: object) -> None:
        """Ignore it: the value is always the socket's method."""

    def __delete__(self, transport: Any) -> None:
        """Ignore it: the method goes when the socket does."""


def _no_fileno() -> int:
    return -1


class LazyAttribute:
    """An attribute for humans, computed on each access unless it has been set."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __get__(self, transport: Any, owner: type) -> Any:
        return self if transport is None else self._make(transport)
