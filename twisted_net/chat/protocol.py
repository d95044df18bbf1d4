"""The chat on the wire: its connections, and the room that they share."""

from __future__ import annotations

from typing import Unpack

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_net.chat.presence import Presence
from twisted_net.chat.session import ROOM, Action, Leave, Lobby, Rename, Reply, Say, Tell
from twisted_net.policy.closing import CLOSED, PEER_CLOSED, PEER_RESET, SLOW, Reason
from twisted_net.policy.limits import LimitChanges, Limits
from twisted_net.transport.connection import Connection, ConnectionFactory
from twisted_net.transport.group import Group
from twisted_net.wire.framing import RemoteProtocolError, SkippingLines, TooLong
from twisted_net.wire.text import decode_line, printable

PRESENCE_DELAY = 0.2
"""Seconds for which arrivals and departures are gathered before they are told."""

MAX_MESSAGE = 8192
"""Bytes in a line, unless told otherwise. IRC has 512 (RFC 2812), or 8191 of tags (IRCv3)."""

_WITHOUT_LAST_WORDS = (PEER_CLOSED, PEER_RESET, SLOW)  # they would not be read


class ChatProtocol(Connection):
    """A person in the chat, with ``nc`` or telnet: UTF-8 lines.

    :ivar name: what the person is called now; empty once it has left.
    """

    framing = SkippingLines
    reads_while_full = True  # what others say fills its queue: that is no reason not to hear it

    factory: ChatFactory
    name = ""

    def connected(self) -> None:
        self.factory.enter(self)

    def message_received(self, message: bytes | TooLong) -> None:
        if isinstance(message, TooLong):
            self.send(f"! A line has at most {message.max_size} bytes; yours was not sent.")
            return
        try:
            line = printable(decode_line(message))
        except RemoteProtocolError as error:
            self.send(f"! Your line was not sent: {error}.")
            return
        self.factory.receive(self, line)

    def disconnected(self, reason: Reason) -> None:
        self.factory.leave(self)

    def missed_notice(self, count: int) -> bytes:
        return f"* You read too slowly and missed {count} lines.\n".encode()

    def close(self, reason: Reason = CLOSED, detail: str = "") -> None:
        self.factory.leave(self)  # which gives it what was said before
        if self.reason is None and self._begun and reason not in _WITHOUT_LAST_WORDS:
            self.send(f"* {reason.text}")
        super().close(reason, detail)


class ChatFactory(ConnectionFactory):
    """One room, and everybody in it.

    :param clock: as in :class:`ConnectionFactory`, and so is the rest. A line has at most
        :data:`MAX_MESSAGE` bytes unless told otherwise.
    """

    protocol = ChatProtocol

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        limits: Limits | None = None,
        **changes: Unpack[LimitChanges],
    ) -> None:
        super().__init__(clock=clock, limits=limits or Limits(max_message=MAX_MESSAGE), **changes)
        self._lobby = Lobby()
        self._people: dict[str, ChatProtocol] = {}
        self._group: Group | None = None
        self._presence = Presence(ROOM)
        self._telling: IDelayedCall | None = None

    @property
    def group(self) -> Group:
        """Everybody in the room."""
        if self._group is None:
            self._group = Group(self.clock)
        return self._group

    def refusal(self, reason: Reason) -> bytes:
        return f"! {reason.text}\n".encode()

    def enter(self, person: ChatProtocol) -> None:
        """Give a newcomer a name and a welcome; tell the others soon, if it stays."""
        person.name = self._lobby.enter()
        self._people[person.name] = person
        person.send(self._lobby.welcome(person.name))
        self.group.add(person)
        self._presence.came(person.name)
        self._tell_soon()

    def leave(self, person: ChatProtocol) -> None:
        """Let a person go; tell the others soon. Nothing happens if it has left already."""
        name, person.name = person.name, ""
        if not name:
            return
        self.group.discard(person)
        self._lobby.leave(name)
        del self._people[name]
        self._presence.left(name)
        if self._people:
            self._tell_soon()
        elif self._telling is not None:  # nobody is there to be told
            self._tell()

    def receive(self, person: ChatProtocol, line: str) -> None:
        """Do what a person's line asks for."""
        for action in self._lobby.receive(person.name, line):
            self._act(person, action)

    def _act(self, person: ChatProtocol, action: Action) -> None:
        match action:
            case Reply(line):
                person.send(line)
            case Say(line):
                introduction = self._presence.introduce(person.name)
                if introduction is not None:
                    self._publish(introduction, person)
                self._publish(line, person)
            case Tell(name, line):
                self._people[name].send(line)
            case Rename(old, new):
                if self._presence.has_left(new):  # first its last bearer's end, then the next one
                    self._tell()
                person.name = new
                self._people[new] = self._people.pop(old)
                if self._presence.renamed(old, new):
                    self._publish(f"* {old} is now {new}.", person)
            case Leave(reason):
                person.close(reason)

    def _publish(self, line: str, sender: ChatProtocol | None = None) -> None:
        self.group.publish(line.encode() + b"\n", sender)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = self.clock.callLater(PRESENCE_DELAY, self._tell)

    def _tell(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None and telling.active():
            telling.cancel()
        for name, line in self._presence.tell():
            self._publish(line, self._people.get(name))
