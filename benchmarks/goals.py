"""What our servers must reach, as ratios within one run on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import Case
from benchmarks.rounds import Result


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure, relative to another server or another case, or absolute.

    :ivar who: the server that must reach it.
    :ivar than: the server whose figure in the same round is the divisor; None means no division.
    :ivar than_case: the case of ``who`` whose figure is the divisor (medians).
    :ivar at_least: whether the bound is a minimum instead of a maximum.
    """

    title: str
    case: Case
    figure: str
    bound: float
    than: str | None = None
    than_case: Case | None = None
    who: str = "ours"
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    goal: Goal
    found: str
    reached: bool

    @property
    def wanted(self) -> str:
        sign = ">=" if self.goal.at_least else "<="
        unit = f" x {self.goal.than}" if self.goal.than else ""
        return f"{sign} {self.goal.bound:g}{unit}"


_CALM = Case("broadcast", 500, 200)
_BUSY = Case("broadcast", 500, 1000)
_HUGE = Case("broadcast", 10_000, 20)
_HELD = Case("held", 500, 125)
_ECHO = Case("echo", 100)
_TLS_SMALL = Case("echo", 100, tls=True)
_TLS_LARGE = Case("echo", 100, size=16_384, tls=True)
_DOOR = Case("connects", 32)
_DOOR_TLS = Case("connects", 32, tls=True)
_IDLE = Case("idle", 10_000)
_IDLE_TLS = Case("idle", 2000, tls=True)
_IDLE_MANY = Case("idle", 15_000, form="json")
_FRAMES_RARE = Case("broadcast", 500, 20, form="websocket")
_FRAMES = Case("broadcast", 500, 200, form="websocket")
_IDLE_FRAMES = Case("idle", 10_000, form="websocket")

GOALS = (
    Goal("broadcast, 500 members, 200/s, CPU", _CALM, "cpu_us", 1.15, than="c"),
    Goal("broadcast, 500 members, 200/s, CPU", _CALM, "cpu_us", 0.80, than="node"),
    Goal("broadcast, 500 members, 1,000/s, p99", _BUSY, "p99_ms", 0.25, than="node"),
    Goal("broadcast, 500 members, 1,000/s, p99", _BUSY, "p99_ms", 1.5, than="c"),
    Goal("broadcast, CPU: 10,000 members by 500", _HUGE, "cpu_us", 1.15, than_case=_CALM),
    Goal("highest rate held", _HELD, "per_s", 2, than="node", at_least=True),
    Goal("highest rate held", _HELD, "per_s", 5, than="uvloop", at_least=True),
    Goal("echo, 100 connections, CPU", _ECHO, "cpu_us", 0.85, than="node"),
    Goal("echo, 100 connections, CPU", _ECHO, "cpu_us", 0.50, than="twisted"),
    Goal("echo, 100 connections, CPU", _ECHO, "cpu_us", 1.05, than="uvloop"),
    Goal(
        "a stock echo on the eager reactor, CPU",
        _ECHO,
        "cpu_us",
        0.55,
        than="twisted",
        who="twisted-eager",
    ),
    Goal("TLS echo, 100 B, CPU", _TLS_SMALL, "cpu_us", 1.05, than="node"),
    Goal("TLS echo, 16 KiB, CPU", _TLS_LARGE, "cpu_us", 0.80, than="node"),
    Goal("TLS echo, 100 B, CPU", _TLS_SMALL, "cpu_us", 0.60, than="twisted"),
    Goal("TLS echo, 16 KiB, CPU", _TLS_LARGE, "cpu_us", 0.60, than="twisted"),
    Goal("a short connection, with its line in the log", _DOOR, "cpu_us", 1.25, than="twisted"),
    Goal("a short connection, with its line in the log", _DOOR, "cpu_us", 1.25, than="node"),
    Goal(
        "a short connection, no line",
        _DOOR,
        "cpu_us",
        0.90,
        than="twisted",
        who="ours-notable",
    ),
    Goal("a short connection over TLS", _DOOR_TLS, "cpu_us", 0.95, than="node"),
    Goal("idle member, resident KB", _IDLE, "rss_kb_each", 2.5),
    Goal("idle member, resident", _IDLE, "rss_kb_each", 0.6, than="node"),
    Goal("idle TLS member, resident KB", _IDLE_TLS, "rss_kb_each", 28),
    Goal("15,000 idle members, share of a core", _IDLE_MANY, "cpu_share", 0.01),
    Goal("WebSocket, 500 members, 20/s, CPU", _FRAMES_RARE, "cpu_us", 0.70, than="ws"),
    Goal("WebSocket, 500 members, 200/s, CPU", _FRAMES, "cpu_us", 0.50, than="ws"),
    Goal("WebSocket, 500 members, 20/s, CPU", _FRAMES_RARE, "cpu_us", 1.15, than="ours-lines"),
    Goal("WebSocket, 500 members, 200/s, CPU", _FRAMES, "cpu_us", 1.15, than="ours-lines"),
    Goal("idle WebSocket member, resident KB", _IDLE_FRAMES, "rss_kb_each", 2.5),
    Goal("idle WebSocket member, resident", _IDLE_FRAMES, "rss_kb_each", 0.3, than="ws"),
    Goal(
        "idle WebSocket connection, resident",
        _IDLE_FRAMES,
        "rss_kb_each",
        0.3,
        than="ws",
        who="ours-bare",
    ),
)


def goal_cases() -> list[Case]:
    """Return every case of a goal, once."""
    cases = [case for goal in GOALS for case in (goal.than_case, goal.case) if case]
    return list(dict.fromkeys(cases))


def goal_peers(case: Case) -> set[str]:
    """Return the servers whose figures the goals need for a case."""
    concerned = [goal for goal in GOALS if case in (goal.case, goal.than_case)]
    return {goal.who for goal in concerned} | {goal.than for goal in concerned if goal.than}


def judge(results: Sequence[Result]) -> list[Verdict]:
    """Judge the goals for which these results have all figures."""
    by_case = {result.case: result for result in results}
    verdicts = (_judge(goal, by_case) for goal in GOALS)
    return [verdict for verdict in verdicts if verdict]


def _judge(goal: Goal, results: dict[Case, Result]) -> Verdict | None:
    result = results.get(goal.case)
    if result is None:
        return None
    found, spread = result.median(goal.who, goal.figure), ""
    if goal.than:
        ratio = result.ratio(goal.who, goal.than, goal.figure)
        if ratio is None:
            return None
        found, spread = ratio.median, f" ({ratio.least:.2f}-{ratio.most:.2f})"
    elif goal.than_case:
        other = results.get(goal.than_case)
        divisor = other.median(goal.who, goal.figure) if other else None
        found = found / divisor if found and divisor else None
    if found is None:
        return None
    reached = found >= goal.bound if goal.at_least else found <= goal.bound
    return Verdict(goal, f"{found:.3g}{spread}", reached)
