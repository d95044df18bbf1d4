"""What the store in Redis costs: ``python -m benchmarks.redis [--messages 20000]``.

It starts a ``redis-server`` of its own. Our client and txredisapi append the same messages by the
same script, with ten commands outstanding, in turns. Then the store does so, and appends a hundred
messages at once. What is measured is the CPU time of this process; Redis is another one.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from twisted_net.store.log import Bounds, Message
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.location import RedisLocation
from twisted_net.store.redis.opening import redis_store
from twisted_net.store.redis.primary import PrimaryEndpoint
from twisted_net.store.redis.records import append_arguments
from twisted_net.store.redis.scripts import APPEND
from twisted_net.store.redis.seals import seal_command
from twisted_net.store.url import epoch

OUTSTANDING = 10
TURN = 100
MOST_RATIO = 0.35
MOST_IN_A_TURN = 8.0

Append = Callable[[], Awaitable[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args(arguments)
    if shutil.which("redis-server") is None:
        raise SystemExit("benchmarks.redis: redis-server is not installed")
    status = [1]
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as busy:
        port = int(busy.getsockname()[1])
        busy.close()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
        server = subprocess.Popen(
            [*command, "--save", "", "--dir", directory], stdout=subprocess.DEVNULL
        )
        try:
            react(partial(_measure, port, options, status))
        except SystemExit as end:
            if end.code:
                raise
        finally:
            server.kill()
            server.wait()
    return status[0]


def _measure(port: int, options: argparse.Namespace, status: list[int], reactor: Any) -> Any:
    return Deferred.fromCoroutine(_run(reactor, port, options, status))


async def _run(reactor: Any, port: int, options: argparse.Namespace, status: list[int]) -> None:
    location = RedisLocation((("127.0.0.1", port),))
    await _until_it_listens(reactor, port)
    ours, stop = await _our_client(reactor, location)
    ways: dict[str, Append] = {"our client": ours}
    disconnect: Callable[[], Any] | None = None
    if find_spec("txredisapi") is not None:
        ways["txredisapi"], disconnect = await _txredisapi(port)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()  # as the services do once they have started
    for _ in range(options.rounds):
        for name, append in ways.items():  # alternating
            taken[name].append(await _outstanding(append, options.messages // 4))
    await stop()
    if disconnect is not None:
        await disconnect()
    print(f"CPU in microseconds a message, medians of {options.rounds} rounds\n")
    print(f"{OUTSTANDING} outstanding")
    for name, values in taken.items():
        print(f"  {name:30} {median(values):7.2f}")
    missed = False
    if "txredisapi" in taken:
        # Of neighbours, as whatever else the machine does slows both.
        pairs = zip(taken["our client"], taken["txredisapi"], strict=True)
        ratio = median(ours / theirs for ours, theirs in pairs)
        missed = ratio > MOST_RATIO
        print(f"  {'ratio':30} {ratio:7.2f}  at most {MOST_RATIO}  {_verdict(missed)}")
    print("one message in an append of the store, with its checksums")
    print(f"  {'our store':30} {median(await _appends(reactor, location, options)):7.2f}")
    in_a_turn = median(await _turns(reactor, location, options))
    is_slow = in_a_turn > MOST_IN_A_TURN
    print(f"{TURN} messages in one append of the store")
    print(f"  {'our store':30} {in_a_turn:7.2f}  at most {MOST_IN_A_TURN:g}  {_verdict(is_slow)}")
    status[0] = int(missed or is_slow)


def _verdict(missed: bool) -> str:
    return "TOO SLOW" if missed else "ok"


async def _until_it_listens(reactor: Any, port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            await deferLater(reactor, 0.02)


async def _our_client(reactor: Any, location: RedisLocation) -> tuple[Append, Callable[[], Any]]:
    client = RedisClient(
        *(reactor, location, PrimaryEndpoint(reactor, location, print), "benchmark"),
        opened=lambda: None,
        closed=lambda problem: None,
    )
    client.start()
    arguments = _script_arguments()
    await client.execute(("PING",))
    return lambda: client.run_script(APPEND, _KEYS, arguments), client.stop


async def _txredisapi(port: int) -> tuple[Append, Callable[[], Any]]:
    txredisapi: Any = import_module("txredisapi")  # it has no types
    connection = await txredisapi.Connection("127.0.0.1", port, reconnect=False, charset=None)
    arguments = _script_arguments()
    await connection.script_load(APPEND.text)
    append = partial(connection.evalsha, APPEND.digest, keys=_KEYS, args=arguments)
    return append, connection.disconnect


_KEYS = (b"{b:r}:meta", b"{b:r}:log", b"{b:r}:ids", b"{b}:rooms")


def _script_arguments() -> list[bytes]:
    """Return what a store gives to the script for one message."""
    head: list[str | bytes | int] = [
        epoch(),
        "",
        0,
        0,
        10_000,
        8 << 20,
        0,
        10_000,
        b"=r",
        b"{b:",
        0,
    ]
    return seal_command(_KEYS, [*head, "process", b"{b:r}:0", *append_arguments(_message(0))])


def _message(number: int) -> Message:
    return Message("ann", f"{number} " + "x" * 90, 1_700_000_000.5, origin="0123456789ab")


async def _outstanding(append: Append, count: int) -> float:
    """Return the microseconds of CPU that a message takes."""

    async def work() -> None:
        for _ in range(count // OUTSTANDING):
            await append()

    began = time.process_time()
    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(OUTSTANDING)])
    return (time.process_time() - began) / (count // OUTSTANDING * OUTSTANDING) * 1e6


async def _appends(
    reactor: Any, location: RedisLocation, options: argparse.Namespace
) -> list[float]:
    store = redis_store(reactor, location, epoch, Bounds(count=10_000, bytes=8 << 20))
    store.start()
    await store.subscribe("single", lambda epoch, fresh: None)
    found = [
        await _outstanding(lambda: store.append("single", [_message(0)]), options.messages // 4)
        for _ in range(options.rounds)
    ]
    await store.stop()
    return found


async def _turns(reactor: Any, location: RedisLocation, options: argparse.Namespace) -> list[float]:
    store = redis_store(reactor, location, epoch, Bounds(count=10_000, bytes=8 << 20))
    store.start()
    await store.subscribe("room", lambda epoch, fresh: None)
    messages = [_message(number)._replace(id=f"id-{number}") for number in range(TURN)]
    found = []
    for part in range(options.rounds):
        turns = [
            [message._replace(id=f"{part}-{turn}-{message.id}") for message in messages]
            for turn in range(max(1, options.messages // TURN))
        ]
        began = time.process_time()
        for turn in turns:
            await store.append("room", turn)
        found.append((time.process_time() - began) / (len(turns) * TURN) * 1e6)
    await store.stop()
    return found


if __name__ == "__main__":
    sys.exit(main())
