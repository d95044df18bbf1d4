"""Writes pictures as SVG without a library, readable on any background."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from benchmarks.cases import FIGURES, WORKS, Case
from benchmarks.rounds import Result
from benchmarks.servers import PEERS

_WIDTH = 760
_LABELS = 210  # pixels for the names of the servers
_BAR = 22
_GAP = 8
_COLOURS = {
    "ours": "#d9480f",
    "c": "#343a40",
    "c-each": "#868e96",
    "c-nagle": "#adb5bd",
    "node-nodelay": "#8ce99a",
    "twisted-nodelay": "#a5d8ff",
    "node": "#2b8a3e",
    "twisted": "#1864ab",
    "twisted-eager": "#4dabf7",
    "asyncio": "#e8a100",
    "uvloop": "#862e9c",
    "ours-bare": "#ffa94d",
    "ours-lines": "#fd7e14",
    "ours-notable": "#f08c00",
    "ws": "#2b8a3e",
    "websockets": "#1864ab",
    "picows": "#862e9c",
}
_AXES = {"cpu_us": "CPU of the server, microseconds a {}", "per_s": "{}, a second"}


def draw(results: Sequence[Result], directory: Path) -> list[Path]:
    """Write a picture of every case, and one of latency by rate if there are several rates."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        figure = WORKS[result.case.work].ratios[0]
        if any(result.median(name, figure) is not None for name in result.samples):
            written.append(directory / f"{_file_name(result.case)}.svg")
            written[-1].write_text(bars(result, figure), encoding="utf-8")
    for broadcast in _by_rate(results):
        written.append(directory / f"{_file_name(replace(broadcast[0].case, rate=0))}-latency.svg")
        written[-1].write_text(lines(broadcast, "p99_ms"), encoding="utf-8")
    return written


def _file_name(case: Case) -> str:
    parts = [case.work, "tls" if case.tls else "", str(case.members)]
    parts += [f"{case.rate}s" if case.rate else "", f"{case.size}b"]
    parts += [f"{case.rooms}rooms" if case.rooms > 1 else ""]
    parts += [case.form if case.form != "text" else ""]
    parts += [case.store.partition(":")[0] if case.work == "acked" else ""]
    return "-".join(filter(None, parts))


def _by_rate(results: Sequence[Result]) -> Iterator[list[Result]]:
    broadcasts: dict[Case, list[Result]] = {}
    for result in results:
        if result.case.work == "broadcast":
            broadcasts.setdefault(replace(result.case, rate=0), []).append(result)
    for broadcast in broadcasts.values():
        if len(broadcast) > 2:
            yield sorted(broadcast, key=lambda result: result.case.rate)


def _page(height: int, title: str, parts: Sequence[str]) -> str:
    style = "font-family:system-ui,sans-serif;font-size:13px"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" style="{style}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        f"{_text(16, 26, title, weight=600)}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = "#212529", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def bars(result: Result, figure: str) -> str:
    """Return a bar for each server: the median, with a thin line from the lowest to the highest."""
    known = [name for name in result.samples if result.median(name, figure) is not None]
    values = {name: [v for v in result.values(name, figure) if v is not None] for name in known}
    scale = (_WIDTH - _LABELS - 90) / (max(max(found) for found in values.values()) or 1)
    parts = [_text(16, 46, _axis(result.case, figure), colour="#495057")]
    top = 62
    for name in known:
        parts += _bar(result, name, figure, top, scale)
        top += _BAR + _GAP
    return _page(top + 10, result.case.title, parts)


def _axis(case: Case, figure: str) -> str:
    work, meaning = WORKS[case.work], FIGURES[figure]
    unit = work.unit if figure == "cpu_us" else {"delivery": "deliveries"}.get(work.unit, "")
    better = "less is better" if meaning.less_is_better else "more is better"
    return f"{_AXES.get(figure, meaning.title).format(unit).strip()} ({better})"


def _bar(result: Result, name: str, figure: str, top: int, scale: float) -> list[str]:
    found = [value for value in result.values(name, figure) if value is not None]
    median = result.median(name, figure) or 0.0
    middle = top + _BAR / 2
    faulty = any(sample and sample.faults for sample in result.samples[name])
    label = FIGURES[figure].format.format(median) + (" (lost messages)" if faulty else "")
    return [
        _text(_LABELS - 8, middle + 4, PEERS[name].title, anchor="end"),
        f'<rect x="{_LABELS}" y="{top}" width="{max(1.0, median * scale):.1f}" height="{_BAR}" '
        f'rx="2" fill="{_COLOURS[name]}"/>',
        f'<line x1="{_LABELS + min(found) * scale:.1f}" x2="{_LABELS + max(found) * scale:.1f}" '
        f'y1="{middle}" y2="{middle}" stroke="#adb5bd" stroke-width="2"/>',
        _text(_LABELS + max(found) * scale + 8, middle + 4, label),
    ]


def lines(broadcast: Sequence[Result], figure: str) -> str:
    """Return a line for each server over the rates; both axes are logarithmic."""
    left, top, right, bottom = 70, 60, _WIDTH - _LABELS, 380
    rates = [result.case.rate for result in broadcast]
    names = list(dict.fromkeys(name for result in broadcast for name in result.samples))
    points = {
        name: [
            (result.case.rate, value)
            for result in broadcast
            if (value := result.median(name, figure))
        ]
        for name in names
    }
    values = [value for found in points.values() for _, value in found]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def place(rate: float, value: float) -> tuple[float, float]:
        across = math.log(rate / rates[0]) / math.log(rates[-1] / rates[0])
        up = (math.log10(value) - low) / max(1, high - low)
        return left + across * (right - left), bottom - up * (bottom - top)

    parts = [_text(16, 46, f"{FIGURES[figure].title} by messages a second", colour="#495057")]
    for power in range(low, high + 1):
        y = place(rates[0], 10.0**power)[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dee2e6"/>')
        parts.append(_text(left - 8, y + 4, f"{10.0**power:g}", anchor="end", colour="#495057"))
    for rate in rates:
        x = place(rate, 10.0**low)[0]
        parts.append(_text(x, bottom + 20, f"{rate:,}", anchor="middle", colour="#495057"))
    drawn = [name for name in names if points[name]]
    for number, name in enumerate(drawn):
        parts += _line([place(*point) for point in points[name]], name, right, top + 20 * number)
    return _page(bottom + 34, replace(broadcast[0].case, rate=0).title, parts)


def _line(points: Sequence[tuple[float, float]], name: str, right: int, legend: int) -> list[str]:
    colour = _COLOURS[name]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<rect x="{right + 16}" y="{legend - 8}" width="14" height="8" fill="{colour}"/>',
        _text(right + 36, legend, PEERS[name].title),
    ]
