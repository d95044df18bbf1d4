"""A chat client and any server: every malformed message ends with an error that names the field."""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import SCHEMA
from tests.chat.client_peers import JOINED, MESSAGE, WELCOME, Scripted, ScriptedCase
from twisted_net.chat.client.client import CALL_TIMEOUT, ChatClient
from twisted_net.chat.client.server_messages import Malformed, check_server_message
from twisted_net.policy.backoff import Backoff

VALID: list[dict[str, Any]] = [
    WELCOME,
    JOINED,
    JOINED | {"recovered": True, "id": "j"},
    {"type": "left", "room": "lobby"},
    MESSAGE | {"offset": 1, "action": True, "id": "x"},
    {"type": "ack", "id": "x", "room": "lobby", "offset": 1},
    {"type": "private", "from": "ann", "text": "psst", "time": "now", "action": True},
    {"type": "nick", "nick": "bot"},
    {"type": "who", "room": "lobby", "members": ["ann"], "count": 1},
    {"type": "rooms", "rooms": [{"room": "lobby", "count": 1, "topic": ""}], "count": 1},
    {"type": "bans", "bans": [{"nick": "eve", "until": "2023-11-14T22:13:20.000Z", "from": "ann",
                               "text": ""}], "count": 1},
    {"type": "topic", "room": "lobby", "topic": "tea", "from": "ann"},
    {"type": "history", "room": "lobby", "epoch": "e", "messages": [MESSAGE | {"offset": 1}],
     "more": False},
    {"type": "presence", "room": "lobby", "nick": "ann", "event": "join"},
    {"type": "presence", "room": "lobby", "nick": "ann", "event": "nick", "to": "eve"},
    {"type": "presence", "room": "lobby", "event": "leave", "count": 9},
    {"type": "notice", "text": "Hear, hear."},
    {"type": "ping"},
    {"type": "pong"},
    {"type": "error", "code": "no", "text": "No.", "field": "room", "id": "x",
     "retry_after": 3},
    {"type": "goodbye", "code": "bye", "text": "Bye.", "retry": True},
]  # fmt: skip
"""A valid message of each type, with all its fields."""

OPTIONAL = {
    "message.action", "message.id", "ack.id", "ack.room", "ack.offset", "private.action",
    "topic.from", "error.field", "error.id", "error.retry_after", "joined.id", "presence.count",
}  # fmt: skip
"""Fields that may be missing. Without its count, a presence is one without its nick."""

HUGE = [1 << 60, -1, 1e308, -0.5, 10**400]
WRONG: dict[type, list[Any]] = {
    str: [None, True, 5, 1.5, [], {}, ["x"], {"x": 1}, *HUGE],
    int: [None, True, "1", [], {}, 1.5, "", *HUGE],
    bool: ["true", 1, 0, [], {}, *HUGE],
    list: [None, True, "x", 5, {}, [None], [5], [[]], {"0": "x"}],
    dict: [None, True, "x", 5, [], {}, [{}]],
    type(None): ["x", 5, [], {}, *HUGE],  # recovered
}
"""Values that no field has, by the type of the right ones."""

RAW = ["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "9" * 5000, "[" * 100_000, '"\\u12"', ""]
"""Values that are not JSON, or numbers that no program can have."""


def _places(value: Any, path: str = "") -> list[tuple[list[str | int], str]]:
    """Return the place of each field in a message, and how an error names it."""
    found: list[tuple[list[str | int], str]] = []
    pairs: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        name = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
        if isinstance(key, str):
            found.append(([key], name))
        if isinstance(inner, dict | list):
            found += [([key, *rest], whole) for rest, whole in _places(inner, name)]
    return found


PLACES = [
    (message, place, "type" if place == ["type"] else f"{message['type']}{name}")
    for message in VALID
    for place, name in _places(message)
]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["welcome", "lobby", "bot", "e", 2**53, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner,
                                                               max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def _altered(draw: st.DrawFn) -> dict[str, Any]:
    """Return a valid message with any value in any number of its fields, or without them."""
    message: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(VALID)))
    for place, _ in draw(st.lists(st.sampled_from(_places(message)), max_size=3)):
        inner: Any = message
        for key in place[:-1]:
            inner = inner[key] if isinstance(inner, list) else inner.get(key)
            if not isinstance(inner, dict | list) or inner == []:
                break
        else:
            if not isinstance(inner, dict):
                continue  # an earlier change has put an array here
            if draw(st.booleans()):
                inner[place[-1]] = draw(_JSON)
            else:
                inner.pop(place[-1], None)
    return message


def _changed(message: dict[str, Any], place: list[str | int], value: Any) -> dict[str, Any]:
    """Return a copy of a message with another value at a place; without it for ``Ellipsis``."""
    changed: Any = copy.deepcopy(message)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return changed


class CheckTests(SynchronousTestCase):
    """Tests of the check alone."""

    def test_valid_messages(self) -> None:
        """Valid messages pass, also with fields and types that nobody knows."""
        for message in VALID:
            self.assertIs(check_server_message(message), message)
            check_server_message(message | {"unknown": {"x": [None]}})
        check_server_message({"type": "dice", "value": 6})
        check_server_message(JOINED | {"recovered": False})

    def test_every_type_of_the_schema_is_here(self) -> None:
        """The examples have all types of the schema, and all fields of each."""
        shown: dict[str, set[str]] = {}
        for message in VALID:
            shown.setdefault(message["type"], set()).update(message)
        for name, definition in SCHEMA["$defs"].items():
            if name.startswith("server-") and name != "server-own":
                for each in definition.get("oneOf", [definition]):
                    self.assertLessEqual(set(each["properties"]) - {"id"}, shown[name[7:]])

    def test_a_field_is_missing(self) -> None:
        """Without a required field, the error names it."""
        for message, place, name in PLACES:
            if name not in OPTIONAL:
                error = self.assertRaises(
                    Malformed, check_server_message, _changed(message, place, ...)
                )
                self.assertIn(f"{name}: missing", str(error))
            elif name != "presence.count":
                check_server_message(_changed(message, place, ...))

    def test_a_field_is_wrong(self) -> None:
        """With a wrong value in a field, the error names it and shows the value."""
        for message, place, name in PLACES:
            right: Any = message
            for key in place:
                right = right[key]
            for value in WRONG[type(right)]:
                if name == "welcome.heartbeat" and value == 1.5:
                    continue
                error = self.assertRaises(
                    Malformed, check_server_message, _changed(message, place, value)
                )
                self.assertIn(name, str(error))
                self.assertTrue(str(error).isprintable() and len(str(error)) < 300)

    def test_names_and_heartbeats(self) -> None:
        """Names are not empty and not huge; a heartbeat is a number that a client can wait for."""
        for place in ("nick", "session"):
            for value in ("", "x" * 1000):
                self.assertRaises(Malformed, check_server_message, WELCOME | {place: value})
        for value in ("x", 0, -1, 0.0, 1e6, 10**30, True, None, float("nan"), float("inf")):
            error = self.assertRaises(
                Malformed, check_server_message, WELCOME | {"heartbeat": value}
            )
            self.assertIn("welcome.heartbeat: must be a number above 0", str(error))

    def test_no_object(self) -> None:
        """A line that is no object, or has no type, is named."""
        for value in (None, [], "x", 5, {}, {"type": 5}, {"type": None}, {"type": ["ping"]}):
            self.assertRaises(Malformed, check_server_message, value)

    @settings(max_examples=200, derandomize=True, database=None)
    @given(_JSON | _altered())
    def test_anything(self, value: Any) -> None:
        """Any JSON value is either valid, or an error in one line."""
        try:
            check_server_message(value)
        except Malformed as error:
            self.assertNotIn("\n", str(error))


class MalformedTests(ScriptedCase):
    """A client that receives malformed messages."""

    def test_each_field_in_a_client(self) -> None:
        """The connection ends with an error that names the field; the client tries again."""
        for message, place, name in PLACES:
            client = self.client()
            welcome = client.welcome()
            if message["type"] != "welcome":
                self.now.say(WELCOME)
            self.now.say(_changed(message, place, {"x": 1} if place != ["limits"] else 5))
            self.assertIn(name, client._trouble)
            self.assertFalse(client.state.online)
            self.wait_for_attempt()
            if message["type"] == "welcome":
                while not welcome.called:
                    self.now.say(_changed(message, place, ["x"]))
                    self.pass_time(1)
                self.assertIn(name, self.assertFails(welcome, "timeout"))
            client.stopService()
            self.pass_time(10)

    def test_what_is_not_json(self) -> None:
        """Values that JSON does not have are errors in one line, in any field."""
        for raw in RAW:
            client = self.client()
            line = json.dumps(WELCOME).replace('"heartbeat": 45', f'"heartbeat": {raw}')
            self.assertNotIn('"heartbeat": 45', line)
            self.now.peer.send(line.encode() + b"\n")
            self.assertTrue(client._trouble)
            self.assertTrue(client._trouble.isprintable() and len(client._trouble) < 300)
            self.assertFalse(self.now.peer.connected)
            client.stopService()
            self.pass_time(10)

    def test_a_line_that_is_too_long(self) -> None:
        """A line without an end ends the connection, and calls say so."""
        client = self.client()
        welcome = client.welcome()
        while not welcome.called:
            self.now.peer.send(b'{"type":"' + b"x" * (5 << 20))
            self.wait_for_attempt()
        self.assertIn("longer than the limit", self.assertFails(welcome, "timeout"))

    def test_a_tiny_heartbeat(self) -> None:
        """A server's heartbeat of a millisecond does not make the client ping all the time."""
        self.client()
        self.now.say(WELCOME | {"heartbeat": 0.001})
        for _ in range(100):
            self.pass_time(0.1)
            self.now.say({"type": "pong"})
        self.assertLessEqual(len(self.now.read("ping")), 15)

    def test_a_second_welcome(self) -> None:
        """A second welcome on a connection is malformed: nothing is sent twice for it."""
        client = self.client()
        told = client.send_private("ann", "x")
        self.now.say(WELCOME, WELCOME)
        self.assertEqual(len(self.now.read("private")), 1)
        self.assertIn("welcome", client._trouble)
        client.stopService()
        self.assertFails(told, "stopped")

    def test_an_ack_without_an_offset(self) -> None:
        """The ack of a message in a room has the message's offset."""
        client = self.online()
        acked = client.send("lobby", "x")
        (sent,) = self.now.read("message")
        self.now.say({"type": "ack", "id": sent["id"]})
        self.assertIn("ack.offset", client._trouble)
        client.stopService()
        self.assertFails(acked, "stopped")


class Wait(NamedTuple):
    """Time passes. A number would not do: servers may send numbers, of any size."""

    seconds: float


_WAITS = st.floats(0.1, 20).map(Wait)


class AnythingTests(SynchronousTestCase):
    """Whatever a server says, nothing fails, and every call ends."""

    @settings(max_examples=100, derandomize=True, database=None)
    @given(
        st.lists(st.sampled_from(VALID) | _altered() | _JSON | _WAITS, max_size=12),
        st.booleans(),
    )
    def test_any_server(self, script: list[Any], greets: bool) -> None:
        """Play any server: each message is valid, altered, or any value; or time passes."""
        logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(logged.append)
        try:
            self._play(script, greets)
        finally:
            globalLogPublisher.removeObserver(logged.append)
        self.assertEqual([each for each in logged if "log_failure" in each], [])

    def _play(self, script: list[Any], greets: bool) -> None:
        clock = Clock()
        server = Scripted(clock)
        client = ChatClient(
            clock, server, "bot", "lobby", backoff=Backoff(1, 2), jitter=lambda: 1.0
        )
        client.startService()
        if greets and server.connections:
            server.connections[-1].say(WELCOME, JOINED)
        calls = [client.welcome(), client.joined("lobby"), client.send("lobby", "x"),
                 client.send_private("ann", "x"), client.request(type="rooms")]  # fmt: skip
        ends: list[Any] = []
        for call in calls:
            call.addBoth(ends.append)
        for each in script:
            if isinstance(each, Wait):
                clock.pump([0.25] * int(4 * each.seconds))
            elif server.connections:
                server.connections[-1].say(each)
        clock.pump([0.25] * int(4 * CALL_TIMEOUT + 1))
        self.assertEqual(len(ends), len(calls))
        client.stopService().addBoth(ends.append)
        clock.pump([0.25] * 80)
        self.assertEqual(len(ends), len(calls) + 1)
        self.assertEqual(clock.getDelayedCalls(), [])
