"""Messages as they are in Redis: JSON arrays of the fields of a message."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from twisted_net.store.interface import StoreError
from twisted_net.store.log import Message, StoredMessage
from twisted_net.store.redis.names import encoded

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NewMessages(NamedTuple):
    """Messages that were appended together.

    :ivar base: the offset before the first of them.
    :ivar first: the offset of the oldest message that the log has after them.
    """

    epoch: str
    base: int
    first: int
    stored: list[StoredMessage]


def append_arguments(message: Message) -> tuple[bytes, int, int, bytes]:
    """Return what the append script takes for a message: mark, size, milliseconds and record."""
    text = _encode(message).encode("ascii")
    return mark_of(message), message.size, max(0, int(message.time * 1000)), text


def mark_of(message: Message) -> bytes:
    """Return what tells messages with an id apart; empty for one without."""
    id = message.id
    return encoded(f"{len(message.origin)}:{message.origin}{id}") if id else b""


def decode_messages(base: int, records: bytes) -> list[StoredMessage]:
    """Return the messages of a JSON array of records. The first has the offset ``base + 1``.

    :raises StoreError: it is not what this module has written.
    """
    try:
        found: list[list[Any]] = json.loads(records)
        return [
            StoredMessage(offset, Message(*fields)) for offset, fields in enumerate(found, base + 1)
        ]
    except (ValueError, TypeError):
        raise StoreError("what Redis has is not a message of this chat") from None


def decode_records(base: int, records: list[bytes]) -> list[StoredMessage]:
    """As :func:`decode_messages`, for a list of records."""
    return decode_messages(base, b"[%b]" % b",".join(records))


class Header(NamedTuple):
    """The beginning of what is published. The records follow."""

    epoch: str
    base: int
    first: int
    process: str
    records: bytes


def parse_header(data: bytes) -> Header:
    """Return the parts of what is published.

    :raises StoreError: it is not what the append script has published.
    """
    try:
        epoch, base, first, process, records = data.split(b" ", 4)
        return Header(epoch.decode(), int(base), int(first), process.decode(), records)
    except ValueError:
        raise StoreError("what Redis publishes is not of this chat") from None
