"""Parses the command line of a service. A flag means the same in every service."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, cast

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python import usage

from twisted_net import __version__
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.endpoints.bound_sockets import BindOptions
from twisted_net.endpoints.descriptors import most_connections
from twisted_net.endpoints.listening import Listener
from twisted_net.endpoints.proxied import ProxiedEndpoint
from twisted_net.endpoints.socket_options import (
    MOST_USER_TIMEOUT,
    SocketOptions,
    TunedServerEndpoint,
)
from twisted_net.endpoints.strings import tcp_endpoint
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.limits import LimitChanges, Limits, OverflowPolicy
from twisted_net.policy.ranges import Network, Ranges, parse_range
from twisted_net.services.configurable import ConfigurableOptions
from twisted_net.services.early_signals import note_signals
from twisted_net.services.flags import (
    ALLOW_EXPIRED_HELP,
    DEFAULT_PORT,
    IPV6_ONLY_HELP,
    OPTIONAL_CLIENT_HELP,
    REUSE_PORT_HELP,
    SELF_SIGNED_HELP,
    SHARED_GROUPS,
)
from twisted_net.services.help import (
    GUIDE_PLACE,
    INDENT,
    FlagGroup,
    FlagHelp,
    format_paragraph,
    format_section,
    help_width,
)
from twisted_net.services.listening_sockets import ListeningSockets, OwnSockets
from twisted_net.services.log_format import use_json
from twisted_net.services.privileges import FilesInUse
from twisted_net.services.starting import StartError, parse_endpoint
from twisted_net.services.tls_flags import certificates_of, check_tls_flags
from twisted_net.services.twistd_flags import check_twistd_flags, load_everything
from twisted_net.services.upgrading import Launch
from twisted_net.services.workers.numbers import parse_workers
from twisted_net.services.workers.privileges import keep_privileges, twistd_flags
from twisted_net.services.workers.this_process import worker_settings
from twisted_net.tls.contexts import parse_tls_version
from twisted_net.web.admin.log_level import LEVELS
from twisted_net.wire.numbers import (
    MOST_BYTES,
    MOST_COUNT,
    MOST_RATE,
    MOST_SECONDS,
    parse_decimal,
    parse_whole,
    shorten,
)

if TYPE_CHECKING:
    from twisted_net.web.admin.histogram import Histogram


class ServiceOptions(ConfigurableOptions):
    """The command line of every service.

    An invalid value ends the program with one line and status 1.

    :cvar command: the service's name.
    :cvar summary: the first paragraph of ``--help``.
    :cvar examples: the two command lines with which ``--help`` ends.
    :cvar groups: all flags, as ``--help`` groups them.
    :ivar words: the command line, without the service's name.
    :ivar directory: where the program was started.
    :ivar twistd: the flags of ``twistd`` that workers get.
    :ivar sockets: makes the endpoints of this process.
    :ivar make_admission: makes what decides who may connect.
    :ivar parts: the number of workers, in one of them.
    :ivar appends: how long the store takes, if there is one, and operators ask.
    """

    command: ClassVar[str]
    summary: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    groups: ClassVar[tuple[FlagGroup, ...]] = SHARED_GROUPS

    synopsis = "[flags]"
    longdesc = (
        "Write a value as --flag VALUE or --flag=VALUE, and in a --config file as flag = VALUE."
    )

    repeatable: ClassVar[tuple[str, ...]] = (
        *("listen", "allow", "deny", "proxy-protocol", "admin-host"),
    )

    optFlags = [
        ["self-signed", None, SELF_SIGNED_HELP],
        ["allow-expired", None, ALLOW_EXPIRED_HELP],
        ["optional-client-certificate", None, OPTIONAL_CLIENT_HELP],
        ["ipv6-only", None, IPV6_ONLY_HELP],
        ["reuse-port", None, REUSE_PORT_HELP],
    ]

    def __init__(self) -> None:
        super().__init__()
        for flag in self.repeatable:
            self[flag] = []
        self.launch: Launch | None = None
        self.words: tuple[str, ...] = ()
        self.directory = self._working_directory()
        self.twistd: tuple[str, ...] = ()
        self.sockets: ListeningSockets = OwnSockets()
        self.make_admission: Callable[[AdmissionRules], Admission] = Admission
        self.appends: Histogram | None = None
        self.parts = 1

    def _working_directory(self) -> str:
        try:
            return os.getcwd()
        except OSError as error:
            raise StartError(
                f"{self.command}: the working directory cannot be used: {error.strerror}"
            ) from None

    def opt_listen(self, endpoint: str) -> None:
        """Twisted server endpoint to listen on, such as unix:/run/chat. Repeatable."""
        self["listen"].append(endpoint)

    def opt_allow(self, ranges: str) -> None:
        """Only these address ranges may connect, such as 10.0.0.0/8,::1. Repeatable.
        [default: all]"""
        self["allow"] += self._ranges("allow", ranges)

    def opt_deny(self, ranges: str) -> None:
        """These address ranges may not connect, even if --allow has them. Repeatable."""
        self["deny"] += self._ranges("deny", ranges)

    def opt_proxy_protocol(self, ranges: str) -> None:
        """Address ranges of proxies that send a PROXY protocol header, or unix for Unix sockets.
        Repeatable."""
        self.add_proxies("proxy-protocol", ranges)

    def opt_admin_host(self, name: str) -> None:
        """Name of this server in the URL of --admin, besides its addresses and localhost.
        Repeatable."""
        self["admin-host"].append(name)

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(f"twisted_net {__version__}")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of ``--help`` below its first line.

        :param width: columns; without it, see :func:`help_width`.
        """
        width = width or help_width()
        sections = [format_paragraph(self.summary, width)]
        for group in self.groups:
            flags = [self._flag_help(name, value) for name, value in group.flags.items()]
            sections.append(format_section(group.heading, flags, width))
        sections.append(format_paragraph(self.longdesc, width))
        sections.append("\n".join(["Examples:", *(INDENT + each for each in self.examples)]))
        sections.append(format_paragraph(GUIDE_PLACE, width))
        return "\n" + "\n\n".join(sections)

    def _flag_help(self, name: str, value: str) -> FlagHelp:
        shorts = [f"-{each}" for each, of in self.synonyms.items() if of == name and len(each) == 1]
        spelling = ", ".join([*shorts, f"--{name}={value}" if value else f"--{name}"])
        text = self.docs[name]
        if "[default: " not in text and name not in self.command_line_only:
            if value:
                text += f" [default: {self.defaults.get(name) or 'none'}]"
            elif name in self.defaults:
                text += " [default: off]"
        return FlagHelp(spelling, text)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        note_signals()  # as early as possible: the process may get one while it starts
        if self.earlier is None:  # else they are only parsed again
            self.launch = Launch(self.parent)
        self.words = tuple(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise StartError(f"{self.command}: {_flag_first(error)}") from None

    def parse_again(self) -> Self:
        again = super().parse_again()
        again.parts = self.parts
        return again

    def parseArgs(self, *rest: str) -> None:
        if rest:
            raise usage.UsageError(f"{rest[0]}: unexpected argument; flags begin with --")

    def postOptions(self) -> None:
        self.number("port", 0, 65535)
        self.number("tls-port", 0, 65535)
        self.number("max-message", 1, MOST_COUNT)
        self.seconds("idle-timeout")
        self.seconds("drain")
        self.seconds("handshake-timeout")
        self.number("keepalive", 0, 32767)
        self.number("keepalive-interval", 1, 32767)
        self.number("keepalive-count", 1, 127)
        self.number("user-timeout", 0, MOST_USER_TIMEOUT)
        self.seconds("message-timeout")
        self.number("max-connections", 0, MOST_COUNT)
        self.number("max-per-address", 0, MOST_COUNT)
        self.amount("accept-rate")
        self.number("queue-limit", 1, MOST_BYTES)
        self.parse("slow", _overflow_policy)
        self.number("memory-budget", 0, 1 << 50)
        self.amount("rate")
        self.number("burst", 1, MOST_COUNT)
        self.parse("log-ends", _all_or_notable)
        self.parse("log-level", _level)
        self.parse("interface", _ip_address)
        self.parse("min-tls", parse_tls_version)
        self.parse("workers", parse_workers)
        self._check_addresses()
        self._check_admin()
        self._choose_log_format()
        check_tls_flags(self)
        self._check_twistd()

    def _check_addresses(self) -> None:
        if self["ipv6-only"]:
            self.parse("interface", _ipv6_address)
        for flag in ("ipv6-only", "reuse-port"):
            if self[flag] and self["listen"] and self["port"] is None and self["tls-port"] is None:
                self.refuse(flag, "requires --port or --tls-port")

    def _check_admin(self) -> None:
        if self["admin"] is None:
            if self["admin-token-file"] is not None:
                self.refuse("admin-token-file", "requires --admin")
            for name in self["admin-host"]:
                raise usage.UsageError(f"{self.spell('admin-host', name)}: requires --admin")

    def _choose_log_format(self) -> None:
        if self["log-format"] not in ("text", "json"):
            self.refuse("log-format", "must be text or json")
        flags: MutableMapping[str, Any] | None = self.parent
        if self["log-format"] == "json" and flags is not None and worker_settings() is None:
            try:
                use_json(flags)
            except ValueError as error:
                self.refuse("log-format", str(error))

    def _check_twistd(self) -> None:
        flags: MutableMapping[str, Any] = self.parent or {}
        try:
            check_twistd_flags(flags)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None
        if self["workers"] is not None and worker_settings() is None:
            self.twistd = twistd_flags(flags)
            keep_privileges(flags)
        elif flags.get("chroot") is not None or flags.get("uid") is not None:
            load_everything()

    # Parsers of values, for this class and its subclasses.

    def parse(self, flag: str, parse: Callable[[str], Any]) -> None:
        """Replace a flag's text by its value.

        :raises usage.UsageError: ``parse`` raised a ValueError; the message has flag, text and
            reason.
        """
        if self[flag] is not None:
            self.keep_text(flag)
            try:
                self[flag] = parse(self[flag])
            except ValueError as error:
                raise usage.UsageError(
                    f"{self.spell(flag, shorten(self[flag]))}: {error}"
                ) from None

    def number(self, flag: str, least: int, most: int) -> None:
        """Parse a whole number."""
        self.parse(flag, lambda text: parse_whole(text, least, most))

    def seconds(self, flag: str) -> None:
        """Parse a number of seconds, 0 or more."""
        self.parse(flag, lambda text: parse_decimal(text, 0, MOST_SECONDS, "seconds"))

    def amount(self, flag: str) -> None:
        """Parse a number, 0 or more, with or without a fraction."""
        self.parse(flag, lambda text: parse_decimal(text, 0, MOST_RATE))

    def refuse(self, flag: str, why: str) -> NoReturn:
        """Reject a flag's value.

        :raises usage.UsageError: always; the message has flag, value and reason.
        """
        raise usage.UsageError(f"{self.spell(flag)}: {why}")

    def add_proxies(self, flag: str, ranges: str) -> None:
        """Parse a list of address ranges, in which ``unix`` stands for Unix sockets.

        :raises usage.UsageError: one is not a range; the message names it.
        """
        for each in ranges.split(","):
            self[flag] += [each] if each == "unix" else self._ranges(flag, each, ranges)

    def _ranges(self, flag: str, text: str, given: str = "") -> list[Network]:
        try:
            return [parse_range(flag, each) for each in text.split(",")]
        except ValueError as error:
            raise usage.UsageError(f"{self.before(flag, given or text)}{error}") from None

    # The parts of a service.

    def files_in_use(self) -> FilesInUse:
        """Return the files that the service uses later, when it may have another user or root."""
        files = FilesInUse.of_twistd(self.parent or {})
        read_again = ("cert", "key", "client-ca", "key-passphrase-file", "ticket-key")
        for flag in (*read_again, "admin-token-file"):
            if self[flag] is not None:
                files.read_again.append(os.path.abspath(self[flag]))
        if self.config_path is not None:
            files.read_again.append(self.config_path)
        if self["tls-dir"] is not None:
            files.directories.append(os.path.abspath(self["tls-dir"]))
        if worker_settings() is not None:  # the supervisor has made the sockets
            return files
        for endpoint in filter(None, (*self["listen"], self["admin"])):
            kind, _, rest = endpoint.partition(":")
            if kind == "unix":
                files.removed.append(os.path.abspath(rest.partition(":")[0]))
        return files

    @property
    def descriptors(self) -> int:
        """The file descriptors that one connection takes."""
        return 1

    @property
    def may_overlap(self) -> bool:
        """Whether another process may serve with the same command line at the same time."""
        return True

    def limits(self) -> Limits:
        """Return the limits of connections."""
        return Limits(
            idle_timeout=self["idle-timeout"],
            handshake_timeout=self["handshake-timeout"],
            message_timeout=self["message-timeout"],
            max_message=self["max-message"],
            queue_limit=self["queue-limit"],
            overflow_policy=self["slow"],
            rate=self["rate"],
            burst=self["burst"],
        )

    def limit_changes(self) -> LimitChanges:
        """Return the limits as keyword arguments."""
        return cast(LimitChanges, asdict(self.limits()))

    def rules(self) -> AdmissionRules:
        """Return who may connect."""
        most = self["max-connections"]
        return AdmissionRules(
            max_connections=most_connections(self.descriptors) if most is None else most,
            max_per_address=self["max-per-address"],
            accept_rate=self["accept-rate"],
            allow=tuple(self["allow"]),
            deny=tuple(self["deny"]),
        )

    def budget(self) -> MemoryBudget[Any] | None:
        """Return the budget of all queues; None if there is none."""
        most = self["memory-budget"]
        return MemoryBudget(self.share(most)) if most else None

    def share(self, number: int) -> int:
        """Return this process's part of a number that all workers share, rounded up."""
        return -(-number // self.parts)

    def settings(self) -> dict[str, Any]:
        """Return the arguments of a connection factory: limits, admission, budget and logging."""
        return {
            "limits": self.limits(),
            "admission": self.make_admission(self.rules()),
            "budget": self.budget(),
            "log_ends": self["log-ends"],
        }

    def socket_options(self) -> SocketOptions:
        """Return the socket options."""
        return SocketOptions(
            keepalive_idle=self["keepalive"],
            keepalive_interval=self["keepalive-interval"],
            keepalive_count=self["keepalive-count"],
            user_timeout=self["user-timeout"],
        )

    def listeners(self, reactor: Any) -> list[Listener]:
        """Return the listeners.

        :raises StartError: an endpoint, a certificate or a key cannot be used.
        """
        found = []
        port = self["port"]
        if port is None and self["tls-port"] is None and not self["listen"]:
            port = DEFAULT_PORT
        if port is not None:
            found.append(Listener(self._tcp(reactor, port), self.spell("port", port)))
        if self["tls-port"] is not None:
            certificates = certificates_of(self.command, self)
            endpoint = TLSServerEndpoint(
                self._tcp(reactor, self["tls-port"]), certificates, reactor
            )
            found.append(Listener(endpoint, self.spell("tls-port"), certificates))
        return found + [
            Listener(self.endpoint(reactor, text), self.spell("listen", text))
            for text in self["listen"]
        ]

    def admin_listener(self, reactor: Any) -> Listener | None:
        """Return where operators are listened to; None if nowhere.

        :raises StartError: the endpoint cannot be used.
        """
        text = self["admin"]
        if text is None:
            return None
        endpoint = parse_endpoint(
            *(f"{self.command}: {self.spell('admin')}", text),
            lambda: serverFromString(eager(reactor), text),  # type: ignore[no-untyped-call]
        )
        return Listener(endpoint, self.spell("admin"))

    def _tcp(self, reactor: Any, port: int) -> IStreamServerEndpoint:
        bind = BindOptions(bool(self["reuse-port"]), bool(self["ipv6-only"]))
        interface = self["interface"] or ""
        endpoint: IStreamServerEndpoint = parse_endpoint(
            *(f"{self.command}: --port {port}", ""),
            lambda: self.sockets.endpoint(
                reactor, "tcp", lambda each: tcp_endpoint(each, port, interface, bind)
            ),
        )
        return self._at_the_socket(endpoint)

    def _at_the_socket(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        """Add what comes before everything else, including TLS."""
        endpoint = TunedServerEndpoint(endpoint, self.socket_options())
        proxies = self["proxy-protocol"]
        if not proxies:
            return endpoint
        trusted = Ranges(each for each in proxies if each != "unix")
        return ProxiedEndpoint(endpoint, trusted, trust_unix="unix" in proxies)

    def endpoint(self, reactor: Any, text: str, flag: str = "listen") -> IStreamServerEndpoint:
        """Return the endpoint that a flag describes.

        :raises StartError: it is wrong; the line names the flag.
        """
        found: IStreamServerEndpoint = parse_endpoint(
            f"{self.command}: {self.spell(flag, text)}",
            text,
            lambda: self.sockets.endpoint(
                *(reactor, text.partition(":")[0]),
                lambda each: serverFromString(eager(each), text),  # type: ignore[no-untyped-call]
            ),
        )
        return self._at_the_socket(found)


def _all_or_notable(text: str) -> bool:
    if text not in ("all", "notable"):
        raise ValueError("must be all or notable")
    return text == "all"


def _level(text: str) -> str:
    if text not in LEVELS:
        *names, last = LEVELS
        raise ValueError(f"must be {', '.join(names)} or {last}")
    return text


def _overflow_policy(text: str) -> OverflowPolicy:
    try:
        return OverflowPolicy(text)
    except ValueError:
        *names, last = (policy.value for policy in OverflowPolicy)
        raise ValueError(f"must be {', '.join(names)} or {last}") from None


def _ip_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IP address") from None
    return text


def _ipv6_address(text: str) -> str:
    if ":" not in text:
        raise ValueError("must be an IPv6 address with --ipv6-only")
    return text


def _flag_first(error: usage.UsageError) -> str:
    """Return getopt's error with the flag first, like all other errors."""
    words = str(error).split()
    match words:
        case ["option", flag, "not", "recognized"]:
            return f"{flag}: unknown flag; see --help"
        case ["option", flag, "requires", "argument"]:
            return f"{flag}: requires a value"
        case ["option", flag, "must", "not", "have", "an", "argument"]:
            return f"{flag}: takes no value"
        case ["option", flag, "not", "a", "unique", "prefix"]:
            return f"{flag}: matches several flags; see --help"
    return str(error)
