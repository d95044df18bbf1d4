"""How the tests of framings feed them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any

from twisted_net.wire import framing
from twisted_net.wire.framing import RemoteProtocolError

Make = Callable[..., Any]


def outcome(make: Make, pieces: Iterable[bytes]) -> tuple[list[Any], str | None]:
    """Feed the pieces to a new framing; return its messages, and its error's code or None."""
    parser, messages = make(), []
    for piece in pieces:
        try:
            messages += parser.feed(piece)
        except RemoteProtocolError as error:
            return messages + error.messages, error.code
    return messages, None


def one_by_one(data: bytes) -> list[bytes]:
    """Split ``data`` into single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Split ``data`` at these places, if inside it. A repeated place makes an empty piece."""
    ends = [*sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def held(thing: object) -> int:
    """Return how many bytes of its input a framing stores, in any attribute.

    A framing is looked into if it derives from :class:`BaseFraming`, wherever it is defined.
    """
    if isinstance(thing, (bytes, bytearray)):
        return len(thing)
    in_framing = type(thing).__module__ == framing.__name__ and not isinstance(thing, Exception)
    ours = in_framing or isinstance(thing, framing.BaseFraming)
    if ours or isinstance(thing, (list, tuple)):
        return sum(map(held, gc.get_referents(thing)))
    return 0
