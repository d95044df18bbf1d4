"""The names of keys and channels in Redis."""

from __future__ import annotations

from typing import NamedTuple


class RoomNames(NamedTuple):
    """The names that belong to a room.

    :ivar meta: a hash: the epoch, the last offset, the number and size of the messages, and on
        which server this was written.
    :ivar log: a stream of the messages. Their ids are ``offset-milliseconds``.
    :ivar ids: a sorted set of the ids that senders gave, by offset.
    :ivar channel: where new messages are published.
    """

    meta: bytes
    log: bytes
    ids: bytes
    channel: bytes


class Names:
    """Makes the names. All keys begin with ``{prefix``, and so do all channels.

    :param prefix: tells several chats on one Redis apart.
    :param db: the number of the database. Channels are common to all databases, so it is part of
        their names.
    """

    def __init__(self, prefix: str, db: int) -> None:
        self.prefix = prefix
        self.db = db
        self._channel = f"{{{prefix}}}:{db}:"
        self.rooms = self._key("rooms")
        self.processes = self._key("processes")
        self.value_numbers = self._key("value-numbers")

    def _key(self, rest: str) -> bytes:
        return encoded(f"{{{self.prefix}}}:{rest}")

    def room(self, name: str) -> RoomNames:
        """Return the names for a room."""
        base = encoded(f"{{{self.prefix}:{name}}}:")
        return RoomNames(base + b"meta", base + b"log", base + b"ids", base + encoded(f"{self.db}"))

    @property
    def bases(self) -> tuple[bytes, bytes]:
        """What all keys and channels begin with that do not belong to a room."""
        return self._key(""), encoded(self._channel)

    def values(self, kind: str) -> bytes:
        """Return the hash of the small texts of a kind."""
        return self._key(f"values:{kind}")

    def leases(self, kind: str) -> bytes:
        """Return the hash of the leases of a kind."""
        return self._key(f"leases:{kind}")

    def held(self, process: str) -> bytes:
        """Return the set of the leases that a process has taken."""
        return self._key(f"held:{process}")

    def lease_channel(self, kind: str) -> bytes:
        """Return where changes of leases are published."""
        return encoded(f"{self._channel}leases:{kind}")

    def notifications(self, topic: str) -> bytes:
        """Return the stream of the last notifications of a topic that were for all."""
        return self._key(f"notifications:{topic}")

    def topic_channel(self, topic: str, process: str = "") -> bytes:
        """Return where notifications of a topic are published: for all, or for one process."""
        return encoded(f"{self._channel}topic:{process}:{topic}")

    def pulse_channel(self, process: str) -> bytes:
        """Return where a process sends messages to itself."""
        return encoded(f"{self._channel}pulse:{process}")


def encoded(text: str) -> bytes:
    """Return a text as UTF-8; even one that has half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


def shielded(text: str) -> bytes:
    """Return a text that users choose, as an argument of a script. No command begins like this."""
    return b"=" + encoded(text)


def decoded(data: bytes) -> str:
    """Undo :func:`encoded`."""
    return data.decode("utf-8", "surrogatepass")
