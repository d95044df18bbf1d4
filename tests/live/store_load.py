"""Measure the stores: a million messages with limits, and acknowledgements per second.

``python -m tests.live.store_load --messages 1000000`` prints the size of the file and of the
process, the time of ``since`` near the end, and acknowledgements per second for 1 and 100 senders.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react

from tests.live.harness import memory
from twisted_net.store.interface import Store
from twisted_net.store.log import Message
from twisted_net.store.url import store_from_url

TEXT = "x" * 100


def _entry(number: int) -> Message:
    return Message("ann", TEXT, time.time(), False, "origin", str(number))


async def fill(store: Store, messages: int, path: Path) -> None:
    """Append many messages to one room, and read near its end."""
    before = memory(os.getpid())
    began = time.monotonic()
    epoch = ""
    for start in range(0, messages, 500):
        appended = await store.append("r", [_entry(start + n) for n in range(500)])
        epoch = appended.epoch
    took = time.monotonic() - began
    size = sum(each.stat().st_size for each in path.parent.iterdir())
    print(f"{messages} messages in {took:.1f} s; file {size / 1e6:.1f} MB;", end=" ")
    print(f"memory {(memory(os.getpid()) - before) / 1e6:+.1f} MB;", end=" ")
    began = time.monotonic()
    page = await store.since("r", epoch, messages - 100, 1000)
    took = (time.monotonic() - began) * 1000
    print(f"since, 100 from the end: {len(page.kept) if page else page} in {took:.2f} ms")


async def acks(store: Store, senders: int, seconds: float) -> float:
    """Return the acknowledgements per second; each sender waits for each one."""
    count = 0
    end = time.monotonic() + seconds

    async def send(number: int) -> None:
        nonlocal count
        while time.monotonic() < end:
            for _ in range(20):
                await store.append("r", [Message("ann", TEXT, time.time(), id=f"{number}.{count}")])
                count += 1
            turn: Deferred[None] = Deferred()
            _later(turn)
            await turn

    await DeferredList([Deferred.fromCoroutine(send(number)) for number in range(senders)])
    return count / seconds


def _later(turn: Deferred[None]) -> None:
    from twisted.internet import reactor

    reactor.callLater(0, turn.callback, None)  # reactor is a module to mypy


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Parse the flags, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    flags = parser.parse_args(arguments)

    async def go() -> None:
        with tempfile.TemporaryDirectory(prefix="store-") as directory:
            path = Path(directory) / "chat.db"
            store = store_from_url(f"sqlite:{path}?count=100000", reactor)
            store.start()
            await fill(store, flags.messages, path)
            await store.stop()
            for kind in ("memory:", f"sqlite:{path}", f"sqlite:{path}?durable=power"):
                for senders in (1, 100):
                    store = store_from_url(kind, reactor)
                    store.start()
                    rate = await acks(store, senders, flags.seconds)
                    await store.stop()
                    name = kind.replace(str(path), "PATH")
                    print(f"{name}: {rate:.0f} acks a second, {senders} senders")

    return Deferred.fromCoroutine(go())


if __name__ == "__main__":
    react(main, sys.argv[1:])
