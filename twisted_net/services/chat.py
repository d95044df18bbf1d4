"""``twistd netchat``: a chat server for ``nc``, telnet and programs."""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import IService
from twisted.cred import strcred
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.python import usage

from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import RequestError
from twisted_net.chat.names import nick
from twisted_net.chat.protocol import MAX_MESSAGE, ChatFactory
from twisted_net.services.flags import SHARED_GROUPS, shared_flags
from twisted_net.services.help import FlagGroup
from twisted_net.services.options import ServiceOptions
from twisted_net.services.starting import NamedService, StartError
from twisted_net.store.interface import StoreError
from twisted_net.store.url import store_from_url

_LIMITS = ChatLimits()

_MOST_A_MINUTE = 1_000_000

_STORE_HELP = (
    "Where to keep messages: memory: or sqlite:PATH. Options follow a question mark: count=10000 "
    "and age=86400 limit each room; durable=power makes acknowledged messages survive a power "
    "cut (sqlite only)."
)
_HISTORY_HELP = "Messages that are shown to a user who joins a room."
_HEARTBEAT_HELP = (
    "Seconds of silence until a JSON client is sent a ping. It is closed if it is silent for as "
    "long again."
)
_LOGIN_TIMEOUT_HELP = (
    "Seconds to log in, or for a JSON client to say hello, until it is closed. 0 means no limit."
)
_JOINS_HELP = "Joins a minute from one client, and as many at once. 0 means no limit."
_NICKS_HELP = "Changes of the name a minute from one client. 0 means no limit."
_TOPICS_HELP = "Changes of topics a minute from one client. 0 means no limit."
_NEW_ROOMS_HELP = (
    "New rooms a minute from one account, or else from one address. 0 means no limit. Operators "
    "have none of these four limits."
)
_ANONYMOUS_HELP = "Let users without an account in as well. Requires --auth."
_PLAIN_LOGIN_HELP = "Accept passwords over plain TCP, where others can read them."


class Options(ServiceOptions):
    """The flags of netchat."""

    command = "netchat"
    summary = "Run a chat server with rooms, for nc, telnet and programs that speak JSON."
    examples = (
        "twistd -n netchat --port 8080",
        "twistd -n netchat --store sqlite:chat.db --auth file:users.txt",
        "twistd -n netchat --tls-port 8443 --cert chain.pem --key key.pem",
    )
    groups = (
        FlagGroup("Chat", {"store": "URL", "history": "N", "heartbeat": "SECONDS"}),
        FlagGroup(
            "Accounts",
            {
                "auth": "KIND:...",
                "operator": "NAME",
                "reserve": "NAME",
                "login-timeout": "SECONDS",
                "allow-anonymous": "",
                "allow-plain-login": "",
            },
        ),
        FlagGroup(
            "Requests a minute",
            {"joins": "N", "nicks": "N", "topics": "N", "new-rooms": "N"},
        ),
        *SHARED_GROUPS,
    )
    optParameters = [
        ["store", None, "memory:", _STORE_HELP],
        ["history", None, str(_LIMITS.history), _HISTORY_HELP],
        ["heartbeat", None, f"{_LIMITS.heartbeat:g}", _HEARTBEAT_HELP],
        ["login-timeout", None, f"{_LIMITS.login_timeout:g}", _LOGIN_TIMEOUT_HELP],
        ["joins", None, str(_LIMITS.joins), _JOINS_HELP],
        ["nicks", None, str(_LIMITS.nicks), _NICKS_HELP],
        ["topics", None, str(_LIMITS.topics), _TOPICS_HELP],
        ["new-rooms", None, str(_LIMITS.new_rooms), _NEW_ROOMS_HELP],
        *shared_flags(max_message=MAX_MESSAGE),
    ]
    optFlags = [
        ["allow-anonymous", None, _ANONYMOUS_HELP],
        ["allow-plain-login", None, _PLAIN_LOGIN_HELP],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["auth"] = []
        self["operator"] = []
        self["reserve"] = []

    def opt_auth(self, description: str) -> None:
        """Accounts to log in to: file:PATH, with lines of NAME:PASSWORD, or another kind that
        Twisted knows (strcred). Repeatable. [default: none; anyone may join]"""
        kind = description.partition(":")[0]  # the rest may contain a password
        try:
            checker = strcred.makeChecker(description)  # type: ignore[no-untyped-call]
        except strcred.InvalidAuthType:
            raise usage.UsageError(f"--auth {kind}: unknown kind of accounts") from None
        except Exception as error:  # each kind of accounts raises its own errors
            raise usage.UsageError(f"--auth {kind}: {error}") from None
        if IUsernamePassword not in checker.credentialInterfaces:
            raise usage.UsageError(f"--auth {kind}: does not check passwords")
        path = getattr(checker, "filename", None)
        if path is not None and not os.access(path, os.R_OK):
            raise usage.UsageError(f"--auth {description}: file cannot be read")
        self["auth"].append(checker)

    def opt_operator(self, account: str) -> None:
        """Account that may kick, ban and mute. Nobody else may have its name. Repeatable."""
        self["operator"].append(account)

    def opt_reserve(self, name: str) -> None:
        """Name that only the account of this name may have, as the operators' names are.
        Repeatable."""
        try:
            self["reserve"].append(nick(name))
        except RequestError as error:
            raise usage.UsageError(f"--reserve {name}: {error.text.rstrip('.')}") from None

    def postOptions(self) -> None:
        super().postOptions()
        self.number("history", 0, _LIMITS.page)
        self.seconds("heartbeat")
        if self["heartbeat"] < 1:
            self.refuse("heartbeat", "must be at least 1 second")
        self.seconds("login-timeout")
        for flag in ("joins", "nicks", "topics", "new-rooms"):
            self.number(flag, 0, _MOST_A_MINUTE)
        if self["allow-anonymous"] and not self["auth"]:
            raise usage.UsageError("--allow-anonymous: requires --auth")

    def _chat_limits(self) -> ChatLimits:
        return ChatLimits(
            history=self["history"],
            heartbeat=self["heartbeat"],
            login_timeout=self["login-timeout"],
            joins=self["joins"],
            nicks=self["nicks"],
            topics=self["topics"],
            new_rooms=self["new-rooms"],
        )

    def factory(self, reactor: Any) -> ChatFactory:
        """Return the factory of the chat.

        :raises StartError: the store cannot be used.
        """
        try:
            store = store_from_url(self["store"], reactor)
        except ValueError as error:
            raise StartError(f"{self.command}: --store {self['store']}: {error}") from None
        checkers: list[ICredentialsChecker] = self["auth"]
        return ChatFactory(
            store=store,
            chat_limits=self._chat_limits(),
            checkers=checkers,
            anonymous=bool(not checkers or self["allow-anonymous"]),
            operators=self["operator"],
            reserved=self["reserve"],
            plain_logins=bool(self["allow-plain-login"]),
            **self.settings(),
        )


class ChatService(NamedService):
    """Opens the store before it listens, and closes it after all connections have closed."""

    factory: ChatFactory

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(
            *(options.command, options.factory(reactor), options.listeners(reactor)),
            drain=options["drain"],
        )
        self._label = f"--store {options['store']}"

    def privilegedStartService(self) -> None:
        self._open()
        super().privilegedStartService()

    def startService(self) -> None:
        self._open()
        super().startService()

    def stopService(self) -> Deferred[None]:
        return super().stopService().addBoth(lambda _: self.factory.stop_store())

    def _open(self) -> None:
        try:
            self.factory.start_store()
        except StoreError as error:
            raise StartError(f"{self.command}: {self._label}: {error}").show() from None


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor

    return ChatService(reactor, options)
