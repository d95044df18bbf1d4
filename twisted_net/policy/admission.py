"""Decide which clients may connect: by total count, count per address, rate, and address range.

Every connection that the kernel accepts is checked, before TLS and before a protocol is made. So a
rejection must be cheap, and a flood must not make the table grow.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict, Unpack
from weakref import WeakSet

from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY, CloseReason
from twisted_net.policy.keywords import check_keywords
from twisted_net.policy.limits import at_least
from twisted_net.policy.ranges import Network, Ranges, address_number, client_key
from twisted_net.policy.rate import TokenBucket


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


class RuleChanges(TypedDict, total=False):
    """The rules as keyword arguments, to change a few of them; see :class:`AdmissionRules`."""

    max_connections: int
    max_per_address: int
    accept_rate: float
    accept_burst: int
    ban: float
    allow: tuple[Network, ...]
    deny: tuple[Network, ...]
    exempt_local: bool
    remembered: int


_RULE_NAMES = frozenset(RuleChanges.__annotations__)

EXEMPT = "exempt"
"""Stands for the address of a connection that counts in total alone; see :meth:`admit_proxy`."""


class Admitting(Protocol):
    """A factory whose connections an :class:`Admission` counts."""

    def admitted_by(self, admission: Admission, /) -> Iterable[str | None]:
        """Return the addresses of the open connections that ``admission`` has let in."""


class _Address:
    """What is known about one address.

    :ivar open: its open connections.
    :ivar changed: when it last passed the rate limit or was banned.
    """

    __slots__ = ("banned_at", "bucket", "changed", "open")

    def __init__(self, rules: AdmissionRules) -> None:
        self.open = 0
        self.changed = self.banned_at = -math.inf
        self.follow(rules)

    def follow(self, rules: AdmissionRules) -> None:
        """Count by the rate of these rules from now on."""
        self.bucket: TokenBucket | None = None
        if rules.accept_rate:
            self.bucket = TokenBucket(rules.accept_rate, rules.accept_burst)

    def export_state(self, now: float) -> list[Any]:
        """Return the bucket, and how long ago it changed and was banned; None for never."""
        ages = [None if math.isinf(at) else now - at for at in (self.changed, self.banned_at)]
        return [None if self.bucket is None else self.bucket.export_state(now), *ages]

    def restore_state(self, state: Sequence[Any], now: float) -> None:
        """Take what another process knows about the address."""
        bucket, *ages = state
        if bucket is not None and self.bucket is not None:
            self.bucket.restore_state(bucket, now)
        self.changed, self.banned_at = (-math.inf if age is None else now - age for age in ages)

    def is_banned(self, ban: float, now: float) -> bool:
        """Return whether it was too fast, and so is rejected for a while."""
        return self.bucket is not None and 0 <= now - self.banned_at < ban

    def is_too_fast(self, ban: float, now: float) -> bool:
        """Count an attempt against the rate, and return whether it exceeds it."""
        if self.bucket is None:
            return False
        if self.is_banned(ban, now):
            return True
        self.changed = now
        if self.bucket.wait(1, now):
            self.banned_at = now
            return True
        self.bucket.take(1, now)
        return False


class Admission:
    """Decide which clients may connect, and count those that are connected.

    Each admitted connection must :meth:`leave` once, with the address that it came from, or to
    which it was moved.

    Everything may change while it is in use: ranges by :attr:`allowed` and :attr:`denied`, the
    maxima by :meth:`change`. What has changed counts for new connections. Open ones stay; see
    :meth:`ConnectionFactory.close_denied`.

    Ranges do not apply to Unix sockets, which have no address; use file permissions there. Times
    are in seconds, from any clock. If the clock is set back, no ban lasts longer than its full
    length from then on.

    :param rules: see :class:`AdmissionRules`.
    :ivar allowed: the ranges that may connect. While it is empty, all may: add the new range before
        you remove the last old one.
    :ivar denied: the ranges that may not connect.
    :ivar open: the admitted connections that have not left.
    :ivar refused: the number of rejected connections, by the code of the reason.
    """

    __slots__ = (
        "_connected",
        "_factories",
        "_lifetime",
        "_now",
        "_quiet",
        "_rules",
        "_total_only",
        "_uncounted",
        "allowed",
        "denied",
        "open",
        "refused",
    )

    def __init__(self, rules: AdmissionRules) -> None:
        self.open = 0
        self.refused = {reason.code: 0 for reason in (FULL, TOO_MANY, TOO_FAST, DENIED)}
        self.allowed = Ranges(rules.allow)
        self.denied = Ranges(rules.deny)
        self._connected: dict[int, _Address] = {}
        # Addresses without a connection, the most recently active last. Not a plain dictionary,
        # which gets slow when its first entry is removed again and again.
        self._quiet: OrderedDict[int, _Address] = OrderedDict()
        self._now = 0.0
        self._factories: WeakSet[Admitting] = WeakSet()
        self._uncounted = 0  # open, and in no count per address, although they have an address
        self._follow(rules)

    @property
    def rules(self) -> AdmissionRules:
        """The rules as they are now."""
        return replace(self._rules, allow=tuple(self.allowed), deny=tuple(self.denied))

    @property
    def factories(self) -> int:
        """The number of factories that it serves."""
        return len(self._factories)

    def serve(self, factory: Admitting) -> None:
        """Remember who knows the open connections: a change of rules may have to count them."""
        self._factories.add(factory)

    def change(self, **changes: Unpack[RuleChanges]) -> None:
        """Change some rules, by name; see :class:`AdmissionRules`. Nobody is closed.

        Open connections count for a new maximum, too. A new rate begins with a whole burst.

        :raises ValueError: if a value is invalid; then nothing changes.
        :raises TypeError: if there is no such rule.
        """
        check_keywords(self.change, changes, _RULE_NAMES)
        before, rules = self._rules, replace(self._rules, **changes)
        for name, ranges in ("allow", self.allowed), ("deny", self.denied):
            if name in changes:
                networks = Ranges(getattr(rules, name))
                ranges.clear()
                for network in networks:
                    ranges.add(network)
        self._follow(rules)
        if _who_counts(rules) != _who_counts(before):
            self._count_again()
        for known in (*self._connected.values(), *self._quiet.values()):
            known.follow(rules)
        while len(self._quiet) > rules.remembered:
            self._quiet.popitem(last=False)

    def _follow(self, rules: AdmissionRules) -> None:
        self._rules = rules
        self._lifetime = _lifetime(rules)
        counts, _ = _who_counts(rules)
        self._total_only = not counts  # no address has a count of its own

    def _count_again(self) -> None:
        """Count the open connections of each address, because others count than before."""
        known = {**self._quiet, **self._connected}
        for each in known.values():
            each.open = 0
        self._connected.clear()
        self._quiet.clear()
        self._uncounted = self.open
        for factory in self._factories:
            for address in factory.admitted_by(self):
                self._uncounted -= 1
                key = self._key(address)
                if key is not None:
                    counted = known.get(key) or _Address(self._rules)
                    counted.open += 1
                    self._connected[key] = known[key] = counted
        for key, each in known.items():
            if not each.open:
                self._remember(key, each)

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
        if self._total_only and not self.denied and not self.allowed:  # the usual case, quickly
            if address is not None:
                address_number(address)  # it must be one all the same
            reason = self._is_full()
        elif address is not None and self.denies(address):
            reason = DENIED
        else:
            key, full = self._key(address), self._is_full()
            reason = full if key is None else self._count_in(key, now, full)
        if reason is None:
            self.open += 1
        else:
            self.refused[reason.code] += 1
        return reason

    def count_moved(self, address: str | None) -> None:
        """Count a connection that another process has admitted. It is never refused."""
        self.open += 1
        key = self._key(address)
        if key is not None and not self._total_only:
            known = self._connected.get(key) or self._quiet.pop(key, None) or _Address(self._rules)
            known.open += 1
            self._connected[key] = known

    def export_state(self, now: float) -> dict[str, Any]:
        """Return what is known about addresses, and who was refused, for :meth:`restore_state`."""
        self._now = now
        return {
            "refused": dict(self.refused),
            "addresses": [
                [key, known.export_state(now)]
                for known_here in (self._quiet, self._connected)
                for key, known in known_here.items()
                if not self._is_outdated(known)
            ],
        }

    def restore_state(self, state: Mapping[str, Any], now: float) -> None:
        """Go on where another process has stopped. Its connections follow: :meth:`count_moved`."""
        self._now = now
        self.refused.update(state["refused"])
        for key, known_there in state["addresses"]:
            known = _Address(self._rules)
            known.restore_state(known_there, now)
            self._remember(key, known)

    def admit_proxy(self, address: str | None) -> CloseReason | None:
        """Decide about a connection of a trusted proxy. If admitted, it is counted for all clients.

        The limits of an address do not apply, because it has the connections of many clients, and
        :attr:`allowed` need not have it. It counts as :data:`EXEMPT` until it is moved.

        :return: None, ``denied`` or ``full``.
        :raises ValueError: if it is not an IP address; nothing is counted.
        """
        is_denied = address is not None and address in self.denied
        reason = DENIED if is_denied else self._is_full()
        if reason is None:
            self.open += 1
        return self._note(reason)

    def move(self, before: str | None, after: str, now: float) -> CloseReason | None:
        """Count an open connection under the address of its client, which its proxy has told.

        :param before: what it has counted under.
        :param after: the client's IP address.
        :return: None if the client is admitted. Otherwise the reason: the first that applies of
            ``denied``, ``too-fast`` and ``too-many``; then it counts under ``before`` still.
        :raises ValueError: if ``after`` is not an IP address, or there is no such connection.
        """
        key = self._key(after)
        reason = None
        if self.denies(after):
            reason = DENIED
        elif key is not None and key != self._key(before):
            reason = self._count_in(key, now, None)
            if reason is None:
                self.open += 1
                self.leave(before)
        return self._note(reason)

    def check(self, address: str, now: float) -> CloseReason | None:
        """Decide about a single request of a client, on a connection of its proxy.

        It does not count against the rate: to load one page, a browser makes thirty.

        :return: None if it is admitted. Otherwise the reason: the first that applies of ``denied``,
            ``too-fast``, if the address is banned, and ``too-many``.
        :raises ValueError: if it is not an IP address.
        """
        key = self._key(address)
        known = None if key is None else self._connected.get(key) or self._quiet.get(key)
        reason = None
        if self.denies(address):
            reason = DENIED
        elif known is not None and known.is_banned(self._rules.ban, now):
            reason = TOO_FAST
        elif known is not None and 0 < self._rules.max_per_address <= known.open:
            reason = TOO_MANY
        return self._note(reason)

    def _note(self, reason: CloseReason | None) -> CloseReason | None:
        if reason is not None:
            self.refused[reason.code] += 1
        return reason

    def leave(self, address: str | None) -> None:
        """Count out an admitted connection. Its place is free at once.

        :raises ValueError: if there is no open connection from this address.
        """
        key = None if self._total_only else self._key(address)
        known = None if key is None else self._connected.get(key)
        if not self.open or (key is not None and known is None and not self._uncounted):
            raise ValueError(f"there is no open connection from {address!r}")
        self.open -= 1
        if key is not None and known is None:
            self._uncounted -= 1
        if key is not None and known is not None:
            known.open -= 1
            if not known.open:
                del self._connected[key]
                self._remember(key, known)

    def _key(self, address: str | None) -> int | None:
        """Return the key under which an address is counted; None if it has no own limits."""
        rules = self._rules
        if address == EXEMPT:
            return None
        if address is None:
            is_local, key = True, -1
        else:
            is_ipv6, bits = address_number(address)
            is_local = bits == 1 if is_ipv6 else bits >> 24 == 127
            key = client_key(address)
        if is_local and rules.exempt_local:
            return None
        return key if rules.max_per_address or rules.accept_rate else None

    def denies(self, address: str) -> bool:
        """Return whether the ranges deny an address.

        :raises ValueError: if it is not an IP address.
        """
        return address in self.denied or bool(self.allowed and address not in self.allowed)

    def _is_full(self) -> CloseReason | None:
        return FULL if 0 < self._rules.max_connections <= self.open else None

    def _count_in(self, key: int, now: float, full: CloseReason | None) -> CloseReason | None:
        """Decide about an address that has its own count.

        :param full: the reason if there are too many connections in total.
        """
        rules = self._rules
        self._now = now
        self._expire()
        known = self._connected.get(key) or self._quiet.pop(key, None) or _Address(rules)
        if known.is_too_fast(rules.ban, now):
            reason: CloseReason | None = TOO_FAST
        elif 0 < rules.max_per_address <= known.open:
            reason = full or TOO_MANY
        else:
            reason = full
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


def _lifetime(rules: AdmissionRules) -> float:
    """Return the seconds after which an address that did not change is like a new one.

    Its ban is over and its bucket is full.
    """
    rate = rules.accept_rate
    return max(rules.ban, rules.accept_burst / rate) if rate else 0.0


def _who_counts(rules: AdmissionRules) -> tuple[bool, bool]:
    """Return whether addresses are counted, and whether local ones are not."""
    return bool(rules.max_per_address or rules.accept_rate), rules.exempt_local
