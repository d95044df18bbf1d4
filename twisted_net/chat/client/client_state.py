"""The state of a chat client: the messages it has received, and its own that are not acked.

It takes messages and returns what to do about them. It is pure, so it works with any program that
speaks the JSON form.
"""

from __future__ import annotations

from twisted_net.chat import names
from twisted_net.chat.client.outputs import (
    Acked,
    Answered,
    AskAgain,
    AskNameAgain,
    Deliver,
    GapDetected,
    HelloRefused,
    JsonObject,
    Output,
    RoomEntered,
    RoomRefused,
    SendFailed,
    SendRequest,
)
from twisted_net.chat.client.server_messages import Malformed
from twisted_net.chat.messages import RequestError
from twisted_net.wire.numbers import shorten

REFUSED_FOR_GOOD = frozenset({
    "again", "bad-field", "bad-json", "bad-name", "hello-first", "login-failed", "login-first",
    "missing", "no-accounts", "not-allowed", "not-secret", "too-long", "unknown-type",
})  # fmt: skip
"""Codes of errors that the same request would get again. All others may pass."""

MOST_NAMES = 20
"""Names that a client tries on a connection, if other users have them."""

MOST_GAPS = 5
"""Times that a client asks for the messages in one gap. Then they count as lost."""

_REPLIES = {
    "join": "joined", "leave": "left", "nick": "nick", "login": "nick", "who": "who",
    "rooms": "rooms", "topic": "topic", "history": "history", "ping": "pong", "quit": "goodbye",
    "kick": "notice", "ban": "notice", "unban": "notice", "bans": "bans", "mute": "notice",
}  # fmt: skip
"""The type of the answer to each request, for servers that do not repeat the request's id."""


class _Room:
    """A room, of which the client has received all messages up to ``offset`` in ``epoch``.

    :ivar asked: whether a join is on its way.
    :ivar with_since: whether the last join asked for missed messages.
    :ivar refused: the code and text of the server's refusal, if the last join was refused.
    :ivar tries: refused joins, one after another, on this connection.
    :ivar gaps: how often the client has asked for the messages of a gap.
    :ivar gap_end: the offset of the message that showed the gap.
    """

    __slots__ = (
        "asked", "epoch", "gap_end", "gaps", "joined", "offset", "refused", "tries", "with_since",
    )  # fmt: skip

    def __init__(self) -> None:
        self.epoch = ""
        self.offset = -1  # not joined yet
        self.gap_end = 0
        self.disconnected()

    def disconnected(self) -> None:
        self.joined = self.asked = self.with_since = False
        self.refused: tuple[str, str] | None = None
        self.tries = self.gaps = 0


class ClientState:
    """The state of a client, across any number of connections.

    :param hello: the fields of the client's hello.
    :ivar online: whether the server has sent its welcome on the present connection.
    :ivar nick: the client's name, as the server confirmed it.
    :ivar heartbeat: seconds, from the server's welcome; 0 before the first welcome.
    :ivar longest_line: the most bytes in a line to the server, from its welcome; 0 if unknown.
    """

    def __init__(self, **hello: str) -> None:
        self.online = False
        self.nick = hello.get("nick", "")
        self.heartbeat = 0.0
        self.longest_line = 0
        self._hello = hello
        self._wanted = hello.get("user", "") or self.nick  # an account's name comes first
        self._rooms: dict[str, _Room] = {}
        self._renamed_rooms: dict[str, str] = {}  # by our spelling: the server's, if it differs
        self._unacked: dict[str, JsonObject] = {}
        self._requests: dict[str, JsonObject] = {}
        self._joins: dict[str, str] = {}  # the room of each join on its way
        self._last_id = 0
        self._rejections = 0  # names that were taken, on this connection
        self._name_request = ""  # the id of the request for the wanted name, if one is on its way
        self._name_tries = 0

    # Calls of the program.

    def connected(self) -> list[Output]:
        """Start over on a new connection, in the same session."""
        self.disconnected()
        return [self._greeting()]

    def disconnected(self) -> list[Output]:
        """Note the end of a connection. Requests without an answer fail (``disconnected``)."""
        self.online = False
        for room in self._rooms.values():
            room.disconnected()
        self._joins.clear()
        self._rejections = self._name_tries = 0
        self._name_request = ""
        text = "The connection was lost before the server answered."
        lost: list[Output] = [SendFailed(id, "disconnected", text) for id in self._requests]
        self._requests.clear()
        return lost

    def stopped(self) -> None:
        """Forget all messages without an ack: their senders are told that they failed."""
        self._unacked.clear()
        self._requests.clear()

    def room_name(self, name: str) -> str:
        """Return the server's name of a room: ``#Straße`` is ``strasse``."""
        try:
            key = names.room(name)
        except RequestError:
            key = names.fold(name.removeprefix("#"))  # the server will say what is wrong with it
        return self._renamed_rooms.get(key, key)

    def join(self, name: str) -> list[Output]:
        """Join a room, now and after each reconnection."""
        name = self.room_name(name)
        room = self._rooms.setdefault(name, _Room())
        return [] if room.asked or not self.online else [self._join(name)]

    def leave(self, name: str) -> list[Output]:
        """Leave a room. Messages to it that are not acked fail (``left``)."""
        name = self.room_name(name)
        self._rooms.pop(name, None)
        self._joins = {id: room for id, room in self._joins.items() if room != name}
        left: list[Output] = []
        if self.online:
            left.append(SendRequest({"type": "leave", "room": name, "id": self._new_id()}))
        return left + self._fail_room(name, "left", "The room was left.")

    def is_in(self, name: str) -> bool:
        """Return whether the client is in a room."""
        room = self._rooms.get(self.room_name(name))
        return room is not None and room.joined

    def refusal(self, name: str) -> tuple[str, str] | None:
        """Return why messages to a room cannot be sent, as a code and a text; None if they can."""
        room = self._rooms.get(self.room_name(name))
        if room is None:
            return "not-in-room", f"The client has not joined {shorten(name)!r}."
        return room.refused

    def send(self, message: JsonObject) -> list[Output]:
        """Send a message with an id, now or as soon as possible."""
        id, name = message["id"], message.get("room")
        is_ready = self.online
        if name is not None:
            refusal = self.refusal(name)
            if refusal is not None:
                return [SendFailed(id, *refusal)]
            is_ready = is_ready and self.is_in(name)
            message = message | {"room": self.room_name(name)}
        self._unacked[id] = message
        return [SendRequest(message)] if is_ready else []

    def request(self, message: JsonObject) -> list[Output]:
        """Send any other message, with an id."""
        if not self.online:
            return [SendFailed(message["id"], "not-connected", "The client is not connected.")]
        outputs: list[Output] = [SendRequest(message)]
        if message.get("type") == "pong":  # it has no answer
            return [*outputs, Answered(message["id"], {})]
        self._requests[message["id"]] = message
        return outputs

    def forget(self, id: str) -> None:
        """Do not send a message again, nor wait for its answer."""
        self._unacked.pop(id, None)
        self._requests.pop(id, None)

    def knows(self, id: str) -> bool:
        """Return whether a message with this id has no answer yet."""
        return id in self._unacked or id in self._requests or id in self._joins

    def ask_again(self, name: str) -> list[Output]:
        """Join a room again, after the pause of :class:`AskAgain`."""
        room = self._rooms.get(name)
        if room is None or room.joined or room.asked or not self.online:
            return []
        return [self._join(name)]

    def ask_name_again(self) -> list[Output]:
        """Ask for the wanted name, unless the client has it or has asked already."""
        if not self.online or self._name_request or self._has_wanted_name():
            return []
        self._name_request = self._new_id()
        message = {"type": "nick", "nick": self._wanted, "id": self._name_request}
        return [SendRequest(message)]

    # Messages of the server. They are valid: server_messages has checked them.

    def received(self, message: JsonObject) -> list[Output]:
        """Return what to do about a message of the server.

        :raises Malformed: the message is not valid at this time.
        """
        outputs: list[Output]
        match message["type"]:
            case "welcome":
                return self._welcomed(message)
            case "joined":
                outputs = self._joined(message)
            case "message":
                return self._message(message)
            case "ack":
                outputs = self._ack(message)
            case "error":
                return self._error(message)
            case "ping":
                return [SendRequest({"type": "pong"})]
            case "pong":
                outputs = []
            case "nick":
                outputs = self._named(message)
            case "presence":
                outputs = [*self._presence(message), Deliver(message)]
            case _:
                outputs = [Deliver(message)]
        return [*self._answered(message), *outputs]

    def refused(self, id: str, code: str, text: str) -> list[Output]:
        """Return what to do about the refusal of a request of this client; nothing if unknown."""
        if id in self._unacked:
            name = self._unacked.pop(id).get("room", "")
            failed = SendFailed(id, code, text)
            return [failed, *self._put_out(name)] if code == "not-in-room" else [failed]
        if id in self._joins:
            return self._join_refused(self._joins.pop(id), code, text)
        if self._requests.pop(id, None) is not None:
            return [SendFailed(id, code, text)]
        if id and id == self._name_request:
            self._name_request = ""
            return [] if code in REFUSED_FOR_GOOD else [self._next_name_try()]
        return []

    # The hello, and names.

    def _greeting(self, **more: str) -> SendRequest:
        return SendRequest({"type": "hello", **self._hello, **more, "id": self._new_id()})

    def _welcomed(self, message: JsonObject) -> list[Output]:
        if self.online:
            raise Malformed("welcome: it came twice")
        self.online = True
        self._hello["session"] = message["session"]
        self.nick = message["nick"]
        self.heartbeat = message["heartbeat"]
        self.longest_line = message["limits"]["message"]
        private = [each for each in self._unacked.values() if each["type"] == "private"]
        outputs: list[Output] = [*map(self._join, self._rooms), *map(SendRequest, private)]
        if not self._has_wanted_name():
            outputs.append(self._next_name_try())
        return [*outputs, Deliver(message)]

    def _hello_refused(self, message: JsonObject) -> list[Output]:
        code = message["code"]
        if message.get("field") == "session" and self._hello.pop("session", ""):
            return [self._greeting()]  # the server does not know our session any more
        # Whoever is banned under the name that it wants does not try another.
        is_name = code == "taken" or (code == "banned" and self._rejections > 0)
        if is_name and "nick" in self._hello and self._rejections < MOST_NAMES:
            self._rejections += 1
            return [self._greeting(nick=f"{self._hello['nick'][:20]}-{self._rejections + 1}")]
        return [HelloRefused(code, message["text"], code in REFUSED_FOR_GOOD)]

    def _has_wanted_name(self) -> bool:
        return not self._wanted or names.fold(self.nick) == names.fold(self._wanted)

    def _next_name_try(self) -> AskNameAgain:
        self._name_tries += 1
        return AskNameAgain(self._name_tries)

    def _named(self, message: JsonObject) -> list[Output]:
        self.nick = message["nick"]
        if self._name_request and self._has_wanted_name():
            self._name_request = ""
        elif not self._is_answer(message):
            # The server has renamed the client: an account has its name, or one that looks alike.
            return [Deliver(message), self._next_name_try()]
        elif "user" not in self._hello:  # the program has chosen another name
            self._wanted = self._hello["nick"] = self.nick
        return [Deliver(message)]

    def _presence(self, message: JsonObject) -> list[Output]:
        """Ask for the wanted name as soon as its user, or that of a similar one, has gone."""
        is_free = message["event"] != "join" and message.get("nick") is not None
        if is_free and not set(names.keys(message["nick"])).isdisjoint(names.keys(self._wanted)):
            return self.ask_name_again()
        return []

    # Rooms.

    def _join(self, name: str) -> SendRequest:
        room = self._rooms[name]
        room.joined, room.asked = False, True
        room.with_since = room.offset >= 0
        id = self._new_id()
        self._joins[id] = name
        message: JsonObject = {"type": "join", "room": name, "id": id}
        if room.with_since:
            message["since"] = {"epoch": room.epoch, "offset": room.offset}
        return SendRequest(message)

    def _joined(self, message: JsonObject) -> list[Output]:
        name: str = self._joins.get(message.get("id", "")) or message["room"]
        if name != message["room"] and name in self._rooms:
            self._rename_room(name, message["room"])
            name = message["room"]
        room = self._rooms.get(name)
        if room is None:
            return [Deliver(message)]
        self._joins = {id: asked for id, asked in self._joins.items() if asked != name}
        outputs: list[Output] = []
        was_joined = room.joined  # the server tells members by itself that messages were lost
        room.joined, room.asked, room.refused, room.tries = True, False, None, 0
        if not self._continues(room, message):
            if room.with_since or was_joined:
                outputs.append(GapDetected(name))
            room.epoch, room.offset, room.gaps = message["epoch"], message["offset"], 0
        waiting = [each for each in self._unacked.values() if each.get("room") == name]
        # First what waits: a program that is told of the room may send more to it at once.
        return [*map(SendRequest, waiting), RoomEntered(name), *outputs, Deliver(message)]

    @staticmethod
    def _continues(room: _Room, message: JsonObject) -> bool:
        """Whether every message after the client's position follows."""
        return (
            message["recovered"] is True
            and room.with_since
            and message["epoch"] == room.epoch
            and message["offset"] >= room.offset
        )

    def _rename_room(self, name: str, to: str) -> None:
        """Use the server's name of a room, if it is not the one that we expected."""
        self._renamed_rooms[name] = to
        self._rooms.setdefault(to, self._rooms[name])
        del self._rooms[name]
        self._joins = {id: to if room == name else room for id, room in self._joins.items()}
        for id, message in self._unacked.items():
            if message.get("room") == name:
                self._unacked[id] = message | {"room": to}

    def _join_refused(self, name: str, code: str, text: str) -> list[Output]:
        room = self._rooms[name]
        room.joined = room.asked = False
        room.refused = code, text
        outputs = self._fail_room(name, code, text)
        if code not in REFUSED_FOR_GOOD:
            room.tries += 1
            outputs.append(AskAgain(name, room.tries))
        return outputs

    def _put_out(self, name: str) -> list[Output]:
        """Join a room again, because the server says that the client is not in it."""
        room = self._rooms.get(name)
        if room is None or not room.joined:
            return []
        room.joined = False
        room.tries += 1
        return [AskAgain(name, room.tries)]

    def _fail_room(self, name: str, code: str, text: str) -> list[Output]:
        gone = [id for id, message in self._unacked.items() if message.get("room") == name]
        for id in gone:
            del self._unacked[id]
        return [RoomRefused(name, code, text), *(SendFailed(id, code, text) for id in gone)]

    # Messages and answers.

    def _message(self, message: JsonObject) -> list[Output]:
        is_next, outputs = self._advance(message["room"], message["offset"])
        if is_next:
            # With an id, it is one of our own. It is acked, or has failed here before.
            own = self._acked(message.get("id", ""), message["offset"])
            outputs += own if "id" in message else [Deliver(message)]
        return outputs

    def _ack(self, message: JsonObject) -> list[Output]:
        id = message.get("id", "")
        if "room" in self._unacked.get(id, {}) and "offset" not in message:
            raise Malformed("ack.offset: missing; it must be the offset of the message")
        outputs: list[Output] = []
        if "room" in message and "offset" in message:
            _, outputs = self._advance(message["room"], message["offset"])
        return outputs + self._acked(id, message.get("offset", 0))

    def _acked(self, id: str, offset: int) -> list[Output]:
        return [Acked(id, offset)] if self._unacked.pop(id, None) is not None else []

    def _advance(self, name: str, offset: int) -> tuple[bool, list[Output]]:
        """Record an offset as received.

        :return: whether the message is the next one, and not a duplicate or of a room that is not
            joined yet; and what to do because of a gap.
        """
        room = self._rooms.get(name)
        if room is None:
            return True, []
        if not room.joined or offset <= room.offset:
            return False, []
        outputs: list[Output] = []
        if offset > room.offset + 1:  # messages were dropped on the way: ask for them again
            if room.gaps < MOST_GAPS:
                return False, self._ask_for_gap(name, room, offset)
            outputs.append(GapDetected(name))
        elif offset >= room.gap_end:
            room.gaps = 0
        room.offset = offset
        return True, outputs

    def _ask_for_gap(self, name: str, room: _Room, offset: int) -> list[Output]:
        room.joined = False
        room.gap_end = offset
        room.gaps += 1
        # At once for the first time. A server that repeats the gap is asked after a pause.
        return [self._join(name) if room.gaps == 1 else AskAgain(name, room.gaps - 1)]

    def _error(self, message: JsonObject) -> list[Output]:
        if not self.online:  # only the hello was sent
            return self._hello_refused(message)
        id, code, text = message.get("id", ""), message["code"], message["text"]
        if id:
            is_own = id in self._unacked or id in self._requests or id == self._name_request
            outputs = self.refused(id, code, text)
            return outputs if is_own else [*outputs, Deliver(message)]
        if message.get("field") == "room" and self._joins:  # a room that the store cannot open
            return [*self.refused(next(iter(self._joins)), code, text), Deliver(message)]
        return [Deliver(message)]

    def _answered(self, message: JsonObject) -> list[Output]:
        """Find the request that a message answers: by its id, or else by its type and room."""
        id = message.get("id", "")
        if not id:
            id = next((each for each, asked in self._requests.items()
                       if self._fits(asked, message)), "")  # fmt: skip
        return [Answered(id, message)] if self._requests.pop(id, None) is not None else []

    def _is_answer(self, message: JsonObject) -> bool:
        """Return whether a request of this client has led to a message, as far as is known."""
        return bool(message.get("id")) or any(
            self._fits(asked, message) for asked in self._requests.values()
        )

    def _fits(self, request: JsonObject, message: JsonObject) -> bool:
        if _REPLIES.get(request.get("type", "")) != message["type"]:
            return False
        name = request.get("room", "")
        return "room" not in message or self.room_name(name) == message["room"]

    def _new_id(self) -> str:
        self._last_id += 1
        return f"client-{self._last_id}"
