"""The interface of a codec, which parses lines into requests and encodes events into bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from twisted_net.chat.messages import Event, Request
from twisted_net.store.log import StoredMessage


class Codec(Protocol):
    """Parses requests and encodes events."""

    is_text: bool
    listed: int
    """Maximum number of names in a list."""
    ping: bytes
    """The ping that the peer has to answer; empty for no ping."""

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        """Parse a line into a request.

        :return: the request, or None if there is none, and the id that a program gave it.
        :raises RequestError: the line is not a valid request.
        """

    def read_id(self, line: bytes) -> str:
        """Return the id in a line that may not be valid, or may be cut off; empty for none."""

    def encode(self, event: Event, id: str = "") -> bytes:
        """Return the bytes of an event; empty if this codec does not send it.

        :param id: the id of the request that the event answers.
        """

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        """Return the bytes of a message to a room.

        :param id: the id that the sender gave the message, if the bytes go back to its sender.
        """


def format_time(time: float) -> str:
    """Return a time in the format of RFC 3339, in UTC and with milliseconds.

    :param time: seconds since 1970.
    """
    second, microseconds = divmod(round(time * 1_000_000), 1_000_000)
    return f"{_format_second(second)}.{microseconds // 1000:03}Z"


@lru_cache(maxsize=64)  # the messages of a busy room have the same few
def _format_second(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()[:-6]
