"""The limits of a connection, and their defaults with the reasons for them."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from numbers import Real
from typing import TypedDict


class OverflowPolicy(enum.Enum):
    """What happens when the send queue of a slow peer is full."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


def at_least(name: str, value: float, least: float) -> None:
    """:raises ValueError: if ``value`` is no finite number of at least ``least``; it is named."""
    if not isinstance(value, Real) or not value >= least or math.isinf(value):
        raise ValueError(f"{name}: must be a number of at least {least}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one factory's connections.

    :ivar max_message: the most bytes in one message; a longer message ends the connection
        (``too-long``). The default, 64 KiB, is the limit of asyncio's streams; ``LineReceiver``
        allows 16 KiB, nginx allows header lines of 8 KiB.
    :ivar idle_timeout: the seconds without a byte from the peer after which it is closed
        (``idle``), at most one second late, or 1.5 seconds if many peers expire together. 0 means
        never, as in Node and in most of Twisted.
    :ivar queue_limit: the most bytes in the send queue of a slow peer, in addition to the buffer of
        its transport (Twisted: 64 KiB) and the kernel's socket buffer. Beyond it,
        ``overflow_policy`` applies. 1 MiB is ten thousand lines of chat.
    :ivar overflow_policy: what happens when ``queue_limit`` is exceeded.
    :ivar stall_timeout: the seconds for which a peer may read nothing while bytes wait for it,
        before it is closed (``slow``), however few bytes wait. It is closed at most a third of this
        time plus two seconds late. 0 means no limit. Ranch's and Thousand Island's ``send_timeout``
        is 30 s.
    :ivar message_timeout: the seconds in which a message must be complete once it has begun;
        otherwise the peer is closed (``unfinished``). 0 means no limit. This stops peers that send
        a few bytes at a time; Apache's ``RequestReadTimeout`` is 20 to 40 s.
    :ivar handshake_timeout: the seconds for a TLS handshake (``handshake``); 0 means no limit.
        Netty has 10 s, Ranch 5 s, Node 120 s, Twisted none.
    :ivar rate: the messages per second that a peer may send on average; 0 means no limit. A faster
        peer is not read until it may continue, so no message is lost.
    :ivar burst: the messages that a peer may send at once after a pause.
    :ivar close_grace: the seconds that a peer has to read the last messages and to close its side,
        before it is aborted. nginx' ``lingering_timeout`` is 5 s.
    :raises ValueError: if a value is invalid; the message names it.
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
            raise ValueError(
                f"overflow_policy: must be an OverflowPolicy, not {self.overflow_policy!r}"
            )


DEFAULT_LIMITS = Limits()
"""The default limits."""


class LimitChanges(TypedDict, total=False):
    """The limits as keyword arguments, to change a few of them; see :class:`Limits`."""

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
