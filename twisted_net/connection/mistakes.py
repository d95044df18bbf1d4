"""Find mistakes in a subclass of ``Connection`` when it is defined, and say what to write instead.

Without this, most of them would say nothing: a hook with a wrong name is never called. A mistake
that is certain is a TypeError. One that is only likely is a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from inspect import (
    isasyncgenfunction,
    iscoroutinefunction,
    isgeneratorfunction,
    signature,
    unwrap,
)
from types import CodeType, FunctionType
from typing import Any

from twisted.internet.protocol import BaseProtocol

from twisted_net.wire import framing as framings

_AWAITED = ("connected", "message_received")
_NOT_AWAITED = ("disconnected", "idle_expired", "eof_received", "handshake_failed", "missed_notice")

_OTHER_NAMES = {
    "messageReceived": "message_received",
    "messagesReceived": "message_received",
    "lineReceived": "message_received",
    "rawDataReceived": "message_received",
    "stringReceived": "message_received",
    "packetReceived": "message_received",
    "datagramReceived": "message_received",
    "data_received": "message_received",
    "line_received": "message_received",
    "string_received": "message_received",
    "connection_made": "connected",
    "connection_lost": "disconnected",
    "eofReceived": "eof_received",
    "idleExpired": "idle_expired",
    "timeoutConnection": "idle_expired",
    "handshakeFailed": "handshake_failed",
    "missedNotice": "missed_notice",
}
"""Names of hooks in Twisted and asyncio, and this package's in Twisted's style. Each is certainly a
mistake in a class where nothing else has this name and the right hook is missing."""

_LIKELY_NAMES = {
    "on_message": "message_received",
    "on_data": "message_received",
    "on_line": "message_received",
    "onMessage": "message_received",
    "received": "message_received",
    "handle_message": "message_received",
    "on_connect": "connected",
    "on_connected": "connected",
    "onConnect": "connected",
    "on_open": "connected",
    "connection_opened": "connected",
    "on_disconnect": "disconnected",
    "on_disconnected": "disconnected",
    "onDisconnect": "disconnected",
    "on_close": "disconnected",
    "connection_closed": "disconnected",
    "on_eof": "eof_received",
    "on_idle": "idle_expired",
}
"""Names of hooks elsewhere that may as well be those of helpers."""

_REPLACED = {
    "dataReceived": "message_received",
    "connectionMade": "connected",
    "makeConnection": "connected",
    "connectionLost": "disconnected",
    "readConnectionLost": "eof_received",
    "handshakeCompleted": "connected",
}
"""Twisted's hooks that the connection implements itself. A subclass may only extend them."""

_FRAMING_PARTS = ("feed", "encode", "pending")


def check_class(cls: type, base: type) -> None:
    """Check a new subclass of ``base``, which is ``Connection``.

    :raises TypeError: if it is certainly wrong.
    """
    own = {name: value for name, value in vars(cls).items() if isinstance(value, FunctionType)}
    for name, function in own.items():
        if name in _AWAITED or name in _NOT_AWAITED:
            _check_kind(cls, name, function)
        elif name in _OTHER_NAMES or name in _LIKELY_NAMES or not hasattr(base, name):
            _check_name(cls, base, name)
    _check_replaced(cls, base)
    if "framing" in vars(cls):
        _check_framing(cls, vars(cls)["framing"])


def check_maker(maker: object, base: type) -> None:
    """Check what a factory of connections makes them with.

    :raises TypeError: if it cannot make connections.
    """
    cls = maker if isinstance(maker, type) else type(maker)
    if isinstance(maker, base):
        raise TypeError(f"write forProtocol({cls.__name__}), not {cls.__name__}()")
    if issubclass(cls, BaseProtocol) and not issubclass(cls, base):
        raise TypeError(
            f"forProtocol() takes a Connection class; write GuardFactory(Factory.forProtocol("
            f"{cls.__name__})) to limit another protocol"
        )
    if not callable(maker):
        raise TypeError(f"forProtocol() takes a Connection class, not {maker!r}")
    if isinstance(maker, type) and issubclass(maker, base):
        _check_framing(maker, getattr(maker, "framing", None))  # it may have been set later


def _check_kind(cls: type, name: str, function: FunctionType) -> None:
    where = f"{cls.__name__}.{name}()"
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(f"{where} has a yield, so it would never run; {GENERATOR_HINT}")
    if name in _NOT_AWAITED and iscoroutinefunction(function):
        raise TypeError(
            f"{where} cannot be async, because nothing awaits it; write def, and start what is "
            "async with Deferred.fromCoroutine()"
        )


GENERATOR_HINT = "write async def and await, or decorate it with @inlineCallbacks"
"""What to write instead of a generator as a hook."""


_OF_ASYNCIO = ("no running event loop", "await wasn't used with future")


def explain(error: BaseException | None) -> str:
    """Return what to write instead of what failed with this error, to put after its text."""
    if isinstance(error, RuntimeError) and str(error) in _OF_ASYNCIO:
        return (
            "; a hook awaits Deferreds: to sleep, await twisted.internet.task.deferLater(reactor, "
            "seconds); for other parts of asyncio, use its reactor and Deferred.fromFuture()"
        )
    return ""


def _check_name(cls: type, base: type, name: str) -> None:
    right = _OTHER_NAMES.get(name) or _LIKELY_NAMES.get(name) or _nearest(name)
    if (
        not right
        or right in vars(cls)
        or any(hasattr(each, name) for each in cls.__bases__)
        or _is_used(cls, base, name)
    ):
        return
    text = f"{cls.__name__}.{name}() is never called by the connection"
    if name in _OTHER_NAMES:
        raise TypeError(f"{text}; the hook is {right}()")
    if getattr(cls, right) is getattr(base, right):
        warnings.warn(f"{text}; did you mean the hook {right}()?", stacklevel=4)


def _nearest(name: str) -> str | None:
    # Short hooks are too similar to other good names: connect, disconnect.
    hooks = [hook for hook in (*_AWAITED, *_NOT_AWAITED) if "_" in hook]
    return next(iter(get_close_matches(name, hooks, 1, 0.9)), None)


def _is_used(cls: type, base: type, name: str) -> bool:
    """Return whether the class, or one between it and ``base``, uses the name in a function."""
    return any(
        name in _names(value.__code__)
        for each in cls.__mro__
        if each not in base.__mro__
        for value in _functions(each)
    )


def _functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        with suppress(ValueError):  # it wraps itself
            function = unwrap(value) if callable(value) else None
            if isinstance(function, FunctionType):
                yield function


def _names(code: CodeType) -> set[str]:
    """Return the names that code uses, with that of the functions in it."""
    found = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
        elif isinstance(constant, str):
            found.add(constant)  # for getattr
    return found


def _check_replaced(cls: type, base: type) -> None:
    order = cls.__mro__
    for position, each in enumerate(order):
        if each in base.__mro__ or (each is not cls and issubclass(each, base)):
            continue
        is_protocol = issubclass(each, BaseProtocol) and not issubclass(each, base)
        if not is_protocol and position > order.index(base):
            continue  # what it has is not used, and it may be there for its other methods
        for name, right in _REPLACED.items():
            function = vars(each).get(name)
            if not isinstance(function, FunctionType) or _may_extend(function, name):
                continue
            if is_protocol:
                raise TypeError(
                    f"{cls.__name__} cannot be a {each.__name__} as well, because a connection is "
                    "a protocol of its own; leave it out, and set framing, such as framing = Lines"
                )
            raise TypeError(
                f"{each.__name__}.{name}() replaces the connection's own; the hook is {right}(); "
                f"to extend it instead, call super().{name}()"
            )


def _may_extend(function: FunctionType, name: str) -> bool:
    """Return whether a method may call the one that it overrides."""
    inner = unwrap(function)
    if not isinstance(inner, FunctionType) or inner.__name__ != name:
        return True  # decorated: nothing is known about it
    return not _names(inner.__code__).isdisjoint((name, "super", "__class__"))


def _check_framing(cls: type, framing: object) -> None:
    where = f"{cls.__name__}.framing"
    if isinstance(framing, (staticmethod, classmethod)):
        framing = framing.__func__
    if not callable(framing):
        raise TypeError(
            f"{where}: must be a framing's class; write framing = {_class_for(framing)}, not "
            f"{_shown(framing)}"
        )
    made: Any = framing
    while isinstance(made, partial):
        made = made.func
    if isinstance(made, type):
        lacking = _lacking(made)
        if lacking:
            raise TypeError(f"{where}: {made.__name__} has no {lacking!r}; see the class Framing")
    _check_takes_limit(where, framing, made)


def _check_takes_limit(where: str, framing: Callable[..., Any], made: Any) -> None:
    try:
        parameters = signature(framing)
    except (TypeError, ValueError):
        return  # Python does not know
    try:
        parameters.bind(max_size=1)
    except TypeError:
        name = getattr(made, "__name__", "it")
        raise TypeError(
            f"{where}: {name}() must take the keyword 'max_size', and need no other argument"
        ) from None


def _class_for(framing: object) -> str:
    """Return the name of the framing that was probably meant."""
    if isinstance(framing, framings.LengthPrefixed):
        return "partial(LengthPrefixed, ...)"  # it probably had arguments
    if hasattr(framing, "feed"):
        return type(framing).__name__
    known = {
        name.lower(): name for name in vars(framings) if hasattr(getattr(framings, name), "feed")
    }
    name = framing.replace("_", "").replace("-", "").lower() if isinstance(framing, str) else ""
    return known.get(next(iter(get_close_matches(name, known, 1)), ""), "Lines")


def _shown(framing: object) -> str:
    return f"{type(framing).__name__}()" if hasattr(framing, "feed") else repr(framing)


def _lacking(cls: type) -> str | None:
    """Return the part that a framing's class certainly lacks."""
    if hasattr(cls, "__getattr__"):
        return None
    base = framings.BaseFraming
    parts = (*_FRAMING_PARTS, "parse") if issubclass(cls, base) else _FRAMING_PARTS
    for part in parts:
        found = getattr(cls, part, None)
        is_abstract = part in ("parse", "pending") and found is vars(base)[part]
        if part == "parse" and cls.feed is not base.feed:  # type: ignore[attr-defined]
            continue  # feed() needs no parse()
        if (found is None or is_abstract) and not any(
            part in _names(function.__code__)
            for each in cls.__mro__
            if each is not base
            for function in _functions(each)
        ):
            return part
    return None
