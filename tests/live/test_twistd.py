"""Services under ``twistd`` and ``twist``: help, several services, and the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from twisted.internet.task import LoopingCall

from tests.buffers import more_than_buffers
from tests.live.harness import LOCALHOST, Bounded, LiveTestCase, Program, Server, script

NOISE = 3.0
"""Seconds by which a busy machine may be late."""


class HelpTests(LiveTestCase):
    """What ``--help`` prints."""

    async def said(self, *command: str) -> str:
        """Return what a command prints, with its lines joined."""
        asked = self.spawn(*command)
        self.assertEqual(await asked.ended(), 0, asked)
        self.assertEqual(bytes(asked.errors), b"")
        return " ".join(asked.output.decode().split())

    async def test_the_services_are_listed(self) -> None:
        """Both programs list the services, from any directory."""
        for name in ("twistd", "twist"):
            said = await self.said(script(name), "--help")
            for line in (
                "netecho An echo server",
                "netidle Idle timeouts",
                "netchat A chat server",
            ):
                self.assertIn(line, said)

    async def test_flags_are_explained(self) -> None:
        """Both programs explain the flags; :mod:`tests.services.test_help` checks every flag."""
        defaults = {"netecho": ("0", "65536"), "netidle": ("60", "65536"), "netchat": ("0", "8192")}
        for name in ("twistd", "twist"):
            for service, (idle, size) in defaults.items():
                said = await self.said(script(name), service, "--help")
                self.assertRegex(said, rf"^Usage: {name} .*{service} \[flags\] ")
                self.assertRegex(said, rf" --idle-timeout=SECONDS [^\[]*\[default: {idle}\] ")
                self.assertRegex(said, rf" --max-message=BYTES [^\[]*\[default: {size}\] ")

    async def test_help_fits_the_terminal(self) -> None:
        """If the terminal's width is unknown, no line of ``--help`` is wider than 80 columns."""
        for name in ("twistd", "twist"):
            for service in ("netecho", "netidle", "netchat"):
                asked = self.spawn(script(name), service, "--help")
                self.assertEqual(await asked.ended(), 0, asked)
                widest = max(asked.output.decode().splitlines(), key=len)
                self.assertLessEqual(len(widest), 80, widest)

    async def test_the_version(self) -> None:
        """``--version`` prints the version of this package, not of Twisted."""
        said = await self.said(script("twistd"), "netchat", "--version")
        self.assertRegex(said, r"^twisted_net \d+\.\d+")


class EndTests(LiveTestCase):
    """SIGTERM while clients are connected."""

    async def test_people_are_told_and_everything_ends(self) -> None:
        """Each client gets a last line and is closed; then twistd ends by the signal, as usual."""
        server, port = await self.serve("netchat")
        people = [self.nc(port) for _ in range(3)]
        await self.together(*(each.expect(b"Welcome") for each in people))
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        for each in people:
            await each.expect(rb"^\* The server is restarting\.\n\Z")
            each.end_input()
            self.assertEqual(await each.ended(), 0)
        status = await server.ended()
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(status, -signal.SIGTERM)
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_drain_is_the_longest_that_it_takes(self) -> None:
        """A client that does not read delays the end by --drain seconds, and no longer."""
        server, port = await self.serve("netecho", "--drain", "1")
        client = await self.connect(port, Bounded)
        client.send(b"x" * more_than_buffers())
        await client.has(b"x")
        client.transport.pauseProducing()
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await server.ended()
        took = time.monotonic() - began
        self.assertGreaterEqual(took, 1)
        self.assertLess(took, 1 + NOISE)
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_nobody_comes_in_meanwhile(self) -> None:
        """While the last connection drains, the port is closed."""
        server, port = await self.serve("netecho", "--drain", "2")
        client = await self.connect(port, Bounded)
        client.send(b"x" * more_than_buffers())
        await client.has(b"x")
        client.transport.pauseProducing()
        server.signal(signal.SIGTERM)
        await server.until(lambda: server.log("Port .* Closed"), "the port to close")
        refused = self.nc(port)
        self.assertEqual(await refused.ended(), 1)
        await server.ended()

    async def test_all_bytes_that_were_under_way_arrive(self) -> None:
        """Data that the service has received is answered before it ends."""
        server, port = await self.serve("netecho")
        client = await self.connect(port)
        client.send(b"x" * (1 << 20))
        await client.until(lambda: len(client.received) == 1 << 20, "a megabyte")
        server.signal(signal.SIGTERM)
        await client.closed()
        self.assertEqual(len(client.received), 1 << 20)
        await server.ended()


class HangupTests(LiveTestCase):
    """SIGHUP to services without certificate files."""

    async def test_it_never_ends_a_service(self) -> None:
        """It is logged, at once after the start and while the service drains."""
        await self.together(*map(self._hang_up, ("netecho", "netchat", "netidle")))

    async def _hang_up(self, service: str) -> None:
        server, port = await self.serve(service, "--log-ends", "notable", "--drain", "1")
        # The port is logged before the service has started, and only then is there a line.
        hanging_up = LoopingCall(server.signal, signal.SIGHUP)
        hanging_up.start(0.1)
        self.addCleanup(lambda: hanging_up.stop() if hanging_up.running else None)
        await server.until(lambda: server.log("SIGHUP: there are no"), "a line")
        hanging_up.stop()
        client = await self.connect(port, Bounded)
        if service == "netecho":  # what it does not read keeps the service draining
            client.send(b"x" * more_than_buffers())
            await client.has(b"x")
            client.transport.pauseProducing()
        server.signal(signal.SIGTERM)
        await server.until(lambda: server.log("Port .* Closed"), "the port to close")
        if service == "netecho":  # the others may have ended already
            server.signal(signal.SIGHUP)
        self.assertEqual(await server.ended(), -signal.SIGTERM, service)
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class SeveralTests(LiveTestCase):
    """Several services at once."""

    async def test_two_in_one_directory(self) -> None:
        """With ``--pidfile=``, two services can run in one directory."""
        here = self.directory()
        flags = ("--port", "0", "--interface", LOCALHOST)
        chat = self.twistd("netchat", *flags, cwd=here)
        echo = self.twistd("netecho", *flags, cwd=here)
        ann, nc = self.nc(await chat.port()), self.nc(await echo.port())
        await ann.expect(b"Welcome")
        nc.write(b"hello\n")
        await nc.expect(b"hello\n")
        self.assertEqual(list(here.glob("*.pid")), [])

    async def test_two_in_one_process(self) -> None:
        """A ``.tac`` file can run two chats on different ports, and an echo server."""
        here = self.directory()
        (here / "both.tac").write_text(_TAC)
        server = self.spawn(
            script("twistd"), "-n", "--pidfile=", "-oy", "both.tac", cwd=here, kind=Server
        )
        ports = [await server.port(label) for label in ("first", "second", "echo")]
        first, second = self.nc(ports[0]), self.nc(ports[1])
        await first.expect(b"You are guest-1 in")
        await second.expect(b"You are guest-1 in")
        nc = self.nc(ports[2])
        nc.write(b"hello\n")
        await nc.expect(b"hello\n")

    async def test_twist(self) -> None:
        """``twist`` starts and ends services too."""
        server = self.spawn(
            *(script("twist"), "--log-format", "text", "netchat"),
            *("--port", "0", "--interface", LOCALHOST),
            kind=Server,
        )
        nc = self.nc(await server.port())
        await nc.expect(b"Welcome")
        server.signal(signal.SIGTERM)
        await nc.expect(rb"^\* The server is restarting\.\n")
        await server.ended()

    async def test_the_same_log(self) -> None:
        """``twist`` and ``twistd`` log the same of who came, logged in, failed and left."""
        here = self.directory()
        (here / "users").write_text("ann:secret-1\n")
        netchat = (
            *("netchat", "--port", "0", "--interface", LOCALHOST, "--auth", "file:users"),
            *("--allow-anonymous", "--allow-plain-login"),
        )
        logs = []
        for start in (
            (script("twistd"), "-n", "--pidfile=", *netchat),
            (script("twist"), "--log-format", "text", *netchat),
        ):
            server = self.spawn(*start, cwd=here, kind=Server)
            nc = self.nc(await server.port())
            nc.write(b"/nick zoe\n/login ann wrong\n/login ann secret-1\n/quit\n")
            await nc.expect(b"Goodbye")
            lines = await server.until(
                lambda server=server: len(found := server.log("Connection")) >= 4 and found, "lines"
            )
            no_figures = r"^.*?(?=Connection)|:\d+|, [\d.]+ s, bytes .*"
            logs.append([re.sub(no_figures, "", line) for line in lines])
            server.signal(signal.SIGTERM)
            await server.ended()
        self.assertEqual(logs[0], logs[1])
        self.assertEqual(
            [line.removeprefix(f"Connection 1 from {LOCALHOST}") for line in logs[0]],
            [
                ": guest-1 is called zoe now",
                ": a login as 'ann' failed",
                ": 'ann' logged in, and is called ann",
                " ended: quit, user ann",
            ],
        )


_TAC = """
from twisted.application.service import Application, MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted_net.chat.protocol import ChatFactory
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.listening import Listener, ListenerService

application = Application("both")
for label, factory in ("first", ChatFactory()), ("second", ChatFactory()), ("echo", EchoFactory()):
    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    ListenerService(factory, [Listener(endpoint, label)]).setServiceParent(application)
"""


class PidFileTests(LiveTestCase):
    """``--pidfile``, and daemons."""

    def start(self, *arguments: str, here: Path) -> Program:
        """Start twistd with a pid file."""
        started: Server = self.spawn(
            *(script("twistd"), *arguments, "--interface", LOCALHOST), cwd=here, kind=Server
        )
        return started

    async def test_it_is_there_while_the_service_runs(self) -> None:
        """The pid file has the process id, and is removed at the end."""
        here = self.directory()
        server = self.start("-n", "--pidfile=chat.pid", "netchat", "--port", "0", here=here)
        assert isinstance(server, Server)
        nc = self.nc(await server.port())
        await nc.expect(b"Welcome")  # from here on, SIGTERM does more than end the process
        self.assertEqual(int((here / "chat.pid").read_text()), server.pid)
        server.signal(signal.SIGTERM)
        await server.ended()
        self.assertFalse((here / "chat.pid").exists())

    async def test_a_start_that_fails_leaves_none(self) -> None:
        """A failed start leaves no pid file, so the next start works."""
        here = self.directory()
        _, port = await self.serve("netecho")
        server = self.start("-n", "--pidfile=x.pid", "netecho", "--port", str(port), here=here)
        self.assertEqual(await server.ended(), 1)
        self.assertEqual(list(here.glob("*.pid")), [])

    async def test_a_daemon(self) -> None:
        """Without -n, twistd returns once the service listens, and SIGTERM ends the daemon."""
        here = self.directory()
        log, pid_file = here / "log", here / "d.pid"
        flags = ("--pidfile=d.pid", "--logfile=log", "netecho", "--port", "0")
        starter = self.start(*flags, here=here)
        self.assertEqual(await starter.ended(), 0, starter)
        pid = int(pid_file.read_text())
        self.addCleanup(_kill, pid)
        ending = self.spawn("/bin/sh", "-c", f"while kill -0 {pid} 2>/dev/null; do sleep 0.1; done")
        port = re.search(r"Listening on \S+:(\d+) ", log.read_text())
        assert port is not None
        os.kill(pid, signal.SIGHUP)  # has nothing to do, and does not end it
        nc = self.nc(int(port[1]))
        nc.write(b"hello\n")
        await nc.expect(b"hello\n")
        os.kill(pid, signal.SIGTERM)
        await ending.ended()
        self.assertFalse(pid_file.exists())

    async def test_a_daemon_that_cannot_start(self) -> None:
        """A daemon that cannot start reports a line and a status to its shell."""
        here = self.directory()
        _, port = await self.serve("netecho")
        flags = ("--pidfile=d.pid", "--logfile=log", "netecho", "--port", str(port))
        starter = self.start(*flags, here=here)
        self.assertEqual(await starter.ended(), 1, starter)
        self.assertIn(f"--port {port}: Address already in use".encode(), starter.errors)
        self.assertNotIn(b"Traceback", starter.errors)
        # The daemon tells its shell first, and then removes its PID file.
        pid_file = here / "d.pid"
        removed = self.spawn("/bin/sh", "-c", f"while [ -e {pid_file} ]; do sleep 0.1; done")
        await removed.ended()


# contextlib.suppress is not imported by name: trial treats a module's ``suppress`` as its own.
def _kill(pid: int) -> None:
    """End a daemon that a test has left running."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
