"""Accounts: passwords are checked by Twisted's credential checkers, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_net.chat.login_throttle import LoginThrottle

_log = Logger()


class Accounts:
    """Checks passwords. An address that guesses has to wait longer after each attempt.

    :param checkers: checkers of :mod:`twisted.cred`, for user names and passwords.
    :ivar throttle: delays attempts, and counts failed ones.
    """

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = checkers
        self.throttle = LoginThrottle()

    async def verify(
        self, clock: IReactorTime, account: str, password: str, host: str, peer: str
    ) -> str | None:
        """Return the account's name if the password is right, otherwise None.

        :param host: the address whose attempts are throttled.
        :param peer: the address for the log.
        """
        said = account, password
        wait = self.throttle.attempt(host, clock.seconds())
        if wait > 0:
            await deferLater(clock, wait)
        # Text that UTF-8 cannot encode must not raise; it matches no password.
        credentials = UsernamePassword(*(each.encode(errors="surrogatepass") for each in said))
        for checker in self._checkers:
            try:
                found: Any = await maybeDeferred(checker.requestAvatarId, credentials)
            except UnauthorizedLogin:
                continue
            except Exception:
                _log.failure("A credential checker failed")
                continue
            if found:
                self.throttle.succeeded(host)
                return found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        self.throttle.failed += 1
        _log.info("A login as {user!r} from {peer} failed", user=account, peer=peer)
        return None
