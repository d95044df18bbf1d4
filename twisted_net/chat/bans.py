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
from twisted_net.policy.ranges import Network, Ranges, parse_range
from twisted_net.wire.text import printable

_MOST_MARKS = 10_000  # of bans, and as many of mutes; the oldest is dropped, to bound memory

_MOST_OF_ONE = 100  # marks of one ban: many people may have had one name

_LATEST = 1e11  # the year 5138

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
            texts = (made.target, made.by, made.text)
            if not all(type(each) is str for each in texts):
                raise ValueError("a field is no text")
            if not (made.marks and 0 <= made.until < _LATEST):
                raise ValueError("no marks, or no end")
            for mark in made.marks:
                if _is_range(mark):
                    _network(mark)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a ban: {error}") from None
        return made


class Sanctions:
    """All bans, or all mutes."""

    def __init__(self) -> None:
        self._by_key: dict[str, Sanction] = {}  # the oldest first
        self._by_mark: dict[str, list[Sanction]] = {}
        self._ranges = Ranges(())

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._by_key)

    def add(self, sanction: Sanction, now: float) -> tuple[Sanction, list[Sanction]]:
        """Add a sanction. It replaces one with the same key.

        If that one has not ended, the new one covers whom that one covered.

        :return: the sanction with the marks of both; and those that are dropped, because there are
            too many.
        """
        old = self._by_key.get(sanction.key)
        if old is not None:
            self._remove(old)
        if old is not None and old.until > now:
            marks = list(dict.fromkeys((*sanction.marks, *old.marks)))[:_MOST_OF_ONE]
            sanction = replace(sanction, marks=tuple(marks))
        self._by_key[sanction.key] = sanction
        for mark in sanction.marks:
            self._by_mark.setdefault(mark, []).append(sanction)
        dropped = []
        while len(self._by_mark) > _MOST_MARKS:
            dropped.append(next(iter(self._by_key.values())))
            self._remove(dropped[-1])
        self._find_ranges(sanction, *dropped)
        return sanction, dropped

    def lift(self, mark: str, marks: Iterable[str] = ()) -> list[Sanction]:
        """Lift the sanctions that cover one of these marks.

        :param mark: the first of the marks.
        """
        found = [each for one in (mark, *marks) for each in self._by_mark.get(one, ())]
        lifted = list(dict.fromkeys(found))
        for sanction in lifted:
            self._remove(sanction)
        self._find_ranges(*lifted)
        return lifted

    def until(self, marks: Iterable[str], host: str = "") -> float:
        """Return when the sanctions of these marks, and of an address, end; -inf for none."""
        found = [each.until for mark in marks for each in self._by_mark.get(mark, ())]
        found += [each.until for each in self.of_address(host)]
        return max(found, default=-math.inf)

    def of_address(self, host: str) -> list[Sanction]:
        """Return the sanctions whose range of addresses has this address.

        :param host: as :func:`~twisted_net.policy.ranges.client_host` gives it.
        """
        if not (self._ranges and _has(self._ranges, host)):
            return []
        return [
            sanction
            for sanction in self._by_key.values()
            if _is_range(sanction.key) and is_in(host, _network(sanction.key))
        ]

    def current(self, now: float) -> list[Sanction]:
        """Return the sanctions that have not ended, the last one first, and drop the others."""
        ended = [each for each in self._by_key.values() if each.until <= now]
        for sanction in ended:
            self._remove(sanction)
        self._find_ranges(*ended)
        return list(reversed(self._by_key.values()))

    def export_state(self) -> list[str]:
        """Return all sanctions as texts, the oldest first, for :meth:`restore_state`."""
        return [sanction.to_json() for sanction in self._by_key.values()]

    def restore_state(self, state: Iterable[str], now: float) -> None:
        """Add the sanctions of another process."""
        for text in state:
            self.add(Sanction.from_json(text), now)

    def _remove(self, sanction: Sanction) -> None:
        del self._by_key[sanction.key]
        for mark in sanction.marks:
            others = self._by_mark[mark]
            others.remove(sanction)
            if not others:
                del self._by_mark[mark]

    def _find_ranges(self, *changed: Sanction) -> None:
        """Prepare to look up ranges, if one of these sanctions has one."""
        if any(_is_range(each.key) for each in changed):
            self._ranges = Ranges(map(_network, filter(_is_range, self._by_key)))


def _is_range(key: str) -> bool:
    return key.startswith(_RANGE)


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
    return name_marks(name)[0]


def name_marks(name: str) -> list[str]:
    """Return the marks of a name: names that look alike have one in common. First is the key."""
    return [f"name {key}" for key in names.keys(name)]


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
    """Return whether an address, as :attr:`User.host` is, is in a range."""
    return _has(Ranges([network]), host)


def shown_range(network: Network) -> str:
    """Return how a range is shown: a single address without its length."""
    return str(network.network_address if network.num_addresses == 1 else network)
