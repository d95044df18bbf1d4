"""How much is allowed in the chat, beside what every connection may do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from twisted_net.policy.limits import at_least

LONGEST_NAME = 24
"""Characters in a name or a room's name. IRC servers allow from 9 (RFC 2812) to 32."""

LONGEST_TOPIC = 300
"""Characters in a topic. IRC servers allow from 160 to 390."""

LONGEST_ID = 64
"""Characters in the id of a message: a UUID has 36."""

LISTED = 50
"""Names in an answer to ``/who``, and rooms in one to ``/rooms``: what a terminal can show."""

LISTED_JSON = 1000
"""Likewise for programs."""


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """The limits of one chat. Its welcome announces to programs what concerns them.

    :ivar history: messages that somebody in the text form is shown on joining a room.
    :ivar page: messages in one answer about the past.
    :ivar recover: messages that a client can have missed and still be given all of them.
    :ivar rooms: rooms that one connection is in. IRC servers allow from 10 to 120.
    :ivar all_rooms: rooms in which somebody is.
    :ivar ignored: names that one connection ignores.
    :ivar waiting: messages of a room that wait for the store; one more is refused.
    :ivar heartbeat: seconds of silence after which a program is asked for a sign of life, and
        closed (``idle``) after as many again. HAProxy as distributions configure it closes silent
        connections after 50, other proxies after 60.
    :raises ValueError: a value that makes no sense; the message names it.
    """

    history: int = 5
    page: int = 100
    recover: int = 1000
    rooms: int = 50
    all_rooms: int = 1000
    ignored: int = 100
    waiting: int = 10_000
    heartbeat: float = 45.0

    def __post_init__(self) -> None:
        for field in fields(self):
            at_least(field.name, getattr(self, field.name), 0 if field.name == "history" else 1)
