"""Listening on sockets with options that must be set before they are bound."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface import implementer

from twisted_net.eager.inherited import take_inherited
from twisted_net.interfaces import AnyInterface, ProtocolFactory

ANY_ADDRESS = "::"


@dataclass(frozen=True, slots=True)
class BindOptions:
    """What a listening socket is told before it is bound.

    :ivar reuse_port: whether other processes may listen on the same port, if they say so too: the
        kernel then spreads new connections among them (``SO_REUSEPORT`` in socket(7)).
    :ivar ipv6_only: whether a socket for all addresses leaves those of IPv4 to others (RFC 3493,
        section 5.3).
    """

    reuse_port: bool = False
    ipv6_only: bool = False

    def check(self, interface: str) -> None:
        """Check that the options suit an address.

        :raises ValueError: IPv6 only, of an IPv4 address.
        """
        if self.ipv6_only and interface and ":" not in interface:
            raise ValueError(f"IPv6 only, but {interface} is an IPv4 address")


DEFAULT_BIND_OPTIONS = BindOptions()


@implementer(IStreamServerEndpoint)
class BoundServerEndpoint(AnyInterface):
    """Listens on a TCP socket that it makes itself; by default, for IPv6 and IPv4.

    Whether a socket for all addresses takes IPv4 too is the system's setting,
    ``net.ipv6.bindv6only``, unless the program sets the option before it binds. Twisted's ports set
    neither that option nor ``SO_REUSEPORT``, so this endpoint makes the socket, and the reactor
    adopts it.

    :param reactor: one of Twisted's POSIX reactors, or an eager view of one.
    :param port: a port; 0 means a free one.
    :param backlog: connections that may wait to be accepted.
    :param interface: an IP address.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        backlog: int,
        interface: str = ANY_ADDRESS,
        options: BindOptions = DEFAULT_BIND_OPTIONS,
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._backlog = backlog
        self._interface = interface
        self._options = options

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        inherited = take_inherited()
        if inherited is not None:
            with inherited:
                adopt = self._reactor.adoptStreamPort
                return execute(adopt, inherited.fileno(), inherited.family, protocolFactory)
        handed = getattr(self._reactor, "listen_handed", None)
        if handed is not None:  # another process holds the socket, and hands over what it accepts
            return execute(handed, protocolFactory)
        family = socket.AF_INET6 if ":" in self._interface else socket.AF_INET
        everywhere = self._interface == ANY_ADDRESS
        try:
            listening = socket.create_server(
                (self._interface, self._port),
                family=family,
                backlog=self._backlog,
                reuse_port=self._options.reuse_port,
                dualstack_ipv6=everywhere and not self._options.ipv6_only,
            )
        except OSError as error:
            # create_server() adds the address to the text, in its own notation.
            cause = error if error.errno is None else OSError(error.errno, os.strerror(error.errno))
            refused = CannotListenError(self._interface, self._port, cause)  # type: ignore[no-untyped-call]
            return fail(refused)
        with listening:  # the reactor takes a copy
            listening.setblocking(False)
            adopt = self._reactor.adoptStreamPort
            return execute(adopt, listening.fileno(), family, protocolFactory)
