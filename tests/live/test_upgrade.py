"""Upgrades in place, with real processes: nobody is closed, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory

from tests.live.harness import (
    LOCALHOST,
    PATIENCE,
    Bounded,
    Client,
    LiveTestCase,
    Server,
    program,
    script,
)
from tests.live.test_service_manager import ManagedTestCase
from tests.live.test_websocket import WS, frame

CHECKOUT = Path(__file__).resolve().parent.parent.parent

PROGRAM = str(Path(__file__).with_name("upgrade_program.py"))


class UnixClient(Client):
    """A client of a Unix socket, which has no address."""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()


class UpgradingServer(Server):
    """A server, and the processes that follow it.

    :ivar serving: the process that serves now.
    """

    upgrades = 0

    @property
    def serving(self) -> int:
        found = self.log(r"Upgrade: process \d+ goes on")
        return int(found[-1].partition("process ")[2].split()[0]) if found else self.pid

    async def upgrade(self) -> None:
        """Upgrade, and wait until the new process has gone on."""
        self.upgrades += 1
        os.kill(self.serving, signal.SIGUSR2)
        for line in (r"Upgrade: process \d+ goes on", "Upgrade: this process goes on"):
            await self.until(lambda line=line: len(self.log(line)) >= self.upgrades, line)

    async def fail_to_upgrade(self) -> str:
        """Upgrade, wait until that has failed, and return the line of the log."""
        before = len(self.log("Upgrade failed"))
        os.kill(self.serving, signal.SIGUSR2)
        lines = await self.until(lambda: self.log("Upgrade failed")[before:], "the failure")
        return str(lines[0])

    async def stop(self) -> None:
        if self.status is not None:
            return  # all have closed their ends of the pipes
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.serving, signal.SIGTERM)
        try:
            await self.ended(PATIENCE / 2)
        except AssertionError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.serving, signal.SIGKILL)
            await super().stop()


class UpgradeCase(LiveTestCase):
    """Tests with a server that is upgraded."""

    timeout = 240

    async def start(self, *arguments: str, how: Path | None = None) -> tuple[UpgradingServer, int]:
        """Start a service on a free port.

        :param how: the file that says what is wrong with the new code.
        """
        words = (*arguments, "--port", "0", "--interface", LOCALHOST)
        command = self.command(*words)
        if how is not None:
            command = (sys.executable, PROGRAM, str(how), *command[1:])
        server: UpgradingServer = self.spawn(*command, kind=UpgradingServer)
        return server, await server.port()

    def socket_path(self) -> str:
        """Return a path for a Unix socket, which is short enough."""
        made = tempfile.mkdtemp(prefix="upgrade-")
        self.addCleanup(shutil.rmtree, made)
        return f"{made}/socket"

    async def unix(self, path: str) -> UnixClient:
        """Connect to a Unix socket."""
        from twisted.internet import reactor

        endpoint = UNIXClientEndpoint(reactor, path, timeout=PATIENCE)
        connecting: Any = endpoint.connect(Factory.forProtocol(UnixClient))  # type: ignore[arg-type]
        client: UnixClient = await connecting
        self.addCleanup(self._disconnect, client)
        return client

    async def tls(self, port: int) -> Client:
        """Connect by TLS, without looking at the certificate."""
        from twisted.internet import reactor
        from twisted.internet.endpoints import SSL4ClientEndpoint
        from twisted.internet.ssl import CertificateOptions

        options = CertificateOptions(verify=False)  # type: ignore[no-untyped-call]
        endpoint = SSL4ClientEndpoint(reactor, LOCALHOST, port, options, timeout=PATIENCE)
        connecting: Any = endpoint.connect(Factory.forProtocol(Client))  # type: ignore[arg-type]
        client: Client = await connecting
        self.addCleanup(lambda: None if client.lost else self._disconnect(client))
        return client

    async def _until_stuck(self, client: Any) -> None:
        """Wait until the kernel takes nothing more of what the client sends."""
        from twisted.internet import reactor, task

        before, same = -1, 0
        while same < 10:
            left = client.transport.dataBuffer, client.transport.offset
            now = hash((len(left[0]), left[1]))
            same, before = (same + 1, now) if now == before else (0, now)
            await task.deferLater(reactor, 0.05)  # type: ignore[arg-type]

    def ask(self, client: Client, **request: Any) -> None:
        """Send a request of the JSON form."""
        client.send(json.dumps(request).encode() + b"\n")


def unsent(server: UpgradingServer) -> int:
    """Return how many bytes waited for slow readers at the last upgrade."""
    return int(server.log("unsent bytes")[-1].partition(" and ")[2].split()[0])


class EchoTests(UpgradeCase):
    async def test_connections_go_on(self) -> None:
        """TCP and Unix connections go on after several upgrades, and new ones are accepted."""
        path = self.socket_path()
        server, port = await self.start("netecho", "--listen", f"unix:{path}")
        await server.until(lambda: server.log(f"Listening on {path}"), "the Unix socket")
        client, local = await self.connect(port), await self.unix(path)
        for each in (client, local):
            each.send(b"-;")
            await each.has(b"-;")
        for number in range(3):
            await server.upgrade()
            new = await self.connect(port)
            for each in (client, local, new, await self.unix(path)):
                each.send(b"%d;" % number)
                await each.has(b"%d;" % number)
        self.assertEqual(client.received, b"-;0;1;2;")
        self.assertEqual(local.received, b"-;0;1;2;")
        self.assertEqual(os.readlink(f"{path}.lock"), str(server.serving))
        os.kill(server.serving, signal.SIGTERM)
        await client.closed()
        await server.ended()
        self.assertFalse(os.path.exists(path), "the path goes with the last process")

    async def test_unsent_bytes_go_on(self) -> None:
        """What a client has not read yet arrives after the upgrade, once and in order."""
        server, port = await self.start("netecho")
        client: Any = await self.connect(port, Bounded)
        client.transport.pauseProducing()
        data = b"".join(b"%08d" % number for number in range(3_000_000))
        client.send(data)
        # The server stops reading when it cannot send: its own buffer is full then.
        await self._until_stuck(client)
        await server.upgrade()
        self.assertGreater(unsent(server), 0)
        client.transport.resumeProducing()
        await client.until(lambda: len(client.received) >= len(data), "everything")
        self.assertEqual(bytes(client.received), data)


class ForwardTests(UpgradeCase):
    """``netidle`` between a client and an upstream."""

    async def test_both_sides_go_on(self) -> None:
        """Bytes that wait on either side arrive, in order, and the ends are passed on."""
        upstream = self.listen(Bounded)
        server, port = await self.start("netidle", "--upstream", upstream.endpoint)
        client: Any = await self.connect(port, Bounded)
        client.send(b"hello")
        other = await upstream.hears(b"hello")
        other.transport.pauseProducing()
        data = b"".join(b"%08d" % number for number in range(3_000_000))
        client.send(data)
        await self._until_stuck(client)
        for _ in range(2):
            await server.upgrade()
        self.assertGreater(unsent(server), 0)
        other.send(b"back")
        await client.has(b"back")
        other.transport.resumeProducing()
        await other.until(lambda: len(other.received) >= len(data) + 5, "everything")
        self.assertEqual(bytes(other.received), b"hello" + data)
        client.transport.loseConnection()
        await other.closed()
        again = await self.connect(port)
        again.send(b"again")
        await upstream.hears(b"again")


class FailureTests(UpgradeCase):
    """New code that does not start, or does not go on: the old process does, with one line."""

    async def test_failures(self) -> None:
        """Nobody is closed, whatever is wrong with the new code; the next upgrade works."""
        how = self.directory() / "how"
        server, port = await self.start("netchat", how=how)
        person, program = await self.connect(port), await self.connect(port)
        self.ask(program, type="hello", room="lobby")
        await program.has(b"joined")
        await person.has(b"Welcome")
        for number, (what, said) in enumerate(
            (
                ("import", "No module named 'no_such_module'"),
                ("flags", "--unknown-flag"),
                ("version", "states of version 2, and not 1"),
                ("killed-before", "ended before it had adopted everything"),
                ("killed-after", "ended when it had adopted everything"),
                ("late", "has not adopted everything within"),
            )
        ):
            how.write_text(what)
            self.assertIn(said, await server.fail_to_upgrade())
            person.send(b"still here %d\n" % number)
            await program.has(b"still here %d" % number)
            self.ask(program, type="message", room="lobby", text=f"me too {number}", id=str(number))
            await person.has(b"me too %d" % number)
        self.assertEqual(server.serving, server.pid)
        how.write_text("")
        await server.upgrade()
        person.send(b"after all\n")
        await program.has(b"after all")
        offsets = [
            json.loads(line)["offset"]
            for line in bytes(program.received).splitlines()
            if line.startswith((b'{"type":"message"', b'{"type":"ack"'))
        ]
        self.assertEqual(offsets, list(range(1, 14)))
        self.assertIsNone(person.lost)


class StopTests(UpgradeCase):
    """The service is stopped while it is upgraded."""

    async def test_the_end_comes_first(self) -> None:
        """It ends, and so does the new process, which was about to start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            how = self.directory() / "how"
            server, port = await self.start("netecho", how=how)
            client = await self.connect(port)
            client.send(b"hello")
            await client.has(b"hello")
            how.write_text("stopped")
            server.signal(signal.SIGUSR2)
            await server.expect(rb"Upgrade: starting the new code")
            server.signal(number)
            await client.closed()
            self.assertEqual(await server.ended(), -number)
            self.assertEqual(len(server.log("Upgrade given up: netecho stops")), 1)

    async def test_a_drain_comes_first(self) -> None:
        """Nobody accepts any more, and the old process stays."""
        how = self.directory() / "how"
        label = f"--admin tcp:0:interface={LOCALHOST}"
        server, _ = await self.start("netecho", *label.split(), how=how)
        how.write_text("stopped")
        server.signal(signal.SIGUSR2)
        await server.expect(rb"Upgrade: starting the new code")
        at = f"http://{LOCALHOST}:{await server.port(label)}"
        drain: Any = self.spawn(script("netchat-admin"), "--at", at, "drain")
        self.assertEqual(await drain.ended(), 0)
        await server.expect(rb"Upgrade given up: netecho stops")
        self.assertIsNone(server.status)


OWN = '''
from twisted.application.service import Application
from twisted.internet import endpoints, reactor
from twisted_net import (
    Connection, ConnectionFactory, Listener, ListenerService, UpgradableService
)

class Count(Connection):
    """Counts the lines of its client."""
    count = 0
    def connected(self):
        self.send("hello")
    def message_received(self, line):
        self.count += 1
        self.send(f"{self.count} {line.decode()}")

class Moving(Count):
    def save_state(self):
        return {"count": self.count}
    def load_state(self, state):
        self.count = state["count"]

application = Application("own")
services = {}
for kind in Count, Moving:
    endpoint = endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    factory = ConnectionFactory.forProtocol(kind, clock=reactor)
    services[kind.__name__] = ListenerService(factory, [Listener(endpoint, kind.__name__)], 1)
UpgradableService(services).setServiceParent(application)
'''


class OwnConnectionTests(UpgradeCase):
    """Somebody's own classes, on Twisted's own transports."""

    async def test_own_state_moves(self) -> None:
        """A class that saves its state moves; connections of one that does not are closed."""
        directory = self.directory()
        (directory / "own.tac").write_text(OWN)
        command = self.command("-y", "own.tac")
        server: UpgradingServer = self.spawn(*command, kind=UpgradingServer, cwd=directory)
        moving = await self.connect(await server.port("Moving"))
        other = await self.connect(await server.port("Count"))
        for each in (moving, other):
            each.send(b"one\nha")
            await each.has(b"1 one")
        await server.upgrade()
        moving.send(b"lf\n")
        await moving.has(b"2 half\n")
        self.assertEqual(moving.received, b"hello\n1 one\n2 half\n", "connected() is not run again")
        await other.closed()
        new = await self.connect(await server.port("Count"))
        new.send(b"new\n")
        await new.has(b"1 new")


class LoadTests(LiveTestCase):
    """The command that upgrades a chat under load, with little of it."""

    async def test_everybody_sees_everything(self) -> None:
        """Nobody is closed, and everybody has every message, once and in order."""
        for reactor in ("", "eager"):
            running: Any = self.spawn(
                *(sys.executable, "-m", "tests.live.upgrades", "--connections", "40"),
                *("--messages", "40", "--upgrades", "2", "--idle", "300", "--reactor", reactor),
                cwd=CHECKOUT,
            )
            self.assertEqual(await running.ended(PATIENCE * 4), 0, running)
            self.assertIn(b"closed: 0; lost, doubled or out of order: 0", running.output)
            self.assertIn(b"300 idle connections: moved in", running.output)


class OperatorTests(UpgradeCase, ManagedTestCase):
    """What operators see: netchat-admin, the pid file, the service manager."""

    async def test_netchat_admin(self) -> None:
        """``netchat-admin upgrade`` says what was done, or why it has failed."""
        how = self.directory() / "how"
        label = f"--admin tcp:0:interface={LOCALHOST}"
        server, port = await self.start("netecho", *label.split(), how=how)
        client = await self.connect(port)
        client.send(b"before")
        await client.has(b"before")
        at = f"http://{LOCALHOST}:{await server.port(label)}"
        how.write_text("import")
        admin: Any = self.spawn(script("netchat-admin"), "--at", at, "upgrade")
        self.assertEqual(await admin.ended(), 1)
        self.assertIn(b"No module named 'no_such_module'", admin.errors)
        how.write_text("")
        admin = self.spawn(script("netchat-admin"), "--at", at, "upgrade")
        self.assertEqual(await admin.ended(), 0)
        self.assertRegex(bytes(admin.output), rb"Process \d+ goes on with 1 connection\.")
        client.send(b"after")
        await client.has(b"after")
        listing: Any = self.spawn(script("netchat-admin"), "--at", at, "who")
        self.assertEqual(await listing.ended(), 0)
        self.assertIn(client.address.encode(), listing.output)

    async def test_balancers(self) -> None:
        """All through an upgrade, and a failed one, ``/readyz`` says that new clients are served.

        A connection by TLS keeps the old process, which drains it for longer than that.
        """
        how = self.directory() / "how"
        label = f"--admin tcp:0:interface={LOCALHOST}"
        server, port = await self.start(
            *("netecho", "--tls-port", "0", "--self-signed", *label.split()), how=how
        )
        view = await server.port(label)
        secret = await self.tls(await server.port("--tls-port 0"))
        secret.send(b"x" * 10)
        await secret.has(b"x" * 10)
        secret.transport.pauseProducing()  # it does not notice its end
        for pattern, wrong in ((r"Upgrade failed", "import"), (r"this process goes on with", "")):
            how.write_text(wrong)
            os.kill(server.serving, signal.SIGUSR2)
            while not server.log(pattern):
                self.assertEqual(await self.readiness(view), b"ready\n")
        self.assertEqual(await self.readiness(view), b"ready\n")
        await self.check_echo(port, b"hello")

    async def readiness(self, port: int) -> bytes:
        """Return what a load balancer is told, on a connection of its own."""
        client = await self.connect(port)
        client.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await client.closed()
        return bytes(client.received).partition(b"\r\n\r\n")[2]

    async def test_a_daemon(self) -> None:
        """A daemon's pid file names the new process at once, and goes with the last one."""
        directory = self.directory()
        words = [script("twistd"), *("--pidfile", "pid", "--logfile", "log")]
        words += ["netecho", "--port", "0", "--interface", LOCALHOST]
        starter: Any = self.spawn(*words, cwd=directory)
        self.assertEqual(await starter.ended(), 0)
        pid, log = directory / "pid", directory / "log"
        first = int(pid.read_text())
        self.addCleanup(self._end, pid)
        found = re.search(r"Listening on \S+:(\d+)", log.read_text())
        assert found is not None
        client = await self.connect(int(found[1]))
        client.send(b"served")
        await client.has(b"served")
        os.kill(first, signal.SIGUSR2)
        await self.poll(lambda: "this process goes on with" in log.read_text())
        second = int(pid.read_text())
        self.assertNotEqual(first, second)
        self.assertIn(f"goes on with 1 connection of process {first}", log.read_text())
        client.send(b"hello")
        await client.has(b"hello")
        os.kill(second, signal.SIGTERM)
        await client.closed()
        client.transport.loseConnection()
        await self.poll(lambda: not pid.exists())

    async def test_systemd(self) -> None:
        """systemd is told the new main process, and its sockets are the next process's too."""
        activate = program("systemd-socket-activate")
        with socket.create_server((LOCALHOST, 0)) as free:
            port = free.getsockname()[1]
        path = self.path()
        manager = self.manage(path)
        running: UpgradingServer = self.spawn(
            *(activate, "--fdname=netchat", f"--listen={LOCALHOST}:{port}"),
            *("-E", f"NOTIFY_SOCKET={path}"),
            *(script("twistd"), "--nodaemon", "--pidfile=", "--reactor=eager", "netchat"),
            *("--listen", "systemd:domain=INET:name=netchat"),
            kind=UpgradingServer,
        )
        await running.until(lambda: b"Listening on" in running.errors, "the socket")
        client = await self.connect(port)
        await client.has(b"Welcome")
        await manager.hears("READY")
        for number in range(2):
            await running.upgrade()
            told = await manager.hears("MAINPID")
            self.assertEqual(told["MAINPID"], str(running.serving))
            await manager.hears("READY")
            client.send(b"/ping\n")
            await client.until(
                lambda number=number: client.received.count(b"pong") == number + 1, "the pong"
            )
            new = await self.connect(port)
            await new.has(b"Welcome")
        self.assertEqual([each for each in manager.messages if "STOPPING" in each], [])

    def _end(self, pid: Path) -> None:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


class ChatTests(UpgradeCase):
    """People, programs and browsers in the chat."""

    async def check_all_kinds(self, *flags: str) -> None:
        """Upgrade three times while people, a program and a browser talk; nobody notices."""
        path = self.socket_path()
        server, port = await self.start("netchat", "--listen", f"unix:{path}", *flags)
        await server.until(lambda: server.log(f"Listening on {path}"), "the Unix socket")
        person, program = await self.connect(port), await self.connect(port)
        browser, local = await self.connect(port), await self.unix(path)
        await person.has(b"Welcome")
        person.send(b"/nick Ann\n/join tea\nAnn's half")
        self.ask(program, type="hello", nick="bot", room="tea")
        browser.send(WS + frame(type="hello", nick="Web", room="tea"))
        self.ask(local, type="hello", nick="Loc", room="tea")
        everyone = (person, program, browser, local)
        for each in everyone[1:]:
            await each.has(b'"joined"')
        half = frame(type="message", room="tea", text="from the browser", id="w")
        browser.send(half[:20])
        for number in range(3):
            await server.upgrade()
            person.send(b" line %d\nAnn's half" % number)
            for each in everyone[1:]:
                await each.has(b"Ann's half line %d" % number)
            self.ask(
                program, type="message", room="tea", text=f"from the bot {number}", id=f"b{number}"
            )
            for each in (person, browser, local):
                await each.has(b"from the bot %d" % number)
        browser.send(half[20:])
        await program.has(b"from the browser")
        await browser.has(b'"ack"')
        person.send(b"\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08/who\n")
        await person.has(b"Ann, bot, Loc, Web")
        offsets = [
            json.loads(line)["offset"]
            for line in bytes(local.received).splitlines()
            if line.startswith(b'{"type":"message"')
        ]
        self.assertEqual(offsets, list(range(1, 8)))
        # Who comes later finds what was said before the first upgrade and after it.
        late = await self.connect(port)
        self.ask(late, type="hello", room="tea")
        self.ask(late, type="history", room="tea")
        await late.has(b"from the browser")
        self.assertIn(b"Ann's half line 0", late.received)

    async def test_in_memory(self) -> None:
        """The messages in memory move with everybody."""
        await self.check_all_kinds()

    async def test_in_a_file(self) -> None:
        """The file is closed by the old process and opened by the new one."""
        await self.check_all_kinds("--store", f"sqlite:{self.directory() / 'chat.db'}")

    async def test_the_file_is_opened_again(self) -> None:
        """If the upgrade fails, the old process opens its file again."""
        how = self.directory() / "how"
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server, port = await self.start("netchat", "--store", store, how=how)
        person, other = await self.connect(port), await self.connect(port)
        await self.together(person.has(b"Welcome"), other.has(b"Welcome"))
        for number, what in enumerate(("killed-before", "killed-after")):
            how.write_text(what)
            await server.fail_to_upgrade()
            person.send(b"stored %d\n" % number)
            await other.has(b"stored %d" % number)
        how.write_text("")
        await server.upgrade()
        late = await self.connect(port)
        await late.has(b"stored 0")

    async def test_tls_is_told_to_come_back(self) -> None:
        """Who is connected by TLS gets a goodbye, and leaves the room; the old process ends."""
        server, port = await self.start(
            *("netchat", "--tls-port", "0", "--self-signed", "--drain", "5")
        )
        person = await self.connect(port)
        await person.has(b"Welcome")
        secret = await self.tls(await server.port("--tls-port 0"))
        self.ask(secret, type="hello", nick="Sec", room="lobby")
        await person.has(b"Sec joined")
        await server.upgrade()
        await secret.has(b'"code":"draining"')
        self.assertIn(b'"retry":true', secret.received)
        await person.has(b"Sec left")
        await secret.closed()
        again = await self.tls(await server.port("--tls-port 0"))
        self.ask(again, type="hello", nick="Sec", room="lobby")
        await again.has(b'"joined"')


class EagerChatTests(ChatTests):
    """The same with the eager reactor."""

    reactor = "eager"
