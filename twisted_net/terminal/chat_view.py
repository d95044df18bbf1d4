"""What the terminal client knows of the chat, and what it shows. Pure: times are arguments.

Each call returns what is to be done: lines to show, and requests. ``server_events`` has what
messages of the server change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TypeAlias

from twisted_net.chat import names
from twisted_net.terminal.conversations import Conversation
from twisted_net.terminal.lines import (
    Fragments,
    error_line,
    local_time,
    message_line,
    notice_line,
    private_line,
)


@dataclass(frozen=True, slots=True)
class Show:
    """Show a line."""

    line: Fragments


@dataclass(frozen=True, slots=True)
class AskHistory:
    """Ask for the last messages of a room, those before an offset."""

    room: str
    before: int


@dataclass(frozen=True, slots=True)
class RingBell:
    """Tell the user that somebody has called."""


ViewOutput: TypeAlias = Show | AskHistory | RingBell


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message of the user's own that the server has not acked.

    :ivar to: the title of the conversation.
    """

    to: str
    text: str
    action: bool = False


class ChatView:
    """The rooms and people of a user, and the state of the connection.

    :param history: messages to ask for on joining a room.
    :param zone: the time zone in which times are shown; None for the system's.
    :ivar nick: the user's name.
    :ivar online: whether there is a connection to the server.
    :ivar trouble: why there is none, if there was one.
    :ivar conversations: by title, in the order in which they came.
    :ivar current: the title of the conversation in front; empty if there is none.
    :ivar rooms: all rooms that were heard of, for completion.
    :ivar pending: the user's own messages without an ack, the oldest first, by number.
    :ivar lost_at: when the connection was lost; None if it was not.
    :ivar away: the seconds between the last two connections.
    :ivar ignored: the names of users whose messages are hidden, by folded name.
    :ivar wanted: the title of a room to turn to as soon as it is joined.
    """

    def __init__(self, history: int = 20, zone: tzinfo | None = None) -> None:
        self.nick = ""
        self.online = False
        self.trouble = ""
        self.conversations: dict[str, Conversation] = {}
        self.current = ""
        self.rooms: set[str] = set()
        self.pending: dict[int, PendingMessage] = {}
        self.history = history
        self.zone = zone
        self.lost_at: float | None = None
        self.away = 0.0
        self.ignored: dict[str, str] = {}
        self.wanted = ""
        self._last_number = 0

    # What the user does.

    def turn_to(self, title: str) -> list[ViewOutput]:
        """Bring a conversation to the front, and show what was said there. Open it if it is new."""
        conversation = self.open(title)
        self.current = conversation.title
        return [Show(line) for line in conversation.turn_to()]

    def step(self, by: int) -> list[ViewOutput]:
        """Turn to the next conversation, or with -1 to the one before."""
        titles = list(self.conversations)
        if len(titles) < 2:
            return []
        return self.turn_to(titles[(titles.index(self.current) + by) % len(titles)])

    def want(self, room: str) -> list[ViewOutput]:
        """Turn to a room, at once or as soon as it is joined."""
        title = f"#{room}"
        if title in self.conversations:
            return self.turn_to(title)
        self.wanted = title
        return []

    def unwant(self, room: str) -> None:
        """Wait no longer for a room, which cannot be joined."""
        if self.wanted == f"#{room}":
            self.wanted = ""

    def close(self, title: str) -> list[ViewOutput]:
        """Take away a conversation that the user has left."""
        conversation = self.conversations.pop(title, None)
        if conversation is None:
            return []
        outputs: list[ViewOutput] = [Show(notice_line(f"You left {title}."))]
        if title == self.current:
            self.current = ""
            if self.conversations:
                outputs += self.turn_to(next(reversed(self.conversations)))
        return outputs

    def ignore(self, name: str) -> list[ViewOutput]:
        """Hide the messages of a user; without a name, list who is hidden."""
        if name:
            self.ignored[names.fold(name)] = name
            return [Show(notice_line(f"You ignore {name} now, until you leave."))]
        listed = ", ".join(self.ignored.values()) or "nobody"
        return [Show(notice_line(f"You ignore: {listed}"))]

    def unignore(self, name: str) -> list[ViewOutput]:
        """Show the messages of a user again."""
        if self.ignored.pop(names.fold(name), None) is None:
            return [Show(error_line(f"You do not ignore {name}."))]
        return [Show(notice_line(f"You no longer ignore {name}."))]

    def sending(self, message: PendingMessage) -> int:
        """Note a message that was sent. Return its number."""
        self._last_number += 1
        self.pending[self._last_number] = message
        return self._last_number

    def acked(self, number: int, offset: int, time: str) -> list[ViewOutput]:
        """Show a message of the user's own: it is in the store.

        :param time: the present time, as the server writes it.
        """
        message = self.pending.pop(number)
        when = local_time(time, self.zone)
        conversation = self.open(message.to)
        if not conversation.is_room:
            line = private_line(when, self.nick, conversation.name, message.text)
            return [Show(line)]
        conversation.offset = max(conversation.offset, offset)
        line = message_line(when, self.nick, message.text, action=message.action, style="class:own")
        return list(self.place(conversation, line, when))

    def failed(self, number: int, text: str) -> list[ViewOutput]:
        """Show that a message was not sent, and why."""
        message = self.pending.pop(number)
        return [Show(error_line(f"Not sent to {message.to}: {message.text} ({text})"))]

    # The connection.

    def disconnected(self, why: str, now: float) -> list[ViewOutput]:
        """Note that the connection was lost, or that an attempt to connect has failed."""
        self.trouble = why
        if not self.online:
            return []
        self.online = False
        self.lost_at = now
        for conversation in self.conversations.values():
            conversation.disconnected()
        line = f"The connection was lost: {why.rstrip('.')}. Connecting again..."
        return [Show(error_line(line))]

    def lost(self, room: str) -> list[ViewOutput]:
        """Show that messages of a room were lost."""
        conversation = self.conversations.get(f"#{room}")
        if conversation is None:
            return []
        conversation.is_lost = True
        if conversation.is_coming_back:  # it is told when the room is joined again
            return []
        line = error_line(f"Messages of {conversation.title} were lost here.")
        return list(self.place(conversation, line))

    def history_failed(self, room: str) -> list[ViewOutput]:
        """Show what has waited for the history of a room, which does not come."""
        conversation = self.conversations.get(f"#{room}")
        return [] if conversation is None else list(self.release(conversation))

    # Conversations.

    def open(self, title: str) -> Conversation:
        """Return a conversation, a new one if there is none with this title."""
        title = self._titled(title)
        if title[0] == "#":
            self.rooms.add(title[1:])
        if title not in self.conversations:
            self.conversations[title] = Conversation(title)
        return self.conversations[title]

    def follow(self, old: str, new: str) -> None:
        """Go on with somebody under a new name, so that nobody else gets what is meant for them."""
        title = self._titled(old)
        conversation = self.conversations.get(title)
        if conversation is None or names.fold(old) == names.fold(new):
            return
        conversation.title = new
        del self.conversations[title]
        self.conversations[new] = conversation
        if self.current == title:
            self.current = new

    def _titled(self, title: str) -> str:
        """Return the title of an open conversation, if one differs from this in its case only."""
        key = names.fold(title)
        return next((each for each in self.conversations if names.fold(each) == key), title)

    def place(
        self,
        conversation: Conversation,
        line: Fragments,
        when: datetime | None = None,
        counts: bool = False,
        is_mention: bool = False,
    ) -> Iterator[ViewOutput]:
        """Show a line of a conversation, or keep it until the user turns to it.

        :param when: the local time of a message. The first one of a day follows a line with the
            date.
        :param counts: whether it counts as unread.
        """
        if conversation.held is not None:
            conversation.held.append((line, when, counts, is_mention))
            return
        for each in (*conversation.day_line(when), line):
            if conversation.title == self.current:
                yield Show(each)
            elif each is line:
                conversation.keep(each, counts, is_mention)
            else:
                conversation.keep(each)

    def release(self, conversation: Conversation) -> Iterator[ViewOutput]:
        """Show or keep what has waited for the history of a room."""
        held, conversation.held = conversation.held or [], None
        for line, when, counts, is_mention in held:
            yield from self.place(conversation, line, when, counts, is_mention)
