"""Bans and mutes: whom they cover, and until when.

A ban covers a person by marks: the name, the account, the address. It may cover a range of
addresses instead. This module is pure: the time is an argument.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from twisted_net.chat import names
from twisted_net.chat.messages import RequestError
from twisted_net.policy.admission import Network, Ranges, client_host, parse_range
from twisted_net.wire.text import printable

_MOST_MARKS = 10_000  # of bans, and as many of mutes; the oldest is dropped, to bound memory

_MOST_OF_ONE = 100  # marks of one ban: many people may have had one name

_RANGE = "range "
"""How the mark of a range begins."""


@dataclass(frozen=True, slots=True)
class Sanction:
    """A ban or a mute.

    :ivar target: what the operator named: a user, an address or a range of addresses.
    :ivar marks: by which it recognises whom it covers. The first one is the key.
    :ivar until: when it ends, in seconds since 1970.
    :ivar by: the operator.
    :ivar text: why; may be empty.
    """

    target: str
    marks: tuple[str, ...]
    until: float
    by: str = ""
    text: str = ""

    @property
    def key(self) -> str:
        """What two sanctions of the same name, or of the same range, have in common."""
        return self.marks[0]

    def to_json(self) -> str:
        """Return the sanction as text, for a store."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Sanction:
        """Return the sanction of a text from :meth:`to_json`.

        :raises ValueError: the text is of another kind.
        """
        try:
            found = json.loads(text)
            made = cls(**{**found, "marks": tuple(map(str, found["marks"]))})
            if not (made.marks and isinstance(made.until, int | float)):
                raise ValueError("no marks, or no end")
            for mark in made.marks:
                if mark.startswith(_RANGE):
                    _network(mark)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a ban: {error}") from None
        return made


class Sanctions:
    """All bans, or all mutes."""

    def __init__(self) -> None:
        self._by_mark: dict[str, Sanction] = {}
        self._ranges = Ranges(())

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._by_mark)

    def add(self, sanction: Sanction) -> tuple[Sanction, list[Sanction]]:
        """Add a sanction. It replaces one with the same key, and covers whom that one covered.

        :return: the sanction with the marks of both; and those that are dropped, because there are
            too many.
        """
        marks = dict.fromkeys(sanction.marks)
        for mark, old in list(self._by_mark.items()):
            if old.key == sanction.key:
                del self._by_mark[mark]
                if len(marks) < _MOST_OF_ONE:
                    marks[mark] = None
        sanction = replace(sanction, marks=tuple(marks))
        for mark in sanction.marks:
            # The address of one may be the address of another, who is banned for longer.
            other = self._by_mark.pop(mark, sanction)
            self._by_mark[mark] = max(sanction, other, key=lambda each: each.until)
        dropped = []
        while len(self._by_mark) > _MOST_MARKS:
            dropped.append(self._by_mark.pop(next(iter(self._by_mark))))
        self._count_ranges()
        return sanction, dropped

    def lift(self, mark: str, marks: Iterable[str] = ()) -> list[Sanction]:
        """Lift the sanctions that have a mark, and those that cover one of the others."""
        keys = {self._by_mark[each].key for each in marks if each in self._by_mark}
        lifted: dict[Sanction, None] = {}
        for place, sanction in list(self._by_mark.items()):
            if sanction.key in keys or mark in sanction.marks:
                del self._by_mark[place]
                lifted[sanction] = None
        self._count_ranges()
        return list(lifted)

    def until(self, marks: Iterable[str], host: str = "") -> float:
        """Return when the sanctions of these marks, and of an address, end; -inf for none."""
        found = [self._by_mark[mark].until for mark in marks if mark in self._by_mark]
        found += [each.until for each in self.of_address(host)]
        return max(found, default=-math.inf)

    def of_address(self, host: str) -> list[Sanction]:
        """Return the sanctions whose range of addresses has this address.

        :param host: as :func:`client_host` gives it.
        """
        if not (self._ranges and _has(self._ranges, host)):
            return []
        return [
            sanction
            for mark, sanction in self._by_mark.items()
            if mark.startswith(_RANGE) and is_in(host, _network(mark))
        ]

    def current(self, now: float) -> list[Sanction]:
        """Return the sanctions that have not ended, the last one first, and drop the others."""
        for mark in [mark for mark, each in self._by_mark.items() if each.until <= now]:
            del self._by_mark[mark]
        self._count_ranges()
        return list(dict.fromkeys(reversed(self._by_mark.values())))

    def _count_ranges(self) -> None:
        marks = [mark for mark in self._by_mark if mark.startswith(_RANGE)]
        self._ranges = Ranges(map(_network, marks))


def _network(mark: str) -> Network:
    return parse_range("range", mark.removeprefix(_RANGE))


def _has(ranges: Ranges, host: str) -> bool:
    try:
        return bool(host) and host.partition("/")[0] in ranges
    except ValueError:  # the name of a host, or what a proxy said
        return False


def marks_of(account: str, host: str) -> list[str]:
    """Return the marks by which bans and mutes recognise a user who comes back: account first."""
    found = {"account": names.fold(account), "host": host}
    return [f"{kind} {value}" for kind, value in found.items() if value]


def name_key(name: str) -> str:
    """Return the key of the ban of a name."""
    return f"name {names.key(name)}"


def range_key(network: Network) -> str:
    """Return the key of the ban of a range."""
    return f"{_RANGE}{network}"


def range_of(text: str) -> Network | None:
    """Return the range of addresses that a text names, or None if it is of another kind.

    A range of IPv6 addresses is a /64 at least: nobody has less.

    :raises RequestError: ``bad-field``: it is meant as a range, and is none that can be banned.
    """
    if ":" not in text and "/" not in text and not names.is_address(text):
        return None
    try:
        network = parse_range("range", text)
    except ValueError:
        shown = printable(text)[:80]
        raise RequestError(
            "bad-field", f"{shown} is not an address, or a range such as 192.0.2.0/24.", "nick"
        ) from None
    if network.is_loopback:
        raise RequestError(
            "bad-field", f"{network} is this machine itself, so it is nobody's address.", "nick"
        )
    if network.version == 6 and network.prefixlen > 64:
        network = network.supernet(new_prefix=64)
    return network


def is_in(host: str, network: Network) -> bool:
    """Return whether an address, as :func:`client_host` gives it, is in a range."""
    return _has(Ranges([network]), host)


def shown_range(network: Network) -> str:
    """Return how a range is shown: a single address without its length."""
    return client_host(str(network.network_address)) if network.num_addresses == 1 else str(network)
