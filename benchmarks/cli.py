"""The command line."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import machine, simulate
from benchmarks.build import BuildError, Built, build
from benchmarks.cases import WORKS, Case, Choice, chosen
from benchmarks.goals import goal_cases, goal_peers, judge
from benchmarks.measure import Bench, Timing
from benchmarks.plot import draw
from benchmarks.report import as_json, goals_table, table
from benchmarks.rounds import Result, take
from benchmarks.servers import PEERS, Peer, Setup

_SETUP_SECONDS = 1.5  # the rest of a sample beside its warm-up and its window, about
_HELD_WINDOWS = 11  # windows in a search for the highest rate, about


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 0, 2 if nothing could be measured, or 130."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["simulate"]:
        return simulate.main(words[1:])
    options = _parser().parse_args(words)
    if not sys.platform.startswith("linux"):
        return _refuse("figures come from Linux's /proc, and this is not Linux")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        try:
            built = build(Path(directory))
        except BuildError as error:
            return _refuse(str(error))
        return _run(options, built)


def _refuse(why: str) -> int:
    print(f"benchmarks: {why}", file=sys.stderr)
    return 2


def _run(options: argparse.Namespace, built: Built) -> int:
    about_machine, cores = machine.describe(), machine.choose_cores()
    if cores is None:
        print("Only one core: server and load share it, and figures mean little.")
    else:
        os.sched_setaffinity(0, {cores.load})
    setup = Setup(built, options.our_reactor, tuple(shlex.split(options.our_options)))
    bench = Bench(setup, cores, _timing(options))
    peers = _taking_part(options.peers)
    cases = _cases(options, built)
    if not peers or not cases:
        return _refuse("nothing to measure")
    rounds = options.rounds or (2 if options.quick else 5)
    samples = {case: len(_peers_of(options, case, peers)) * rounds for case in cases}
    print(f"{about_machine}\n{_plan(bench.timing, samples, rounds)}\n")
    results: list[Result] = []
    status = 0
    try:
        for case in cases:
            results.append(take(bench, case, _peers_of(options, case, peers), rounds, _teller()))
            _tell("")
            print(table(results[-1]), end="\n\n", flush=True)
    except KeyboardInterrupt:
        print("\nInterrupted: the cases above are complete.", file=sys.stderr)
        status = 130
    _finish(options, results, bench.timing, about_machine, rounds)
    return status


def _finish(
    options: argparse.Namespace,
    results: Sequence[Result],
    timing: Timing,
    about_machine: str,
    rounds: int,
) -> None:
    if verdicts := judge(results):
        print(goals_table(verdicts))
    about = {
        "machine": about_machine,
        "date": time.strftime("%Y-%m-%d"),
        "rounds": rounds,
        "seconds": timing.seconds,
        "our_reactor": options.our_reactor,
    }
    if options.json:
        options.json.write_text(as_json(results, about), encoding="utf-8")
    if options.plot:
        for path in draw(results, options.plot):
            print(f"wrote {path}")


def _timing(options: argparse.Namespace) -> Timing:
    seconds = options.seconds or (1.0 if options.quick else 3.0)
    return Timing(warmup=0.5 if options.quick else 1.0, seconds=seconds)


def _taking_part(wanted: Sequence[str] | None) -> list[Peer]:
    found = []
    for peer in PEERS.values():
        if peer.name not in wanted if wanted else not peer.usual:
            continue
        if why := peer.absent():
            print(f"{peer.title} is left out: {why}")
        else:
            found.append(peer)
    return found


def _cases(options: argparse.Namespace, built: Built) -> list[Case]:
    if options.work == "goals":
        cases = goal_cases()
    else:
        choice = Choice(
            options.members,
            options.rate,
            options.size,
            options.rooms,
            options.form,
            options.store,
            options.tls,
        )
        cases = chosen(options.work, options.quick, choice)
    if built.no_tls and any(case.tls for case in cases):
        print(f"TLS is left out: {built.no_tls}")
        cases = [case for case in cases if not case.tls]
    return cases


def _peers_of(options: argparse.Namespace, case: Case, peers: Sequence[Peer]) -> list[Peer]:
    """Return the servers for a case: for goals only those that they need, unless some were
    named."""
    if options.work != "goals" or options.peers:
        return list(peers)
    wanted = goal_peers(case)
    return [peer for peer in peers if peer.name in wanted]


def _plan(timing: Timing, samples: Mapping[Case, int], rounds: int) -> str:
    window = timing.warmup + timing.seconds + _SETUP_SECONDS
    windows = sum(
        count * (_HELD_WINDOWS if case.work == "held" else 1) for case, count in samples.items()
    )
    return (
        f"{len(samples)} cases, {rounds} rounds of {timing.seconds:g} s: "
        f"at most {window * windows / 60:.0f} minutes or so"
    )


def _teller() -> Callable[[str], None]:
    return _tell if sys.stderr.isatty() else lambda _: None


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")


def _peer_names(text: str) -> list[str]:
    names = _words(text)
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(
            f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}"
        )
    return names


def _parser() -> argparse.ArgumentParser:
    works = "\n".join(f"  {name:10} {work.about}" for name, work in WORKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure our servers beside others, in turns on the same two cores.",
        epilog=f"works:\n  {'all':10} all of these\n"
        f"  {'goals':10} the cases of what it must reach\n"
        f"{works}\n  {'simulate':10} no measurement: a large chat, from what its parts cost\n"
        f"\nA value may be several, with commas: every combination is measured.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", nargs="?", default="all", choices=["all", "goals", *WORKS])
    add = parser.add_argument
    add("--members", type=_numbers, metavar="N", help="connections at a time")
    add("--rate", type=_numbers, metavar="N", help="messages a second, of all members together")
    add("--size", type=_numbers, metavar="B", help="bytes of text in a message, or of a request")
    add("--rooms", type=_numbers, metavar="N", help="rooms that the members are spread over")
    add("--form", type=_words, metavar="F", help="text or json")
    add("--store", type=_words, metavar="URL", help="of acked: memory:, sqlite:, redis://...")
    add("--tls", action=argparse.BooleanOptionalAction, help="over TLS")
    add("--rounds", type=int, metavar="N", help="default 5, with --quick 2")
    add("--seconds", type=float, metavar="S", help="the window; default 3, with --quick 1")
    add(
        "--peers",
        type=_peer_names,
        metavar="P",
        help=f"of {', '.join(PEERS)}; default all but *-nagle and *-nodelay",
    )
    add(
        "--our-reactor",
        default="eager",
        metavar="NAME",
        help="twistd --reactor NAME for our servers; default eager",
    )
    add("--our-options", default="", metavar="TEXT", help="more options for our servers")
    add("--quick", action="store_true", help="fewer and shorter: a look, not a measurement")
    add("--plot", type=Path, metavar="DIR", help="write pictures (SVG) into DIR")
    add("--json", type=Path, metavar="FILE", help="write every sample into FILE")
    return parser
