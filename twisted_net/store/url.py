"""Makes the store for a URL: ``memory:``, ``sqlite:PATH`` or ``redis://HOST``, with options."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from twisted_net.store.interface import Store
from twisted_net.store.log import Bounds
from twisted_net.store.memory import MemoryStore
from twisted_net.store.redis.location import REDIS_BOUNDS, SCHEMES, parse_location
from twisted_net.store.sqlite import FILE_BOUNDS, SqliteStore, ThreadWorker
from twisted_net.wire.numbers import (
    MOST_BYTES,
    MOST_COUNT,
    MOST_SECONDS,
    parse_decimal,
    parse_whole,
    shorten,
)

_BOUNDS: dict[str, Callable[[str], float]] = {
    "count": partial(parse_whole, least=1, most=MOST_COUNT),
    "bytes": partial(parse_whole, least=1, most=MOST_BYTES),
    "age": partial(parse_decimal, least=0, most=MOST_SECONDS, unit="seconds"),
    "rooms": partial(parse_whole, least=1, most=MOST_COUNT),
}


def epoch() -> str:
    """Return a new random epoch."""
    return secrets.token_hex(8)


def store_from_url(url: str, reactor: Any) -> Store:
    """Return the store for a URL. It is not opened yet: see :meth:`Store.start`.

    ``memory:`` and ``sqlite:PATH`` take the options of :class:`Bounds`, such as
    ``memory:?count=500&age=3600`` (age in seconds). ``sqlite:`` also takes ``durable=power``: an
    acknowledged message then survives a power cut, and not only the end of the process. The URLs of
    Redis, with their options, are in ``docs/stores.rst``.

    :raises ValueError: the store, an option or its value is invalid; the text says why.
    """
    kind, colon, rest = url.partition(":")
    path, _, query = rest.partition("?")
    if not colon or kind not in ("memory", "sqlite", *SCHEMES):
        raise ValueError("a store must be memory:, sqlite:PATH or redis://HOST")
    if kind in SCHEMES:
        return _redis_store(kind, path, query, reactor)
    options = _options(query)
    durable = options.pop("durable", "process") if kind == "sqlite" else "process"
    if durable not in ("process", "power"):
        raise ValueError(f"durable={durable}: must be process or power")
    bounds = _bounds(options, FILE_BOUNDS if kind == "sqlite" else Bounds())
    if kind == "memory":
        if path:
            raise ValueError(f"memory: takes no path, such as {path}")
        return MemoryStore(time.time, epoch, bounds)
    if not path:
        raise ValueError("sqlite: needs the path of a file, as in sqlite:chat.db")
    path = unquote(path)
    if "\0" in path:
        raise ValueError("sqlite: a path cannot have a NUL character (%00)")
    if path == ":memory:":  # SQLite's own name for a database that nothing outlives
        raise ValueError("sqlite::memory: must be memory:")
    return SqliteStore(
        path,
        reactor,
        lambda: ThreadWorker(reactor),
        time.time,
        epoch,
        bounds,
        power_safe=durable == "power",
    )


def _redis_store(scheme: str, path: str, query: str, reactor: Any) -> Store:
    if "@" in query:  # otherwise an error below would show a part of the password
        text = f"{scheme}: a ? in the user name or the password must be written as %3F"
        raise ValueError(f"{text}, and an @ in an option as %40")
    options = _options(query)
    location = parse_location(f"{scheme}:{path}", options)
    if location.cafile:
        location = replace(location, cafile=os.path.abspath(location.cafile))
    bounds = _bounds(options, REDIS_BOUNDS)
    try:
        from twisted_net.store.redis.opening import redis_store
    except ImportError as error:
        if error.name != "hiredis":
            raise
        text = "redis: requires hiredis 3.2 or later: pip install 'twisted_net[redis]'"
        raise ValueError(text) from None
    return redis_store(reactor, location, epoch, bounds)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise ValueError(f"{name}: given twice")
        options[name] = value
    return options


def _bounds(options: dict[str, str], defaults: Bounds) -> Bounds:
    values: dict[str, Any] = {name: getattr(defaults, name) for name in _BOUNDS}
    for name, value in options.items():
        if name not in _BOUNDS:
            raise ValueError(f"{name}: this store has no such option")
        try:
            values[name] = _BOUNDS[name](value)
        except ValueError as error:
            raise ValueError(f"{name}={shorten(value)}: {error}") from None
    return Bounds(**values)
