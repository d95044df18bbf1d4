"""The flags that all services share; a flag means the same in each of them."""

from __future__ import annotations

import datetime
import ipaddress
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.python import usage

from twisted_net import __version__
from twisted_net.policy.admission import Admission, AdmissionRules, Network, parse_range
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.limits import DEFAULTS, Limits
from twisted_net.policy.outbox import SlowRule
from twisted_net.services.starting import StartError, plainly
from twisted_net.transport.descriptors import most_connections
from twisted_net.transport.endpoints import tcp_endpoint
from twisted_net.transport.listening import DRAIN, Listener
from twisted_net.transport.tls import CertificateError, self_signed_options, server_options

_log = Logger()

DEFAULT_PORT = 8080

MOST = 1e9
"""Of seconds, thirty years. 1e308 would be a number too, but twice of it is none."""

_PORT_HELP = (
    "TCP port, without TLS; 0 picks a free one. "
    f"[default: {DEFAULT_PORT}, or none with --tls-port or --listen]"
)
_IDLE_HELP = "Seconds of silence after which a peer is closed; 0 is never."
_MESSAGE_HELP = "Seconds in which a message that has begun must be complete; 0 is never."
_CONNECTIONS_HELP = (
    "Open connections, at most; 0 is no limit. [default: what the limit on file descriptors allows]"
)
_ADDRESS_HELP = "Open connections of one address (IPv6: of a /64), at most; 0 is no limit."
_ACCEPT_HELP = (
    "Connections a second of one address; past it, it is refused for 10 s. 0 is no limit."
)
_SLOW_HELP = "When --queue-limit is reached: close, drop-oldest or drop-newest."
_BUDGET_HELP = (
    "Bytes that wait for all slow peers together; then the worst is closed. 0 is no limit."
)
_QUEUE_HELP = "Bytes that wait for one slow peer, at most."
_RATE_HELP = (
    "Messages a second of a peer; past it, it is not read until it may go on. 0 is no limit."
)


def shared_flags(
    *, idle_timeout: float = DEFAULTS.idle_timeout, max_message: int = DEFAULTS.max_message
) -> list[list[str | None]]:
    """Give the flags with a value that all services have, each service with its own defaults."""
    return [
        ["port", "p", None, _PORT_HELP],
        ["interface", "i", None, "IP address to listen on. [default: all]"],
        ["tls-port", None, None, "Port for TLS; 0 picks a free one."],
        ["cert", None, None, "File with the TLS certificate and its chain (PEM)."],
        ["key", None, None, "File with the certificate's private key (PEM)."],
        ["client-ca", None, None, "File with the CAs of which TLS clients need a certificate."],
        ["idle-timeout", None, f"{idle_timeout:g}", _IDLE_HELP],
        ["message-timeout", None, f"{DEFAULTS.message_timeout:g}", _MESSAGE_HELP],
        ["max-connections", None, None, _CONNECTIONS_HELP],
        ["max-per-address", None, "0", _ADDRESS_HELP],
        ["accept-rate", None, "0", _ACCEPT_HELP],
        ["queue-limit", None, str(DEFAULTS.queue_limit), _QUEUE_HELP],
        ["slow", None, DEFAULTS.slow_rule.value, _SLOW_HELP],
        ["memory-budget", None, "0", _BUDGET_HELP],
        ["rate", None, "0", _RATE_HELP],
        ["burst", None, str(DEFAULTS.burst), "Messages a peer may send at once after a pause."],
        ["max-message", None, str(max_message), "Bytes in one message, at most."],
        ["drain", None, f"{DRAIN:g}", "Seconds that connections have when the service stops."],
    ]


class ServiceOptions(usage.Options):
    """What every service takes from its command line.

    A value that makes no sense ends the program with one line and status 1.
    """

    command: ClassVar[str]

    longdesc = "Any flag may be given as --flag VALUE or --flag=VALUE."

    optFlags = [
        ["self-signed", None, "Use a certificate made for this run, for development only."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["allow"] = []
        self["deny"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Any Twisted server endpoint; repeatable; replaces the default port."""
        self["listen"].append(endpoint)

    def opt_allow(self, ranges: str) -> None:
        """Address ranges that alone may connect, such as 10.0.0.0/8,::1; repeatable."""
        self["allow"] += self._ranges("allow", ranges)

    def opt_deny(self, ranges: str) -> None:
        """Address ranges that may not connect; repeatable."""
        self["deny"] += self._ranges("deny", ranges)

    def opt_version(self) -> NoReturn:
        """Display the version, and exit."""
        print(f"twisted_net {__version__}")
        sys.exit(0)

    def parseOptions(self, options: Any = None) -> None:
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise StartError(f"{self.command}: {_flag_first(error)}") from None

    def parseArgs(self, *rest: str) -> None:
        if rest:
            raise usage.UsageError(f"{rest[0]}: only flags are taken, which begin with --")

    def postOptions(self) -> None:
        self.number("port", 0, 65535)
        self.number("tls-port", 0, 65535)
        self.number("max-message", 1, 1 << 30)
        self.seconds("idle-timeout")
        self.seconds("drain")
        self.seconds("message-timeout")
        self.number("max-connections", 0, 1 << 30)
        self.number("max-per-address", 0, 1 << 30)
        self.amount("accept-rate")
        self.number("queue-limit", 1, 1 << 40)
        self.parse("slow", _slow_rule)
        self.number("memory-budget", 0, 1 << 50)
        self.amount("rate")
        self.number("burst", 1, 1 << 30)
        self.parse("interface", _ip_address)
        self._check_tls()

    def _check_tls(self) -> None:
        if self["tls-port"] is None:
            for flag in ("cert", "key", "client-ca"):
                if self[flag] is not None:
                    self.refuse(flag, "it needs --tls-port")
            if self["self-signed"]:
                raise usage.UsageError("--self-signed: it needs --tls-port")
        elif self["self-signed"]:
            if self["cert"] is not None or self["key"] is not None:
                raise usage.UsageError("--self-signed: it replaces --cert and --key")
            if self["client-ca"] is not None:
                self.refuse("client-ca", "it needs --cert and --key")
        elif self["cert"] is None or self["key"] is None:
            missing = "--cert" if self["cert"] is None else "--key"
            self.refuse("tls-port", f"it needs {missing}, or --self-signed")

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
                raise ValueError(f"not a whole number from {least} to {most}")
            return int(text)

        self.parse(flag, whole)

    def seconds(self, flag: str) -> None:
        """A number of seconds, 0 or more."""
        self.amount(flag, "a number of seconds, 0 or more")

    def amount(self, flag: str, what: str = "a number, 0 or more") -> None:
        """A number, 0 or more, with or without a fraction."""

        def number(text: str) -> float:
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value <= MOST:
                raise ValueError(f"not {what}")
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
        """Give what a factory of connections takes: limits, admission and budget.

        :param descriptors: file descriptors that one connection takes.
        """
        limits = Limits(
            idle_timeout=self["idle-timeout"],
            message_timeout=self["message-timeout"],
            max_message=self["max-message"],
            queue_limit=self["queue-limit"],
            slow_rule=self["slow"],
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
        return {"limits": limits, "admission": Admission(rules), "budget": budget}

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
            endpoint = wrapServerTLS(self._certificate(), self._tcp(reactor, self["tls-port"]))
            found.append(Listener(endpoint, f"--tls-port {self['tls-port']}"))
        return found + [
            Listener(self._endpoint(reactor, text), f"--listen {text}") for text in self["listen"]
        ]

    def _tcp(self, reactor: Any, port: int) -> IStreamServerEndpoint:
        return tcp_endpoint(reactor, port, self["interface"] or "")

    def _certificate(self) -> CertificateOptions:
        if self["self-signed"]:
            options, fingerprint = self_signed_options(datetime.datetime.now(datetime.UTC))
            _log.info("Self-signed certificate, SHA-256 {fingerprint}", fingerprint=fingerprint)
            return options
        try:
            return server_options(self["cert"], self["key"], self["client-ca"])
        except CertificateError as error:
            raise StartError(f"{self.command}: --{error.what} {error.path}: {error}") from None

    def _endpoint(self, reactor: Any, text: str) -> IStreamServerEndpoint:
        try:
            found: IStreamServerEndpoint = serverFromString(reactor, text)  # type: ignore[no-untyped-call]
        except Exception as error:  # each kind of endpoint has its own
            raise StartError(f"{self.command}: --listen {text}: {plainly(error)}") from None
        return found


def _slow_rule(text: str) -> SlowRule:
    try:
        return SlowRule(text)
    except ValueError:
        raise ValueError("not one of " + ", ".join(rule.value for rule in SlowRule)) from None


def _ip_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("not an IP address") from None
    return text


def _flag_first(error: usage.UsageError) -> str:
    """Say what getopt says with the flag first, as all the other errors do."""
    words = str(error).split()
    match words:
        case ["option", flag, "not", "recognized"]:
            return f"{flag}: there is no such flag; --help lists them"
        case ["option", flag, "requires", "argument"]:
            return f"{flag}: a value is missing"
        case ["option", flag, "must", "not", "have", "an", "argument"]:
            return f"{flag}: takes no value"
        case ["option", flag, "not", "a", "unique", "prefix"]:
            return f"{flag}: could be several flags; --help lists them"
    return str(error)
