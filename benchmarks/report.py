"""Tables for people, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.cases import FIGURES, WORKS
from benchmarks.goals import Verdict
from benchmarks.rounds import Ratio, Result
from benchmarks.servers import PEERS

_MISSING = "-"


def base_of(result: Result) -> str | None:
    """Return the server that ratios are relative to: ours, or the first with any figures."""
    names = [name for name, samples in result.samples.items() if any(samples)]
    return next((name for name in names if name == "ours"), names[0] if names else None)


def table(result: Result) -> str:
    """Format a case: a line for each server, and notes below."""
    work = WORKS[result.case.work]
    base = base_of(result)
    head = ["", *(FIGURES[name].title for name in work.columns)]
    head += [f"{base} / it: {FIGURES[name].title}" for name in work.ratios]
    rows = [head]
    for name in result.samples:
        row = [PEERS[name].title]
        row += [_cell(result, name, figure) for figure in work.columns]
        row += [_ratio(result, base, name, figure) for figure in work.ratios]
        rows.append(row)
    lines = [result.case.title, *_aligned(rows)]
    for name, notes in result.notes.items():
        lines += [f"  {PEERS[name].title}: {note}" for note in notes]
    return "\n".join(lines)


def _cell(result: Result, name: str, figure: str) -> str:
    value = result.median(name, figure)
    return _MISSING if value is None else FIGURES[figure].format.format(value)


def _ratio(result: Result, base: str | None, name: str, figure: str) -> str:
    if base is None or name == base:
        return _MISSING
    return shown(result.ratio(base, name, figure))


def shown(ratio: Ratio | None) -> str:
    """Format a ratio and its spread: the median of the rounds, the lowest and the highest."""
    if ratio is None:
        return _MISSING
    return f"{ratio.median:.2f} ({ratio.least:.2f}-{ratio.most:.2f})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def goals_table(verdicts: Sequence[Verdict]) -> str:
    """Format the goals of the measured cases."""
    rows = [["goal", "wanted", "found", ""]]
    for verdict in verdicts:
        mark = "reached" if verdict.reached else "NOT reached"
        rows.append([verdict.goal.title, verdict.wanted, verdict.found, mark])
    return "\n".join(["What it must reach", *_aligned(rows)])


def as_json(results: Sequence[Result], about: dict[str, object]) -> str:
    """Return every sample of every round as JSON."""
    cases = [
        {
            "case": asdict(result.case),
            "samples": {
                name: [asdict(sample) if sample else None for sample in samples]
                for name, samples in result.samples.items()
            },
            "notes": result.notes,
        }
        for result in results
    ]
    return json.dumps({"about": about, "results": cases}, indent=1) + "\n"
