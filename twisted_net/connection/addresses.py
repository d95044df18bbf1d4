"""Convert addresses between Twisted's objects, PROXY headers and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader
from twisted_net.wire.text import printable


def normalize_mapped(address: IAddress) -> IAddress:
    """Convert an IPv4-mapped IPv6 address to plain IPv4; return other addresses unchanged.

    A socket that accepts both IPv6 and IPv4 reports its IPv4 peers as mapped addresses.
    """
    if isinstance(address, IPv6Address) and address.host.startswith("::ffff:"):
        return IPv4Address(address.type, address.host[7:], address.port)
    return address


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class PipeAddress:
    """The address of a pipe to a process, which has none."""

    name: str = "pipe"


PIPE = PipeAddress()
"""The address of every pipe."""


def address_of(get: Callable[[], Any]) -> Any:
    """Return an address from ``getHost`` or ``getPeer`` of a transport.

    :return: the address, as from :func:`normalize_mapped`; :data:`PIPE` if the transport has none.
    """
    try:
        return normalize_mapped(get())
    except NotImplementedError:  # the transport of a process
        return PIPE


def format_peer(transport: Any) -> str:
    """Format the remote address of a transport; see :func:`format_address`."""
    return format_address(address_of(transport.getPeer))


def format_address(address: Any) -> str:
    """Format an address as ``127.0.0.1:8080``, ``[::1]:8080``, or the path of a Unix socket.

    The name of an abstract Unix socket starts with ``@``, as ``ss`` shows it. Unprintable
    characters are removed: clients choose the names of their Unix sockets, and these names end up
    in logs.
    """
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", address)
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
        if text.startswith("\0"):
            text = "@" + text[1:]
        return printable(text) or "unix"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def proxied_addresses(header: ProxyHeader) -> tuple[IAddress, IAddress] | None:
    """Return the addresses of the client and of its destination, as a proxy sent them.

    :return: None if the header has no addresses; the connection's own addresses then apply.
    """
    if header.source is None or header.destination is None:
        return None
    return _address(header, header.source), _address(header, header.destination)


def _address(header: ProxyHeader, endpoint: Endpoint) -> IAddress:
    host, port = endpoint
    if header.family is Family.UNIX:
        return UNIXAddress(host.encode("utf-8", "surrogateescape") or None)
    kind = IPv4Address if header.family is Family.IPV4 else IPv6Address
    return kind("UDP" if header.datagram else "TCP", host, port)


def export_address(address: IAddress) -> list[Any]:
    """Return the parts of an IP address, for :func:`restore_address` in another process."""
    found: Any = address
    return [found.type, found.host, found.port]


def restore_address(parts: Sequence[Any]) -> IAddress:
    """Return the IP address of :func:`export_address`."""
    kind, host, port = parts
    return (IPv6Address if ":" in host else IPv4Address)(kind, host, port)


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback IP address; also one that is mapped to IPv6."""
    try:
        return ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False
