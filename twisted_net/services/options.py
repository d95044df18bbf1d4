"""The flags that all services share; a flag means the same in each of them."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python import usage

from twisted_net import __version__
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.endpoints.descriptors import most_connections
from twisted_net.endpoints.listening import DRAIN, Listener
from twisted_net.endpoints.proxied import ProxiedEndpoint
from twisted_net.endpoints.socket_options import (
    DEFAULT_SOCKET_OPTIONS,
    MOST_USER_TIMEOUT,
    SocketOptions,
    TunedServerEndpoint,
)
from twisted_net.endpoints.strings import tcp_endpoint
from twisted_net.endpoints.tls import TLSServerEndpoint
from twisted_net.policy.admission import Admission, AdmissionRules, Network, Ranges, parse_range
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.limits import DEFAULT_LIMITS, Limits, OverflowPolicy
from twisted_net.services.help import (
    INDENT,
    FlagGroup,
    FlagHelp,
    format_paragraph,
    format_section,
    help_width,
)
from twisted_net.services.starting import StartError, format_endpoint_error
from twisted_net.tls.certificates import Certificates, CertificateSettings
from twisted_net.tls.key_pairs import CertificateError

_log = Logger()

DEFAULT_PORT = 8080

MAX_NUMBER = 1e9
"""Of seconds, thirty years. 1e308 would be a number too, but twice of it is none."""

_PORT_HELP = (
    "TCP port without TLS. 0 picks a free port. "
    f"[default: {DEFAULT_PORT}, or none with --tls-port or --listen]"
)
_INTERFACE_HELP = "IP address to listen on. [default: all, IPv4 and IPv6]"
_TLS_PORT_HELP = "TCP port with TLS. 0 picks a free port."
_CERT_HELP = "File with the TLS certificate and its chain (PEM)."
_KEY_HELP = "File with the private key of the certificate (PEM)."
_TLS_DIR_HELP = (
    "Directory of certificates and keys. The server picks one by the name that the client asks "
    "for (SNI). Replaces --cert and --key."
)
_CLIENT_CA_HELP = (
    "File with CA certificates (PEM). Clients must have a certificate that one of them has signed."
)
_KEYLOG_HELP = (
    "File to append the keys of all TLS connections to. Whoever has it can decrypt them: for "
    "debugging only."
)
_SELF_SIGNED_HELP = "Make a certificate for this run. For development only."
_CONNECTIONS_HELP = (
    "Open connections, at most. 0 means no limit. "
    "[default: what the limit on file descriptors allows]"
)
_ADDRESS_HELP = (
    "Open connections from one IPv4 address or IPv6 /64 network, at most. 0 means no limit."
)
_ACCEPT_HELP = (
    "New connections per second from one address, on average. A faster address is refused for "
    "10 seconds. 0 means no limit."
)
_MESSAGE_SIZE_HELP = "Bytes in one message, at most."
_RATE_HELP = (
    "Messages per second from one client, on average. The server reads a faster client more "
    "slowly. 0 means no limit."
)
_BURST_HELP = "Messages that a client may send at once after a pause, for --rate."
_QUEUE_HELP = "Bytes that may wait for one slow client."
_SLOW_HELP = "What to do when --queue-limit is reached: close, drop-oldest or drop-newest."
_BUDGET_HELP = (
    "Bytes that may wait for all slow clients together. Above it, the clients with the most bytes "
    "waiting are closed. 0 means no limit."
)
_IDLE_HELP = "Seconds without data from a client until it is closed. 0 means never."
_MESSAGE_HELP = "Seconds until a client with an incomplete message is closed. 0 means never."
_HANDSHAKE_HELP = "Seconds that a TLS handshake may take. 0 means no limit."
_KEEPALIVE_HELP = "Seconds of silence until TCP sends a keepalive probe. 0 means never."
_KEEPALIVE_INTERVAL_HELP = "Seconds between probes."
_KEEPALIVE_COUNT_HELP = "Unanswered probes until the connection is lost."
_USER_TIMEOUT_HELP = (
    "Seconds that sent data may stay unacknowledged until the connection is lost. 0 means the "
    "system's setting. [default: keepalive + keepalive-interval * keepalive-count]"
)
_LOG_ENDS_HELP = (
    "Closed connections to log: all, or only notable ones, such as those closed by a limit."
)
_DRAIN_HELP = "Seconds that open connections have to end when the service stops."

SHARED_GROUPS = (
    FlagGroup(
        "Listening",
        {"port": "PORT", "interface": "ADDRESS", "listen": "ENDPOINT", "proxy-protocol": "RANGES"},
    ),
    FlagGroup(
        "TLS",
        {
            "tls-port": "PORT",
            "cert": "FILE",
            "key": "FILE",
            "tls-dir": "DIR",
            "self-signed": "",
            "client-ca": "FILE",
            "keylog": "FILE",
        },
    ),
    FlagGroup(
        "Who may connect",
        {
            "max-connections": "N",
            "max-per-address": "N",
            "accept-rate": "N",
            "allow": "RANGES",
            "deny": "RANGES",
        },
    ),
    FlagGroup(
        "Messages and queues",
        {
            "max-message": "BYTES",
            "rate": "N",
            "burst": "N",
            "queue-limit": "BYTES",
            "slow": "POLICY",
            "memory-budget": "BYTES",
        },
    ),
    FlagGroup(
        "Timeouts",
        {
            "idle-timeout": "SECONDS",
            "message-timeout": "SECONDS",
            "handshake-timeout": "SECONDS",
        },
    ),
    FlagGroup(
        "TCP keepalive",
        {
            "keepalive": "SECONDS",
            "keepalive-interval": "SECONDS",
            "keepalive-count": "N",
            "user-timeout": "SECONDS",
        },
    ),
    FlagGroup("Logging", {"log-ends": "WHICH"}),
    FlagGroup("Stopping", {"drain": "SECONDS"}),
    FlagGroup("Help", {"version": "", "help": ""}),
)
"""The flags that all services share, in the order of ``--help``."""


def shared_flags(
    *,
    idle_timeout: float = DEFAULT_LIMITS.idle_timeout,
    max_message: int = DEFAULT_LIMITS.max_message,
) -> list[list[str | None]]:
    """Give the flags with a value that all services have, each service with its own defaults."""
    limits, sockets = DEFAULT_LIMITS, DEFAULT_SOCKET_OPTIONS
    return [
        ["port", "p", None, _PORT_HELP],
        ["interface", "i", None, _INTERFACE_HELP],
        ["tls-port", None, None, _TLS_PORT_HELP],
        ["cert", None, None, _CERT_HELP],
        ["key", None, None, _KEY_HELP],
        ["tls-dir", None, None, _TLS_DIR_HELP],
        ["client-ca", None, None, _CLIENT_CA_HELP],
        ["keylog", None, None, _KEYLOG_HELP],
        ["idle-timeout", None, f"{idle_timeout:g}", _IDLE_HELP],
        ["handshake-timeout", None, f"{limits.handshake_timeout:g}", _HANDSHAKE_HELP],
        ["message-timeout", None, f"{limits.message_timeout:g}", _MESSAGE_HELP],
        ["max-connections", None, None, _CONNECTIONS_HELP],
        ["max-per-address", None, "0", _ADDRESS_HELP],
        ["accept-rate", None, "0", _ACCEPT_HELP],
        ["queue-limit", None, str(limits.queue_limit), _QUEUE_HELP],
        ["slow", None, limits.overflow_policy.value, _SLOW_HELP],
        ["memory-budget", None, "0", _BUDGET_HELP],
        ["rate", None, "0", _RATE_HELP],
        ["burst", None, str(limits.burst), _BURST_HELP],
        ["max-message", None, str(max_message), _MESSAGE_SIZE_HELP],
        ["drain", None, f"{DRAIN:g}", _DRAIN_HELP],
        ["keepalive", None, str(sockets.keepalive_idle), _KEEPALIVE_HELP],
        ["keepalive-interval", None, str(sockets.keepalive_interval), _KEEPALIVE_INTERVAL_HELP],
        ["keepalive-count", None, str(sockets.keepalive_count), _KEEPALIVE_COUNT_HELP],
        ["user-timeout", None, None, _USER_TIMEOUT_HELP],
        ["log-ends", None, "all", _LOG_ENDS_HELP],
    ]


class ServiceOptions(usage.Options):
    """What every service takes from its command line.

    A value that makes no sense ends the program with one line and status 1.

    :cvar command: the service's name.
    :cvar summary: what ``--help`` says first.
    :cvar examples: command lines that ``--help`` shows.
    :cvar groups: every flag, as ``--help`` groups them.
    """

    command: ClassVar[str]
    summary: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    groups: ClassVar[tuple[FlagGroup, ...]] = SHARED_GROUPS

    synopsis = "[flags]"
    longdesc = "Write a value as --flag VALUE or --flag=VALUE."

    optFlags = [["self-signed", None, _SELF_SIGNED_HELP]]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["allow"] = []
        self["deny"] = []
        self["proxy-protocol"] = []

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
        for each in ranges.split(","):
            self["proxy-protocol"] += (
                [each] if each == "unix" else self._ranges("proxy-protocol", each)
            )

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(f"twisted_net {__version__}")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return what ``--help`` says below the line with the command.

        :param width: columns; without it, see :func:`help_width`.
        """
        width = width or help_width()
        sections = [format_paragraph(self.summary, width)]
        sections.append("\n".join(["Examples:", *(INDENT + each for each in self.examples)]))
        for group in self.groups:
            flags = [self._flag_help(name, value) for name, value in group.flags.items()]
            sections.append(format_section(group.heading, flags, width))
        sections.append(format_paragraph(self.longdesc, width))
        return "\n" + "\n\n".join(sections)

    def _flag_help(self, name: str, value: str) -> FlagHelp:
        shorts = [f"-{each}" for each, of in self.synonyms.items() if of == name and len(each) == 1]
        spelling = ", ".join([*shorts, f"--{name}={value}" if value else f"--{name}"])
        text = self.docs[name]
        if "[default: " not in text:
            if value:
                text += f" [default: {self.defaults.get(name) or 'none'}]"
            elif name in self.defaults:
                text += " [default: off]"
        return FlagHelp(spelling, text)

    def parseOptions(self, options: Any = None) -> None:
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise StartError(f"{self.command}: {_flag_first(error)}") from None

    def parseArgs(self, *rest: str) -> None:
        if rest:
            raise usage.UsageError(f"{rest[0]}: unexpected argument; flags begin with --")

    def postOptions(self) -> None:
        self.number("port", 0, 65535)
        self.number("tls-port", 0, 65535)
        self.number("max-message", 1, 1 << 30)
        self.seconds("idle-timeout")
        self.seconds("drain")
        self.seconds("handshake-timeout")
        self.number("keepalive", 0, 32767)
        self.number("keepalive-interval", 1, 32767)
        self.number("keepalive-count", 1, 127)
        self.number("user-timeout", 0, MOST_USER_TIMEOUT)
        self.seconds("message-timeout")
        self.number("max-connections", 0, 1 << 30)
        self.number("max-per-address", 0, 1 << 30)
        self.amount("accept-rate")
        self.number("queue-limit", 1, 1 << 40)
        self.parse("slow", _overflow_policy)
        self.number("memory-budget", 0, 1 << 50)
        self.amount("rate")
        self.number("burst", 1, 1 << 30)
        self.parse("log-ends", _all_or_notable)
        self.parse("interface", _ip_address)
        self._check_tls()

    def _check_tls(self) -> None:
        given = [flag for flag in ("cert", "key", "tls-dir") if self[flag] is not None]
        if self["tls-port"] is None:
            for flag in (*given, "client-ca", "keylog"):
                if self[flag] is not None:
                    self.refuse(flag, "requires --tls-port")
            if self["self-signed"]:
                raise usage.UsageError("--self-signed: requires --tls-port")
        elif self["self-signed"]:
            if given:
                raise usage.UsageError(f"--self-signed: cannot be used with --{given[0]}")
            if self["client-ca"] is not None:
                self.refuse("client-ca", "requires --cert and --key, or --tls-dir")
        elif self["tls-dir"] is not None:
            if len(given) > 1:
                self.refuse("tls-dir", f"cannot be used with --{given[0]}")
        elif len(given) < 2:
            missing = "--cert" if self["cert"] is None else "--key"
            self.refuse("tls-port", f"requires {missing}, --tls-dir or --self-signed")

    # For this class's kinds of values and those of its subclasses.

    def parse(self, flag: str, parse: Callable[[str], Any]) -> None:
        """Replace a flag's text by its value.

        :raises usage.UsageError: ``parse`` raised a ValueError; names flag, text and reason.
        """
        if self[flag] is not None:
            try:
                self[flag] = parse(self[flag])
            except ValueError as error:
                self.refuse(flag, str(error))

    def number(self, flag: str, least: int, most: int) -> None:
        """A whole number."""

        def whole(text: str) -> int:
            if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
                raise ValueError(f"must be a whole number from {least} to {most}")
            return int(text)

        self.parse(flag, whole)

    def seconds(self, flag: str) -> None:
        """A number of seconds, 0 or more."""
        self.amount(flag, "a number of seconds")

    def amount(self, flag: str, what: str = "a number") -> None:
        """A number, 0 or more, with or without a fraction."""

        def number(text: str) -> float:
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value <= MAX_NUMBER:
                raise ValueError(f"must be {what} from 0 to {MAX_NUMBER:.0f}")
            return value

        self.parse(flag, number)

    def refuse(self, flag: str, why: str) -> NoReturn:
        """Refuse a flag's value.

        :raises usage.UsageError: names flag, value and reason.
        """
        raise usage.UsageError(f"--{flag} {self[flag]}: {why}")

    def _ranges(self, flag: str, text: str) -> list[Network]:
        try:
            return [parse_range(flag, each) for each in text.split(",")]
        except ValueError as error:
            raise usage.UsageError(f"--{error}") from None

    # What the services are put together from.

    def settings(self, descriptors: int = 1) -> dict[str, Any]:
        """Give what a factory of connections takes: limits, admission, budget, and what to log.

        :param descriptors: file descriptors that one connection takes.
        """
        limits = Limits(
            idle_timeout=self["idle-timeout"],
            handshake_timeout=self["handshake-timeout"],
            message_timeout=self["message-timeout"],
            max_message=self["max-message"],
            queue_limit=self["queue-limit"],
            overflow_policy=self["slow"],
            rate=self["rate"],
            burst=self["burst"],
        )
        most = self["max-connections"]
        rules = AdmissionRules(
            max_connections=most_connections(descriptors) if most is None else most,
            max_per_address=self["max-per-address"],
            accept_rate=self["accept-rate"],
            allow=tuple(self["allow"]),
            deny=tuple(self["deny"]),
        )
        budget = MemoryBudget[Any](self["memory-budget"]) if self["memory-budget"] else None
        return {
            "limits": limits,
            "admission": Admission(rules),
            "budget": budget,
            "log_ends": self["log-ends"],
        }

    def socket_options(self) -> SocketOptions:
        """Give what the kernel is to do for connections."""
        return SocketOptions(
            keepalive_idle=self["keepalive"],
            keepalive_interval=self["keepalive-interval"],
            keepalive_count=self["keepalive-count"],
            user_timeout=self["user-timeout"],
        )

    def listeners(self, reactor: Any) -> list[Listener]:
        """Give the listeners that were asked for.

        :raises StartError: an endpoint, a certificate or a key that cannot be used.
        """
        found = []
        port = self["port"]
        if port is None and self["tls-port"] is None and not self["listen"]:
            port = DEFAULT_PORT
        if port is not None:
            found.append(Listener(self._tcp(reactor, port), f"--port {port}"))
        if self["tls-port"] is not None:
            certificates = self._certificates()
            endpoint = TLSServerEndpoint(
                self._tcp(reactor, self["tls-port"]), certificates, reactor
            )
            found.append(Listener(endpoint, f"--tls-port {self['tls-port']}", certificates))
        return found + [
            Listener(self._endpoint(reactor, text), f"--listen {text}") for text in self["listen"]
        ]

    def _tcp(self, reactor: Any, port: int) -> IStreamServerEndpoint:
        return self._at_the_socket(tcp_endpoint(reactor, port, self["interface"] or ""))

    def _at_the_socket(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        """Add what comes before everything else, TLS included."""
        endpoint = TunedServerEndpoint(endpoint, self.socket_options())
        proxies = self["proxy-protocol"]
        if not proxies:
            return endpoint
        trusted = Ranges(each for each in proxies if each != "unix")
        return ProxiedEndpoint(endpoint, trusted, trust_unix="unix" in proxies)

    def _certificates(self) -> Certificates:
        rules: CertificateSettings = {"client_ca": self["client-ca"], "keylog": self["keylog"]}
        try:
            if self["self-signed"]:
                certificates = Certificates.self_signed(**rules)
                (pair,) = certificates.pairs.values()
                _log.info(
                    "Self-signed certificate, SHA-256 {fingerprint}", fingerprint=pair.fingerprint
                )
                return certificates
            if self["tls-dir"] is not None:
                return Certificates.from_directory(self["tls-dir"], **rules)
            return Certificates.from_files(self["cert"], self["key"], **rules)
        except CertificateError as error:
            # By its flag's own value: the error has the path that became of it.
            where = f"--{error.what} {self[error.what]}"
            raise StartError(f"{self.command}: {where}: {error}") from None

    def _endpoint(self, reactor: Any, text: str) -> IStreamServerEndpoint:
        try:
            found: IStreamServerEndpoint = serverFromString(eager(reactor), text)  # type: ignore[no-untyped-call]
        except Exception as error:  # each kind of endpoint has its own
            raise StartError(
                f"{self.command}: --listen {text}: {format_endpoint_error(error)}"
            ) from None
        return self._at_the_socket(found)


def _all_or_notable(text: str) -> bool:
    if text not in ("all", "notable"):
        raise ValueError("must be all or notable")
    return text == "all"


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


def _flag_first(error: usage.UsageError) -> str:
    """Say what getopt says with the flag first, as all the other errors do."""
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
