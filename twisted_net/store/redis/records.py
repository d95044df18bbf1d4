"""Messages as they are in Redis: JSON arrays of the fields of a message, and a checksum at the end.

The checksum shows whether a record was changed where it is kept, or between a primary and its
replica. It is the CRC-32 of what is before it, without the comma.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NamedTuple
from zlib import crc32

from twisted_net.store.interface import StoreError
from twisted_net.store.log import Message, StoredMessage
from twisted_net.store.redis.names import encoded


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
    sender, text, time, action, origin, id = message
    fields = (  # as JSONEncoder does, which takes three times as long
        f"[{_quoted(sender)},{_quoted(text)},{time!r},{'true' if action else 'false'}"
        f",{_quoted(origin)},{_quoted(id)}"
    ).encode("ascii")
    record = b"%b,%d]" % (fields, crc32(fields))
    return mark_of(message), message.size, max(0, int(time * 1000)), record


def mark_of(message: Message) -> bytes:
    """Return what tells messages with an id apart; empty for one without."""
    id = message.id
    return encoded(f"{len(message.origin)}:{message.origin}{id}") if id else b""


def decode_messages(base: int, records: bytes) -> list[StoredMessage]:
    """Return the messages of a JSON array of records. The first has the offset ``base + 1``.

    :raises StoreError: it is not what this module has written.
    """
    try:
        return [
            StoredMessage(offset, _message(fields))
            for offset, fields in enumerate(json.loads(records), base + 1)
        ]
    except (ValueError, TypeError, RecursionError):
        raise StoreError("what Redis has is not a message of this chat") from None


def _message(fields: Any) -> Message:
    """Return the message of a record.

    :raises ValueError: there are other fields, or they are of other types.
    :raises TypeError: it is no list.
    """
    sender, text, time, action, origin, id, _ = fields
    if (
        type(sender) is type(text) is type(origin) is type(id) is str
        and type(action) is bool
        and type(time) in (float, int)
        and 0 <= time < 1e12  # also no infinity and no NaN, which json reads
    ):
        return Message(sender, text, time, action, origin, id)
    raise ValueError("a field is of another type")


def decode_records(base: int, records: list[bytes]) -> tuple[list[StoredMessage], int]:
    """Return the messages of a list of records, and the offset of the last one that is damaged.

    Those before a damaged one are not returned: messages have no gaps.

    :return: the offset is 0 if none is damaged.
    """
    stored: list[StoredMessage] = []
    damaged = 0
    for offset, record in enumerate(records, base + 1):
        text, _, checksum = record[:-1].rpartition(b",")
        try:
            if int(checksum) != crc32(text):
                raise ValueError("the checksum is wrong")
            stored.append(StoredMessage(offset, _message(json.loads(record))))
        except (ValueError, TypeError, RecursionError):
            stored, damaged = [], offset
    return stored, damaged


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
