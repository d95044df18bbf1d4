"""``python -m benchmarks simulate``: what a large chat would do, from what its parts cost.

The models are in ``simulation.py``. Tests compare ``docs/scaling.rst`` with what this prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

from benchmarks.simulation import Costs, Outage, Storm, comeback, outage, room, sums

_PROCESSES = (1, 10, 20, 40, 80)
_RATES = (1.0, 10.0, 100.0)


def format_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table whose columns stand on the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (headings, *rows)
    ]


def _room(costs: Costs, options: argparse.Namespace) -> Iterator[str]:
    yield f"A room of {options.members:,} members, each process with a core of its own:"
    yield ""
    rows = []
    for processes in _PROCESSES:
        for rate in _RATES:
            found = room(costs, options.members, processes, rate, 60.0, options.seed)
            rows.append(
                [
                    *(f"{processes}", f"{found.members:,}", f"{rate:g}", f"{found.busy:.0%}"),
                    *(f"{found.longest_round * 1000:,.0f}", f"{found.queue:,}"),
                    *(f"{found.p50 * 1000:,.0f}", f"{found.p99 * 1000:,.0f}"),
                ]
            )
    headings = (
        *("processes", "members each", "messages/s", "CPU"),
        *("round ms", "queue", "p50 ms", "p99 ms"),
    )
    yield from format_rows(headings, rows)


def _storms(options: argparse.Namespace) -> list[tuple[str, Storm]]:
    usual = Storm(clients=options.clients, processes=options.processes)
    return [
        ("TLS, all notice at once", usual),
        ("the same without jitter", replace(usual, jitter=False)),
        ("the same with Twisted's usual backlog of 50", replace(usual, backlog=50)),
        ("plain TCP, all notice at once", replace(usual, tls=False)),
        (
            "TLS, a machine without power, noticed by heartbeats",
            replace(usual, notice=(45.0, 90.0)),
        ),
    ]


def _comeback(costs: Costs, options: argparse.Namespace) -> Iterator[str]:
    yield f"{options.clients:,} clients come back to {options.processes} processes, which are 30 %"
    yield "busy with others:"
    for title, storm in _storms(options):
        yield ""
        yield f"{title}:"
        yield ""
        yield from format_rows(
            ("until s", "tries", "dropped", "back", "queue", "CPU", "p99 ms"),
            [
                [
                    *(f"{row.until:g}", f"{row.tries:,}", f"{row.dropped:,}", f"{row.back:.1%}"),
                    *(f"{row.queue:,}", f"{row.busy:.0%}", f"{row.p99 * 1000:,.0f}"),
                ]
                for row in comeback(costs, storm, options.seed)
                if row.tries or row.queue or row.back == 1
            ],
        )


def _redis(costs: Costs, options: argparse.Namespace) -> Iterator[str]:
    case = Outage(rate=options.rate, away=options.away)
    yield f"Redis is away from 0 to {case.away:g} s, {case.processes} processes,"
    yield f"{case.rate:g} messages a second:"
    yield ""
    yield from format_rows(
        ("until s", "written", "refused", "stored", "waiting", "Redis CPU", "p99 s"),
        [
            [
                *(f"{row.until:g}", f"{row.sent:,}", f"{row.refused:,}", f"{row.stored:,}"),
                *(f"{row.waiting:,}", f"{row.redis:.0%}", f"{row.p99:.1f}"),
            ]
            for row in outage(costs, case, options.seed)
        ],
    )


def _million(costs: Costs, options: argparse.Namespace) -> Iterator[str]:
    yield "1,000,000 connections on ten machines of eight cores, 2,000 messages a second in rooms"
    yield "of 500; each machine has:"
    yield ""
    for each in sums(costs, 1_000_000, 10, 8, 2000.0, 500):
        text = f"{each.each:,.0f}" if each.each >= 100 else f"{each.each:.2f}"
        yield f"{each.name:26} {text:>9} {each.unit}".rstrip()


_PARTS: dict[str, Callable[[Costs, argparse.Namespace], Iterator[str]]] = {
    "room": _room,
    "comeback": _comeback,
    "redis": _redis,
    "million": _million,
}


def lines(part: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return what the program prints about one part."""
    options = _parser().parse_args([part, *arguments])
    costs = Costs(**{field.name: getattr(options, field.name) for field in fields(Costs)})
    return list(_PARTS[part](costs, options))


def main(arguments: Sequence[str]) -> int:
    """Simulate, print, and return the exit status."""
    options = _parser().parse_args(arguments)
    parts = list(_PARTS) if options.part == "all" else [options.part]
    rest = [each for each in arguments if each != options.part]
    for number, part in enumerate(parts):
        if number:
            print()
        print("\n".join(lines(part, rest)), flush=True)
    return 0


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e12:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0")
    return value


def _count(text: str) -> int:
    value = int(text.replace("_", ""))
    if not 8 <= value <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text}: must be from 8 to 10,000,000")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text}: must be more than 0, and at most 100,000")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks simulate",
        description="Simulate a large chat from what its parts cost. docs/scaling.rst explains it.",
    )
    add = parser.add_argument
    add("part", nargs="?", default="all", choices=["all", *_PARTS])
    add("--seed", type=int, default=1, help="of the random numbers [default: 1]")
    for flag, kind, default, text in (
        ("members", _count, 100_000, "members of the room"),
        ("clients", _count, 100_000, "clients that come back"),
        ("processes", _count, 72, "processes that they come back to"),
        ("rate", _rate, 500.0, "messages a second while Redis is away"),
        ("away", _rate, 30.0, "seconds for which Redis is away"),
    ):
        add(
            f"--{flag}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{text} [default: {default:g}]",
        )
    group = parser.add_argument_group("what the parts cost; see Costs in simulation.py")
    for field in fields(Costs):
        flag = "--" + field.name.replace("_", "-")
        group.add_argument(
            flag, dest=field.name, type=_amount, default=field.default, metavar="N",
            help=f"[default: {field.default:g}]",
        )  # fmt: skip
    return parser
