"""Adds up the metrics of several processes. Pure.

The same rules as those of ``prometheus_client``'s multiprocess mode: counters and histograms of a
process that has ended stay in the sum, because a counter that falls looks like a restart to
Prometheus; gauges of it are gone. Connections that were open have ended with it, though, and count
so: otherwise more would be accepted than ever end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

_CUMULATIVE = ("counter", "histogram")

_SMALLEST = ("twisted_net_certificate_expiry_timestamp_seconds",)
_LARGEST = ("twisted_net_build_info", "twisted_net_ready")

_OPEN, _ENDED = "twisted_net_connections", "twisted_net_connections_ended"

MetricFamily = dict[str, Any]
"""A family of metrics: ``name``, ``help``, ``type`` and ``samples``, each of which is a list of the
sample's name, its labels and its value."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


class MetricSums:
    """Remembers the last metrics of each process."""

    def __init__(self) -> None:
        self._last: dict[Hashable, list[MetricFamily]] = {}
        self._ended: dict[str, MetricFamily] = {}

    def add(self, process: Hashable, families: list[MetricFamily]) -> None:
        """Note what a process has now."""
        self._last[process] = families

    def end(self, process: Hashable, reason: str = "") -> None:
        """Note that a process has ended.

        :param reason: the code of the reason for which the connections have ended that it still had
            when it told its metrics the last time; empty if another process has them.
        """
        families = self._last.pop(process, [])
        if reason:
            families = [*families, *_ends_of_open(families, reason)]
        self._ended = _by_name([*self._ended.values(), *_cumulative(families)])

    def subtract(self, families: list[MetricFamily]) -> None:
        """Count only once what a process has taken over from another one: both count it."""
        negative = [
            {**each, "samples": [[name, labels, -value] for name, labels, value in each["samples"]]}
            for each in _cumulative(families)
        ]
        self._ended = _by_name([*self._ended.values(), *negative])

    def last_of(self, process: Hashable) -> list[MetricFamily]:
        """Return what a process had when it told its metrics the last time."""
        return self._last.get(process, [])

    def export_state(self) -> list[MetricFamily]:
        """Return the counters of processes that have ended: nobody else knows them any more."""
        return list(self._ended.values())

    def restore_state(self, state: list[MetricFamily]) -> None:
        """Go on with it."""
        self._ended = {each["name"]: each for each in state}

    def totals(self) -> list[MetricFamily]:
        """Return the sums over all processes, in the order in which the families came."""
        living = [family for families in self._last.values() for family in families]
        return list(_by_name([*living, *self._ended.values()]).values())


def _cumulative(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    return [each for each in families if each["type"] in _CUMULATIVE]


def _ends_of_open(families: Iterable[MetricFamily], reason: str) -> list[MetricFamily]:
    """Return the open connections of a process as connections that have ended."""
    known = {each["name"]: each for each in families}
    if _OPEN not in known or _ENDED not in known:
        return []
    counts: Counter[str] = Counter()
    for _, labels, value in known[_OPEN]["samples"]:
        counts[labels["service"]] += value
    samples = [
        [f"{_ENDED}_total", {"service": service, "reason": reason}, count]
        for service, count in counts.items()
    ]
    return [{**known[_ENDED], "samples": samples}]


def _by_name(families: Iterable[MetricFamily]) -> dict[str, MetricFamily]:
    grouped: dict[str, list[MetricFamily]] = {}
    for family in families:
        grouped.setdefault(family["name"], []).append(family)
    return {name: _merged(found) for name, found in grouped.items()}


def _merged(families: Sequence[MetricFamily]) -> MetricFamily:
    first = families[0]
    merge = _merge_rule(first["name"])
    values: dict[_Key, float] = {}
    for family in families:
        for name, labels, value in family["samples"]:
            key = (name, tuple(sorted(labels.items())))
            values[key] = merge(values[key], value) if key in values else value
    samples = [[name, dict(labels), value] for (name, labels), value in values.items()]
    return {**first, "samples": samples}


def _merge_rule(name: str) -> Callable[[float, float], float]:
    if name in _SMALLEST:
        return min
    if name in _LARGEST:
        return max
    return lambda one, other: one + other


def gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> MetricFamily:
    """Return a family with one value for each value of a label."""
    samples = [[name, {label: key}, value] for key, value in values.items()]
    return {"name": name, "help": text, "type": "gauge", "samples": samples}
