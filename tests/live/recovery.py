"""Check the chat's recovery while clients are disconnected and the server is killed.

``python -m tests.live.recovery --clients 200 --messages 20000 --kills 5`` starts ``twistd netchat``
with an SQLite store, and lets the clients talk in ten rooms. It disconnects each of them at random,
and kills the server with ``kill -9`` in between. At the end it checks that all clients that
recovered have seen every acknowledged message exactly once and in order. It prints a report, and
exits with status 1 if a message was lost, repeated or out of order.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater, react

from twisted_net.chat.client.client import ChatClient
from twisted_net.policy.backoff import Backoff

LOCALHOST = "127.0.0.1"


@dataclass
class Plan:
    """The size of a run."""

    clients: int = 200
    messages: int = 20_000
    rooms: int = 10
    cuts: int = 20
    kills: int = 5
    seconds: float = 60.0
    seed: int = 1
    store: str = ""


@dataclass
class Account:
    """The result of a run.

    :ivar wrong: the violations, a sentence each.
    """

    acked: int = 0
    seen: int = 0
    cuts: int = 0
    kills: int = 0
    refused: int = 0
    not_recovered: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.acked} messages acked, {self.seen} seen, {self.cuts} cuts, {self.kills} kills"
            f" (-9), {self.refused} refused, {self.not_recovered} times not recovered,"
            f" {len(self.wrong)} wrong, {self.seconds:.1f} s"
        )


class Server:
    """``twistd netchat`` on one port, which can be restarted.

    :param pid_file: where it writes the number of its process, which may change by an upgrade.
    :param more: further flags.
    """

    def __init__(
        self,
        port: int,
        store: str,
        where: Path,
        pid_file: Path | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.port = port
        self._where = where
        self._pid_file = pid_file
        flags = ["--port", str(port), "--interface", LOCALHOST, "--store", store, *more]
        twistd = str(Path(sys.executable).with_name("twistd"))
        self._command = [twistd, "-n", f"--pidfile={pid_file or ''}", "netchat", *flags]
        tied = shutil.which("setpriv")  # it ends with this process; Linux only
        if tied:
            self._command[:0] = [tied, "--pdeathsig", "KILL"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; clients retry until it listens."""
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)
        with (self._where / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._where, env=dict(os.environ)
            )

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        elif self._pid_file is not None and self._pid_file.exists():  # it was upgraded
            with suppress(ProcessLookupError):
                os.kill(int(self._pid_file.read_text()), number)

    def is_running(self) -> bool:
        """Whether it runs: the process that was started, or the one after an upgrade."""
        if self._process is not None and self._process.poll() is None:
            return True
        if self._pid_file is None or not self._pid_file.exists():
            return False
        return Path(f"/proc/{self._pid_file.read_text()}").exists()

    def end(self, how: int) -> None:
        """End it with a signal."""
        if self._process is not None:
            self.signal(how)
            self._process.wait()

    def log(self) -> str:
        """Return what it has logged."""
        return (self._where / "log").read_text(errors="replace")


class Watcher:
    """One client in one room, and the messages it has seen there.

    :ivar runs: the offsets that it has seen, a list for each period without a loss.
    """

    def __init__(self, reactor: Any, number: int, room: str, port: int, plan: Plan) -> None:
        self.name = f"c{number}"
        self.room = room
        self.acked: dict[str, int] = {}
        self.refused = 0
        self.runs: list[dict[int, str]] = []
        self.starts: list[int] = []
        self.wrong: list[str] = []
        self.client = ChatClient(
            *(reactor, (LOCALHOST, port), self.name, room),
            on_message=self._heard,
            backoff=Backoff(first=0.05, longest=0.5),
        )

    @property
    def lost(self) -> int:
        """How often it could not recover."""
        return max(0, len(self.runs) - 1)

    def say(self, text: str) -> Deferred[Any]:
        """Send a message; recorded when it is acknowledged."""

        def acked(offset: int) -> None:
            self.acked[text] = offset
            self._note(offset, text)

        def refused(_: object) -> None:
            self.refused += 1

        return self.client.send(self.room, text).addCallbacks(acked, refused)

    def cut(self) -> None:
        """Disconnect it."""
        connection = self.client._connection
        if connection is not None:
            connection.transport.abortConnection()

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "joined" and message["recovered"] is not True:
            self.runs.append({})
            self.starts.append(message["offset"])
        elif message["type"] == "message":
            self._note(message["offset"], message["text"])

    def _note(self, offset: int, text: str) -> None:
        run = self.runs[-1]
        if offset in run:
            self.wrong.append(f"{self.name} saw {offset} of {self.room} twice")
        elif run and offset < next(reversed(run)) and text not in self.acked:
            self.wrong.append(f"{self.name} saw {offset} of {self.room} too late")
        run[offset] = text

    def position(self) -> int:
        """The offset up to which it has seen everything."""
        return self.client.state._rooms[self.room].offset


async def run(reactor: Any, plan: Plan, port: int, directory: Path) -> Account:
    """Do the whole run, and return the result."""
    chance = random.Random(plan.seed)
    store = plan.store or f"sqlite:{directory / 'chat.db'}"
    server = Server(port, store, directory)
    server.start()
    began = time.monotonic()
    account = Account()
    watchers = [
        Watcher(reactor, number, f"r{number % plan.rooms}", port, plan)
        for number in range(plan.clients)
    ]
    try:
        for watcher in watchers:
            watcher.client.startService()
        await DeferredList([watcher.client.welcome() for watcher in watchers])
        sent = await _talk(reactor, plan, chance, server, watchers, account)
        await DeferredList(sent)
        await _until(reactor, lambda: _level(watchers), 60.0)
        _settle(watchers, account)
    finally:
        await DeferredList([watcher.client.stopService() for watcher in watchers])
        server.end(signal.SIGKILL)
    account.seconds = time.monotonic() - began
    return account


async def _talk(
    reactor: Any,
    plan: Plan,
    chance: random.Random,
    server: Server,
    watchers: list[Watcher],
    account: Account,
) -> list[Deferred[Any]]:
    """Send messages, disconnect clients and kill the server, spread over the time."""
    happenings: list[tuple[float, Callable[[], object]]] = []
    sent: list[Deferred[Any]] = []

    def say(number: int) -> None:
        watcher = chance.choice(watchers)
        sent.append(watcher.say(f"{watcher.name} says {number}"))

    def kill() -> None:
        account.kills += 1
        server.end(signal.SIGKILL)
        server.start()

    def cut(watcher: Watcher) -> None:
        account.cuts += 1
        watcher.cut()

    happenings += [(chance.random(), partial(say, n)) for n in range(plan.messages)]
    happenings += [(chance.random(), partial(cut, who)) for who in watchers * plan.cuts]
    happenings += [((n + 0.5) / plan.kills, kill) for n in range(plan.kills)]
    happenings.sort(key=lambda happening: happening[0])
    start = time.monotonic()
    for when, happen in happenings:
        ahead = start + when * plan.seconds - time.monotonic()
        if ahead > 0:
            await deferLater(reactor, ahead)
        happen()
    return sent


def _level(watchers: list[Watcher]) -> bool:
    """Whether all clients of a room have reached the same offset."""
    tops: dict[str, set[int]] = {}
    for watcher in watchers:
        tops.setdefault(watcher.room, set()).add(watcher.position())
    return all(len(offsets) == 1 for offsets in tops.values()) and all(
        watcher.client.state.online for watcher in watchers
    )


async def _until(reactor: Any, true: Callable[[], bool], seconds: float) -> None:
    for _ in range(int(seconds / 0.1)):
        if true():
            return
        await deferLater(reactor, 0.1)


def _settle(watchers: list[Watcher], account: Account) -> None:
    """Check the guarantees."""
    logs: dict[str, dict[int, str]] = {}
    for watcher in watchers:
        log = logs.setdefault(watcher.room, {})
        for text, offset in watcher.acked.items():
            if log.setdefault(offset, text) != text:
                account.wrong.append(f"{offset} of {watcher.room} was acked for two messages")
        account.acked += len(watcher.acked)
        account.refused += watcher.refused
        account.wrong += watcher.wrong
        account.not_recovered += watcher.lost
    for watcher in watchers:
        log = logs[watcher.room]
        top = max(log, default=0)
        for start, seen in zip(watcher.starts, watcher.runs, strict=True):
            account.seen += len(seen)
            last = top if seen is watcher.runs[-1] else max(seen, default=start)
            missing = [offset for offset in range(start + 1, last + 1) if offset not in seen]
            if missing:
                account.wrong.append(f"{watcher.name} never saw {missing[:5]} of {watcher.room}")
            other = [offset for offset, text in seen.items() if log.get(offset, text) != text]
            if other:
                account.wrong.append(f"{watcher.name} saw another text at {other[:5]}")


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Parse the flags, run, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, value in vars(Plan()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--port", type=int, default=18080)
    flags = vars(parser.parse_args(arguments))
    port = flags.pop("port")

    async def go() -> None:
        directory = Path(tempfile.mkdtemp(prefix="recovery-"))
        try:
            account = await run(reactor, Plan(**flags), port, directory)
        finally:
            shutil.rmtree(directory)
        print(account)
        for sentence in account.wrong[:20]:
            print("  " + sentence)
        if account.wrong:
            raise SystemExit(1)

    return Deferred.fromCoroutine(go())


if __name__ == "__main__":
    react(main, sys.argv[1:])
