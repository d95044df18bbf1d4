"""The two forms of the chat on the wire: text for people, JSON for programs.

A form turns a line into a request, and an event into bytes; it knows nobody and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from twisted_net.chat.codecs import json_requests, text_commands
from twisted_net.chat.limits import LISTED, LISTED_JSON
from twisted_net.chat.messages import (
    Ack,
    Delivered,
    ErrorReply,
    Event,
    Goodbye,
    HistoryPage,
    LoginRequired,
    MemberJoined,
    MemberLeft,
    MemberList,
    NickChanged,
    NickSet,
    Notice,
    NoticeLines,
    Pong,
    PresenceSummary,
    PrivateMessage,
    Request,
    RequestError,
    RoomJoined,
    RoomLeft,
    RoomList,
    SendMessage,
    TopicEvent,
    Welcome,
)
from twisted_net.store.log import StoredMessage
from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.json_values import encode_json
from twisted_net.wire.text import clean_line


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


class TextCodec:
    """Lines for people. What the server says itself begins with ``* `` or ``! ``.

    :param tagged: whether messages say which room they are from, for those in several.
    """

    is_text = True
    listed = LISTED
    ping = b""  # people are not asked

    def __init__(self, tagged: bool = False) -> None:
        self._tagged = tagged

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        try:
            text = clean_line(line)
        except RemoteProtocolError as error:
            raise RequestError("bad-input", f"Your line was not sent: {error}.") from None
        if text[:1] == "/":
            return text_commands.parse_command(text), ""
        return (SendMessage(text) if text and not text.isspace() else None), ""

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        message = stored.message
        before = f"#{room} " if self._tagged else ""
        if message.action:
            return f"{before}* {message.sender} {message.text}\n".encode()
        return f"{before}<{message.sender}> {message.text}\n".encode()

    def encode(self, event: Event) -> bytes:
        text = _TEXT[type(event)](event)
        return text.encode() + b"\n" if text else b""


def _said(stored: StoredMessage) -> str:
    message = stored.message
    if message.action:
        return f"* {message.sender} {message.text}"
    return f"<{message.sender}> {message.text}"


def _greeted(event: Welcome) -> str:
    where = f" in #{event.room}" if event.room else ""
    return f"Welcome to the chat server! You are {event.nick}{where}. /help lists commands."


def _joined(event: RoomJoined) -> str:
    topic = f" Topic: {event.topic}" if event.topic else ""
    return f"* You are in #{event.room} now, with {event.count - 1} others.{topic}"


def _left(event: RoomLeft) -> str:
    now = f"You talk in #{event.now_in} now." if event.now_in else "You are in no room now."
    return f"* You left #{event.room}. {now}"


def _present(event: MemberList) -> str:
    shown = event.nicks[:LISTED]
    more = event.count - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"* {event.count} in #{event.room}: {listed}"


def _listing(event: RoomList) -> str:
    lines = [
        f"* #{name}: {count} people{topic and f', {topic}'}"
        for name, count, topic in event.rooms[:LISTED]
    ]
    if event.count > len(lines):
        lines.append(f"* and {event.count - len(lines)} more")
    return "\n".join(lines) or "* There are no rooms."


def _topic(event: TopicEvent) -> str:
    if event.by:
        return f"* {event.by} changed the topic of #{event.room}: {event.topic or 'none'}"
    return f"* The topic of #{event.room}: {event.topic or 'none'}"


def _history_page(event: HistoryPage) -> str:
    if not event.stored:
        return f"* There is nothing earlier in #{event.room}." if event.asked else ""
    lines = [f"* Earlier in #{event.room}, times are UTC:"]
    day = ""
    for stored in event.stored:
        when = _when(stored.message.time)
        if when[:10] != day:
            day = when[:10]
            lines.append(f"* {day}")
        lines.append(f"* {when[11:16]} {_said(stored)}")
    return "\n".join(lines)


_TEXT: dict[type, Callable[[Any], str]] = {
    Welcome: _greeted,
    LoginRequired: lambda event: (
        "Welcome to the chat server! Log in with /login NAME PASSWORD. /help lists commands."
    ),
    RoomJoined: _joined,
    RoomLeft: _left,
    Ack: lambda event: "",
    PrivateMessage: lambda event: (
        f"* {event.sender} tells you: {f'{event.sender} ' if event.action else ''}{event.text}"
    ),
    Delivered: lambda event: f"* You told {event.to}: {event.text}",
    NickSet: lambda event: f"* You are {event.nick} {'already' if event.already else 'now'}.",
    MemberJoined: lambda event: f"* {event.nick} joined #{event.room}.",
    MemberLeft: lambda event: f"* {event.nick} left #{event.room}.",
    PresenceSummary: lambda event: (
        f"* {event.count} people {'joined' if event.event == 'join' else 'left'} #{event.room}."
    ),
    NickChanged: lambda event: f"* {event.nick} is now {event.to}.",
    MemberList: _present,
    RoomList: _listing,
    TopicEvent: _topic,
    HistoryPage: _history_page,
    Notice: lambda event: f"* {event.text}",
    ErrorReply: lambda event: f"! {event.text}",
    NoticeLines: lambda event: "\n".join(f"* {line}" for line in event.lines),
    Pong: lambda event: "* pong",
    Goodbye: lambda event: f"* {event.reason.text}",
}


# Of idle programs these are all that comes, as most write it; having come, they have done it all.
_SIGNS_OF_LIFE = (b'{"type":"pong"}', b'{"type": "pong"}')
_NOTHING = None, ""


class JsonCodec:
    """One JSON object a line (``netchat.schema.json``, beside this file).

    :param server: what the server is called in the welcome.
    :param announced: the limits and the heartbeat that the welcome announces.
    """

    is_text = False
    listed = LISTED_JSON
    ping = b'{"type":"ping"}\n'

    def __init__(self, server: str, heartbeat: float, announced: dict[str, int]) -> None:
        self._greeting = {"server": server, "heartbeat": heartbeat, "limits": announced}

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        if line in _SIGNS_OF_LIFE or not line or line.isspace():
            return _NOTHING
        message = json_requests.decode(line)
        id = json_requests.id_of(message)
        try:
            return json_requests.parse_request(message), id
        except RequestError as error:
            error.id = id
            raise

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        message = _stored_json(room, stored)
        if id:
            message["id"] = id
        return encode_json(message) + b"\n"

    def encode(self, event: Event) -> bytes:
        message = _JSON[type(event)](event)
        if isinstance(event, Welcome):
            message |= self._greeting
        return encode_json(message) + b"\n" if message else b""


def _when(time: float) -> str:
    """Give a time as RFC 3339 has it."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _stored_json(room: str, stored: StoredMessage) -> dict[str, Any]:
    message = stored.message
    said = {
        "type": "message",
        "room": room,
        "offset": stored.offset,
        "from": message.sender,
        "text": message.text,
        "time": _when(message.time),
    }
    return said | {"action": True} if message.action else said


def _joined_json(event: RoomJoined) -> dict[str, Any]:
    return {
        "type": "joined",
        "room": event.room,
        "epoch": event.at.epoch,
        "offset": event.at.offset,
        "members": list(event.members),
        "count": event.count,
        "topic": event.topic,
        "recovered": event.recovered,
    }


def _presence(event: str, room: str, nick: str, **more: str) -> dict[str, Any]:
    return {"type": "presence", "room": room, "nick": nick, "event": event, **more}


def _problem_json(event: ErrorReply) -> dict[str, Any]:
    message = {"type": "error", "code": event.code, "text": event.text}
    if event.field:
        message["field"] = event.field
    return message | {"id": event.id} if event.id else message


def _acked_json(event: Ack) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "ack"}
    if event.id:
        message["id"] = event.id
    return message | {"room": event.room, "offset": event.offset} if event.room else message


def _told_json(event: PrivateMessage) -> dict[str, Any]:
    message = {
        "type": "private",
        "from": event.sender,
        "text": event.text,
        "time": _when(event.time),
    }
    return message | {"action": True} if event.action else message


def _goodbye_json(event: Goodbye) -> dict[str, Any]:
    reason = event.reason
    return {"type": "goodbye", "code": reason.code, "text": reason.text, "retry": reason.retry}


_JSON: dict[type, Callable[[Any], dict[str, Any]]] = {
    Welcome: lambda event: {"type": "welcome", "nick": event.nick, "session": event.session},
    LoginRequired: lambda event: {},
    RoomJoined: _joined_json,
    RoomLeft: lambda event: {"type": "left", "room": event.room},
    Ack: _acked_json,
    PrivateMessage: _told_json,
    Delivered: lambda event: _acked_json(Ack(event.id)),
    NickSet: lambda event: {"type": "nick", "nick": event.nick},
    MemberJoined: lambda event: _presence("join", event.room, event.nick),
    MemberLeft: lambda event: _presence("leave", event.room, event.nick),
    PresenceSummary: lambda event: {
        "type": "presence",
        "room": event.room,
        "event": event.event,
        "count": event.count,
    },
    NickChanged: lambda event: _presence("nick", event.room, event.nick, to=event.to),
    MemberList: lambda event: {
        "type": "who",
        "room": event.room,
        "members": list(event.nicks),
        "count": event.count,
    },
    RoomList: lambda event: {
        "type": "rooms",
        "rooms": [{"room": n, "count": c, "topic": t} for n, c, t in event.rooms],
        "count": event.count,
    },
    TopicEvent: lambda event: {
        "type": "topic",
        "room": event.room,
        "topic": event.topic,
        **({"from": event.by} if event.by else {}),
    },
    HistoryPage: lambda event: {
        "type": "history",
        "room": event.room,
        "epoch": event.epoch,
        "messages": [_stored_json(event.room, stored) for stored in event.stored],
        "more": event.more,
    },
    Notice: lambda event: {"type": "notice", "text": event.text},
    ErrorReply: _problem_json,
    NoticeLines: lambda event: {"type": "notice", "text": "; ".join(event.lines)},
    Pong: lambda event: {"type": "pong"},
    Goodbye: _goodbye_json,
}
