"""Accounts: passwords are checked by Twisted's credential checkers, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_net.chat.login_throttle import Limit, LoginThrottle
from twisted_net.chat.messages import RequestError
from twisted_net.wire.text import counted

LONGEST_WAIT = 30.0
"""Seconds after which an attempt that still waits for its turn is refused (``try-later``)."""

_log = Logger()


class Accounts:
    """Checks passwords, and limits how often they may be tried.

    :param checkers: checkers of :mod:`twisted.cred`, for user names and passwords.
    :ivar throttle: limits the attempts, and counts failed ones.
    """

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = checkers
        self.throttle = LoginThrottle()
        # The attempts that wait, by the limit that they wait for: failures, and what they wait for.
        self._waiting: dict[Limit, list[tuple[int, Deferred[None]]]] = {}
        self._calls: dict[Limit, IDelayedCall] = {}  # when each limit allows the next one

    async def verify(
        self,
        clock: IReactorTime,
        account: str,
        password: str,
        host: str,
        failures: int = 0,
        delay: float = 0.0,
    ) -> str | None:
        """Return the account's name if the password is right, otherwise None.

        An attempt that is cancelled while it waits leaves nothing behind.

        :param host: the address whose attempts are limited; empty if it identifies nobody.
        :param failures: the wrong passwords that came from the same connection before.
        :param delay: seconds to wait first, because of earlier wrong passwords.
        :raises RequestError: ``try-later``, because too many logins have failed.
        """
        if delay:
            await deferLater(clock, delay)
        await self._wait_for_turn(clock, account, host, failures)
        # Text that UTF-8 cannot encode must not raise; it matches no password.
        said = (each.encode(errors="surrogatepass") for each in (account, password))
        credentials = UsernamePassword(*said)
        for checker in self._checkers:
            try:
                found: Any = await maybeDeferred(checker.requestAvatarId, credentials)
            except UnauthorizedLogin:
                continue
            except Exception:
                _log.failure("A credential checker failed")
                continue
            if found:
                self.throttle.succeeded(account, host, clock.seconds())
                return found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        self.throttle.failed += 1
        return None

    async def _wait_for_turn(
        self, clock: IReactorTime, account: str, host: str, failures: int
    ) -> None:
        """Wait until the limits allow an attempt, and count it.

        Who has failed least comes first, and among those the newest. Whoever guesses on many
        connections keeps many attempts waiting, and somebody who comes then must not wait for all
        of them.
        """
        until = clock.seconds() + LONGEST_WAIT
        while True:
            wait, limit = self.throttle.wait(account, host, clock.seconds())
            if not wait:
                self.throttle.begin(account, host, clock.seconds())
                return
            turn: Deferred[None] = Deferred()
            turn.addTimeout(max(0.0, until - clock.seconds()), clock)
            waiting = failures, turn
            self._waiting.setdefault(limit, []).append(waiting)
            self._schedule(clock, limit)
            try:
                await turn
            except TimeoutError:
                raise _try_later(wait) from None
            finally:
                self._drop(limit, waiting)

    def _schedule(self, clock: IReactorTime, limit: Limit) -> None:
        if limit in self._waiting and limit not in self._calls:
            wait = self.throttle.wait_for(limit, clock.seconds())
            self._calls[limit] = clock.callLater(wait, self._next, clock, limit)

    def _next(self, clock: IReactorTime, limit: Limit) -> None:
        del self._calls[limit]
        waiting = self._waiting[limit]
        first = min(reversed(waiting), key=itemgetter(0))
        waiting.remove(first)
        first[1].callback(None)
        self._schedule(clock, limit)

    def _drop(self, limit: Limit, attempt: tuple[int, Deferred[None]]) -> None:
        waiting = self._waiting.get(limit, [])
        if attempt in waiting:
            waiting.remove(attempt)
        if not waiting:
            self._waiting.pop(limit, None)
            call = self._calls.pop(limit, None)
            if call is not None and call.active():
                call.cancel()


def _try_later(seconds: float) -> RequestError:
    seconds = max(1, math.ceil(seconds))
    text = f"Too many logins have failed. Try again in {counted(seconds, 'second')}."
    return RequestError("try-later", text, "password", retry_after=seconds)
