"""Real Redis servers and Sentinels for the tests. Each has a directory and a port of its own."""

from __future__ import annotations

import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import hiredis
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from tests.live.harness import LOCALHOST, PATIENCE, redis_program

Result = TypeVar("Result")


def free_port() -> int:
    """Return a port that nobody listens on.

    It is below those that the system gives to others, so a server can be started there again. So is
    the port that is 10,000 above, which a Redis Cluster uses as well.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOCALHOST, port))
            except OSError:
                continue
        return port


class RedisServer:
    """A ``redis-server``.

    :param options: lines of its configuration, such as ``"appendonly yes"``.
    """

    def __init__(self, directory: Path, *options: str, sentinel: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.directory = directory
        self._config = directory / "redis.conf"
        lines = [f"port {self.port}", f"bind {LOCALHOST}", f'dir "{directory}"', *options]
        if not sentinel:
            lines.append('save ""')
        self._config.write_text("\n".join([*lines, ""]))
        self.tls_port = 0
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{LOCALHOST}:{self.port}"

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that it is, or, as Valkey, that it is compatible with."""
        found = re.search(rb"redis_version:([\d.]+)", self.ask("INFO", "server"))
        assert found is not None
        return tuple(map(int, found[1].split(b".")))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # If this process is killed, Redis must end too; setpriv is Linux only.
        tied = [each, "--pdeathsig", "KILL"] if (each := shutil.which("setpriv")) else []
        command = [*tied, redis_program(), str(self._config)]
        with (self._config.parent / "log").open("ab") as output:
            self._process = subprocess.Popen(
                command + ["--sentinel"] * self._sentinel, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                reply = self.ask("PING")
            except OSError:
                reply = None
            # One that wants a password, or is loading, runs as well.
            if reply is not None and "LOADING" not in str(reply):
                return
            log = (self._config.parent / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, log
            if self._process.poll() is not None:
                self._process = None
                if re.search("'tls-port |connection type tls", log):
                    raise SkipTest(f"{command[-2]} was built without TLS")
                raise AssertionError(log)
            time.sleep(0.01)

    def ask(self, *command: str | bytes | int) -> Any:
        """Send a command on a connection of its own, and return the reply."""
        with Asking(self.port) as asking:
            return asking.ask(*command)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it properly."""
        if self._process is not None:
            self.signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Asking:
    """A blocking connection to Redis."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOCALHOST, port), PATIENCE)
        self._reader = hiredis.Reader()

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *command: str | bytes | int) -> Any:
        """Send a command, and return the reply."""
        self._socket.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("Redis has closed the connection")
            self._reader.feed(data)
        return reply


@implementer(IHostnameResolver)
class _Literal:
    """Resolves addresses without the threads that a reactor would start for it."""

    name = ""

    def cancel(self) -> None:
        """Do nothing: it is resolved at once."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: object = "TCP",
    ) -> Any:
        resolutionReceiver.resolutionBegan(self)  # type: ignore[arg-type]
        resolutionReceiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        resolutionReceiver.resolutionComplete()
        return self


class Pumped:
    """A reactor of its own, which a test runs until something has happened.

    There are few of them in a process, because each has a thread that watches it.
    """

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        self.reactor.installNameResolver(_Literal())
        self.reactor.startRunning(installSignalHandlers=False)

    def until(
        self, true: Callable[[], object], what: str = "it", seconds: float = PATIENCE
    ) -> None:
        """Run until ``true()`` is true.

        :raises AssertionError: it did not happen in time.
        """
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
            self.reactor.iterate(0.01)

    def run(self, result: Deferred[Result]) -> Deferred[Result]:
        """Run until a Deferred has its result, and return it."""
        self.until(lambda: result.called and not result.paused, "a result")
        return result


@cache
def pumped(name: str = "") -> Pumped:
    """Return the reactor with a name."""
    return Pumped()
