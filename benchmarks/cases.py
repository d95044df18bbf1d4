"""The works, the cases of each, and the figures that are measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work.

    :ivar service: the kind of servers: ``chat`` or ``echo``.
    :ivar load: the load generator's name for it.
    :ivar unit: what is counted, for "CPU a delivery" and "deliveries a second".
    :ivar columns: the figures in its table, of :data:`FIGURES`.
    :ivar ratios: the figures whose ratios are in the table; the first is also in the pictures.
    """

    name: str
    service: str
    load: str
    unit: str
    about: str
    columns: tuple[str, ...]
    ratios: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A column: its title, its format, and whether less of it is better."""

    title: str
    format: str
    less_is_better: bool = True


FIGURES = {
    "cpu_us": Figure("CPU us", "{:.2f}"),
    "per_s": Figure("a second", "{:,.0f}", less_is_better=False),
    "busy": Figure("busy", "{:.0%}"),
    "cpu_share": Figure("core", "{:.2%}"),
    "load_busy": Figure("load", "{:.0%}"),
    "beats_per_s": Figure("heartbeats/s", "{:.0f}", less_is_better=False),
    "others": Figure("others", "{:.0%}"),
    "p50_ms": Figure("p50 ms", "{:.2f}"),
    "p99_ms": Figure("p99 ms", "{:.2f}"),
    "p999_ms": Figure("p99.9 ms", "{:.2f}"),
    "rss_mb": Figure("RSS MB", "{:.1f}"),
    "rss_kb_each": Figure("RSS KB each", "{:.2f}"),
    "kernel_kb_each": Figure("kernel KB each", "{:.2f}"),
    "kernel_mb": Figure("queued MB", "{:.1f}"),
    "resumed": Figure("resumed", "{:.0%}", less_is_better=False),
}

_FLOW = (
    "cpu_us",
    "per_s",
    "busy",
    "load_busy",
    "others",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "rss_mb",
    "kernel_mb",
)
_IDLE = ("rss_kb_each", "kernel_kb_each", "cpu_share", "beats_per_s", "others", "rss_mb")

WORKS = {
    work.name: work
    for work in (
        Work(
            "broadcast",
            "chat",
            "broadcast",
            "delivery",
            "members who speak in turn at a fixed rate; everyone hears everyone",
            _FLOW,
            ("cpu_us", "p99_ms"),
        ),
        Work(
            "held",
            "chat",
            "broadcast",
            "delivery",
            "the highest delivery rate at which nothing is lost and p99 stays below 100 ms",
            ("per_s", "p99_ms", "busy", "load_busy"),
            ("per_s",),
        ),
        Work(
            "echo",
            "echo",
            "echo",
            "request",
            "each connection sends the next request when it has the answer",
            _FLOW,
            ("cpu_us", "p99_ms"),
        ),
        Work(
            "connects",
            "echo",
            "connects",
            "connection",
            "connect, one small echo, close; with TLS a full handshake",
            ("cpu_us", "per_s", "busy", "load_busy", "others", "p50_ms", "p99_ms"),
            ("cpu_us",),
        ),
        Work(
            "resumed",
            "echo",
            "connects",
            "connection",
            "the same with TLS, with the session of the connection before",
            ("cpu_us", "per_s", "busy", "load_busy", "others", "p50_ms", "resumed"),
            ("cpu_us",),
        ),
        Work(
            "idle",
            "chat",
            "idle",
            "member",
            "members who say nothing, idle timeouts and heartbeats on",
            _IDLE,
            ("rss_kb_each", "cpu_share"),
        ),
        Work(
            "acked",
            "chat",
            "acked",
            "ack",
            "members who await the ack of a message before they send the next (JSON form)",
            ("cpu_us", "per_s", "busy", "load_busy", "others", "p50_ms", "p99_ms", "p999_ms"),
            ("cpu_us", "per_s"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Case:
    """A work and its sizes.

    :ivar members: simultaneous connections.
    :ivar rate: messages a second, of all members together (``broadcast`` only).
    :ivar size: bytes of text in a message, or of a request.
    :ivar form: one of :data:`FORMS`.
    """

    work: str
    members: int = 500
    rate: int = 0
    size: int = 100
    rooms: int = 1
    form: str = "text"
    tls: bool = False
    store: str = "memory:"

    @property
    def title(self) -> str:
        parts = [f"{self.work}{' over TLS' if self.tls else ''}: {self.members:,} connections"]
        if self.rate:
            parts.append(f"{self.rate:,} messages/s")
        if self.work not in ("idle", "connects", "resumed"):
            parts.append(f"{self.size:,} B")
        if self.rooms > 1:
            parts.append(f"{self.rooms} rooms")
        if WORKS[self.work].service == "chat":
            parts.append(self.form)
        if self.work == "acked":
            parts.append(f"store {self.store}")
        return ", ".join(parts)

    @property
    def deliveries(self) -> float:
        """Deliveries a second, if all messages of the rate are accepted."""
        return self.rate * (self.members / self.rooms - 1)


FORMS = ("text", "json", "websocket")
"""What the members of a chat speak: lines of text, JSON in lines, or JSON in WebSocket frames."""

# What `all` measures. For `held`, `rate` is where the search begins.
EVERYTHING = (
    *(Case("broadcast", 50, rate) for rate in (10, 200, 1000, 4000)),
    *(Case("broadcast", 500, rate) for rate in (10, 200, 1000, 4000)),
    Case("broadcast", 500, 200, size=20),
    Case("broadcast", 500, 200, size=4096),
    Case("broadcast", 2000, 10),
    Case("broadcast", 2000, 200),
    Case("broadcast", 10_000, 10),
    Case("broadcast", 10_000, 20),
    Case("broadcast", 2000, 4000, rooms=100),
    Case("broadcast", 10_000, 1000, rooms=100),
    Case("broadcast", 500, 200, form="json"),
    Case("broadcast", 500, 1000, form="json"),
    Case("broadcast", 500, 200, tls=True),
    Case("broadcast", 500, 1000, tls=True),
    Case("broadcast", 500, 20, form="websocket"),
    Case("broadcast", 500, 200, form="websocket"),
    Case("held", 500, 125),
    *(Case("echo", members, size=size) for members in (1, 100, 1000) for size in (100, 16_384)),
    *(Case("echo", 100, size=size, tls=True) for size in (100, 16_384)),
    Case("connects", 32),
    Case("connects", 32, tls=True),
    Case("resumed", 32, tls=True),
    Case("idle", 10_000),
    Case("idle", 15_000, form="json"),
    Case("idle", 2000, tls=True),
    Case("idle", 10_000, form="websocket"),
    *(Case("acked", 50, form="json", store=store) for store in ("memory:", "sqlite:")),
)

QUICK = (
    Case("broadcast", 500, 200),
    Case("broadcast", 500, 1000),
    Case("echo", 100),
    Case("echo", 100, tls=True),
    Case("connects", 32),
    Case("idle", 2000),
)

_TOO_MANY = 3_000_000  # deliveries a second, beyond any server and load generator


@dataclass(frozen=True, slots=True)
class Choice:
    """The cases chosen on the command line; None means the defaults."""

    members: Sequence[int] | None = None
    rate: Sequence[int] | None = None
    size: Sequence[int] | None = None
    rooms: Sequence[int] | None = None
    form: Sequence[str] | None = None
    store: Sequence[str] | None = None
    tls: bool | None = None


def chosen(work: str, quick: bool, choice: Choice) -> list[Case]:
    """Return the cases of a work (of ``all`` works, or of a form): the defaults, or all
    combinations of the choice."""
    if choice == Choice():
        cases = QUICK if quick else EVERYTHING
        found = [case for case in cases if work in ("all", case.work, case.form)]
        return found or [case for case in EVERYTHING if work in (case.work, case.form)][:1]
    if work == "websocket":
        work, choice = "broadcast", replace(choice, form=choice.form or [work])
    names = [work] if work != "all" else ["broadcast"]
    return [case for name in names for case in _product(name, choice)]


# Used for values that are not chosen; the other works use their first case.
_USUAL = {"broadcast": Case("broadcast", 500, 200), "echo": Case("echo", 100)}


def _product(work: str, choice: Choice) -> Iterator[Case]:
    plain = _USUAL.get(work) or next(case for case in EVERYTHING if case.work == work)
    for members, rate, size, rooms, form, store in itertools.product(
        choice.members or [plain.members],
        choice.rate or [plain.rate],
        choice.size or [plain.size],
        choice.rooms or [1],
        choice.form or [plain.form],
        choice.store or [plain.store],
    ):
        tls = plain.tls if choice.tls is None else choice.tls
        case = Case(work, members, rate, size, rooms, form, tls, store)
        if case.deliveries <= _TOO_MANY:
            yield case
