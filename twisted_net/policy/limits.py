"""How much is allowed. Every default stands here, with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from twisted_net.policy.outbox import SlowRule


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least or math.isinf(value):
        raise ValueError(f"{name}: a number of at least {least}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one factory's connections.

    :ivar max_message: bytes in one message; longer ends the connection (``too-long``). 64 KiB is
        what asyncio's streams allow; ``LineReceiver`` allows 16 KiB, nginx' header lines 8 KiB.
    :ivar idle_timeout: seconds without a byte from the peer after which it is closed (``idle``),
        at most one second late; 0 is never, as in Node and in most of Twisted.
    :ivar queue_limit: bytes that may wait for a slow peer, above what its transport buffers
        (Twisted: 64 KiB) and the kernel's socket buffer; then ``slow_rule`` applies. 1 MiB is ten
        thousand lines of chat.
    :ivar slow_rule: what happens then.
    :ivar close_grace: seconds that a closing peer has to read its last words and to close its
        side, before it is aborted. nginx' ``lingering_timeout`` is 5 s.
    :raises ValueError: a value that makes no sense; the message names it.
    """

    max_message: int = 65536
    idle_timeout: float = 0.0
    queue_limit: int = 1 << 20
    slow_rule: SlowRule = SlowRule.CLOSE
    close_grace: float = 5.0

    def __post_init__(self) -> None:
        _at_least("max_message", self.max_message, 1)
        _at_least("idle_timeout", self.idle_timeout, 0)
        _at_least("queue_limit", self.queue_limit, 1)
        _at_least("close_grace", self.close_grace, 0)
        if not isinstance(self.slow_rule, SlowRule):
            raise ValueError(f"slow_rule: a SlowRule, not {self.slow_rule!r}")


DEFAULTS = Limits()
"""Every limit as it is where nobody has said otherwise."""


class LimitChanges(TypedDict, total=False):
    """The limits as keywords, for those who change a few; see :class:`Limits`."""

    max_message: int
    idle_timeout: float
    queue_limit: int
    slow_rule: SlowRule
    close_grace: float
