"""Addresses as people write them."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress


def unmapped(address: IAddress) -> IAddress:
    """Give an IPv4 address as such, also where it came to a socket that speaks IPv6 too."""
    if isinstance(address, IPv6Address) and address.host.startswith("::ffff:"):
        return IPv4Address(address.type, address.host[7:], address.port)
    return address


def shown(address: Any) -> str:
    """Give an address as ``127.0.0.1:8080``, ``[::1]:8080``, or a Unix socket's path."""
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", address)
        return (
            name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
        ) or "unix"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
