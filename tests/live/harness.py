"""Real processes for the tests: servers started by ``twistd``, and the programs that people use.

Nothing here sleeps. A test waits for an event for at most :data:`PATIENCE` seconds, and reports
what it saw if it does not happen. Every process and connection ends with its test.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from tests.buffers import bound

PATIENCE = 30.0
"""Seconds that a test waits for an event, enough for a very slow machine."""

LAST_CALL = 5.0
"""Seconds between SIGTERM and SIGKILL."""

LOCALHOST = "127.0.0.1"

_LISTENING = re.compile(rb"Listening on (\S+) \((.*?)\)")


def program(name: str) -> str:
    """Return the path of a program that a test needs.

    :raises SkipTest: it is not installed. ``.ci/run`` counts a skip as a failure.
    """
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


def script(name: str) -> str:
    """Return the path of a program, such as ``twistd``, that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def memory(pid: int, what: str = "VmRSS") -> int:
    """Return the memory of a process in bytes, from ``/proc``.

    :param what: ``"VmRSS"`` for the current size, ``"VmHWM"`` for the peak.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class Watched:
    """An object that reports its changes, so that a test can wait for a condition."""

    on_change: Callable[[], None] | None = None

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def changed(self) -> None:
        """Check which waits are over."""
        if self.on_change is not None:
            self.on_change()
        for wait in list(self._waiting):
            result = wait[0]()
            if result:
                self._waiting.remove(wait)
                wait[1].callback(result)

    async def until(self, true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until ``true()`` is true, and return its result.

        :param what: the event that is waited for, for the error.
        :raises AssertionError: it did not happen within ``seconds``.
        """
        from twisted.internet import reactor

        result = true()
        if result:
            return result
        wait: tuple[Callable[[], Any], Deferred[Any]] = (true, Deferred())
        self._waiting.append(wait)
        wait[1].addTimeout(seconds, reactor)  # type: ignore[arg-type]  # it is a module to mypy
        try:
            return await wait[1]
        except (TimeoutError, CancelledError):
            self._waiting.remove(wait)
            raise AssertionError(f"waited {seconds:g} s for {what}; there is {self!r}") from None


class Program(Watched, ProcessProtocol):
    """A process: its output, and how it ended.

    :ivar output: everything that it has written to its standard output.
    :ivar errors: everything that it has written to its standard error.
    :ivar status: its exit status, or minus the number of the signal that ended it; None while it
        runs.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.output = bytearray()
        self.errors = bytearray()
        self.status: int | None = None
        self._read = 0  # how much of the output a test has expected so far
        self.transport: Any = None

    def __repr__(self) -> str:
        seen = bytes(self.output[-2000:]) + bytes(self.errors[-2000:])
        return f"{self.name} (status {self.status}) with {seen!r}"

    def outReceived(self, data: bytes) -> None:
        self.output += data
        self.changed()

    def errReceived(self, data: bytes) -> None:
        self.errors += data
        self.changed()

    def processEnded(self, reason: Failure) -> None:
        value = reason.value
        assert isinstance(value, error.ProcessDone | error.ProcessTerminated)
        self.status = -value.signal if value.signal else value.exitCode
        self.changed()

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self.transport.pid)

    def write(self, data: bytes) -> None:
        """Write to its standard input, as a person who types."""
        self.transport.write(data)

    def end_input(self) -> None:
        """Close its standard input, as Ctrl-D does."""
        self.transport.closeStdin()

    async def expect(self, pattern: bytes, seconds: float = PATIENCE) -> re.Match[bytes]:
        """Wait until ``pattern``, a regular expression, matches in its unread output.

        The output up to the end of the match then counts as read.
        """
        compiled = re.compile(pattern, re.MULTILINE)
        match: re.Match[bytes] = await self.until(
            lambda: compiled.search(self.output, self._read), repr(pattern), seconds
        )
        self._read = match.end()
        # The match refers to a buffer that will grow.
        return (
            re.compile(pattern, re.MULTILINE).match(bytes(self.output[match.start() : match.end()]))
            or match
        )

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Wait until it has ended, and return its status."""
        await self.until(lambda: self.status is not None, "its end", seconds)
        assert self.status is not None
        return self.status

    def signal(self, number: int) -> None:
        """Send it a signal if it is still running."""
        if self.status is None:
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """End it, first with SIGTERM."""
        if self.status is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            await self.ended(LAST_CALL)
        except AssertionError:
            self.signal(signal.SIGKILL)
            await self.ended()


class Server(Program):
    """A process of ``twistd`` or ``twist`` with one of our services."""

    async def port(self, label: str = "--port 0") -> int:
        """Wait until it listens, and return the port that a flag was given."""
        await self.until(
            lambda: label in self._listening() or self.status is not None, f"it to listen, {label}"
        )
        listening = self._listening()
        if label not in listening:
            raise AssertionError(f"it does not listen: {self!r}")
        return int(listening[label].rpartition(":")[2])

    def _listening(self) -> dict[str, str]:
        text = bytes(self.output + self.errors)
        return {label.decode(): where.decode() for where, label in _LISTENING.findall(text)}

    def log(self, pattern: str = "") -> list[str]:
        """Return the lines of its log that match a pattern."""
        lines = self.output.decode(errors="replace").splitlines()
        return [line for line in lines if re.search(pattern, line)]


class Client(Watched, Protocol):
    """A connection in this process.

    :cvar bounded: whether its socket gets small buffers, so that data that it does not read fills
        the buffers of the peer: see :mod:`tests.buffers`.
    :ivar received: everything that it has received.
    :ivar address: its own address, as it appears in a server's log.
    :ivar lost: why it ended; None while it is connected.
    :ivar ended_at: the monotonic time in seconds at which it ended.
    """

    bounded = False
    address = ""
    ended_at = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.received = bytearray()
        self.lost: BaseException | None = None

    def __repr__(self) -> str:
        return f"a client (lost: {self.lost!r}) with {bytes(self.received[-2000:])!r}"

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.changed()

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost = reason.value
        self.ended_at = time.monotonic()
        self.changed()

    def makeConnection(self, transport: Any) -> None:
        here = transport.getHost()
        self.address = f"{here.host}:{here.port}"
        super().makeConnection(transport)

    def send(self, data: bytes) -> None:
        """Send data."""
        assert self.transport is not None
        self.transport.write(data)

    async def has(self, text: bytes, seconds: float = PATIENCE) -> None:
        """Wait until it has received ``text``."""
        await self.until(lambda: text in self.received, repr(text), seconds)

    async def closed(self, seconds: float = PATIENCE) -> None:
        """Wait until the connection has ended."""
        await self.until(lambda: self.lost is not None, "the connection's end", seconds)


class Bounded(Client):
    """A connection whose socket has small buffers."""

    bounded = True


class Bounding:
    """The part of a reactor that client endpoints need, which makes sockets with small buffers."""

    def connectTCP(self, *arguments: Any, **more: Any) -> Any:
        from twisted.internet import reactor

        connector: Any = reactor.connectTCP(*arguments, **more)  # type: ignore[attr-defined]
        bound(connector.transport.socket)  # it connects in the next turn
        return connector


class Upstream(Watched, Factory):  # type: ignore[type-arg]
    """A listener in this process that one of our servers connects to.

    :ivar clients: the connections, in order.
    """

    noisy = False

    def __init__(self, kind: type[Client]) -> None:
        super().__init__()
        self.protocol = kind
        self.clients: list[Client] = []
        self.port = 0

    def __repr__(self) -> str:
        return f"an upstream with {self.clients!r}"

    @property
    def endpoint(self) -> str:
        """The endpoint string of this listener."""
        return f"tcp:{LOCALHOST}:{self.port}"

    def buildProtocol(self, addr: object) -> Any:
        client: Any = super().buildProtocol(addr)  # type: ignore[arg-type]
        client.on_change = self.changed
        self.clients.append(client)
        return client

    async def hears(self, text: bytes) -> Any:
        """Wait until a connection has received ``text``, and return that connection."""
        return await self.until(
            lambda: next((each for each in self.clients if text in each.received), None),
            f"a connection with {text!r}",
        )


class LiveTestCase(TestCase):
    """A test with real processes, which end with it.

    :cvar reactor: the reactor for ``twistd``; empty means its default. The variable
        ``LIVE_REACTOR`` sets it for all tests: ``LIVE_REACTOR=eager trial tests.live``.
    """

    timeout = 120
    reactor = os.environ.get("LIVE_REACTOR", "")

    def directory(self) -> Path:
        """Return a new empty directory, below trial's own."""
        path = Path(self.mktemp()).absolute()
        path.mkdir(parents=True)
        return path

    async def poll(self, true: Callable[[], bool]) -> None:
        """Wait for what only files show."""
        from twisted.internet import reactor, task

        for _ in range(int(PATIENCE / 0.05)):
            if true():
                return
            await task.deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.fail("it did not happen")

    def spawn(
        self,
        *command: str,
        cwd: Path | None = None,
        kind: type[Program] = Program,
        without: tuple[str, ...] = (),
    ) -> Any:
        """Start a process, in a new directory by default.

        :param without: environment variables that it does not get.
        :return: the process, of the requested kind.
        """
        from twisted.internet import reactor

        running = kind(Path(command[0]).name)
        omitted = ("PYTHONPATH", *without)  # use the installed package, not the checkout
        # If this process is killed, its children must end too; setpriv is Linux only.
        tied = shutil.which("setpriv")
        argv = (tied, "--pdeathsig", "KILL", *command) if tied else command
        reactor.spawnProcess(  # type: ignore[attr-defined]  # it is a module to mypy
            running,
            argv[0],
            argv,
            env={name: value for name, value in os.environ.items() if name not in omitted},
            path=str(cwd or self.directory()),
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(running.stop()))
        return running

    def twistd(self, *arguments: str, **how: Any) -> Server:
        """Start ``twistd -n`` with a service and its flags; otherwise as :meth:`spawn`."""
        server: Server = self.spawn(*self.command(*arguments), kind=Server, **how)
        return server

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the words that start ``twistd -n``."""
        reactor = ("--reactor", self.reactor) if self.reactor else ()
        return (script("twistd"), "-n", "--pidfile=", *reactor, *arguments)

    async def serve(self, service: str, *flags: str) -> tuple[Server, int]:
        """Start a service on a free local port, and wait until it listens."""
        server = self.twistd(service, "--port", "0", "--interface", LOCALHOST, *flags)
        return server, await server.port()

    async def connect(self, port: int, client: type[Client] = Client) -> Any:
        """Connect to a local port.

        :return: the client, of the requested kind.
        """
        from twisted.internet import reactor

        connecting: Any = Bounding() if client.bounded else reactor
        endpoint = TCP4ClientEndpoint(connecting, LOCALHOST, port, timeout=PATIENCE)
        connected: Any = await endpoint.connect(Factory.forProtocol(client))  # type: ignore[arg-type]
        self.addCleanup(self._disconnect, connected)
        return connected

    def _disconnect(self, client: Any) -> Deferred[Any]:
        client.transport.abortConnection()
        return Deferred.fromCoroutine(client.closed())

    def listen(self, kind: type[Client] = Client) -> Upstream:
        """Listen in this process, on a free port."""
        from twisted.internet import reactor

        upstream = Upstream(kind)
        port: IListeningPort = reactor.listenTCP(0, upstream, interface=LOCALHOST)  # type: ignore[attr-defined]
        if kind.bounded:
            bound(port.socket)  # type: ignore[attr-defined]  # it is Twisted's own
        self.addCleanup(port.stopListening)
        self.addCleanup(self._end_upstream, upstream)
        upstream.port = port.getHost().port  # type: ignore[attr-defined]  # its kind is known
        return upstream

    def _end_upstream(self, upstream: Upstream) -> Deferred[Any]:
        return gatherResults([self._disconnect(each) for each in upstream.clients])

    def nc(self, port: int, *flags: str) -> Program:
        """Start ``nc`` to a local port."""
        running: Program = self.spawn(program("nc"), *flags, LOCALHOST, str(port))
        return running

    async def check_echo(self, port: int, data: bytes) -> None:
        """Send through ``nc``, which then closes its side: everything comes back, then the end."""
        nc = self.nc(port, "-N")
        nc.write(data)
        nc.end_input()
        self.assertEqual(await nc.ended(), 0)
        self.assertEqual(len(nc.output), len(data))
        self.assertEqual(bytes(nc.output), data)

    async def together(self, *waits: Any) -> list[Any]:
        """Wait for several things at once; the first failure is raised."""
        deferreds = [Deferred.fromCoroutine(each) for each in waits]
        try:
            return await gatherResults(deferreds, consumeErrors=True)
        except Exception as failed:
            raise getattr(failed, "subFailure", failed).value from None
