"""Broadcast the same messages to members of several kinds, each in its own encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from twisted_net.connection.broadcast import Broadcast, WriteScheduler
from twisted_net.connection.connection import Connection

BroadcastT = TypeVar("BroadcastT")


class EncodedBroadcast(Generic[BroadcastT]):
    r"""Connections that receive the same messages, each in the encoding of its kind::

        def as_line(text: str) -> bytes:
            return text.encode() + b"\n"

        room = EncodedBroadcast[str](reactor)
        room.add(person, as_line)
        room.add(browser, browser.encoder)
        room.publish("hello", sender=person)

    Members with the same encoder share its result: a message is encoded once for each encoder in
    use, however many members there are. So pass a function that is the same object for all members
    of a kind, such as one of a module, or :attr:`WebSocketConnection.encoder`. For each encoder
    there is one :class:`Broadcast`, and all of them share the reactor's turns.

    A member receives, in order, what was published after it was added and before it was discarded,
    except the messages it sent itself.

    :param clock: the reactor.
    :param scheduler: shares the reactor's turns with other broadcasts.
    """

    __slots__ = ("_broadcasts", "_clock", "_encoders", "_scheduler")

    def __init__(self, clock: IReactorTime, scheduler: WriteScheduler | None = None) -> None:
        self._clock = clock
        self._scheduler = scheduler or WriteScheduler(clock)
        self._broadcasts: dict[Callable[[BroadcastT], bytes], Broadcast] = {}
        self._encoders: dict[Connection, Callable[[BroadcastT], bytes]] = {}

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._encoders)

    def __contains__(self, member: Any) -> bool:
        return member in self._encoders

    def add(self, member: Connection, encode: Callable[[BroadcastT], bytes]) -> None:
        """Send ``member`` everything published from now on.

        :param encode: returns the bytes for a message, with the framing.
        :raises ValueError: if it is a member already, with another encoder.
        """
        known = self._encoders.setdefault(member, encode)
        if known != encode:
            raise ValueError(
                f"{member!r} is a member with another encoder already; discard it first"
            )
        broadcast = self._broadcasts.get(encode)
        if broadcast is None:
            broadcast = self._broadcasts[encode] = Broadcast(self._clock, self._scheduler)
        broadcast.add(member)

    def discard(self, member: Connection) -> None:
        """Stop sending to ``member``, after sending it what was published before."""
        encode = self._encoders.pop(member, None)
        if encode is None:
            return
        broadcast = self._broadcasts[encode]
        broadcast.discard(member)
        # The write may have closed others, which discards them, or have added some.
        if not broadcast and self._broadcasts.get(encode) is broadcast:
            del self._broadcasts[encode]

    def publish(self, message: BroadcastT, sender: Connection | None = None) -> None:
        """Send a message to every member except ``sender``.

        If an encoder fails, nobody gets the message.
        """
        encoded = [(each, encode(message)) for encode, each in self._broadcasts.items()]
        for broadcast, data in encoded:
            broadcast.publish(data, sender)
