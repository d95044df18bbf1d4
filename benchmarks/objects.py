"""What one idle connection consists of: ``python -m benchmarks.objects chat|json|tls|echo``.

The server runs in this process, the load generator's idle members in another. Everything that was
not there before they came is counted by type, down to the last text and number, and divided by how
many they are.
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
    "tls": Case("idle", tls=True),
}
_POINTER = 8
_QUIET = 0.1  # of a core
_SHARED = 0.02  # so many a connection are shared among many, or growth of a container


@dataclass(slots=True)
class Count:
    """What a connection consists of, on average.

    :ivar objects: how many, by type.
    :ivar sizes: their bytes, by type, with the values of attributes; containers that hold
        something of every connection have their share.
    :ivar python: bytes that Python's allocator counted; without the share of the interpreter.
    :ivar other: bytes that C libraries have of ``malloc``, which is OpenSSL's.
    """

    objects: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    python: float = 0.0
    other: float = 0.0


class Census:
    """Counts what comes into being between its making and :meth:`take`."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._there = set(map(id, gc.get_objects()))
        self._python = tracemalloc.get_traced_memory()[0]
        self._malloc = _malloced()

    def take(self, connections: int) -> Count:
        """Give what has come, a connection."""
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
    """Those objects, and what they hold that the garbage collector does not know of."""
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
    """The bytes of an instance's attributes, which stand beside it and not in a dictionary."""
    if not kind.__dictoffset__:
        return 0
    if kind not in attributes:
        attributes[kind] = len(vars(each))  # which makes this one a dictionary
    return _POINTER * (attributes[kind] + 2)


class _Malloc(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]


def _malloced() -> int:
    """Bytes that glibc's allocator has given out."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Malloc
    info = libc.mallinfo2()
    return int(info.h + info.e)


class Server:
    """The service that is counted, in this process, on the reactor that is installed."""

    def __init__(self, kind: str, members: int, built: Built) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._bench = Bench(Setup(built), None, Timing(warmup=0, seconds=0.1))
        self._members = members
        self._kind = kind
        self._service = _service(kind, built)
        self.count = Count()

    def run(self) -> Count:
        """Listen, let the members come, count, and end."""
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
    """Counting makes the server slow: it may still be at it when the others wait already."""
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
    """The count as a table, the most bytes first."""
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
