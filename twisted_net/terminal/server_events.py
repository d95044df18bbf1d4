"""What a message of the server changes in the view, and what is shown of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from twisted_net.chat import names
from twisted_net.terminal.chat_view import AskHistory, ChatView, RingBell, Show, ViewOutput
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
from twisted_net.wire.text import counted

LISTED_NAMES = 50
"""Names that a line lists, and rooms that ``/rooms`` lists."""


def received(view: ChatView, message: dict[str, Any], now: float) -> list[ViewOutput]:
    """Return what to do about a message of the server, which ``ChatClient`` has checked.

    :param now: seconds, of any clock that never goes back.
    """
    handle = _HANDLERS.get(message["type"])
    return [] if handle is None else list(handle(view, message, now))


def _welcome(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    is_new = view.lost_at is None
    view.away = 0.0 if view.lost_at is None else now - view.lost_at
    view.lost_at = None
    had = view.nick
    view.online, view.trouble, view.nick = True, "", message["nick"]
    if is_new:
        yield Show(notice_line(f"Connected. You are {view.nick}. /help lists commands."))
    elif had != view.nick:
        yield Show(notice_line(f"You are {view.nick} now."))
    if not is_new and not any(each.is_room for each in view.conversations.values()):
        yield Show(notice_line(f"Back after {_duration(view.away)}."))


def _joined(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    room: str = message["room"]
    is_first = f"#{room}" not in view.conversations
    conversation = view.open(f"#{room}")
    conversation.members = set(message["members"])
    conversation.count, conversation.topic = message["count"], message["topic"]
    if is_first or not conversation.epoch:
        if not view.current or conversation.title == view.wanted:
            view.wanted = ""
            yield from view.turn_to(conversation.title)
        topic = f" Topic: {conversation.topic}" if conversation.topic else ""
        others = conversation.count - 1
        text = f"You are in {conversation.title} now, with {counted(others, 'other')}.{topic}"
        yield from view.place(conversation, notice_line(text))
        yield from _ask_history(view, conversation, message)
    elif conversation.is_coming_back:
        yield from _came_back(view, conversation, message)
    _advance(conversation, message)


def _came_back(
    view: ChatView, conversation: Conversation, message: dict[str, Any]
) -> Iterator[ViewOutput]:
    """Show what a reconnect has brought."""
    conversation.is_coming_back = False
    back = f"Back in {conversation.title} after {_duration(view.away)}."
    is_whole = message["recovered"] is True and not conversation.is_lost
    if is_whole:
        fetched = message["offset"] - conversation.offset
        text = f"{back} You missed nothing"
        if fetched:
            were = "was" if fetched == 1 else "were"
            text += f": {counted(fetched, 'message')} {were} fetched"
        yield from view.place(conversation, notice_line(f"{text}."))
        return
    line = error_line(f"{back} Messages were lost here.")
    yield from view.place(conversation, line)
    yield from _ask_history(view, conversation, message)


def _ask_history(
    view: ChatView, conversation: Conversation, message: dict[str, Any]
) -> Iterator[ViewOutput]:
    """Ask for what was said before, and let what follows wait for it."""
    known = conversation.offset if message["epoch"] == conversation.epoch else 0
    if view.history and message["offset"] > known:
        conversation.held = []
        yield AskHistory(conversation.name, message["offset"] + 1)


def _advance(conversation: Conversation, message: dict[str, Any]) -> None:
    # After a complete reconnect, the messages up to the offset follow one by one.
    if message["recovered"] is not True or message["epoch"] != conversation.epoch:
        conversation.known_before = (conversation.epoch, conversation.offset)
        conversation.epoch, conversation.offset = message["epoch"], message["offset"]


def _message(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    conversation = view.open(f"#{message['room']}")
    conversation.offset = max(conversation.offset, message["offset"])
    if names.fold(message["from"]) in view.ignored:
        return
    is_mention = mentions(message["text"], view.nick)
    line, when = _said(view, message, "class:mention" if is_mention else "")
    if is_mention:
        yield RingBell()
    yield from view.place(conversation, line, when, counts=True, is_mention=is_mention)


def _said(
    view: ChatView, message: dict[str, Any], style: str = ""
) -> tuple[Fragments, datetime | None]:
    """Return the line of a message, and its local time."""
    when = local_time(message["time"], view.zone)
    action = message.get("action") is True
    return message_line(when, message["from"], message["text"], action=action, style=style), when


def _history_page(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    conversation = view.open(f"#{message['room']}")
    stored = [each for each in message["messages"]
              if names.fold(each["from"]) not in view.ignored]  # fmt: skip
    is_asked = conversation.held is None  # by the user, with /history
    if not is_asked:
        epoch, offset = conversation.known_before
        stored = [each for each in stored
                  if message["epoch"] != epoch or each["offset"] > offset]  # fmt: skip
    held, conversation.held = conversation.held, None
    if stored:
        yield from view.place(conversation, rule_line(f"earlier in {conversation.title}"))
        for each in stored:
            yield from view.place(conversation, *_said(view, each))
        end = "end of the history" if is_asked else "now"
        yield from view.place(conversation, rule_line(end))
    elif is_asked:
        nothing = f"There is nothing earlier in {conversation.title}."
        yield from view.place(conversation, notice_line(nothing))
    conversation.held = held
    yield from view.release(conversation)


def _private(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    sender = message["from"]
    if names.fold(sender) in view.ignored:
        return
    view.open(f"@{sender}")
    when = local_time(message["time"], view.zone)
    action = message.get("action") is True
    yield RingBell()
    yield Show(private_line(when, sender, "", message["text"], action))


def _nick(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    for conversation in view.conversations.values():
        if conversation.is_room:
            conversation.rename(view.nick, message["nick"])
    view.nick = message["nick"]
    yield Show(notice_line(f"You are {view.nick} now."))


def _presence(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    conversation = view.conversations.get(f"#{message['room']}")
    if conversation is None:
        return
    event, nick = message["event"], message.get("nick", "")
    title = conversation.title
    if event == "nick":
        conversation.rename(nick, message["to"])
        view.follow(f"@{nick}", f"@{message['to']}")
        text = f"{nick} is now {message['to']}."
    else:
        number = message.get("count", 1)
        if not (nick and conversation.has_heard_of(nick, event == "join")):
            change = number if event == "join" else -number
            conversation.count = max(1, conversation.count + change)
        if nick and event == "join":
            conversation.members.add(nick)
        elif nick:
            conversation.leave(nick)
        did = "joined" if event == "join" else "left"
        text = f"{nick if 'count' not in message else counted(number, 'person')} {did} {title}."
    if title == view.current:
        yield from view.place(conversation, dim_line(text))


def _who(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    conversation = view.conversations.get(f"#{message['room']}")
    if conversation is not None:
        conversation.members = set(message["members"])
        conversation.count = message["count"]
    text = _listing(message["members"], message["count"])
    yield Show(notice_line(f"{message['count']} in #{message['room']}: {text}"))


def _rooms(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    view.rooms.update(each["room"] for each in message["rooms"])
    if not message["rooms"]:
        yield Show(notice_line("There are no rooms."))
    for each in message["rooms"][:LISTED_NAMES]:
        topic = f", {each['topic']}" if each["topic"] else ""
        people = counted(each["count"], "person")
        yield Show(notice_line(f"#{each['room']}: {people}{topic}"))
    more = message["count"] - len(message["rooms"][:LISTED_NAMES])
    if more > 0:
        yield Show(notice_line(f"and {more} more"))


def _bans(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    if not message["bans"]:
        yield Show(notice_line("Nobody is banned."))
    for each in message["bans"]:
        until = local_time(each["until"], view.zone)
        end = f"{until:%d %B %Y %H:%M}" if until else each["until"]
        why = f": {each['text']}" if each["text"] else ""
        yield Show(notice_line(f"{each['nick']} is banned until {end}, by {each['from']}{why}"))
    if message["count"] > len(message["bans"]):
        yield Show(notice_line(f"and {message['count'] - len(message['bans'])} more"))


def _topic(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    conversation = view.conversations.get(f"#{message['room']}")
    topic, title = message["topic"] or "none", f"#{message['room']}"
    if conversation is not None:
        conversation.topic = message["topic"]
    if "from" not in message:
        yield Show(notice_line(f"The topic of {title}: {topic}"))
    elif conversation is not None:
        text = f"{message['from']} changed the topic of {title}: {topic}"
        yield from view.place(conversation, notice_line(text))


def _left(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    yield from view.close(f"#{message['room']}")


def _notice(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    yield Show(notice_line(message["text"]))


def _error(view: ChatView, message: dict[str, Any], now: float) -> Iterator[ViewOutput]:
    yield Show(error_line(message["text"]))


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


_Handler: TypeAlias = Callable[[ChatView, dict[str, Any], float], Iterator[ViewOutput]]

_HANDLERS: dict[str, _Handler] = {
    "welcome": _welcome,
    "joined": _joined,
    "left": _left,
    "message": _message,
    "private": _private,
    "nick": _nick,
    "presence": _presence,
    "who": _who,
    "rooms": _rooms,
    "bans": _bans,
    "topic": _topic,
    "history": _history_page,
    "notice": _notice,
    "error": _error,
}
"""What each type of message does. Others are passed over: a newer server may send them."""
