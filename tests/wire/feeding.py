"""How the tests of framings feed them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any

from twisted_net.wire import framing
from twisted_net.wire.framing import RemoteProtocolError

Make = Callable[..., Any]


def outcome(make: Make, pieces: Iterable[bytes]) -> tuple[list[Any], str | None]:
    """Feed the pieces to a new framing; give all its messages, and its error's code or None."""
    parser, messages = make(), []
    for piece in pieces:
        try:
            messages += parser.feed(piece)
        except RemoteProtocolError as error:
            return messages + error.messages, error.code
    return messages, None


def one_by_one(data: bytes) -> list[bytes]:
    """Cut ``data`` into its bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut ``data`` at the places that it has; the same place twice makes an empty piece."""
    ends = [*sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def held(thing: object) -> int:
    """How many bytes of what it was fed a framing remembers, wherever it has them."""
    if isinstance(thing, (bytes, bytearray)):
        return len(thing)
    ours = type(thing).__module__ == framing.__name__ and not isinstance(thing, Exception)
    if ours or isinstance(thing, (list, tuple)):
        return sum(map(held, gc.get_referents(thing)))
    return 0
