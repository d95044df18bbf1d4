"""The memory of one idle connection: ``python -m benchmarks.objects KIND``.

KIND is ``chat``, ``json``, ``websocket``, ``tls`` or ``echo``.

The server runs in this process, the idle members of the load generator in another. All objects that
were created since the members connected are counted by type, including strings and numbers, and
divided by the number of members.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import math
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.threads import blockingCallFromThread

from benchmarks.build import Built, build
from benchmarks.cases import Case
from benchmarks.measure import Bench, Timing
from benchmarks.servers import Setup

KINDS = {
    "echo": Case("idle"),
    "chat": Case("idle"),
    "json": Case("idle", form="json"),
    "websocket": Case("idle", form="websocket"),
    "tls": Case("idle", tls=True),
}
_POINTER = 8
_QUIET = 0.1  # of a core
_SHARED = 0.02  # objects per connection; fewer are shared, or growth of a container


@dataclass(slots=True)
class Count:
    """The average memory of a connection.

    :ivar objects: the number of objects, by type.
    :ivar sizes: their bytes, by type, with the values of attributes; containers with an entry for
        every connection are shared out.
    :ivar python: bytes that Python's allocator counted, without the share of the interpreter.
    :ivar other: bytes that C libraries, mostly OpenSSL, got from ``malloc``.
    """

    objects: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    python: float = 0.0
    other: float = 0.0


class Census:
    """Counts the objects that are created between its creation and :meth:`take`."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._there = set(map(id, gc.get_objects()))
        self._python = tracemalloc.get_traced_memory()[0]
        self._malloc = _malloced()

    def take(self, connections: int) -> Count:
        """Return what was created, per connection."""
        gc.collect()
        malloced, python = _malloced(), tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        there = self._there
        tracked = gc.get_objects()
        found = _everything(
            [each for each in tracked if id(each) not in there and each is not there]
        )
        objects: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        attributes: dict[type, int] = {}
        for each in found:
            kind = type(each)
            name = kind.__qualname__
            objects[name] += 1
            sizes[name] += sys.getsizeof(each) + _values(each, kind, attributes)
        return Count(
            {name: number / connections for name, number in objects.items()},
            {name: size / connections for name, size in sizes.items()},
            (python - self._python) / connections,
            (malloced - self._malloc) / connections,
        )


def _everything(tracked: list[Any]) -> list[Any]:
    """Return these objects, and what they refer to that the garbage collector does not track."""
    seen = set(map(id, tracked))
    found, stack = list(tracked), list(tracked)
    while stack:
        for each in gc.get_referents(stack.pop()):
            if id(each) in seen or gc.is_tracked(each):
                continue
            if isinstance(each, type | FunctionType | ModuleType):
                continue
            seen.add(id(each))
            found.append(each)
            stack.append(each)
    return found


def _values(each: Any, kind: type, attributes: dict[type, int]) -> int:
    """Return the bytes of an instance's attributes, which are stored inline without a
    dictionary."""
    if not kind.__dictoffset__:
        return 0
    if kind not in attributes:
        attributes[kind] = len(vars(each))  # this call gives it a dictionary
    return _POINTER * (attributes[kind] + 2)


class _Malloc(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]


def _malloced() -> int:
    """Return the bytes that glibc's allocator has in use."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Malloc
    info = libc.mallinfo2()
    return int(info.h + info.e)


class Server:
    """The service that is measured, in this process, on the installed reactor."""

    def __init__(self, kind: str, members: int, built: Built) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._bench = Bench(Setup(built), None, Timing(warmup=0, seconds=0.1))
        self._members = members
        self._kind = kind
        self._service = _service(kind, built)
        self.count = Count()

    def run(self) -> Count:
        """Listen, let the members connect, count, and stop."""
        self._service.startService()
        self._reactor.callWhenRunning(self._reactor.callInThread, self._measure)
        self._reactor.run()
        return self.count

    def _measure(self) -> None:
        try:
            census = blockingCallFromThread(self._reactor, Census)
            port = self._service.ports[0].getHost().port
            case = replace(KINDS[self._kind], members=self._members)
            with self._bench.load(case, port) as load:
                load.wait_for("connected", 120)
                _wait_for_quiet()
                self.count = blockingCallFromThread(self._reactor, census.take, self._members)
        finally:
            self._reactor.callFromThread(self._reactor.stop)


def _wait_for_quiet() -> None:
    """Wait until the server is idle: tracing slows it down, so it may still be busy."""
    used = math.inf
    while used > _QUIET:
        before = time.process_time()
        time.sleep(1.0)
        used = time.process_time() - before


def _service(kind: str, built: Built) -> Any:
    module = importlib.import_module(f"twisted_net.services.{'echo' if kind == 'echo' else 'chat'}")
    options = module.Options()
    words = ["--interface", "127.0.0.1", "--idle-timeout", "300"]
    if kind == "tls":
        words += ["--tls-port", "0", "--cert", str(built.cert), "--key", str(built.key)]
    else:
        words += ["--port", "0"]
    options.parseOptions(words)
    return module.makeService(options)


def report(count: Count) -> str:
    """Return the count as a table, the most bytes first."""
    lines = [f"{'type':32} {'objects':>8} {'bytes':>8}"]
    for name, size in sorted(count.sizes.items(), key=lambda item: -item[1]):
        if count.objects[name] >= _SHARED or size >= 1:
            lines.append(f"{name:32} {count.objects[name]:8.2f} {size:8.0f}")
    total = sum(count.objects.values()), sum(count.sizes.values())
    lines.append(f"{'all':32} {total[0]:8.2f} {total[1]:8.0f}")
    lines.append(f"{'as the allocator counts':32} {'':8} {count.python:8.0f}")
    lines.append(f"{'malloc':32} {'':8} {count.other:8.0f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.objects", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--members", type=int, default=5000, metavar="N")
    parser.add_argument("--reactor", default="eager", metavar="NAME", help="as twistd's")
    options = parser.parse_args(arguments)
    installReactor(options.reactor)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        built = build(Path(directory))
        print(report(Server(options.kind, options.members, built).run()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
