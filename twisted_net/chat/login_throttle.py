"""Limits how often a password may be tried, so that passwords cannot be guessed quickly.

Only wrong passwords count: for an account from one address, for the address, and for the account
from anywhere. So nobody is kept out by those who fail elsewhere or with other accounts:

- Who fails has to wait, and each limit gives one attempt back after a few seconds. What counts is
  what was checked, never what still waits, so the wait does not grow with the number of attempts.
- Where an account has logged in before, only failures with this account from this address count.
  Somebody who guesses the account's password from elsewhere does not delay its owner.
- A loopback address or a Unix socket is no limit of its own: all users of a proxy may have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from twisted_net.chat import names
from twisted_net.policy.rate import TokenBuckets

Limit: TypeAlias = tuple[str, str]
"""The account and the address that a limit is for. One of them may be empty: any."""

FROM_ADDRESS_TO_ACCOUNT = 0.2, 5
"""Wrong passwords for an account from one address: how many a second on average, and at once."""

FROM_ADDRESS = 1.0, 30
"""The same for all accounts together."""

TO_ACCOUNT = 0.5, 30
"""The same for an account from all addresses together."""

FIRST_DELAY = 1.0
"""Seconds to wait after the first wrong password of a connection. Each further one doubles them."""

_MOST = 10_000  # limits in the table, and known addresses; the one that was used longest ago goes
_LONGEST = 64  # characters of an account that count


class LoginThrottle:
    """Counts wrong passwords. Times are seconds of any clock.

    :ivar failed: the total number of wrong passwords.
    """

    __slots__ = ("_attempts", "_known", "failed")

    def __init__(self) -> None:
        self.failed = 0
        self._attempts: TokenBuckets[Limit] = TokenBuckets(_rate, _MOST)
        self._known: dict[Limit, None] = {}  # where an account has logged in before

    def wait(self, account: str, host: str, now: float) -> tuple[float, Limit]:
        """Return the seconds until a password may be checked, and the limit that says so.

        :param host: the address; empty if it does not identify anybody.
        """
        return max((self.wait_for(limit, now), limit) for limit in self._limits(account, host))

    def wait_for(self, limit: Limit, now: float) -> float:
        """Return the seconds until a limit allows the next attempt."""
        return self._attempts.wait(limit, now)

    def begin(self, account: str, host: str, now: float) -> None:
        """Count an attempt as failed until :meth:`succeeded`: others may run at the same time."""
        for limit in self._limits(account, host):
            self._attempts.take(limit, now)

    def succeeded(self, account: str, host: str, now: float) -> None:
        """Take back what :meth:`begin` counted, because the password was right."""
        pair, *others = self._limits(account, host)
        self._attempts.forget(pair)
        for limit in others:
            self._attempts.put_back(limit, now)
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def export_state(self, now: float) -> dict[str, Any]:
        """Return all counts, for :meth:`restore_state`."""
        return {
            "failed": self.failed,
            "attempts": self._attempts.export_state(now),
            "known": list(self._known),
        }

    def restore_state(self, state: Mapping[str, Any], now: float) -> None:
        """Go on counting where another process has stopped."""
        self.failed = state["failed"]
        for (account, host), bucket in state["attempts"]:
            self._attempts.restore_state((account, host), bucket, now)
        self._known.update(((account, host), None) for account, host in state["known"])

    def _limits(self, account: str, host: str) -> list[Limit]:
        account = names.fold(account[:_LONGEST])
        pair = account, host or "-"
        if pair in self._known:
            return [pair]
        return [pair, (account, ""), *([("", host)] if host else [])]


def delay_after(failures: int) -> float:
    """Return how long a connection waits after so many wrong passwords of its own, in seconds."""
    return FIRST_DELAY * math.ldexp(1.0, failures - 1) if failures else 0.0


def _rate(limit: Limit) -> tuple[float, int]:
    account, host = limit
    if not host:
        return TO_ACCOUNT
    return FROM_ADDRESS_TO_ACCOUNT if account else FROM_ADDRESS
