"""The log of who is who: logins, failed logins and names, each with the address.

The connection and its address come first in each line, before anything that a user has chosen. So a
name cannot forge an address for a program that reads the log, such as fail2ban.
"""

from __future__ import annotations

from twisted.logger import Logger

from twisted_net.chat.registry import User
from twisted_net.connection.addresses import format_address

_log = Logger()

_LONGEST_ACCOUNT = 100  # characters that are logged: a failed login may name anything


def log_login(user: User) -> None:
    """Log that a user has logged in to an account."""
    _emit(user, "{account!r} logged in, and is called {name}", account=user.account)


def log_failed_login(user: User, account: str) -> None:
    """Log that a password was wrong. The password is not logged."""
    _emit(user, "a login as {account!r} failed", account=account[:_LONGEST_ACCOUNT])


def log_refused_login(user: User, account: str) -> None:
    """Log that a password was not even checked, because too many logins have failed."""
    text = "a login as {account!r} was refused: too many have failed"
    _emit(user, text, account=account[:_LONGEST_ACCOUNT])


def log_name(user: User, old: str) -> None:
    """Log a user's new name. ``old`` is empty if it is the first one."""
    _emit(user, "{old} is called {name} now" if old else "it is called {name}", old=old)


def _emit(user: User, text: str, **values: str) -> None:
    connection = user.connection
    _log.info(
        f"Connection {{id}} from {{peer}}: {text}",
        id=connection.id,
        peer=format_address(connection.peer),
        name=user.name,
        **values,
    )
