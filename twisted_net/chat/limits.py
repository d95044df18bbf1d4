"""The limits of the chat, in addition to those of every connection."""

from __future__ import annotations

from dataclasses import dataclass, fields

from twisted_net.policy.limits import at_least

LONGEST_NAME = 24
"""Characters in the name of a user or a room. IRC servers allow from 9 (RFC 2812) to 32."""

LONGEST_TOPIC = 300
"""Characters in a topic. IRC servers allow from 160 to 390."""

LONGEST_ID = 64
"""Characters in the id of a message: a UUID has 36."""

LISTED = 50
"""Names in the answer to ``/who``, and rooms in that to ``/rooms``: as many as a terminal shows."""

LISTED_JSON = 1000
"""The same for programs."""

_MAY_BE_0 = ("history", "login_timeout", "joins", "nicks", "topics", "new_rooms")


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """The limits of a chat. The welcome announces those that matter to programs.

    :ivar history: messages that a text user is shown on joining a room; may be 0.
    :ivar page: messages in one answer to a history request.
    :ivar recover: messages that a client may have missed and still recover completely.
    :ivar rooms: rooms that one connection may be in. IRC servers allow from 10 to 120.
    :ivar all_rooms: non-empty rooms.
    :ivar ignored: people whom one connection may ignore.
    :ivar waiting: messages of a room that may wait for the store; further ones are refused
        (``busy``).
    :ivar heartbeat: seconds of silence after which the server pings a program. After as many again,
        it closes the connection (``idle``). HAProxy, as distributions configure it, closes silent
        connections after 50 seconds; other proxies do so after 60.
    :ivar login_timeout: seconds to log in, or for a program to say hello, until the connection is
        closed (``login``); 0 for no limit. OpenSSH allows 120.
    :ivar joins: joins a minute for one connection, and as many at once, or ``rooms`` if that is
        more; 0 for no limit. Operators have none of these four limits.
    :ivar nicks: the same for changes of the name.
    :ivar topics: the same for changes of topics.
    :ivar new_rooms: new rooms a minute for one account, or else one address, on all connections.
        After a restart, all rooms are new.
    :raises ValueError: a value is invalid; the text names it.
    """

    history: int = 5
    page: int = 100
    recover: int = 1000
    rooms: int = 50
    all_rooms: int = 1000
    ignored: int = 100
    waiting: int = 10_000
    heartbeat: float = 45.0
    login_timeout: float = 60.0
    joins: int = 60
    nicks: int = 10
    topics: int = 10
    new_rooms: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            at_least(field.name, getattr(self, field.name), 0 if field.name in _MAY_BE_0 else 1)
