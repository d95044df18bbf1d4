"""A stranger in the chat who sends anything, and what the others may see of it.

For Hypothesis (``tests.chat.test_fuzz``) and for atheris (``tests.chat.fuzz_chat``).
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

from twisted_net.chat.messages import Request
from twisted_net.chat.protocol import ChatFactory, ChatProtocol
from twisted_net.testing import connect_peer

try:
    import jsonschema
except ImportError:  # for the command, which then only looks that it is JSON
    jsonschema = None  # type: ignore[assignment]

SCHEMA = json.loads(resources.files("twisted_net.chat").joinpath("netchat.schema.json").read_text())

HELLO = b'{"type":"hello","nick":"eve","room":"lobby"}\n'

_TELNET = re.compile(rb"\xff[\xfc\xfe].", re.DOTALL)  # the refusals that telnet is answered
_BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


class Complaint(AssertionError):
    """The stranger has done something that nobody should be able to do."""


class Chat(ChatFactory):
    """A chat that knows all names that its strangers ever had, and can be had again as it was."""

    def __init__(self) -> None:
        numbers = itertools.count()
        clock = Clock()
        self.names: set[str] = set()
        super().__init__(
            clock=clock,
            now=lambda: 1_700_000_000.0 + clock.seconds(),
            # Nobody may guess one: it is somebody's session.
            token=lambda: hashlib.sha256(b"%d" % next(numbers)).hexdigest()[:32],
        )

    def receive(self, connection: ChatProtocol, request: Request, id: str) -> Deferred[None] | None:
        self.names.add(connection.name)
        done = super().receive(connection, request, id)
        self.names.add(connection.name)
        return done


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut into pieces: the first four bytes are their sizes, in turn; 0 is a large one."""
    sizes = itertools.cycle(data[:4])
    position = 4
    while position < len(data):
        end = position + (next(sizes) or 4096)
        yield data[position:end]
        position = end


def attack(data: bytes, codec: str) -> None:
    """Let a stranger send anything to a chat, with one person and one program watching.

    :param data: what is sent; see :func:`pieces`.
    :param codec: ``"json"`` says hello first.
    :raises Complaint: it has been noticed where it should not, or a failure was logged.
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
    chat.names.add(eve.protocol.name)
    if codec == "json":
        eve.send(HELLO)
    eve.send(*pieces(data))
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
    """Give lines as anybody may see them.

    :raises Complaint: one should not be seen.
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


@cache
def _validator(kind: str) -> Any:
    # Not the schema as a whole: it would be tried with each of its types.
    own = SCHEMA["$defs"][f"server-{kind}"]
    return jsonschema.Draft202012Validator({**own, "$defs": SCHEMA["$defs"]})


def _message(line: str) -> dict[str, Any]:
    """Give the message that a line is.

    :raises Complaint: it is none, or not as the schema has it.
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
    """Look at what the stranger was sent: lines for people, and then, perhaps, only JSON."""
    is_json = False
    for line in _lines(received):
        is_json = is_json or line[:1] == "{"
        if is_json:
            _message(line)
        elif not line.startswith(("* ", "! ", "<", "#", "Welcome to the chat server! ")):
            raise Complaint(f"no line of a server's: {line!r}")


def check_people(lines: list[str], told: list[dict[str, Any]], names: set[str]) -> None:
    """Look that a person saw what a program saw, nothing else, and all of it from the stranger."""
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
    """Give the line that a person sees for a message; nothing for one to the program alone."""
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
