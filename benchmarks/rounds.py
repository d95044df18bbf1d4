"""Many samples in turns: a round measures each server once, and starts with another one each
time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.cases import Case
from benchmarks.measure import Bench, Sample, measure
from benchmarks.processes import MeasureError
from benchmarks.servers import Peer


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of one server divided by that of another, for each round.

    Both were measured within seconds of each other, so other load on the machine affects both. That
    is why ratios are computed before the median.
    """

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Result:
    """All samples of a case.

    :ivar samples: by server, one for each round; None if the run failed.
    :ivar notes: by server, why it was left out or what failed.
    """

    case: Case
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, name: str, text: str) -> None:
        known = self.notes.setdefault(name, [])
        if text not in known:
            known.append(text)

    def values(self, name: str, figure: str) -> list[float | None]:
        """Return one value for each round."""
        return [
            sample.figures.get(figure) if sample else None for sample in self.samples.get(name, [])
        ]

    def median(self, name: str, figure: str) -> float | None:
        found = [value for value in self.values(name, figure) if value is not None]
        return statistics.median(found) if found else None

    def ratio(self, name: str, other: str, figure: str) -> Ratio | None:
        """Return the ratio of ``name`` to ``other``; None if no round has both."""
        pairs = zip(self.values(name, figure), self.values(other, figure), strict=False)
        found = [mine / its for mine, its in pairs if mine is not None and its]
        return Ratio(statistics.median(found), min(found), max(found)) if found else None


def take(
    bench: Bench, case: Case, peers: Sequence[Peer], rounds: int, send_to_all: Callable[[str], None]
) -> Result:
    """Measure a case with all servers that support it."""
    result = Result(case)
    able = []
    for peer in peers:
        if not peer.has_row(case):
            continue
        if why := peer.cannot(case):
            result.note(peer.name, f"left out: {why}")
        else:
            able.append(peer)
            result.samples[peer.name] = []
    for number in range(rounds):
        shift = number % len(able) if able else 0
        for peer in [*able[shift:], *able[:shift]]:
            send_to_all(f"{case.title}: round {number + 1} of {rounds}: {peer.name}")
            result.samples[peer.name].append(_try(bench, peer, case, result))
    return result


def _try(bench: Bench, peer: Peer, case: Case, result: Result) -> Sample | None:
    try:
        sample = measure(bench, peer, case)
    except MeasureError as error:
        result.note(peer.name, f"failed: {error}")
        return None
    for fault in sample.faults:
        result.note(peer.name, fault)
    return sample
