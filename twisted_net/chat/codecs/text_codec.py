"""The text form of the chat: lines of text, for users with ``nc`` or telnet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from twisted_net.chat.codecs.codec import format_time
from twisted_net.chat.codecs.text_commands import Command, parse_command
from twisted_net.chat.limits import LISTED
from twisted_net.chat.messages import (
    Ack,
    BanList,
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
    OwnEvent,
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
from twisted_net.wire.line_editing import edit_line
from twisted_net.wire.text import clean_line, counted, is_blank, strip_invisible

# A password that is said by mistake stays in the history of the room. So a line that looks like a
# login is never said: neither /login after a space, nor what a program sends to log in.
_LOGIN = re.compile(r"/login(?!\S)", re.IGNORECASE)
_PASSWORD = re.compile(r"""["']password["']\s*:""", re.IGNORECASE)
_PASS = re.compile(r"PASS +\S+\s*")  # as IRC, FTP and POP3 have it
_LOGIN_TYPE = re.compile(r"""["']type["']\s*:\s*["'](?:hello|login)["']""", re.IGNORECASE)
_PASSWORD_REFUSED = (
    "Your line was not sent: it looks like a program's login. Programs send it as the first line."
)


def _has_password(text: str) -> bool:
    if _PASSWORD.search(text):
        return True
    return "{" in text and strip_invisible(text)[0] == "{" and bool(_LOGIN_TYPE.search(text))


class TextCodec:
    """Lines of text. The server's own lines begin with ``* `` or ``! ``.

    :param tagged: whether messages begin with their room, for users in several rooms.
    :param own: the commands of the application.
    """

    is_text = True
    listed = LISTED
    ping = b""  # text users are not pinged

    def __init__(
        self, tagged: bool = False, own: Mapping[str, Command] = MappingProxyType({})
    ) -> None:
        self._tagged = tagged
        self._own = own

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        try:
            text = clean_line(edit_line(line))
        except RemoteProtocolError as error:
            raise RequestError("bad-input", f"Your line was not sent: {error}.") from None
        if text[:1] == "/":
            return parse_command(text, self._own), ""
        if "/" in text and _LOGIN.match(strip_invisible(text)):
            return parse_command(strip_invisible(text), self._own), ""
        if (":" in text and _has_password(text)) or (text[:4] == "PASS" and _PASS.fullmatch(text)):
            raise RequestError("bad-input", _PASSWORD_REFUSED)
        return (None if is_blank(text) else SendMessage(text)), ""

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        message = stored.message
        before = f"#{room} " if self._tagged else ""
        if message.action:
            return f"{before}* {message.sender} {message.text}\n".encode()
        return f"{before}<{message.sender}> {message.text}\n".encode()

    def read_id(self, line: bytes) -> str:
        return ""

    def encode(self, event: Event, id: str = "") -> bytes:
        text = _TEXT[type(event)](event)
        if self._tagged and text and isinstance(event, OwnEvent) and event.room:
            text = f"#{event.room} {text}"
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
    if event.recovered is False:  # nobody asks for it here: the store has lost some
        return f"! The server has lost messages in #{event.room}. Some may be missing here."
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
        f"* #{name}: {counted(count, 'person')}{topic and f', {topic}'}"
        for name, count, topic in event.rooms[:LISTED]
    ]
    if event.count > len(lines):
        lines.append(f"* and {event.count - len(lines)} more")
    return "\n".join(lines) or "* There are no rooms."


def _bans(event: BanList) -> str:
    lines = [
        f"* {target}, until {format_time(until)[:16].replace('T', ' ')} UTC, by {by}"
        f"{text and f': {text}'}"
        for target, until, by, text in event.bans[:LISTED]
    ]
    if event.count > len(lines):
        lines.append(f"* and {event.count - len(lines)} more")
    return "\n".join(lines) or "* Nobody is banned."


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
        when = format_time(stored.message.time)
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
        f"* {counted(event.count, 'person')} "
        f"{'joined' if event.event == 'join' else 'left'} #{event.room}."
    ),
    NickChanged: lambda event: f"* {event.nick} is now {event.to}.",
    MemberList: _present,
    RoomList: _listing,
    BanList: _bans,
    TopicEvent: _topic,
    HistoryPage: _history_page,
    Notice: lambda event: f"* {event.text}",
    ErrorReply: lambda event: f"! {event.text}",
    NoticeLines: lambda event: "\n".join(f"* {line}" for line in event.lines),
    Pong: lambda event: "* pong",
    Goodbye: lambda event: f"* {event.reason.text}",
    OwnEvent: lambda event: event.text and f"* {event.text}",
}
