"""How much is allowed. Every default stands here, with its reason."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TypedDict


class OverflowPolicy(enum.Enum):
    """What happens to a peer whose queue is full."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


def at_least(name: str, value: float, least: float) -> None:
    """:raises ValueError: ``value`` is less, or no number; names it."""
    if not value >= least or math.isinf(value):
        raise ValueError(f"{name}: a number of at least {least}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one factory's connections.

    :ivar max_message: bytes in one message; longer ends the connection (``too-long``). 64 KiB is
        what asyncio's streams allow; ``LineReceiver`` allows 16 KiB, nginx' header lines 8 KiB.
    :ivar idle_timeout: seconds without a byte from the peer after which it is closed (``idle``),
        at most one second late, or one and a half where a crowd's time is up together; 0 is
        never, as in Node and in most of Twisted.
    :ivar queue_limit: bytes that may wait for a slow peer, above what its transport buffers
        (Twisted: 64 KiB) and the kernel's socket buffer; then ``overflow_policy`` applies. 1 MiB is
        ten thousand lines of chat.
    :ivar overflow_policy: what happens then.
    :ivar stall_timeout: seconds for which a peer may take nothing at all of what waits for it,
        before it is closed (``slow``) however little that is, at most a third of it and two
        seconds late; 0 is for ever. Ranch's and Thousand Island's ``send_timeout`` is 30 s.
    :ivar message_timeout: seconds in which a message that has begun must be complete, or its peer
        is closed (``unfinished``); 0 is never. That is for peers that drip; Apache's
        ``RequestReadTimeout`` is 20 to 40 s.
    :ivar handshake_timeout: seconds for a TLS handshake (``handshake``); 0 is never. Netty has
        10 s, Ranch 5 s, Node 120 s, Twisted none.
    :ivar rate: messages a second that a peer may send on average; 0 is no limit. Past it the peer
        is not read until it may go on: nothing is lost.
    :ivar burst: messages that it may send at once after a pause.
    :ivar close_grace: seconds that a closing peer has to read its last words and to close its
        side, before it is aborted. nginx' ``lingering_timeout`` is 5 s.
    :raises ValueError: a value that makes no sense; the message names it.
    """

    max_message: int = 65536
    idle_timeout: float = 0.0
    queue_limit: int = 1 << 20
    overflow_policy: OverflowPolicy = OverflowPolicy.CLOSE
    stall_timeout: float = 30.0
    message_timeout: float = 30.0
    handshake_timeout: float = 10.0
    rate: float = 0.0
    burst: int = 20
    close_grace: float = 5.0

    def __post_init__(self) -> None:
        at_least("max_message", self.max_message, 1)
        at_least("idle_timeout", self.idle_timeout, 0)
        at_least("queue_limit", self.queue_limit, 1)
        at_least("stall_timeout", self.stall_timeout, 0)
        at_least("message_timeout", self.message_timeout, 0)
        at_least("handshake_timeout", self.handshake_timeout, 0)
        at_least("rate", self.rate, 0)
        at_least("burst", self.burst, 1)
        at_least("close_grace", self.close_grace, 0)
        if not isinstance(self.overflow_policy, OverflowPolicy):
            raise ValueError(f"overflow_policy: an OverflowPolicy, not {self.overflow_policy!r}")


DEFAULT_LIMITS = Limits()
"""Every limit as it is where nobody has said otherwise."""


class LimitChanges(TypedDict, total=False):
    """The limits as keywords, for those who change a few; see :class:`Limits`."""

    max_message: int
    idle_timeout: float
    queue_limit: int
    overflow_policy: OverflowPolicy
    stall_timeout: float
    message_timeout: float
    handshake_timeout: float
    rate: float
    burst: int
    close_grace: float


LIMIT_NAMES = frozenset(LimitChanges.__annotations__)
"""The keywords of :class:`LimitChanges`."""
