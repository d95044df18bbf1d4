"""Listening: the counterpart of ``connect()``, and the main function of a server's program."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from twisted_net.connection.addresses import format_address
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.endpoints.descriptions import find_server_port
from twisted_net.endpoints.listening import ListenFailed
from twisted_net.endpoints.socket_options import TunedServerEndpoint
from twisted_net.interfaces import ProtocolFactory, ServerEndpoint
from twisted_net.wire.numbers import parse_port, shorten

Served: TypeAlias = Callable[[], Connection] | ProtocolFactory


def listen(reactor: Any, where: str | ServerEndpoint, protocol: Served) -> Deferred[IListeningPort]:
    """Listen, and serve each client that connects.

    :param where: an endpoint string such as ``"tcp:8080"``, or one of Twisted's server endpoints.
        Connections of a string have keepalive and TCP_NODELAY, as those of ``connect()`` have; an
        endpoint is used as it is.
    :param protocol: a :class:`Connection` class, or any Twisted factory.
    :return: fires with the port; fails with :exc:`ListenFailed`.
    :raises ValueError: the string is no endpoint; the message says what to write.
    """
    endpoint, label = _endpoint(reactor, where)
    factory: Any = protocol
    if not hasattr(protocol, "buildProtocol"):
        factory = ConnectionFactory.forProtocol(protocol, clock=reactor)
    return Deferred.fromCoroutine(_listen(endpoint, factory, label))


async def serve(
    reactor: Any,
    where: str | ServerEndpoint,
    protocol: Served,
    *more: tuple[str | ServerEndpoint, Served],
) -> None:
    """Listen, print where, and serve until the program is stopped.

    This is the main function of a program: ``task.react(serve, ("tcp:8080", Shout))``. If it cannot
    listen, the program ends with one line that says why, and status 1.

    :param where: as in :func:`listen`; so is ``protocol``.
    :param more: more pairs of both.
    """
    try:
        for place, served in ((where, protocol), *more):
            port = await listen(reactor, place, served)
            host = port.getHost()
            number = getattr(host, "port", None)
            print(
                "Listening on",
                format_address(host) if number is None else f"port {number}",
                flush=True,  # a pipe or a log file would show it only at the end
            )
    except (ListenFailed, ValueError) as error:
        sys.exit(f"Cannot listen: {error}")
    await Deferred()


async def _listen(endpoint: ServerEndpoint, factory: Any, label: str) -> IListeningPort:
    try:
        port: IListeningPort = await endpoint.listen(factory)
    except Exception as error:
        if isinstance(error, CannotListenError) and error.port and not label:
            label = f"port {error.port}"
        raise ListenFailed(label or type(endpoint).__name__, error) from error
    return port


def _endpoint(reactor: Any, where: str | ServerEndpoint) -> tuple[ServerEndpoint, str]:
    """Return the endpoint, and its name for errors; empty if it has none."""
    if not isinstance(where, str) and hasattr(where, "listen"):
        return where, ""
    advice = "write 'tcp:PORT'"
    if isinstance(where, int) or (isinstance(where, str) and re.fullmatch("[0-9]+", where)):
        advice = f"write 'tcp:{where}'"
    if not isinstance(where, str):
        raise ValueError(f"{shorten(repr(where))} is no endpoint: {advice}")
    port = find_server_port(where)
    if port is not None:
        parse_port(port)
    try:
        endpoint: ServerEndpoint = serverFromString(eager(reactor), where)  # type: ignore[no-untyped-call]
        return TunedServerEndpoint(endpoint), where
    except (TypeError, ValueError) as error:
        problem = " ".join(str(error).split())
        if isinstance(error, TypeError):
            problem = "parts are missing, or there are too many"
    raise ValueError(f"endpoint {shorten(where)!r}: {problem}; {advice}")
