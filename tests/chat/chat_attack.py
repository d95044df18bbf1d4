"""A hostile peer that sends any bytes to the chat, and checks of what other users see.

Used with Hypothesis (``tests.chat.test_fuzz``) and atheris (``tests.chat.fuzz_chat``).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.messages import Request
from twisted_net.chat.protocol import ChatFactory, ChatProtocol
from twisted_net.testing import connect_peer

try:
    import jsonschema
except ImportError:  # the command can run without it, and then only checks that lines are JSON
    jsonschema = None  # type: ignore[assignment]

SCHEMA = json.loads(resources.files("twisted_net.chat").joinpath("netchat.schema.json").read_text())

HELLO = b'{"type":"hello","nick":"eve","room":"lobby"}\n'

_TELNET = re.compile(rb"\xff[\xfc\xfe].", re.DOTALL)  # refused telnet options
_BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


class Complaint(AssertionError):
    """A peer has done something that must not be possible."""


class Chat(ChatFactory):
    """A deterministic chat server that records all names of the hostile peer."""

    def __init__(self) -> None:
        numbers = itertools.count()
        clock = Clock()
        self.names: set[str] = set()
        super().__init__(
            clock=clock,
            now=lambda: 1_700_000_000.0 + clock.seconds(),
            # Hashed, because a peer must not guess a token: it is the session of another user.
            token=lambda: hashlib.sha256(b"%d" % next(numbers)).hexdigest()[:32],
        )

    def receive(self, connection: ChatProtocol, request: Request, id: str) -> Deferred[None] | None:
        self.names.add(connection.name)
        done = super().receive(connection, request, id)
        self.names.add(connection.name)
        return done


def pieces(data: bytes) -> Iterator[bytes]:
    """Split the data. Its first four bytes are the sizes of the pieces, in turn; 0 means 4096."""
    sizes = itertools.cycle(data[:4])
    position = 4
    while position < len(data):
        end = position + (next(sizes) or 4096)
        yield data[position:end]
        position = end


def attack(data: bytes, codec: str) -> None:
    """Send any bytes to a chat that has one text user and one program in it.

    :param data: the bytes; see :func:`pieces`.
    :param codec: ``"text"``, or ``"json"`` to send a hello first.
    :raises Complaint: the others saw something invalid, or a failure was logged.
    """
    failures: list[str] = []

    def observe(event: Any) -> None:
        if "log_failure" in event or event.get("log_level", LogLevel.info) >= LogLevel.error:
            trace = event["log_failure"].getTraceback() if "log_failure" in event else ""
            failures.append(f"{formatEvent(event)}\n{trace}")

    globalLogPublisher.addObserver(observe)
    try:
        _attack(data, codec)
    finally:
        globalLogPublisher.removeObserver(observe)
    if failures:
        raise Complaint("it was logged: " + "\n".join(failures))


def _attack(data: bytes, codec: str) -> None:
    chat = Chat()
    ann, bob = connect_peer(chat), connect_peer(chat)
    ann.send(b"/nick ann\n")
    bob.send(HELLO.replace(b"eve", b"bob"))
    ann.advance(1)
    ann.take(), bob.take()
    chat.names.clear()

    eve = connect_peer(chat)
    eve.advance(data[0] % 2 * GREETING_DELAY if data else 0)  # greeted as a person, or not
    chat.names.add(eve.protocol.name)
    if codec == "json":
        eve.send(HELLO)
    for piece in pieces(data):
        eve.send(piece)
        chat.names.add(eve.protocol.name)  # her first line gives her one, even if it is refused
    eve.advance(1)
    from_eve = _TELNET.sub(b"", eve.received)
    eve.write_eof()
    eve.advance(10)
    if eve.connected:
        raise Complaint("she has gone, and the server did not notice")

    check_answers(from_eve)
    told = [_message(line) for line in _lines(bob.take())]
    check_people(_lines(ann.take()), told, chat.names)
    for watching, ping, pong in (
        (ann, b"/ping\n", b"* pong\n"),
        (bob, b'{"type":"ping"}\n', b'{"type":"pong"}\n'),
    ):
        watching.send(ping)
        if watching.received != pong:
            raise Complaint(f"{watching.protocol.name} has {watching.received!r} for a pong")
    if list(chat.registry.rooms) != ["lobby"]:
        raise Complaint(f"of her remains {list(chat.registry.rooms)}")


def _lines(received: bytes) -> list[str]:
    """Return the lines of what a user received.

    :raises Complaint: a line is incomplete, is not UTF-8, or has a control character.
    """
    if received[-1:] not in (b"", b"\n"):
        raise Complaint(f"the last line has no end: {received[-100:]!r}")
    try:
        lines = received.decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise Complaint(f"not UTF-8: {error}") from error
    for line in lines:
        for character in line:
            if (
                unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
                or unicodedata.bidirectional(character) in _BIDI
            ):
                raise Complaint(f"{character!r} in {line!r}")
    return lines


def strict(schema: Any) -> Any:
    """Return a schema whose objects have no fields but those it names, except an application's.

    The schema itself allows further fields, for later versions. This version sends none.
    """
    if isinstance(schema, dict):
        if "not" in schema.get("properties", {}).get("type", {}):
            return schema
        closed = {"additionalProperties": False} if "properties" in schema else {}
        return {name: strict(value) for name, value in schema.items()} | closed
    return list(map(strict, schema)) if isinstance(schema, list) else schema


@cache
def _validator(kind: str) -> Any:
    # The whole schema would be slower: it would try each of its types.
    definitions = strict(SCHEMA["$defs"])
    own = definitions[f"server-{kind}"]
    return jsonschema.Draft202012Validator({**own, "$defs": definitions})


def _message(line: str) -> dict[str, Any]:
    """Return the message of a line.

    :raises Complaint: the line is not a message of the schema.
    """
    try:
        message: dict[str, Any] = json.loads(line)
        if f"server-{message['type']}" not in SCHEMA["$defs"]:
            raise ValueError("its type is not in the schema")
        if jsonschema is not None:
            _validator(message["type"]).validate(message)
    except Exception as error:
        raise Complaint(f"{line!r} is no message: {error}") from error
    return message


def check_answers(received: bytes) -> None:
    """Check the peer's own answers: lines of text, and then perhaps only JSON."""
    is_json = False
    for line in _lines(received):
        is_json = is_json or line[:1] == "{"
        if is_json:
            _message(line)
        elif not line.startswith(("* ", "! ", "<", "#", "Welcome to the chat server! ")):
            raise Complaint(f"no line of a server's: {line!r}")


def check_people(lines: list[str], told: list[dict[str, Any]], names: set[str]) -> None:
    """Check that a text user saw the same as a program, and no forged line."""
    expected = [line for line in map(_for_people, told) if line]
    for line in lines:
        if expected and line == expected[0]:
            del expected[0]
            continue
        private = re.match(r"\* (\S+) tells you: ", line)
        if private is None or private[1] not in names:
            raise Complaint(f"{line!r} is forged, or {expected[:1]} has not come before")
    if expected:
        raise Complaint(f"a person was not told {expected[0]!r}")
    for message in told:
        for field in ("from", "nick", "to"):
            if message.get(field, "") not in names | {""}:
                raise Complaint(f"none of hers, {names}: {message}")


def _for_people(message: dict[str, Any]) -> str:
    """Return the line that a text user sees for a message; empty for a private message."""
    match message:
        case {"type": "message", "from": sender, "text": text, "action": True}:
            return f"* {sender} {text}"
        case {"type": "message", "from": sender, "text": text}:
            return f"<{sender}> {text}"
        case {"type": "presence", "event": "nick", "nick": nick, "to": to}:
            return f"* {nick} is now {to}."
        case {"type": "presence", "event": event, "room": room, **more}:
            who = more.get("nick", f"{more.get('count')} people")
            return f"* {who} {'joined' if event == 'join' else 'left'} #{room}."
        case {"type": "topic", "room": room, "topic": topic, "from": sender}:
            return f"* {sender} changed the topic of #{room}: {topic or 'none'}"
        case {"type": "private"}:
            return ""
    raise Complaint(f"a message that nobody asked for: {message}")
