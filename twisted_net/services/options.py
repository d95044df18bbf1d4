"""The flags that all services share; a flag means the same in each of them."""

from __future__ import annotations

import datetime
import ipaddress
import math
import socket
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python import usage

from twisted_net import __version__
from twisted_net.policy.limits import DEFAULTS, Limits
from twisted_net.services.starting import StartError, plainly
from twisted_net.transport.certificates import Certificates
from twisted_net.transport.listening import DRAIN, Listener
from twisted_net.transport.tls import CertificateError, self_signed_pair
from twisted_net.transport.tls_endpoint import TLSServerEndpoint

_log = Logger()

DEFAULT_PORT = 8080

BACKLOG = 1024
"""Connections that wait to be accepted: Thousand Island and Ranch have 1024, Node 511."""


_PORT_HELP = (
    "TCP port, without TLS; 0 picks a free one. "
    f"[default: {DEFAULT_PORT}, or none with --tls-port or --listen]"
)
_TLS_DIR_HELP = (
    "Directory of certificates and keys, picked by the name that a client asks for; in place of "
    "--cert and --key."
)
_KEYLOG_HELP = "File for the keys of all TLS connections, which make them readable; to debug only."
_IDLE_HELP = "Seconds of silence after which a peer is closed; 0 is never."


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
        ["tls-dir", None, None, _TLS_DIR_HELP],
        ["client-ca", None, None, "File with the CAs of which TLS clients need a certificate."],
        ["keylog", None, None, _KEYLOG_HELP],
        ["idle-timeout", None, f"{idle_timeout:g}", _IDLE_HELP],
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

    def opt_listen(self, endpoint: str) -> None:
        """Any Twisted server endpoint; repeatable; replaces the default port."""
        self["listen"].append(endpoint)

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
        self.parse("interface", _ip_address)
        self._check_tls()

    def _check_tls(self) -> None:
        given = [flag for flag in ("cert", "key", "tls-dir") if self[flag] is not None]
        if self["tls-port"] is None:
            for flag in (*given, "client-ca", "keylog"):
                if self[flag] is not None:
                    self.refuse(flag, "it needs --tls-port")
            if self["self-signed"]:
                raise usage.UsageError("--self-signed: it needs --tls-port")
        elif self["self-signed"]:
            if given:
                raise usage.UsageError("--self-signed: it replaces --cert and --key, and --tls-dir")
        elif self["tls-dir"] is not None:
            if len(given) > 1:
                self.refuse("tls-dir", "it replaces --cert and --key")
        elif len(given) < 2:
            missing = "--cert" if self["cert"] is None else "--key"
            self.refuse("tls-port", f"it needs {missing}, or --tls-dir, or --self-signed")

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

        def duration(text: str) -> float:
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value < math.inf:
                raise ValueError("not a number of seconds, 0 or more")
            return value

        self.parse(flag, duration)

    def refuse(self, flag: str, why: str) -> NoReturn:
        """Refuse a flag's value.

        :raises usage.UsageError: names flag, value and reason.
        """
        raise usage.UsageError(f"--{flag} {self[flag]}: {why}")

    # What the services are put together from.

    def limits(self) -> Limits:
        """Give the limits that were asked for."""
        return Limits(idle_timeout=self["idle-timeout"], max_message=self["max-message"])

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
            endpoint = TLSServerEndpoint(self._tcp(reactor, self["tls-port"]), certificates)
            found.append(Listener(endpoint, f"--tls-port {self['tls-port']}", certificates))
        return found + [
            Listener(self._endpoint(reactor, text), f"--listen {text}") for text in self["listen"]
        ]

    def _tcp(self, reactor: Any, port: int) -> IStreamServerEndpoint:
        interface = self["interface"]
        if interface is None:
            # One socket for both families, as Node's; IPv4 where the machine has no IPv6.
            interface = "::" if socket.has_dualstack_ipv6() else ""
        kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
        return kind(reactor, port, BACKLOG, interface)

    def _certificates(self) -> Certificates:
        rules = {"client_ca": self["client-ca"], "keylog": self["keylog"]}
        try:
            if self["self-signed"]:
                pair = self_signed_pair(datetime.datetime.now(datetime.UTC))
                _log.info(
                    "Self-signed certificate, SHA-256 {fingerprint}", fingerprint=pair.fingerprint
                )
                return Certificates.from_pair(pair, "self-signed", **rules)
            if self["tls-dir"] is not None:
                return Certificates.from_directory(self["tls-dir"], **rules)
            return Certificates.from_files(self["cert"], self["key"], **rules)
        except CertificateError as error:
            # By its flag's own value: the error has the path that became of it.
            where = f"--{error.what} {self[error.what]}"
            raise StartError(f"{self.command}: {where}: {error}") from None

    def _endpoint(self, reactor: Any, text: str) -> IStreamServerEndpoint:
        try:
            found: IStreamServerEndpoint = serverFromString(reactor, text)  # type: ignore[no-untyped-call]
        except Exception as error:  # each kind of endpoint has its own
            raise StartError(f"{self.command}: --listen {text}: {plainly(error)}") from None
        return found


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
