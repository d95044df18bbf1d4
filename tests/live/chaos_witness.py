"""Clients that write down what they see, and the check of what all of them have seen.

A witness checks each message as it comes, before :class:`ChatClient` would hide that one is
repeated. What it has seen without a gap is a *stretch*. A new stretch begins only when the server
has said so: ``recovered`` is not true.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater

from tests.live.harness import LOCALHOST
from twisted_net.chat.client.client import ChatClient
from twisted_net.chat.messages import ChatError
from twisted_net.policy.backoff import Backoff

_AGAIN = frozenset({"store", "busy", "timeout", "not-in-room"})
"""Errors after which a message is sent again, with the same id."""

_HISTORY = 60
"""Events of a client that are shown with a violation."""


@dataclass
class Violation:
    """A promise that was not kept.

    :ivar history: what the client has heard and done before.
    """

    text: str
    history: list[str] = field(default_factory=list)


@dataclass
class Stretch:
    """What a client has seen of a room, without a gap.

    :ivar epoch: the epoch that the server has named at its beginning.
    :ivar start: the offset before the first message.
    :ivar texts: the messages; the first has the offset ``start + 1``.
    """

    epoch: str
    start: int
    texts: list[str] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The offset of the last message."""
        return self.start + len(self.texts)

    def text(self, offset: int) -> str | None:
        """Return the message at an offset, if it is in the stretch."""
        index = offset - self.start - 1
        return self.texts[index] if 0 <= index < len(self.texts) else None


class _AnyProcess:
    """Connects to one of several processes, each time to another one at random."""

    def __init__(self, reactor: Any, ports: Sequence[int], chance: random.Random) -> None:
        self._reactor = reactor
        self._ports = ports
        self._chance = chance
        self.port = 0

    def connect(self, factory: Any) -> Any:
        self.port = self._chance.choice(self._ports)
        return TCP4ClientEndpoint(self._reactor, LOCALHOST, self.port, 5).connect(factory)


class _Client(ChatClient):
    """A client that shows its witness everything first."""

    witness: Witness

    def _connected(self, connection: Any) -> None:
        self.witness.connected()
        super()._connected(connection)

    def _received(self, message: dict[str, Any]) -> None:
        self.witness.heard(message)
        super()._received(message)

    def _transmit(self, message: dict[str, Any]) -> None:
        self.witness.said(message)
        super()._transmit(message)

    def send_again(self, room: str, text: str) -> Deferred[int]:
        """Send a message whose text is its id, for the first time or again."""
        message = {"type": "message", "room": room, "text": text, "id": text}
        return self._call(text, lambda: self.state.send(message))

    def cut(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.transport.abortConnection()


class Witness:
    """A client in one room.

    :param ports: those of the processes; each connection is to any of them.
    :ivar is_in: whether it is in the room, on this connection, without a gap.
    :ivar again: how often a message was sent again, with its id.
    :ivar acked: the offset of each of its messages.
    :ivar unacked: its messages that were never acked, although it tried to the end.
    :ivar told: how often the server has said that messages are lost.
    :ivar recovered: how often the server has sent it all that it had missed.
    :ivar gaps: how often messages were missing on a connection, and asked for.
    """

    def __init__(
        self, reactor: Any, number: int, room: str, ports: Sequence[int], chance: random.Random
    ) -> None:
        self.name = f"c{number}"
        self.room = room
        self.acked: dict[str, int] = {}
        self.unacked: list[str] = []
        self.stretches: list[Stretch] = []
        self.violations: list[Violation] = []
        self.told = self.recovered = self.gaps = self.again = 0
        self.sent = 0
        self.is_in = False  # the room, on this connection, without a gap
        self._history: deque[tuple[float, str, dict[str, Any] | None]] = deque(maxlen=_HISTORY)
        self._since: dict[str, dict[str, Any] | None] = {}
        self._reactor = reactor
        self._chance = chance
        self._began = reactor.seconds()
        self._where = _AnyProcess(reactor, ports, chance)
        self.client = _Client(
            *(reactor, self._where, self.name, room),
            backoff=Backoff(first=0.1, longest=1.0),
            jitter=chance.random,
            call_timeout=20.0,
            buffer=1,
        )
        self.client.witness = self

    # Speaking.

    async def say(self, is_over: Callable[[], bool]) -> None:
        """Send a message until it is acked, each time with the same id."""
        self.sent += 1
        text = f"{self.name}-{self.sent}"
        while not is_over():
            try:
                self.acked[text] = await self.client.send_again(self.room, text)
            except ChatError as error:
                self._note(f"{text} was refused: {error.code}: {error}")
                if error.code not in _AGAIN:
                    break
                self.again += 1
                await deferLater(self._reactor, self._chance.uniform(0.2, 1.5))
            else:
                return
        self.unacked.append(text)

    # What the client shows.

    def connected(self) -> None:
        """There is a new connection."""
        self._note(f"connected to port {self._where.port}")
        self.is_in = False
        self._since.clear()

    def said(self, message: dict[str, Any]) -> None:
        """The client sends something."""
        if message["type"] == "join":
            self._since[message["id"]] = message.get("since")
            self.is_in = False
        if message["type"] != "pong":
            self._note("->", message)

    def heard(self, message: dict[str, Any]) -> None:
        """The server has sent something."""
        kind = message["type"]
        if kind in ("ping", "pong", "presence"):
            return
        self._note("<-", message)
        if message.get("room") != self.room:
            return
        if kind == "joined":
            self._joined(message)
        elif kind == "message":
            self._seen(message["offset"], message["text"])
        elif kind == "ack":
            self._ack(message["offset"], message["id"])

    def _joined(self, message: dict[str, Any]) -> None:
        since = self._since.pop(message.get("id", ""), None)
        epoch, offset = message["epoch"], message["offset"]
        self.is_in = True
        if message["recovered"] is not True:
            if self.stretches:
                self.told += 1
                if message["recovered"] is None:
                    self._wrong("was not told whether it has recovered")
            self.stretches.append(Stretch(epoch, offset))
            return
        self.recovered += 1
        stretch = self.stretches[-1] if self.stretches else None
        if since is None or stretch is None:
            self._wrong("recovered what it had not asked for")
        elif since != {"epoch": epoch, "offset": stretch.end} or offset < stretch.end:
            self._wrong(f"recovered {epoch} {offset}, but had {stretch.epoch} {stretch.end}")

    def _ack(self, offset: int, text: str) -> None:
        if self.is_in and offset > self.stretches[-1].end:
            self._seen(offset, text)
            return
        for stretch in self.stretches[-1:]:
            seen = stretch.text(offset)
            if seen is not None and seen != text:
                self._wrong(f"got an ack of {text} at {offset}, where it has seen {seen}")

    def _seen(self, offset: int, text: str) -> None:
        if not self.is_in:
            return  # it has asked for what is missing, and will get this again
        stretch = self.stretches[-1]
        if offset == stretch.end + 1:
            stretch.texts.append(text)
        elif offset <= stretch.end:
            self._wrong(f"saw {offset} ({text}) after {stretch.end}")
        else:
            self.gaps += 1
            self.is_in = False  # the client asks for it

    def _wrong(self, what: str) -> None:
        text = f"{self.name} in {self.room} {what}"
        self.violations.append(Violation(text, self.history))

    def _note(self, what: str, message: dict[str, Any] | None = None) -> None:
        self._history.append((self._reactor.seconds() - self._began, what, message))

    @property
    def history(self) -> list[str]:
        """The last events."""
        return [f"{at:8.3f} {what} {_brief(message)}" for at, what, message in self._history]


def _brief(message: dict[str, Any] | None) -> str:
    if message is None:
        return ""
    shown = {key: value for key, value in message.items() if key not in ("members", "limits")}
    return str(shown)[:300]


def check(
    witnesses: Sequence[Witness], logs: dict[str, dict[int, str]], is_lossy: bool = False
) -> list[Violation]:
    """Check what all witnesses of all rooms have seen.

    :param logs: what the store has at the end, by room: the texts by their offsets.
    :param is_lossy: whether the store has lost messages.
    """
    found = [violation for witness in witnesses for violation in witness.violations]
    rooms: dict[str, list[Witness]] = {}
    for witness in witnesses:
        rooms.setdefault(witness.room, []).append(witness)
    for room, inside in rooms.items():
        if not is_lossy:
            found += _check_log(room, logs.get(room, {}), inside)
        found += _check_seen(room, logs.get(room, {}), inside, is_lossy)
    return found


def _check_log(room: str, log: dict[int, str], inside: Sequence[Witness]) -> list[Violation]:
    """Check that what was acked is in the log, once, where the ack says it is."""
    found = []
    at: dict[str, int] = {}
    for offset, text in log.items():
        if at.setdefault(text, offset) != offset:
            found.append(Violation(f"{text} is in {room} twice: {at[text]} and {offset}"))
    acked: dict[int, str] = {}
    for witness in inside:
        for text, offset in witness.acked.items():
            if acked.setdefault(offset, text) != text:
                what = f"{offset} of {room} was acked for {text} and for {acked[offset]}"
                found.append(Violation(what, witness.history))
            if log.get(offset) != text:
                what = f"{text} was acked at {offset} of {room}, where there is {log.get(offset)}"
                found.append(Violation(what, witness.history))
    return found


def _check_seen(
    room: str, log: dict[int, str], inside: Sequence[Witness], is_lossy: bool
) -> list[Violation]:
    """Check that all have seen the same, up to the end of the log."""
    found = []
    used: dict[tuple[str, int], str] = {}
    top = max(log, default=0)
    for witness in inside:
        for stretch in witness.stretches:
            for offset, text in enumerate(stretch.texts, stretch.start + 1):
                first = used.setdefault((stretch.epoch, offset), text)
                if first != text:
                    what = f"{offset} of {room} is {first} and, for {witness.name}, {text}"
                    found.append(Violation(f"{what}, in one epoch", witness.history))
                if log.get(offset, text) != text and not is_lossy:
                    what = f"{witness.name} saw {text} at {offset} of {room}, not {log[offset]}"
                    found.append(Violation(what, witness.history))
        end = witness.stretches[-1].end if witness.stretches else -1
        if end != top:
            what = f"{witness.name} saw {room} up to {end}, not to {top}"
            found.append(Violation(what, witness.history))
    return found
