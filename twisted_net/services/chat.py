"""``twistd netchat``: a chat server for browsers, ``nc``, telnet and programs."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.cred import strcred
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.python import usage

from twisted_net.accounts.checker import PasswordFileChecker, PasswordFileFactory
from twisted_net.accounts.plugin_kinds import MemoryFactory, UnixFactory
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import RequestError
from twisted_net.chat.names import nick
from twisted_net.chat.protocol import MAX_MESSAGE, ChatFactory
from twisted_net.connection.trusted_proxies import TrustedProxies
from twisted_net.endpoints.listening import Listener
from twisted_net.services.admin_flags import measured
from twisted_net.services.completion import shell_completions
from twisted_net.services.flags import SHARED_GROUPS, shared_flags
from twisted_net.services.help import FlagGroup
from twisted_net.services.options import ServiceOptions
from twisted_net.services.privileges import FilesInUse
from twisted_net.services.starting import NamedService, StartError
from twisted_net.services.workers.serving import service_for
from twisted_net.store.interface import StoreError
from twisted_net.store.redis.location import SCHEMES
from twisted_net.store.url import store_from_url
from twisted_net.web.gateway import ChatGateway, WebEndpoint
from twisted_net.web.pages import page_site
from twisted_net.web.upgrade import is_origin

_LIMITS = ChatLimits()

_MOST_A_MINUTE = 1_000_000

_STORE_HELP = (
    "Where to keep messages: memory:, sqlite:PATH, or redis://HOST, which several processes share. "
    "Options follow a question mark: count=10000 and age=86400 limit each room; durable=power "
    "makes acknowledged messages survive a power cut (sqlite only). docs/stores.rst has the rest."
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
_NO_WEB_HELP = "Do not serve the page and WebSockets on the ports of the chat."
_PLAIN_LOGIN_HELP = "Accept passwords over plain TCP, where others can read them."


class Options(ServiceOptions, strcred.AuthOptionMixin):
    """The flags of netchat.

    ``credCheckers`` and ``credInterfaces`` have the checkers of ``--auth``, as in all programs of
    Twisted's.
    """

    command = "netchat"
    summary = "Run a chat server with rooms, for browsers, nc, telnet and programs."
    examples = (
        "twistd -n netchat --port 8080",
        "twistd -n netchat --store sqlite:chat.db --admin unix:admin.sock",
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
                "help-auth": "",
                "help-auth-type": "KIND",
            },
        ),
        FlagGroup(
            "Requests a minute",
            {"joins": "N", "nicks": "N", "topics": "N", "new-rooms": "N"},
        ),
        FlagGroup(
            "Browsers",
            {"no-web": "", "web": "ENDPOINT", "origin": "URL", "trusted-proxy": "RANGES"},
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
        ["no-web", None, _NO_WEB_HELP],
    ]

    repeatable = (
        *ServiceOptions.repeatable,
        *("auth", "operator", "reserve", "web", "origin", "trusted-proxy"),
    )
    compData = shell_completions(groups, repeatable)
    command_line_only = (*ServiceOptions.command_line_only, "help-auth", "help-auth-type")

    supportedInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        super().__init__()
        self["credCheckers"] = []
        self["credInterfaces"] = {}
        self.gateway: ChatGateway | None = None

    def opt_auth(self, description: str) -> None:
        """Accounts to log in to: file:PATH, a file that netchat-passwd makes, or another kind
        that --help-auth lists. Repeatable. [default: none; anyone may join]"""
        if self.earlier is not None and description in self.earlier["auth"]:
            self["auth"].append(description)  # its accounts are open, maybe as another user
            return
        kind, _, rest = description.partition(":")  # the rest may be a password
        where = f"{self.before('auth', description)}auth {kind}"
        factory = account_kinds().get(kind)
        if factory is None:
            raise usage.UsageError(f"{where}: unknown kind of accounts; see --help-auth")
        if not self.supportsCheckerFactory(factory):  # type: ignore[no-untyped-call]
            raise usage.UsageError(f"{where}: does not check passwords; see --help-auth")
        try:
            self.addChecker(factory.generateChecker(rest))  # type: ignore[no-untyped-call]
        except Exception as error:  # each kind of accounts raises its own errors
            raise usage.UsageError(f"{where}: {error}") from None
        self["auth"].append(description)

    def opt_help_auth(self) -> NoReturn:
        """List the kinds of accounts for --auth, and exit."""
        write = self.authOutput.write
        write("Usage: --auth KIND[:ARGUMENT]\nFor details: --help-auth-type KIND\n\n")
        kinds = {
            name: each
            for name, each in sorted(account_kinds().items())
            if self.supportsCheckerFactory(each)  # type: ignore[no-untyped-call]
        }
        for name, each in {"KIND": None, **kinds}.items():
            write(f"  {name:10} {each.argStringFormat if each else 'ARGUMENT'}\n")
        sys.exit(0)

    def opt_help_auth_type(self, kind: str) -> NoReturn:
        """Explain a kind of accounts for --auth, and exit."""
        factory = account_kinds().get(kind)
        if factory is None:
            raise usage.UsageError(f"--help-auth-type {kind}: unknown kind; see --help-auth")
        lines = textwrap.indent(textwrap.dedent(factory.authHelp).strip(), "  ")
        write = self.authOutput.write
        write(f"Usage: --auth {kind}[:ARGUMENT]\nARGUMENT: {factory.argStringFormat}\n\n{lines}\n")
        if not self.supportsCheckerFactory(factory):  # type: ignore[no-untyped-call]
            write("\n  netchat cannot use this kind: it does not check passwords.\n")
        sys.exit(0)

    def opt_operator(self, account: str) -> None:
        """Account that may kick, ban and mute. Nobody else may have its name. Repeatable."""
        self["operator"].append(account)

    def opt_web(self, endpoint: str) -> None:
        """Further endpoint for browsers alone, such as tcp:8081. A browser that is silent at first
        is not taken for a person there. Repeatable."""
        self["web"].append(endpoint)

    def opt_origin(self, url: str) -> None:
        """Page that may connect, such as https://chat.example, besides those of this server's own
        address. Name the page behind a proxy on the same machine, too. Repeatable."""
        if not is_origin(url):
            where = f"{self.before('origin', url)}origin {url}"
            raise usage.UsageError(
                f"{where}: must be a scheme and a host, such as https://a.example"
            )
        self["origin"].append(url)

    def opt_trusted_proxy(self, ranges: str) -> None:
        """Address ranges of proxies that send an X-Forwarded-For or Forwarded header, or unix for
        Unix sockets. Others' headers are ignored. Repeatable."""
        self.add_proxies("trusted-proxy", ranges)

    def opt_reserve(self, name: str) -> None:
        """Name that only the account of this name may have, as the operators' names are.
        Repeatable."""
        try:
            self["reserve"].append(nick(name))
        except RequestError as error:
            raise usage.UsageError(
                f"{self.spell('reserve', name)}: {error.text.rstrip('.')}"
            ) from None

    def postOptions(self) -> None:
        super().postOptions()
        self.number("history", 0, _LIMITS.page)
        self.seconds("heartbeat")
        if self["heartbeat"] < 1:
            self.refuse("heartbeat", "must be at least 1 second")
        self.seconds("login-timeout")
        for flag in ("joins", "nicks", "topics", "new-rooms"):
            self.number(flag, 0, _MOST_A_MINUTE)
        if (self["workers"] or 1) > 1 and not self.may_overlap:
            self.refuse(
                "workers", "needs a store that several processes share: --store redis://HOST"
            )
        if self["allow-anonymous"] and not self["auth"]:
            self.refuse("allow-anonymous", "requires --auth")

        if self["trusted-proxy"] and self["no-web"] and not self["web"]:
            self.refuse("no-web", "leaves no browsers for --trusted-proxy; add --web")

    @property
    def may_overlap(self) -> bool:
        return self["store"].partition(":")[0] in SCHEMES  # several processes can share these

    def files_in_use(self) -> FilesInUse:
        files = super().files_in_use()
        for checker in self["credCheckers"]:
            if isinstance(checker, PasswordFileChecker):
                files.read_again.append(checker.path)
        if any(each.partition(":")[0] == "unix" for each in self["auth"]):
            files.read_again.append("/etc/shadow")
        return files

    def chat_limits(self) -> ChatLimits:
        return ChatLimits(
            history=self["history"],
            heartbeat=self["heartbeat"],
            login_timeout=self["login-timeout"],
            joins=self["joins"],
            nicks=self["nicks"],
            topics=self["topics"],
            new_rooms=self.share(self["new-rooms"]),
        )

    def factory(self, reactor: Any) -> ChatFactory:
        """Return the factory of the chat.

        :raises StartError: the store cannot be used.
        """
        try:
            store = store_from_url(self["store"], reactor)
        except ValueError as error:
            raise StartError(f"{self.command}: {self.spell('store')}: {error}") from None
        if self["admin"] is not None:
            store, self.appends = measured(store)
        checkers: list[ICredentialsChecker] = self["credCheckers"]
        chat = ChatFactory(
            store=store,
            chat_limits=self.chat_limits(),
            checkers=checkers,
            anonymous=bool(not checkers or self["allow-anonymous"]),
            operators=self["operator"],
            reserved=self["reserve"],
            plain_logins=bool(self["allow-plain-login"]),
            **self.settings(),
        )
        if not self["no-web"] or self["web"]:
            origins, proxies = self["origin"], self["trusted-proxy"]
            trusted = TrustedProxies(
                (each for each in proxies if each != "unix"), unix="unix" in proxies
            )
            self.gateway = ChatGateway(
                *(chat, page_site(reactor, origins), origins), trusted if proxies else None
            )
        if not self["no-web"]:
            chat.gateway = self.gateway
        return chat

    def listeners(self, reactor: Any) -> list[Listener]:
        """Return the listeners, after :meth:`factory` was called.

        :raises StartError: an endpoint, a certificate or a key cannot be used.
        """
        found = super().listeners(reactor)
        for text in self["web"]:
            endpoint = self.endpoint(reactor, text, "web")
            if self.gateway is not None:  # there is none in a supervisor, which only accepts
                endpoint = WebEndpoint(endpoint, self.gateway)
            found.append(Listener(endpoint, self.spell("web", text)))
        return found


def account_kinds() -> dict[str, Any]:
    """Return the kinds of accounts for ``--auth`` by name: ours, and those of Twisted's plugins.

    Our ``file`` replaces Twisted's, which reads plain text only. ``plugin_kinds`` says why there
    are others.
    """
    found = strcred.findCheckerFactories()  # type: ignore[no-untyped-call]
    ours = (PasswordFileFactory(), MemoryFactory(), UnixFactory())
    return {each.authType: each for each in (*found, *ours)}


class ChatService(NamedService):
    """Opens the store before it accepts, and closes it after all connections have closed."""

    factory: ChatFactory

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(
            *(options.command, options.factory(reactor), options.listeners(reactor)),
            drain=options["drain"],
            files=options.files_in_use(),
            options=options,
        )
        self._label = options.spell("store")
        flags: Mapping[str, Any] = options.parent or {}
        uid = flags.get("uid")
        self._owner = "" if uid is None else f"; --uid {uid} must have access to it"
        # Listening may need root; the file, and those that SQLite makes, belong to --uid.
        self.factory.opens_store = False

    def stopService(self) -> Deferred[None]:
        return super().stopService().addBoth(lambda _: self.factory.stop_store())

    def apply_flags(self, before: Any, now: Any, changed: Collection[str]) -> None:
        super().apply_flags(before, now, changed)
        self.factory.change_chat_limits(now.chat_limits())
        if not {"operator", "reserve"}.isdisjoint(changed):
            self.factory.change_accounts(now["operator"], now["reserve"])

    def open(self) -> None:
        try:
            self.factory.start_store()
        except StoreError as error:
            raise StartError(
                f"{self.command}: {self._label}: {error}{self._owner}"
            ).show() from None


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor

    return service_for(options, reactor, lambda: ChatService(reactor, options))
