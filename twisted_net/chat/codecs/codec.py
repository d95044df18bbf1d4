"""What every codec of the chat does: requests out of lines, and bytes out of events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from twisted_net.chat.messages import Event, Request
from twisted_net.store.log import StoredMessage


class Codec(Protocol):
    """How requests and events look on the wire."""

    is_text: bool
    listed: int
    """So many names are in a list at most."""
    ping: bytes
    """What asks for a sign of life."""

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        """Give what a line asks for, if anything, and the id that a program gave it.

        :raises RequestError: it is not understood.
        """

    def encode(self, event: Event) -> bytes:
        """Give the bytes that tell of an event; none, where this form does not tell of it."""

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        """Give the bytes of a message that was said in a room.

        :param id: for its own sender, to whom it comes back.
        """


def format_time(time: float) -> str:
    """Give a time as RFC 3339 has it."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
