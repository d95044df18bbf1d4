"""The state of a chat client: the messages it has received, and its own that are not acked.

It takes messages and returns what to do about them. It is pure, so it works with any program that
speaks the JSON form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Send a message to the server."""

    message: JsonObject


@dataclass(frozen=True, slots=True)
class Deliver:
    """Pass a message of the server to the program."""

    message: JsonObject


@dataclass(frozen=True, slots=True)
class Acked:
    """The server has stored a message of the client. ``offset`` is 0 for a private message."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The server has refused a message of the client."""

    id: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class GapDetected:
    """Some messages of a room may be lost; they cannot be recovered."""

    room: str


Output: TypeAlias = SendRequest | Deliver | Acked | SendFailed | GapDetected


class _Room:
    """A room, of which the client has received all messages up to ``offset`` in ``epoch``."""

    __slots__ = ("epoch", "joined", "offset")

    def __init__(self) -> None:
        self.epoch = ""
        self.offset = -1  # not joined yet
        self.joined = False


class ClientState:
    """The state of a client, across any number of connections.

    :param hello: the fields of the client's hello.
    :ivar nick: the client's name, as the server confirmed it.
    :ivar heartbeat: seconds, from the server's welcome; 0 before the first welcome.
    """

    def __init__(self, **hello: str) -> None:
        self.nick = hello.get("nick", "")
        self.heartbeat = 0.0
        self._hello = hello
        self._rooms: dict[str, _Room] = {}
        self._unacked: dict[str, JsonObject] = {}
        self._greeted = False  # whether this connection has had its welcome
        self._rejections = 0  # names that were taken, on this connection

    # Calls of the program.

    def connected(self) -> list[Output]:
        """Start over on a new connection, in the same session."""
        for room in self._rooms.values():
            room.joined = False
        self._greeted = False
        self._rejections = 0
        return [SendRequest({"type": "hello", **self._hello})]

    def join(self, name: str, online: bool) -> list[Output]:
        """Join a room, now and after each reconnection."""
        self._rooms.setdefault(name, _Room())
        return [self._join(name)] if online else []

    def leave(self, name: str, online: bool) -> list[Output]:
        """Leave a room. Messages to it that are not acked fail (``left``)."""
        self._rooms.pop(name, None)
        gone = [id for id, message in self._unacked.items() if message.get("room") == name]
        for id in gone:
            del self._unacked[id]
        left: list[Output] = [SendFailed(id, "left", "The room was left.") for id in gone]
        return [*left, SendRequest({"type": "leave", "room": name})] if online else left

    def send(self, message: JsonObject, online: bool) -> list[Output]:
        """Send a message with an id, now or as soon as possible."""
        self._unacked[message["id"]] = message
        room = self._rooms.get(message.get("room", ""))
        ready = room.joined if room is not None else message["type"] == "private"
        return [SendRequest(message)] if online and ready else []

    # Messages of the server.

    def received(self, message: JsonObject) -> list[Output]:
        """Return what to do about a message of the server."""
        match message.get("type"):
            case "welcome":
                return self._welcomed(message)
            case "joined":
                return self._joined(message)
            case "message":
                return self._message(message)
            case "ack":
                return self._ack(message)
            case "error" if message.get("id") in self._unacked:
                del self._unacked[message["id"]]
                return [SendFailed(message["id"], message["code"], message["text"])]
            case "error" if message["code"] == "taken" and not self._greeted:
                return self._next_name()
            case "ping":
                return [SendRequest({"type": "pong"})]
            case "pong":
                return []
            case "nick":
                self.nick = message["nick"]
        return [Deliver(message)]

    def _welcomed(self, message: JsonObject) -> list[Output]:
        self._greeted = True
        self._hello["session"] = message["session"]
        self.nick = message["nick"]
        self.heartbeat = message["heartbeat"]
        private = [each for each in self._unacked.values() if each["type"] == "private"]
        return [Deliver(message), *map(self._join, self._rooms), *map(SendRequest, private)]

    def _next_name(self) -> list[Output]:
        """Ask for a similar name, because another user has this one."""
        self._rejections += 1
        if self._rejections > 20:
            return []
        nick = f"{self._hello['nick'][:20]}-{self._rejections + 1}"
        return [SendRequest({"type": "hello", **self._hello, "nick": nick})]

    def _join(self, name: str) -> SendRequest:
        room = self._rooms[name]
        room.joined = False
        if room.offset < 0:
            return SendRequest({"type": "join", "room": name})
        since = {"epoch": room.epoch, "offset": room.offset}
        return SendRequest({"type": "join", "room": name, "since": since})

    def _joined(self, message: JsonObject) -> list[Output]:
        name = message["room"]
        room = self._rooms.get(name)
        if room is None:
            return [Deliver(message)]
        room.joined = True
        outputs: list[Output] = [Deliver(message)]
        if message["recovered"] is not True:
            if message["recovered"] is False:
                outputs.insert(0, GapDetected(name))
            room.epoch, room.offset = message["epoch"], message["offset"]
        waiting = [each for each in self._unacked.values() if each.get("room") == name]
        return outputs + [SendRequest(each) for each in waiting]

    def _message(self, message: JsonObject) -> list[Output]:
        outputs = self._advance(message["room"], message["offset"])
        if outputs is None:
            return []
        if not any(isinstance(each, SendRequest) for each in outputs):
            id = message.get("id", "")
            outputs.append(self._acked(id, message["offset"]) or Deliver(message))
        return outputs

    def _ack(self, message: JsonObject) -> list[Output]:
        outputs = []
        if "room" in message:
            outputs = self._advance(message["room"], message["offset"]) or []
        done = self._acked(message.get("id", ""), message.get("offset", 0))
        return [*outputs, done] if done else outputs

    def _acked(self, id: str, offset: int) -> Acked | None:
        return Acked(id, offset) if self._unacked.pop(id, None) is not None else None

    def _advance(self, name: str, offset: int) -> list[Output] | None:
        """Record an offset as received.

        :return: what to do: nothing, or to join again because of a gap. None if the message is a
            duplicate, or the room is not joined yet.
        """
        room = self._rooms.get(name)
        if room is None:
            return []
        if not room.joined or offset <= room.offset:
            return None
        if offset > room.offset + 1:  # messages were dropped on the way: ask for them again
            return [self._join(name)]
        room.offset = offset
        return []
