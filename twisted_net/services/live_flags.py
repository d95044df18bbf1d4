"""Which flags a service obeys when its ``--config`` file is read again, and which need a restart.

Every flag of every service stands here once; a test holds the tables against the options.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.python import usage

from twisted_net.services.configurable import ConfigurableOptions
from twisted_net.wire.text import printable

LIVE_FLAGS = frozenset(
    (
        *("idle-timeout", "message-timeout", "handshake-timeout"),
        *("max-message", "rate", "burst", "queue-limit", "slow", "memory-budget"),
        *("max-connections", "max-per-address", "accept-rate", "allow", "deny"),
        *("log-ends", "log-level", "drain"),
        *("history", "heartbeat", "login-timeout", "joins", "nicks", "topics", "new-rooms"),
        *("operator", "reserve"),
    )
)
"""Flags that a running service obeys."""

RESTART_FLAGS = frozenset(
    (
        *("port", "interface", "ipv6-only", "reuse-port", "listen", "proxy-protocol"),
        # The files that these name are read again by themselves.
        *("tls-port", "cert", "key", "key-passphrase-file", "key-passphrase-env", "tls-dir"),
        *("self-signed", "allow-expired", "client-ca", "optional-client-certificate"),
        *("min-tls", "ticket-key", "keylog"),
        *("keepalive", "keepalive-interval", "keepalive-count", "user-timeout"),
        *("admin", "admin-token-file", "admin-host", "log-format"),
        *("upstream", "store", "auth", "allow-anonymous", "allow-plain-login"),
        *("no-web", "web", "origin", "trusted-proxy"),
    )
)
"""Flags that a service has read for good when it starts."""

_UNORDERED = frozenset(("allow", "deny", "operator", "reserve"))
"""Repeatable flags whose order says nothing."""


class ReloadError(Exception):
    """A file cannot be used, and nothing has changed. The text is one line for the user."""


class FlagChange(NamedTuple):
    """A flag whose value is another than before.

    :ivar text: the flag, and both values.
    """

    flag: str
    text: str

    @property
    def is_live(self) -> bool:
        """Whether a running service can obey it."""
        return self.flag in LIVE_FLAGS


def read_again(options: ConfigurableOptions) -> ConfigurableOptions:
    """Return what the command line, and the file that it names, say now.

    :raises ReloadError: something is wrong.
    """
    try:
        return options.parse_again()
    except (usage.UsageError, SystemExit) as error:  # the latter would end the program at its start
        raise ReloadError(str(error)) from None


def flag_changes(before: ConfigurableOptions, now: ConfigurableOptions) -> list[FlagChange]:
    """Return the flags whose values differ, live ones first, each group by name."""
    found = [
        FlagChange(flag, _describe(flag, before, now))
        for flag in sorted(LIVE_FLAGS | RESTART_FLAGS)
        if flag in before and _value(flag, before) != _value(flag, now)
    ]
    return sorted(found, key=lambda change: not change.is_live)


def summarize(changes: list[FlagChange]) -> str:
    """Return one line about changes: what has changed, and what needs a restart.

    The latter has names alone: values may be secret, such as a password in a URL.
    """
    live = [change.text for change in changes if change.is_live]
    waiting = [change.flag for change in changes if not change.is_live]
    parts = []
    if live:
        parts.append(f"changed: {', '.join(live)}")
    if waiting:
        parts.append(f"need a restart: {', '.join(waiting)}")
    return "; ".join(parts) or "nothing has changed"


def _value(flag: str, options: ConfigurableOptions) -> Any:
    value = options[flag]
    if flag in _UNORDERED:
        return frozenset(map(str, value))
    return bool(value) if f"{flag}=" not in options.longOpt else value


def _describe(flag: str, before: ConfigurableOptions, now: ConfigurableOptions) -> str:
    if flag in RESTART_FLAGS:
        return flag
    if flag in _UNORDERED:
        old, new = _value(flag, before), _value(flag, now)
        signed = [f"-{each}" for each in sorted(old - new)]
        signed += [f"+{each}" for each in sorted(new - old)]
        return printable(f"{flag} {' '.join(signed)}")
    texts = (options.text(flag) or "default" for options in (before, now))
    return f"{flag} {' -> '.join(texts)}"
