"""What the terminal client knows of the chat, and what it shows. Pure: times are arguments.

Messages of the server go in, and what is to be done comes out: lines to show, and requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, TypeAlias

from twisted_net.chat import names
from twisted_net.terminal.conversations import Conversation
from twisted_net.terminal.lines import (
    Fragments,
    dim_line,
    error_line,
    local_time,
    mentions,
    message_line,
    notice_line,
    private_line,
    rule_line,
)

LISTED_NAMES = 50
"""Names that a line lists, and rooms that ``/rooms`` lists."""


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
class Ring:
    """Tell the user that somebody has called."""


ViewOutput: TypeAlias = Show | AskHistory | Ring


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
    """

    def __init__(self, history: int = 20, zone: tzinfo | None = None) -> None:
        self.nick = ""
        self.online = False
        self.trouble = ""
        self.conversations: dict[str, Conversation] = {}
        self.current = ""
        self.rooms: set[str] = set()
        self.pending: dict[int, PendingMessage] = {}
        self._history = history
        self._zone = zone
        self._lost_at: float | None = None
        self._away = 0.0  # seconds between the last two connections
        self._ignored: dict[str, str] = {}  # by folded name: the name
        self._wanted = ""  # the title of a room to turn to as soon as it is joined
        self._last_number = 0

    # What the user does.

    def turn_to(self, title: str) -> list[ViewOutput]:
        """Bring a conversation to the front, and show what was said there. Open it if it is new."""
        conversation = self._open(title)
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
        self._wanted = title
        return []

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
            self._ignored[names.fold(name)] = name
            return [Show(notice_line(f"You ignore {name} now, until you leave."))]
        listed = ", ".join(self._ignored.values()) or "nobody"
        return [Show(notice_line(f"You ignore: {listed}"))]

    def unignore(self, name: str) -> list[ViewOutput]:
        """Show the messages of a user again."""
        if self._ignored.pop(names.fold(name), None) is None:
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
        when = local_time(time, self._zone)
        conversation = self._open(message.to)
        if not conversation.is_room:
            line = private_line(when, self.nick, conversation.name, message.text)
            return [Show(line)]
        conversation.offset = max(conversation.offset, offset)
        line = message_line(when, self.nick, message.text, action=message.action, style="class:own")
        return list(self._place(conversation, [*conversation.day_line(when), line]))

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
        self._lost_at = now
        for conversation in self.conversations.values():
            conversation.disconnected()
        return [Show(error_line(f"The connection was lost: {why}. Connecting again..."))]

    def lost(self, room: str) -> list[ViewOutput]:
        """Show that messages of a room were lost."""
        conversation = self.conversations.get(f"#{room}")
        if conversation is None:
            return []
        conversation.is_lost = True
        if conversation.is_coming_back:  # it is told when the room is joined again
            return []
        line = error_line(f"Messages of {conversation.title} were lost here.")
        return list(self._place(conversation, [line]))

    def history_failed(self, room: str) -> list[ViewOutput]:
        """Show what has waited for the history of a room, which does not come."""
        conversation = self.conversations.get(f"#{room}")
        return [] if conversation is None else list(self._release(conversation))

    def received(self, message: dict[str, Any], now: float) -> list[ViewOutput]:
        """Return what to do about a message of the server, which ``ChatClient`` has checked.

        :param now: seconds, of any clock that never goes back.
        """
        handle = _HANDLERS.get(message["type"])
        return [] if handle is None else list(handle(self, message, now))

    def _welcome(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        is_new = self._lost_at is None
        self._away = 0.0 if self._lost_at is None else now - self._lost_at
        self._lost_at = None
        had = self.nick
        self.online, self.trouble, self.nick = True, "", message["nick"]
        if is_new:
            yield Show(notice_line(f"Connected. You are {self.nick}. /help lists commands."))
        elif had != self.nick:
            yield Show(notice_line(f"You are {self.nick} now."))
        if not is_new and not any(each.is_room for each in self.conversations.values()):
            yield Show(notice_line(f"Back after {_duration(self._away)}."))

    def _joined(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        room: str = message["room"]
        is_first = f"#{room}" not in self.conversations
        conversation = self._open(f"#{room}")
        conversation.members = set(message["members"])
        conversation.count, conversation.topic = message["count"], message["topic"]
        if is_first or not conversation.epoch:
            if not self.current or conversation.title == self._wanted:
                self._wanted = ""
                yield from self.turn_to(conversation.title)
            topic = f" Topic: {conversation.topic}" if conversation.topic else ""
            others = conversation.count - 1
            text = f"You are in {conversation.title} now, with {_count(others, 'other')}.{topic}"
            yield from self._place(conversation, [notice_line(text)])
            yield from self._ask_history(conversation, message)
        elif conversation.is_coming_back:
            yield from self._came_back(conversation, message)
        self._advance(conversation, message)

    def _came_back(
        self, conversation: Conversation, message: dict[str, Any]
    ) -> Iterator[ViewOutput]:
        """Show what a reconnect has brought."""
        conversation.is_coming_back = False
        back = f"Back in {conversation.title} after {_duration(self._away)}."
        is_whole = message["recovered"] is True and not conversation.is_lost
        if is_whole:
            fetched = message["offset"] - conversation.offset
            text = f"{back} You missed nothing"
            if fetched:
                were = "was" if fetched == 1 else "were"
                text += f": {_count(fetched, 'message')} {were} fetched"
            yield from self._place(conversation, [notice_line(f"{text}.")])
            return
        line = error_line(f"{back} Messages were lost here.")
        yield from self._place(conversation, [line])
        yield from self._ask_history(conversation, message)

    def _ask_history(
        self, conversation: Conversation, message: dict[str, Any]
    ) -> Iterator[ViewOutput]:
        """Ask for what was said before, and let what follows wait for it."""
        known = conversation.offset if message["epoch"] == conversation.epoch else 0
        if self._history and message["offset"] > known:
            conversation.held = []
            yield AskHistory(conversation.name, message["offset"] + 1)

    @staticmethod
    def _advance(conversation: Conversation, message: dict[str, Any]) -> None:
        # After a complete reconnect, the messages up to the offset follow one by one.
        if message["recovered"] is not True or message["epoch"] != conversation.epoch:
            conversation.known_before = (conversation.epoch, conversation.offset)
            conversation.epoch, conversation.offset = message["epoch"], message["offset"]

    def _message(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        conversation = self._open(f"#{message['room']}")
        conversation.offset = max(conversation.offset, message["offset"])
        if names.fold(message["from"]) in self._ignored:
            return
        is_mention = mentions(message["text"], self.nick)
        lines = self._message_lines(conversation, message, "class:mention" if is_mention else "")
        if is_mention:
            yield Ring()
        yield from self._place(conversation, lines, counts=True, is_mention=is_mention)

    def _message_lines(
        self, conversation: Conversation, message: dict[str, Any], style: str = ""
    ) -> list[Fragments]:
        when = local_time(message["time"], self._zone)
        action = message.get("action") is True
        line = message_line(when, message["from"], message["text"], action=action, style=style)
        return [*conversation.day_line(when), line]

    def _history_page(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        conversation = self._open(f"#{message['room']}")
        stored = [each for each in message["messages"]
                  if names.fold(each["from"]) not in self._ignored]  # fmt: skip
        is_asked = conversation.held is None  # by the user, with /history
        if not is_asked:
            epoch, offset = conversation.known_before
            stored = [each for each in stored
                      if message["epoch"] != epoch or each["offset"] > offset]  # fmt: skip
        lines = []
        if stored:
            lines.append(rule_line(f"earlier in {conversation.title}"))
            for each in stored:
                lines += self._message_lines(conversation, each)
            lines.append(rule_line("end of the history" if is_asked else "now"))
        elif is_asked:
            lines.append(notice_line(f"There is nothing earlier in {conversation.title}."))
        held, conversation.held = conversation.held, None
        yield from self._place(conversation, lines)
        conversation.held = held
        yield from self._release(conversation)

    def _private(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        sender = message["from"]
        if names.fold(sender) in self._ignored:
            return
        self._open(f"@{sender}")
        when = local_time(message["time"], self._zone)
        action = message.get("action") is True
        yield Ring()
        yield Show(private_line(when, sender, "", message["text"], action))

    def _nick(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        for conversation in self.conversations.values():
            if conversation.is_room:
                conversation.rename(self.nick, message["nick"])
        self.nick = message["nick"]
        yield Show(notice_line(f"You are {self.nick} now."))

    def _presence(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        conversation = self.conversations.get(f"#{message['room']}")
        if conversation is None:
            return
        event, nick = message["event"], message.get("nick", "")
        title = conversation.title
        if event == "nick":
            conversation.rename(nick, message["to"])
            self._follow(f"@{nick}", f"@{message['to']}")
            text = f"{nick} is now {message['to']}."
        else:
            number = message.get("count", 1)
            conversation.count = max(
                1, conversation.count + (number if event == "join" else -number)
            )
            if nick and event == "join":
                conversation.members.add(nick)
            elif nick:
                conversation.leave(nick)
            did = "joined" if event == "join" else "left"
            text = f"{nick if 'count' not in message else _count(number, 'person')} {did} {title}."
        if title == self.current:
            yield from self._place(conversation, [dim_line(text)])

    def _who(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        conversation = self.conversations.get(f"#{message['room']}")
        if conversation is not None:
            conversation.members = set(message["members"])
            conversation.count = message["count"]
        text = _listing(message["members"], message["count"])
        yield Show(notice_line(f"{message['count']} in #{message['room']}: {text}"))

    def _rooms(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        self.rooms.update(each["room"] for each in message["rooms"])
        if not message["rooms"]:
            yield Show(notice_line("There are no rooms."))
        for each in message["rooms"][:LISTED_NAMES]:
            topic = f", {each['topic']}" if each["topic"] else ""
            people = _count(each["count"], "person")
            yield Show(notice_line(f"#{each['room']}: {people}{topic}"))
        more = message["count"] - len(message["rooms"][:LISTED_NAMES])
        if more > 0:
            yield Show(notice_line(f"and {more} more"))

    def _topic(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        conversation = self.conversations.get(f"#{message['room']}")
        topic, title = message["topic"] or "none", f"#{message['room']}"
        if conversation is not None:
            conversation.topic = message["topic"]
        if "from" not in message:
            yield Show(notice_line(f"The topic of {title}: {topic}"))
        elif conversation is not None:
            text = f"{message['from']} changed the topic of {title}: {topic}"
            yield from self._place(conversation, [notice_line(text)])

    def _left(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        yield from self.close(f"#{message['room']}")

    def _notice(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        yield Show(notice_line(message["text"]))

    def _error(self, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
        yield Show(error_line(message["text"]))

    # Conversations.

    def _open(self, title: str) -> Conversation:
        """Return a conversation, a new one if there is none with this title."""
        title = self._titled(title)
        if title[0] == "#":
            self.rooms.add(title[1:])
        if title not in self.conversations:
            self.conversations[title] = Conversation(title)
        return self.conversations[title]

    def _follow(self, old: str, new: str) -> None:
        """Go on with somebody under a new name, so that nobody else gets what is meant for them."""
        title = self._titled(old)
        conversation = self.conversations.get(title)
        if conversation is None or names.fold(old) == names.fold(new):
            return
        conversation.title = new
        kept = {
            each: other for each, other in self.conversations.items() if other is not conversation
        }
        self.conversations = {**kept, new: conversation}
        if self.current == title:
            self.current = new

    def _titled(self, title: str) -> str:
        """Return the title of an open conversation, if one differs from this in its case only."""
        key = names.fold(title)
        return next((each for each in self.conversations if names.fold(each) == key), title)

    def _place(
        self,
        conversation: Conversation,
        lines: list[Fragments],
        counts: bool = False,
        is_mention: bool = False,
    ) -> Iterator[ViewOutput]:
        """Show the lines of a conversation, or keep them until the user turns to it.

        :param counts: whether the last line is a message, and so counts as unread.
        """
        for line in lines:
            is_last = line is lines[-1]
            if conversation.held is not None:
                conversation.held.append((line, counts and is_last, is_mention and is_last))
            elif conversation.title == self.current:
                yield Show(line)
            else:
                conversation.keep(line, counts and is_last, is_mention and is_last)

    def _release(self, conversation: Conversation) -> Iterator[ViewOutput]:
        held, conversation.held = conversation.held or [], None
        for line, counts, is_mention in held:
            yield from self._place(conversation, [line], counts, is_mention)


def _count(number: int, noun: str) -> str:
    many = {"person": "people"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 else many}"


def _listing(listed: list[str], count: int) -> str:
    more = count - len(listed[:LISTED_NAMES])
    return ", ".join(listed[:LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")


def _duration(seconds: float) -> str:
    """Return a time that somebody was away, such as ``4 s`` or ``2 h 5 min``."""
    whole = max(1, round(seconds))
    minutes, hours = whole // 60, whole // 3600
    if minutes < 2:
        return f"{whole} s"
    return f"{minutes} min" if hours < 1 else f"{hours} h {minutes % 60} min"


_HANDLERS = {
    "welcome": ChatView._welcome,
    "joined": ChatView._joined,
    "left": ChatView._left,
    "message": ChatView._message,
    "private": ChatView._private,
    "nick": ChatView._nick,
    "presence": ChatView._presence,
    "who": ChatView._who,
    "rooms": ChatView._rooms,
    "topic": ChatView._topic,
    "history": ChatView._history_page,
    "notice": ChatView._notice,
    "error": ChatView._error,
}
"""What each type of message does. Others are passed over: a newer server may send them."""
