"""The JSON form of the chat, for programs: one JSON object per line (``netchat.schema.json``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from twisted_net.chat.codecs import json_requests
from twisted_net.chat.codecs.codec import format_time
from twisted_net.chat.codecs.json_requests import JsonRequest
from twisted_net.chat.limits import LISTED_JSON
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
    TopicEvent,
    Welcome,
)
from twisted_net.store.log import StoredMessage
from twisted_net.wire.json_values import encode_json, quote_json

# Idle programs send nothing but these lines, mostly spelled like this. They need no parsing: their
# arrival alone keeps the connection open.
_SIGNS_OF_LIFE = (b'{"type":"pong"}', b'{"type": "pong"}')
_NOTHING = None, ""


class JsonCodec:
    """One JSON object per line; see ``netchat.schema.json`` in the folder above.

    :param server: the server's name for the welcome.
    :param heartbeat: seconds, for the welcome.
    :param announced: the limits for the welcome.
    :param own: the requests of the application.
    """

    is_text = False
    listed = LISTED_JSON
    ping = b'{"type":"ping"}\n'

    def __init__(
        self,
        server: str,
        heartbeat: float,
        announced: dict[str, int],
        own: Mapping[str, JsonRequest] = MappingProxyType({}),
    ) -> None:
        self._own = own
        self._server = server
        self.announce(heartbeat, announced)

    def announce(self, heartbeat: float, announced: dict[str, int]) -> None:
        """Tell other limits in the welcome from now on."""
        self._greeting = {"server": self._server, "heartbeat": heartbeat, "limits": announced}

    def parse(self, line: bytes) -> tuple[Request | None, str]:
        if line in _SIGNS_OF_LIFE or not line or line.isspace():
            return _NOTHING
        try:
            message = json_requests.decode(line)
        except RequestError as error:
            error.id = self.read_id(line)
            raise
        try:
            request = json_requests.parse_request(message, self._own)
        except RequestError as error:
            error.id = json_requests.id_of(message)
            raise
        return request, message.get("id") or ""

    def encode_message(self, room: str, stored: StoredMessage, id: str = "") -> bytes:
        return _write_message(quote_json(room), stored, id).encode() + b"\n"

    def read_id(self, line: bytes) -> str:
        return json_requests.read_id(line)

    def encode(self, event: Event, id: str = "") -> bytes:
        write = _WRITTEN.get(type(event))
        if write is not None:
            return write(event, id).encode() + b"\n"
        message = _JSON[type(event)](event)
        if isinstance(event, Welcome):
            message |= self._greeting
        if id and message:
            message["id"] = id
        return encode_json(message) + b"\n" if message else b""


# What is sent for each message is written in one piece, in a third of the time. It is what
# encode_json writes, byte for byte.


def _write_message(room: str, stored: StoredMessage, id: str = "") -> str:
    """Return a message of a room, whose name is quoted."""
    message = stored.message
    action = ',"action":true' if message.action else ""
    return (
        f'{{"type":"message","room":{room},"offset":{stored.offset}'
        f',"from":{quote_json(message.sender)},"text":{quote_json(message.text)}'
        f',"time":"{format_time(message.time)}"{action}{_write_id(id)}}}'
    )


def _write_page(event: HistoryPage, id: str) -> str:
    room = quote_json(event.room)
    messages = ",".join([_write_message(room, stored) for stored in event.stored])
    more = "true" if event.more else "false"
    return (
        f'{{"type":"history","room":{room},"epoch":{quote_json(event.epoch)}'
        f',"messages":[{messages}],"more":{more}{_write_id(id)}}}'
    )


def _write_ack(event: Ack, id: str) -> str:
    room = f',"room":{quote_json(event.room)},"offset":{event.offset}' if event.room else ""
    return f'{{"type":"ack"{_write_id(id or event.id)}{room}}}'


def _write_id(id: str) -> str:
    return f',"id":{quote_json(id)}' if id else ""


_WRITTEN: dict[type, Callable[[Any, str], str]] = {
    Ack: _write_ack,
    Delivered: lambda event, id: _write_ack(Ack(event.id), id),
    HistoryPage: _write_page,
}


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
    message: dict[str, Any] = {"type": "error", "code": event.code, "text": event.text}
    if event.field:
        message["field"] = event.field
    if event.retry_after:
        message["retry_after"] = event.retry_after
    return message | {"id": event.id} if event.id else message


def _told_json(event: PrivateMessage) -> dict[str, Any]:
    message = {
        "type": "private",
        "from": event.sender,
        "text": event.text,
        "time": format_time(event.time),
    }
    return message | {"action": True} if event.action else message


def _goodbye_json(event: Goodbye) -> dict[str, Any]:
    reason = event.reason
    return {"type": "goodbye", "code": reason.code, "text": reason.text, "retry": reason.retry}


def _own_json(event: OwnEvent) -> dict[str, Any]:
    room = {"room": event.room} if event.room else {}
    text = {"text": event.text} if event.text else {}
    return {"type": event.type, **room, **text, **event.fields}


_JSON: dict[type, Callable[[Any], dict[str, Any]]] = {
    Welcome: lambda event: {"type": "welcome", "nick": event.nick, "session": event.session},
    LoginRequired: lambda event: {},
    RoomJoined: _joined_json,
    RoomLeft: lambda event: {"type": "left", "room": event.room},
    PrivateMessage: _told_json,
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
    BanList: lambda event: {
        "type": "bans",
        "bans": [
            {"nick": n, "until": format_time(u), "from": by, "text": text}
            for n, u, by, text in event.bans
        ],
        "count": event.count,
    },
    TopicEvent: lambda event: {
        "type": "topic",
        "room": event.room,
        "topic": event.topic,
        **({"from": event.by} if event.by else {}),
    },
    Notice: lambda event: {"type": "notice", "text": event.text},
    ErrorReply: _problem_json,
    NoticeLines: lambda event: {"type": "notice", "text": "; ".join(event.lines)},
    Pong: lambda event: {"type": "pong"},
    Goodbye: _goodbye_json,
    OwnEvent: _own_json,
}
