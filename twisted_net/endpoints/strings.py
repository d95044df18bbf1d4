"""Endpoint strings of twisted_net: ``net:8080:idle=60:perAddress=20`` guards any factory.

``nettls:8443:cert=F:key=F`` and ``nettls:8443:dir=D`` do the same with TLS, and reload renewed
certificates. They work wherever Twisted takes a server endpoint:
``twistd web --listen net:8080:idle=60``. The transports are eager if the reactor supports them; see
:mod:`twisted_net.eager.transports`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import implementer

from twisted_net.connection.guard import GUARD_LIMITS, GuardFactory
from twisted_net.eager.reactor_interfaces import eager, plain
from twisted_net.endpoints.bound_sockets import (
    ANY_ADDRESS,
    DEFAULT_BIND_OPTIONS,
    BindOptions,
    BoundServerEndpoint,
)
from twisted_net.endpoints.descriptors import log_rarely, most_connections
from twisted_net.endpoints.socket_options import SocketOptions, TunedServerEndpoint
from twisted_net.endpoints.tls import TLSServerEndpoint, endpoint_certificates
from twisted_net.endpoints.tls_options import (
    OPTION_OF_SETTING,
    TLS_OPTIONS,
    parse_yes_no,
    take_tls_options,
)
from twisted_net.interfaces import AnyInterface, ProtocolFactory, ServerEndpoint
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.limits import Limits
from twisted_net.policy.ranges import Network, parse_range
from twisted_net.tls.certificate_watch import CertificateWatch
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import CertificateError
from twisted_net.wire.numbers import (
    MOST_BYTES,
    MOST_COUNT,
    MOST_RATE,
    MOST_SECONDS,
    parse_decimal,
    parse_port,
    parse_whole,
    shorten,
)

ANY_IPV4_ADDRESS = "0.0.0.0"

BACKLOG = 1024
"""Connections that may wait to be accepted. Thousand Island and Ranch have 1024, Node 511."""


def tcp_endpoint(
    reactor: Any, port: int, interface: str = "", options: BindOptions = DEFAULT_BIND_OPTIONS
) -> IStreamServerEndpoint:
    """Return the endpoint of a port. Its transports are eager if that is possible.

    :param interface: an IP address. Empty or ``::`` means all, with one socket for IPv4 and IPv6 as
        in Node. On a machine without IPv6, empty means all of IPv4.
    :param options: what the socket is told before it is bound.
    :raises ValueError: the options do not suit the interface or the reactor.
    """
    options.check(interface)
    is_dual = interface in ("", ANY_ADDRESS) and socket.has_dualstack_ipv6()
    if options.ipv6_only or is_dual:
        interface = interface or ANY_ADDRESS
    if is_dual or options != DEFAULT_BIND_OPTIONS:
        if isinstance(plain(reactor), PosixReactorBase):
            host = interface or ANY_IPV4_ADDRESS
            return BoundServerEndpoint(eager(reactor), port, BACKLOG, host, options)
        if options != DEFAULT_BIND_OPTIONS:
            raise ValueError("this reactor cannot share a port, or leave IPv4 to others")
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(eager(reactor), port, BACKLOG, interface)


@implementer(IStreamServerEndpoint)
class GuardedEndpoint(AnyInterface):
    """Listens with a guard around the factory that it gets.

    :param endpoint: where to listen.
    :param reactor: the clock.
    :param limits: the limits of each connection.
    :param rules: who may connect.
    :param watch: reloads the endpoint's certificates while it listens.
    :ivar guards: the guard of each factory that it was given, in order. The ``admission`` of each
        may be changed while it listens.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        reactor: Any,
        limits: Limits,
        rules: AdmissionRules,
        watch: CertificateWatch | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._reactor = reactor
        self._limits = limits
        self._watch = watch
        self._rules = rules
        self.guards: list[GuardFactory] = []

    @property
    def certificates(self) -> Certificates | None:
        """The certificates of the endpoint below, if it uses TLS."""
        return endpoint_certificates(self._endpoint)

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        def listening(port: IListeningPort) -> IListeningPort:
            log_rarely(port, self._reactor)
            return port

        guard: Any = _WatchingGuard(
            self._watch,
            protocolFactory,
            clock=self._reactor,
            limits=self._limits,
            admission=Admission(self._rules),
        )
        self.guards.append(guard)
        return self._endpoint.listen(guard).addCallback(listening)


class _WatchingGuard(GuardFactory):
    """A guard that runs a CertificateWatch while a port listens for it."""

    def __init__(self, watch: CertificateWatch | None, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._watch = watch

    def startFactory(self) -> None:
        if self._watch is not None:
            self._watch.startService()

    def stopFactory(self) -> None:
        if self._watch is not None:
            self._watch.stopService()


def _ranges(text: str) -> tuple[Network, ...]:
    return tuple(parse_range("a range", each) for each in text.split(","))


def _seconds(text: str) -> float:
    return parse_decimal(text, 0, MOST_SECONDS, "seconds")


def _rate(text: str) -> float:
    return parse_decimal(text, 0, MOST_RATE)


def _count(text: str) -> int:
    return parse_whole(text, 0, MOST_COUNT)


_LIMITS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "idle": ("idle_timeout", _seconds),
    "stall": ("stall_timeout", _seconds),
    "handshake": ("handshake_timeout", _seconds),
    "queueLimit": ("queue_limit", partial(parse_whole, least=1, most=MOST_BYTES)),
}
_RULES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "maxConnections": ("max_connections", _count),
    "perAddress": ("max_per_address", _count),
    "acceptRate": ("accept_rate", _rate),
    "allow": ("allow", _ranges),
    "deny": ("deny", _ranges),
}


def guarded(
    endpoint: ServerEndpoint,
    reactor: Any,
    options: Mapping[str, str],
    watch: CertificateWatch | None = None,
) -> GuardedEndpoint:
    """Return a guarded endpoint, with the options of its string.

    :raises ValueError: an unknown option, or an invalid value; the message names it.
    """
    limits: dict[str, Any] = {}
    rules: dict[str, Any] = {"max_connections": most_connections()}
    for name, text in options.items():
        if name not in _LIMITS and name not in _RULES:
            tls = [] if watch is None else TLS_OPTIONS
            known = ", ".join([*_LIMITS, *_RULES, "reusePort", "ipv6Only", *tls])
            raise ValueError(f"{name}={text}: unknown option; the options are {known}")
        field, parse = (_LIMITS if name in _LIMITS else _RULES)[name]
        target = limits if name in _LIMITS else rules
        try:
            target[field] = parse(text)
        except ValueError as error:
            raise ValueError(f"{name}={shorten(text)}: {error}") from None
    return GuardedEndpoint(
        endpoint, reactor, replace(GUARD_LIMITS, **limits), AdmissionRules(**rules), watch
    )


def parse_net(reactor: Any, port: str, interface: str = "", **options: str) -> GuardedEndpoint:
    """Parse ``net:PORT[:interface=A][:reusePort=yes][:ipv6Only=yes][:OPTION=VALUE…]``.

    :raises ValueError: an invalid value; the message names it.
    """
    return guarded(_tuned(reactor, port, interface, options), plain(reactor), options)


def parse_nettls(
    reactor: Any,
    port: str,
    interface: str = "",
    cert: str = "",
    key: str = "",
    dir: str = "",
    clientCA: str = "",
    **options: str,
) -> GuardedEndpoint:
    """Parse ``nettls:PORT:cert=F:key=F[:clientCA=F][:OPTION=VALUE…]``, or with ``dir=D``.

    The options of ``net:`` are known too.

    :raises ValueError: an invalid value; the message names it.
    """
    if bool(dir) == bool(cert or key) or bool(cert) != bool(key):
        raise ValueError("either cert= and key= or dir= is required")
    if clientCA:
        options["clientCA"] = clientCA
    passphrase, rules = take_tls_options(options)
    try:
        if dir:
            certificates = Certificates.from_directory(dir, passphrase=passphrase, **rules)
        else:
            certificates = Certificates.from_files(cert, key, passphrase=passphrase, **rules)
    except CertificateError as error:
        raise ValueError(f"{OPTION_OF_SETTING[error.what]}={error.path}: {error}") from None
    clock = plain(reactor)
    tuned = _tuned(reactor, port, interface, options)
    endpoint = TLSServerEndpoint(tuned, certificates, clock)
    return guarded(endpoint, clock, options, CertificateWatch([certificates], clock))


def _tuned(
    reactor: Any, port: str, interface: str, options: MutableMapping[str, str]
) -> IStreamServerEndpoint:
    """Return the endpoint of a port, and remove the options about its socket."""
    bind = BindOptions(
        reuse_port=parse_yes_no("reusePort", options.pop("reusePort", "no")),
        ipv6_only=parse_yes_no("ipv6Only", options.pop("ipv6Only", "no")),
    )
    endpoint = tcp_endpoint(reactor, parse_port(port), interface, bind)
    return TunedServerEndpoint(endpoint, SocketOptions())
