"""Endpoint strings of ours: ``net:8080:idle=60:perAddress=20`` guards any factory.

They work wherever Twisted takes a server endpoint: ``twistd web --listen net:8080:idle=60``.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from twisted_net.policy.admission import Admission, AdmissionRules, Network, parse_range
from twisted_net.policy.limits import Limits
from twisted_net.transport.descriptors import log_rarely, most_connections
from twisted_net.transport.guard import GuardFactory

BACKLOG = 1024
"""Connections that wait to be accepted: Thousand Island and Ranch have 1024, Node 511."""


def tcp_endpoint(reactor: Any, port: int, interface: str = "") -> IStreamServerEndpoint:
    """Give the endpoint of a port.

    :param interface: an IP address; empty: all, with one socket for IPv4 and IPv6 as Node's, or
        for IPv4 alone where the machine has no IPv6.
    """
    if not interface:
        interface = "::" if socket.has_dualstack_ipv6() else ""
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(reactor, port, BACKLOG, interface)


@implementer(IStreamServerEndpoint)
class GuardedEndpoint:
    """Listens with a guard before whatever factory it is given.

    :param endpoint: where to listen.
    :param reactor: the time.
    :param limits: how much is allowed.
    :param rules: who may connect.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        reactor: Any,
        limits: Limits,
        rules: AdmissionRules,
    ) -> None:
        self._endpoint = endpoint
        self._reactor = reactor
        self._limits = limits
        self._rules = rules

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        def listening(port: IListeningPort) -> IListeningPort:
            log_rarely(port, self._reactor)
            return port

        guard: Any = GuardFactory(
            protocolFactory,
            clock=self._reactor,
            limits=self._limits,
            admission=Admission(self._rules),
        )
        return self._endpoint.listen(guard).addCallback(listening)


def _ranges(text: str) -> tuple[Network, ...]:
    return tuple(parse_range("a part of it", each) for each in text.split(","))


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError
    return int(text)


_LIMITS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "idle": ("idle_timeout", _number),
    "stall": ("stall_timeout", _number),
    "handshake": ("handshake_timeout", _number),
    "queueLimit": ("queue_limit", _whole),
}
_RULES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "maxConnections": ("max_connections", _whole),
    "perAddress": ("max_per_address", _whole),
    "acceptRate": ("accept_rate", _number),
    "allow": ("allow", _ranges),
    "deny": ("deny", _ranges),
}


_WHY: Mapping[Callable[[str], Any], str] = {
    _number: "not a number, 0 or more",
    _whole: "not a whole number",
}


def guarded(
    endpoint: IStreamServerEndpoint, reactor: Any, options: Mapping[str, str]
) -> GuardedEndpoint:
    """Give a guarded endpoint, with the options of its string.

    :raises ValueError: an unknown option, or a value that makes no sense; names it.
    """
    limits: dict[str, Any] = {}
    rules: dict[str, Any] = {"max_connections": most_connections()}
    for name, text in options.items():
        if name not in _LIMITS and name not in _RULES:
            known = ", ".join([*_LIMITS, *_RULES])
            raise ValueError(f"{name}={text}: there is no such option, but {known}")
        of, target = (Limits, limits) if name in _LIMITS else (AdmissionRules, rules)
        field, parse = (_LIMITS if name in _LIMITS else _RULES)[name]
        try:
            target[field] = parse(text)
            of(**{field: target[field]})
        except ValueError as error:
            why = _WHY.get(parse, str(error))
            raise ValueError(f"{name}={text}: {why}") from None
    return GuardedEndpoint(endpoint, reactor, Limits(**limits), AdmissionRules(**rules))


def parse_net(reactor: Any, port: str, interface: str = "", **options: str) -> GuardedEndpoint:
    """Parse ``net:PORT[:interface=A][:OPTION=VALUE…]``.

    :raises ValueError: names what makes no sense.
    """
    return guarded(tcp_endpoint(reactor, port_number(port), interface), reactor, options)


def port_number(text: str) -> int:
    """:raises ValueError: no number from 0 to 65535."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError(f"{text}: not a port, a whole number from 0 to 65535")
    return int(text)
