"""``twistd netchat``: a chat for ``nc``, telnet and programs."""

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
from twisted_net.chat.protocol import MAX_MESSAGE, ChatFactory
from twisted_net.services.options import ServiceOptions, shared_flags
from twisted_net.services.starting import NamedService, StartError
from twisted_net.store.interface import StoreError
from twisted_net.store.url import store_from_url

_LIMITS = ChatLimits()

_STORE_HELP = (
    "Where messages are kept: memory: or sqlite:PATH, with options such as "
    "?count=10000&age=86400 for each room, or durable=power."
)


class Options(ServiceOptions):
    """The flags of netchat."""

    command = "netchat"
    synopsis = "[--port N] [--listen ENDPOINT] [--tls-port N --cert F --key F] [flags]"
    optParameters = [
        ["store", None, "memory:", _STORE_HELP],
        ["history", None, str(_LIMITS.history), "Messages that people see on joining a room."],
        ["heartbeat", None, f"{_LIMITS.heartbeat:g}", "Seconds of a program's silence allowed."],
        *shared_flags(max_message=MAX_MESSAGE),
    ]
    optFlags = [
        ["allow-anonymous", None, "Let people in without an account, beside --auth."],
        ["allow-plain-login", None, "Take passwords over plain TCP, where others can listen."],
        *ServiceOptions.optFlags,
    ]

    def __init__(self) -> None:
        super().__init__()
        self["auth"] = []
        self["operator"] = []

    def opt_auth(self, description: str) -> None:
        """Accounts, as Twisted names them: file:PATH or another; repeatable."""
        kind = description.partition(":")[0]  # the rest may be a password
        try:
            checker = strcred.makeChecker(description)  # type: ignore[no-untyped-call]
        except strcred.InvalidAuthType:
            raise usage.UsageError(f"--auth {kind}: there is no such kind of accounts") from None
        except Exception as error:  # each kind has its own
            raise usage.UsageError(f"--auth {kind}: {error}") from None
        if IUsernamePassword not in checker.credentialInterfaces:
            raise usage.UsageError(f"--auth {kind}: it knows no passwords")
        path = getattr(checker, "filename", None)
        if path is not None and not os.access(path, os.R_OK):
            raise usage.UsageError(f"--auth {description}: the file cannot be read")
        self["auth"].append(checker)

    def opt_operator(self, account: str) -> None:
        """An account that may kick, ban and mute; repeatable."""
        self["operator"].append(account)

    def postOptions(self) -> None:
        super().postOptions()
        self.number("history", 0, _LIMITS.page)
        self.seconds("heartbeat")
        if self["heartbeat"] < 1:
            self.refuse("heartbeat", "at least one second")
        if self["allow-anonymous"] and not self["auth"]:
            raise usage.UsageError("--allow-anonymous: it needs --auth")

    def factory(self, reactor: Any) -> ChatFactory:
        """Give the chat that was asked for.

        :raises StartError: no such store.
        """
        try:
            store = store_from_url(self["store"], reactor)
        except ValueError as error:
            raise StartError(f"{self.command}: --store {self['store']}: {error}") from None
        checkers: list[ICredentialsChecker] = self["auth"]
        return ChatFactory(
            store=store,
            chat_limits=ChatLimits(history=self["history"], heartbeat=self["heartbeat"]),
            checkers=checkers,
            anonymous=bool(not checkers or self["allow-anonymous"]),
            operators=self["operator"],
            plain_logins=bool(self["allow-plain-login"]),
            **self.settings(),
        )


class ChatService(NamedService):
    """Opens the store before it listens, and closes it when everybody has gone."""

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
    """Give the service that twistd runs."""
    from twisted.internet import reactor

    return ChatService(reactor, options)
