"""Decide which clients may connect: by total count, count per address, rate, and address range.

Every connection that the kernel accepts is checked, before TLS and before a protocol is made. So a
rejection must be cheap, and a flood must not make the table grow.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY, CloseReason
from twisted_net.policy.limits import at_least
from twisted_net.policy.rate import TokenBucket

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
    if network.subnet_of(_MAPPED):
        mapped = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((mapped, network.prefixlen - _MAPPED.prefixlen))
    return network


@lru_cache(maxsize=4096)  # most clients disconnect or come back; parsing takes 4 us
def _number(address: str) -> tuple[bool, int]:
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
    is_ipv6, bits = _number(address)
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
    """A set of addresses, given as ranges.

    ``address in ranges`` costs one set look-up per distinct prefix length, however many ranges
    there are.

    :param networks: the ranges; see :func:`parse_range`.
    """

    __slots__ = ("_by_shift",)

    def __init__(self, networks: Iterable[Network]) -> None:
        by_shift: tuple[dict[int, set[int]], dict[int, set[int]]] = ({}, {})
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            prefixes = by_shift[network.version == 6].setdefault(shift, set())
            prefixes.add(int(network.network_address) >> shift)
        # The shortest prefixes first: they cover the most addresses.
        self._by_shift = tuple(sorted(each.items(), reverse=True) for each in by_shift)

    def __bool__(self) -> bool:
        """Return whether there are any ranges."""
        return any(self._by_shift)

    def __contains__(self, address: str) -> bool:
        """Return whether an address is in one of the ranges.

        :raises ValueError: if it is not an IP address.
        """
        is_ipv6, bits = _number(address)
        return any(bits >> shift in prefixes for shift, prefixes in self._by_shift[is_ipv6])


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """The rules for who may connect. Without rules, all clients may.

    An "address" here is an IPv4 address, or the /64 of an IPv6 address. A /64 is the least that a
    provider gives to one customer (RFC 6177), so changing addresses within it costs a client
    nothing.

    :ivar max_connections: the most open connections in total; 0 means no limit.
    :ivar max_per_address: the most open connections per address; 0, the default, means no limit,
        because many people may share an address, and all clients do behind a proxy.
    :ivar accept_rate: the connections per second that an address may make on average; 0 means no
        limit. Attempts rejected for another reason count too, as in HAProxy's ``conn_rate``.
    :ivar accept_burst: the connections that it may make at once after a pause. A browser opens 6 to
        a host.
    :ivar ban: the seconds for which an address that was too fast is rejected. Attempts during the
        ban do not prolong it. With 0, only the rate decides about each attempt.
    :ivar allow: if not empty, only these addresses may connect.
    :ivar deny: these addresses may not connect, even if ``allow`` includes them. (In nginx, the
        first matching rule wins. Here the order does not matter, so it cannot be wrong.)
    :ivar exempt_local: whether loopback addresses and Unix sockets are exempt from the limits per
        address.
    :ivar remembered: the most addresses without a connection to remember, for the rate and the ban.
        The least recently active one is forgotten first and then counts as new. Each takes less
        than 400 bytes.
    :raises ValueError: if a value is invalid; the message names it.
    """

    max_connections: int = 0
    max_per_address: int = 0
    accept_rate: float = 0.0
    accept_burst: int = 20
    ban: float = 10.0
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    exempt_local: bool = True
    remembered: int = 16384

    def __post_init__(self) -> None:
        at_least("max_connections", self.max_connections, 0)
        at_least("max_per_address", self.max_per_address, 0)
        at_least("accept_rate", self.accept_rate, 0)
        at_least("accept_burst", self.accept_burst, 1)
        at_least("ban", self.ban, 0)
        at_least("remembered", self.remembered, 1)


class _Address:
    """What is known about one address.

    :ivar open: its open connections.
    :ivar changed: when it last passed the rate limit or was banned.
    """

    __slots__ = ("banned_at", "bucket", "changed", "open")

    def __init__(self, rules: AdmissionRules) -> None:
        self.open = 0
        self.changed = self.banned_at = -math.inf
        self.bucket: TokenBucket | None = None
        if rules.accept_rate:
            self.bucket = TokenBucket(rules.accept_rate, rules.accept_burst)

    def is_too_fast(self, ban: float, now: float) -> bool:
        """Count an attempt against the rate, and return whether it exceeds it."""
        if self.bucket is None:
            return False
        if 0 <= now - self.banned_at < ban:
            return True
        self.changed = now
        if self.bucket.wait(1, now):
            self.banned_at = now
            return True
        self.bucket.take(1, now)
        return False


class Admission:
    """Decide which clients may connect, and count those that are connected.

    Each admitted connection must :meth:`leave` once, with the address that it came from.

    Ranges do not apply to Unix sockets, which have no address; use file permissions there. Times
    are in seconds, from any clock. If the clock is set back, no ban lasts longer than its full
    length from then on.

    :param rules: see :class:`AdmissionRules`.
    :ivar open: the admitted connections that have not left.
    :ivar refused: the number of rejected connections, by the code of the reason.
    """

    __slots__ = (
        "_allow",
        "_connected",
        "_deny",
        "_lifetime",
        "_now",
        "_quiet",
        "_rules",
        "_total_only",
        "open",
        "refused",
    )

    def __init__(self, rules: AdmissionRules) -> None:
        self._rules = rules
        self.open = 0
        self.refused = {reason.code: 0 for reason in (FULL, TOO_MANY, TOO_FAST, DENIED)}
        self._total_only = not (
            rules.max_per_address or rules.accept_rate or rules.allow or rules.deny
        )
        self._allow = Ranges(rules.allow)
        self._deny = Ranges(rules.deny)
        # After this time without a change, an address is like a new one: its ban is over and its
        # bucket is full.
        rate = rules.accept_rate
        self._lifetime = max(rules.ban, rules.accept_burst / rate) if rate else 0.0
        self._connected: dict[int, _Address] = {}
        # Addresses without a connection, the most recently active last. Not a plain dictionary,
        # which gets slow when its first entry is removed again and again.
        self._quiet: OrderedDict[int, _Address] = OrderedDict()
        self._now = -math.inf

    @property
    def addresses(self) -> int:
        """The number of addresses in the table: those connected and those remembered."""
        return len(self._connected) + len(self._quiet)

    def admit(self, address: str | None, now: float) -> CloseReason | None:
        """Decide about a connection that was just accepted.

        :param address: the peer's IP address; None for a Unix socket.
        :param now: the time in seconds.
        :return: None if the connection is admitted; it is then counted. Otherwise the reason: the
            first that applies of ``denied``, ``too-fast``, ``full`` and ``too-many``.
        :raises ValueError: if it is not an IP address; nothing is counted.
        """
        if self._total_only:
            if address is not None:
                _number(address)
            if 0 < self._rules.max_connections <= self.open:
                self.refused[FULL.code] += 1
                return FULL
            self.open += 1
            return None
        key = self._key(address)
        if address is not None and self._is_denied(address):
            reason: CloseReason | None = DENIED
        elif key is None:
            reason = self._is_full()
        else:
            reason = self._count_in(key, now)
        if reason is None:
            self.open += 1
        else:
            self.refused[reason.code] += 1
        return reason

    def leave(self, address: str | None) -> None:
        """Count out an admitted connection. Its place is free at once.

        :raises ValueError: if there is no open connection from this address.
        """
        key = None if self._total_only else self._key(address)
        known = None if key is None else self._connected.get(key)
        if not self.open or (key is not None and known is None):
            raise ValueError(f"there is no open connection from {address!r}")
        self.open -= 1
        if key is not None and known is not None:
            known.open -= 1
            if not known.open:
                del self._connected[key]
                self._remember(key, known)

    def _key(self, address: str | None) -> int | None:
        """Return the key under which an address is counted; None if it has no own limits."""
        rules = self._rules
        if address is None:
            is_local, key = True, -1
        else:
            is_ipv6, bits = _number(address)
            is_local = bits == 1 if is_ipv6 else bits >> 24 == 127
            key = client_key(address)
        if is_local and rules.exempt_local:
            return None
        return key if rules.max_per_address or rules.accept_rate else None

    def _is_denied(self, address: str) -> bool:
        return address in self._deny or bool(self._allow and address not in self._allow)

    def _is_full(self) -> CloseReason | None:
        return FULL if 0 < self._rules.max_connections <= self.open else None

    def _count_in(self, key: int, now: float) -> CloseReason | None:
        """Decide about an address that has its own count."""
        rules = self._rules
        self._now = now
        self._expire()
        known = self._connected.get(key) or self._quiet.pop(key, None) or _Address(rules)
        if known.is_too_fast(rules.ban, now):
            reason: CloseReason | None = TOO_FAST
        elif 0 < rules.max_per_address <= known.open:
            reason = self._is_full() or TOO_MANY
        else:
            reason = self._is_full()
        if reason is None:
            known.open += 1
            self._connected[key] = known
        elif not known.open:
            self._remember(key, known)
        return reason

    def _remember(self, key: int, known: _Address) -> None:
        """Keep what is known about an address without a connection, if it still matters."""
        if self._is_outdated(known):
            return
        self._quiet[key] = known
        if len(self._quiet) > self._rules.remembered:
            self._quiet.popitem(last=False)

    def _expire(self) -> None:
        # Remove up to two for each one that may be added. So outdated entries become fewer, and no
        # attempt pays for many.
        for _ in range(min(2, len(self._quiet))):
            key = next(iter(self._quiet))
            if not self._is_outdated(self._quiet[key]):
                return
            del self._quiet[key]

    def _is_outdated(self, known: _Address) -> bool:
        return self._now - known.changed >= self._lifetime
