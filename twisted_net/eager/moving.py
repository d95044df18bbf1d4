"""Move plain connections and listening sockets from one process to another.

A descriptor that is passed over a Unix socket (``SCM_RIGHTS`` in unix(7)) is another name of the
same connection. So the process that gives it away must not call ``shutdown``, which would end the
connection for both: :func:`release` only forgets the descriptor and closes it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twisted_net.eager.ports import EagerServer, EagerUNIXServer
from twisted_net.eager.privates import Group, drop_unsent, is_ending, unsent_bytes, usable
from twisted_net.eager.transports import Eager

_MOVABLE = (tcp.Server, tcp.Client, unix.Server, unix.Client)


def can_move(transport: Any) -> bool:
    """Return whether a transport can be moved: it is plain TCP or a Unix socket, and open."""
    return (
        usable(Group.TRANSPORTS)
        and isinstance(transport, _MOVABLE)
        and not transport.TLS
        and bool(transport.connected)
        and not is_ending(transport)
    )


def export_transport(transport: Any) -> dict[str, Any]:
    """Return what the transport holds, besides its descriptor."""
    unsent = unsent_bytes(transport)
    found: dict[str, Any] = {"peer": _peer(transport), "family": int(transport.socket.family)}
    if isinstance(transport, Eager):
        found["eager"] = True
    if unsent:
        found["unsent"] = unsent
    if transport.producerPaused:
        found["full"] = True
    return found


def release(transport: Any) -> None:
    """Give a connection up that another process has, and do nothing to it."""
    transport.stopReading()
    transport.stopWriting()
    if isinstance(transport, Eager):
        transport.unregisterProducer()
        transport.closer = None
    transport.producer = None
    drop_unsent(transport)
    transport.connected, transport.disconnected = 0, 1
    transport.socket.close()


def adopt_transport(
    reactor: Any, descriptor: int, state: dict[str, Any], make: Callable[[Any], Any]
) -> Any:
    """Return a transport for a connection of another process, and connect it with its protocol.

    :param reactor: the reactor itself, and not a view of it.
    :param descriptor: the connection; it belongs to the transport from now on.
    :param state: from :func:`export_transport`.
    :param make: returns the protocol for the address of the peer.
    """
    sock = socket.socket(fileno=descriptor)
    is_unix = state["family"] == socket.AF_UNIX
    peer: Any = state["peer"] if is_unix else tuple(state["peer"])
    kinds = (tcp.Server, EagerServer), (unix.Server, EagerUNIXServer)
    kind: Any = kinds[is_unix][state.get("eager", False)]
    protocol = make(_address_of(state["family"], peer))
    sock.setblocking(False)
    transport = kind(sock, protocol, peer, None, 0, reactor)
    transport.repstr = f"<{type(protocol).__name__} #0, adopted>"
    unsent = state.get("unsent", b"")
    if unsent:
        transport.dataBuffer, transport.offset = unsent, 0
    return transport


def resume_transport(transport: Any, state: dict[str, Any]) -> None:
    """Let an adopted transport send what is unsent. Its producer is registered already."""
    transport.producerPaused = state.get("full", False)
    if transport.producerPaused or transport.dataBuffer:
        transport.startWriting()


def _peer(transport: Any) -> Any:
    """Return the address of the peer itself, even if a proxy has told another one."""
    if isinstance(transport, tcp.Server):
        return transport.hostname if isinstance(transport, unix.Server) else list(transport.client)
    address = type(transport).getPeer(transport)
    if isinstance(address, UNIXAddress):
        return address.name
    # Twisted tells IPv6 by the length of this.
    return [address.host, address.port, *((0, 0) if isinstance(address, IPv6Address) else ())]


def _address_of(family: int, peer: Any) -> Any:
    if family == socket.AF_UNIX:
        return UNIXAddress(peer or None)
    return (IPv6Address if family == socket.AF_INET6 else IPv4Address)("TCP", *peer)


def release_port(port: Any) -> None:
    """Give a listening socket up that another process has, and leave the path of a Unix socket."""
    port.stopReading()
    port.connected = False
    port.socket.close()
