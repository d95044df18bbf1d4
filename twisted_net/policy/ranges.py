"""Address ranges: parse them, and keep sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

# IPv4 addresses as IPv6 sockets show them (RFC 4291, 2.5.5.2).
_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_range(name: str, text: str) -> Network:
    """Parse an address range, ``10.0.0.0/8`` or ``2001:db8::/32``. A single address is valid too.

    A range of IPv4-mapped IPv6 addresses becomes the matching range of IPv4 addresses.

    :param name: what the range is for, such as the name of a flag; the error message starts with
        it.
    :raises ValueError: if it is not a range, or if the address has bits set after the prefix, as in
        ``10.1.2.3/8``. Such a range has two possible meanings, and a wrong guess would admit
        unwanted clients.
    """
    try:
        if ":" not in text:
            return IPv4Network(text)
        network = IPv6Network(text)
        if network.network_address.scope_id is not None:
            raise ValueError("a zone (%) is not allowed")
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is not an address range: {error}") from None
    return _unmapped(network)


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    mapped = int(network.network_address) & 0xFFFFFFFF
    return IPv4Network((mapped, network.prefixlen - _MAPPED.prefixlen))


@lru_cache(maxsize=4096)  # most clients disconnect or come back; parsing takes 4 us
def address_number(address: str) -> tuple[bool, int]:
    """Return whether an address is IPv6, and its bits. A mapped address counts as IPv4.

    :raises ValueError: if it is not an address.
    """
    if ":" not in address:
        return False, int(IPv4Address(address))
    bits = int(IPv6Address(address))
    if bits >> 32 == 0xFFFF:
        return False, bits & 0xFFFFFFFF
    return True, bits


def client_key(address: str) -> int:
    """Return the number under which a client counts: that of its IPv4 address or of its IPv6 /64.

    :raises ValueError: if it is not an address.
    """
    is_ipv6, bits = address_number(address)
    return (1 << 32) + (bits >> 64) if is_ipv6 else bits


def client_host(address: str) -> str:
    """Return a client's IPv4 address as it is, and the /64 of an IPv6 address as a range.

    Text that is not an address, such as the name of a host, is returned unchanged.
    """
    if ":" not in address:
        return address
    try:
        key = client_key(address)
    except ValueError:
        return address
    return f"{IPv6Address((key - (1 << 32)) << 64)}/64" if key >> 32 else str(IPv4Address(key))


class Ranges:
    """A set of addresses, given as ranges. It may be changed while it is in use.

    ``address in ranges`` costs one set look-up per distinct prefix length, however many ranges
    there are. Iterating gives the ranges, IPv4 first. Ranges may overlap: each is removed by
    itself.

    :param networks: the ranges; see :func:`parse_range`.
    """

    __slots__ = ("_by_shift",)

    def __init__(self, networks: Iterable[Network | str] = ()) -> None:
        # For each version, pairs of a shift and the prefixes that are left of addresses after it.
        # The shortest prefixes come first: they cover the most addresses.
        self._by_shift: tuple[list[_Prefixes], list[_Prefixes]] = ([], [])
        for network in networks:
            self.add(network)

    def __bool__(self) -> bool:
        """Return whether there are any ranges."""
        ipv4, ipv6 = self._by_shift
        return bool(ipv4 or ipv6)

    def __len__(self) -> int:
        """Return the number of ranges."""
        return sum(len(prefixes) for each in self._by_shift for _, prefixes in each)

    def __iter__(self) -> Iterator[Network]:
        ipv4, ipv6 = self._by_shift
        for shift, prefixes in ipv4:
            yield from (IPv4Network((each << shift, 32 - shift)) for each in sorted(prefixes))
        for shift, prefixes in ipv6:
            yield from (IPv6Network((each << shift, 128 - shift)) for each in sorted(prefixes))

    def __contains__(self, address: str) -> bool:
        """Return whether an address is in one of the ranges.

        :raises ValueError: if it is not an IP address.
        """
        is_ipv6, bits = address_number(address)
        return any(bits >> shift in prefixes for shift, prefixes in self._by_shift[is_ipv6])

    def add(self, network: Network | str) -> None:
        """Add a range, or a single address. Nothing changes if it is there already.

        :raises ValueError: if it is not a range; see :func:`parse_range`.
        """
        by_shift, shift, prefix = self._place(network)
        for known, prefixes in by_shift:
            if known == shift:
                prefixes.add(prefix)
                return
        by_shift.append((shift, {prefix}))
        by_shift.sort(key=_shift_of, reverse=True)

    def remove(self, network: Network | str) -> None:
        """Remove a range that was added.

        :raises ValueError: if it is none of the ranges, even if one of them includes it.
        """
        by_shift, shift, prefix = self._place(network)
        for position, (known, prefixes) in enumerate(by_shift):
            if known == shift and prefix in prefixes:
                prefixes.remove(prefix)
                if not prefixes:
                    del by_shift[position]
                return
        raise ValueError(f"{network} is not one of the ranges")

    def clear(self) -> None:
        """Remove all ranges."""
        for by_shift in self._by_shift:
            by_shift.clear()

    def _place(self, network: Network | str) -> tuple[list[_Prefixes], int, int]:
        if isinstance(network, str):
            network = parse_range("range", network)
        elif not isinstance(network, (IPv4Network, IPv6Network)):
            raise TypeError(f"range: must be text or an ip_network, not {network!r}")
        network = _unmapped(network)
        shift = network.max_prefixlen - network.prefixlen
        return self._by_shift[network.version == 6], shift, int(network.network_address) >> shift


def nearest_outside(addresses: Sequence[str | None], ranges: Ranges) -> str | None:
    """Return who has sent a request by way of proxies.

    :param addresses: those that the request has come from, the nearest last; None for one that is
        not known.
    :param ranges: the proxies that are trusted to tell the address before theirs.
    :return: the last address that is no such proxy; if all are, the first. None if it is not
        known.
    """
    for each in reversed(addresses):
        if each is None or each not in ranges:
            return each
    return addresses[0] if addresses else None


_Prefixes: TypeAlias = tuple[int, set[int]]


def _shift_of(prefixes: _Prefixes) -> int:
    return prefixes[0]
