"""Listening for IPv6 and IPv4 on one socket."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface import implementer

from twisted_net.interfaces import AnyInterface, ProtocolFactory

ANY_ADDRESS = "::"


@implementer(IStreamServerEndpoint)
class DualStackServerEndpoint(AnyInterface):
    """Listens on all addresses, with one TCP socket for IPv6 and IPv4 (RFC 3493, section 5.3).

    Whether such a socket takes IPv4 is the system's setting, ``net.ipv6.bindv6only``, unless the
    program sets the option before it binds. Twisted's ports do not, so this endpoint makes the
    socket, and the reactor adopts it.

    :param reactor: one of Twisted's POSIX reactors, or an eager view of one.
    :param port: a port; 0 means a free one.
    :param backlog: connections that may wait to be accepted.
    """

    def __init__(self, reactor: Any, port: int, backlog: int) -> None:
        self._reactor = reactor
        self._port = port
        self._backlog = backlog

    def listen(self, protocolFactory: ProtocolFactory) -> Deferred[Any]:
        try:
            listening = socket.create_server(
                (ANY_ADDRESS, self._port),
                family=socket.AF_INET6,
                backlog=self._backlog,
                dualstack_ipv6=True,
            )
        except OSError as error:
            # create_server() adds the address to the text, in its own notation.
            cause = error if error.errno is None else OSError(error.errno, os.strerror(error.errno))
            refused = CannotListenError(ANY_ADDRESS, self._port, cause)  # type: ignore[no-untyped-call]
            return fail(refused)
        with listening:  # the reactor takes a copy
            listening.setblocking(False)
            adopt = self._reactor.adoptStreamPort
            return execute(adopt, listening.fileno(), socket.AF_INET6, protocolFactory)
