"""Addresses as people write them, and as Twisted has them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader
from twisted_net.wire.text import printable


def normalize_mapped(address: IAddress) -> IAddress:
    """Give an IPv4 address as such, also where it came to a socket that speaks IPv6 too."""
    if isinstance(address, IPv6Address) and address.host.startswith("::ffff:"):
        return IPv4Address(address.type, address.host[7:], address.port)
    return address


def format_address(address: Any) -> str:
    """Give an address as ``127.0.0.1:8080``, ``[::1]:8080``, or a Unix socket's path.

    An abstract Unix socket's name has an ``@`` first, as ``ss`` shows it. What is not printable
    is taken out: a client gives its Unix socket any name, and this ends in logs.
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
    """Give the client's address, and the one that it connected to, as a proxy tells them.

    :return: None where the proxy does not, and the connection's own addresses count.
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


def is_loopback(host: str) -> bool:
    """Whether an IP address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
