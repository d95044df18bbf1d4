"""The services under a service manager: a real datagram socket, and real socket activation."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from twisted.internet.interfaces import IReactorUNIXDatagram
from twisted.internet.protocol import DatagramProtocol

from tests.live.harness import (
    LOCALHOST,
    LiveTestCase,
    Program,
    Server,
    Watched,
    program,
    script,
)

SERVICES = ("netecho", "netidle", "netchat")


class Manager(Watched, DatagramProtocol):
    """Receives what services send, as systemd does.

    :ivar messages: for each, its variables.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, str]] = []

    def __repr__(self) -> str:
        return f"a manager with {self.messages}"

    def datagramReceived(self, data: bytes, address: object) -> None:
        lines = data.decode().split("\n")
        self.messages.append(dict(line.split("=", 1) for line in lines))
        self.changed()

    async def hears(self, *variables: str) -> dict[str, str]:
        """Wait for a message with these variables, and forget it and all before it."""

        def found() -> dict[str, str] | None:
            for number, each in enumerate(self.messages):
                if set(variables) <= each.keys():
                    del self.messages[: number + 1]
                    return each
            return None

        heard: dict[str, str] = await self.until(found, f"a message with {variables}")
        return heard


class ManagedTestCase(LiveTestCase):
    def manage(self, address: str) -> Manager:
        """Listen as the manager."""
        from twisted.internet import reactor

        assert IReactorUNIXDatagram.providedBy(reactor)
        manager = Manager()
        port = reactor.listenUNIXDatagram(address, manager)
        self.addCleanup(port.stopListening)
        return manager

    def managed(self, name: str, *arguments: str, seconds: float = 600.0) -> Server:
        """Start ``twistd -n`` as systemd does, with a watchdog."""
        variables = (f"NOTIFY_SOCKET={name}", f"WATCHDOG_USEC={seconds * 1e6:.0f}")
        server: Server = self.spawn(
            program("env"), *variables, *self.command(*arguments), kind=Server
        )
        return server

    def path(self) -> str:
        """Return a path that is short enough for a socket (unix(7))."""
        path = Path(f"/tmp/manager-{os.getpid()}-{time.monotonic_ns():x}")
        self.addCleanup(path.unlink, missing_ok=True)
        return str(path)


class NotificationTests(ManagedTestCase):
    """What the manager hears."""

    async def live(self, service: str, listen: str, name: str) -> None:
        """Run a service from its start to its end."""
        manager = self.manage(listen)
        server = self.managed(
            name, service, "--port=0", f"--interface={LOCALHOST}", "--drain=3", seconds=0.5
        )
        ready = await manager.hears("READY")
        port = await server.port()
        self.assertEqual(ready, {"READY": "1", "STATUS": "0 connections"})
        await manager.hears("WATCHDOG")
        client = await self.connect(port)
        self.assertEqual((await manager.hears("STATUS"))["STATUS"], "1 connection")
        before = time.monotonic_ns() // 1000
        server.signal(signal.SIGHUP)
        reloading = await manager.hears("RELOADING")
        self.assertTrue(before < int(reloading["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000)
        await manager.hears("READY")
        server.signal(signal.SIGTERM)
        stopping = await manager.hears("STOPPING")
        self.assertEqual(
            stopping,
            {
                "STOPPING": "1",
                "STATUS": "Stopping; connections left: 1",
                "EXTEND_TIMEOUT_USEC": "13000000",
            },
        )
        await client.closed()
        self.assertEqual(await server.ended(), -signal.SIGTERM)  # clean for systemd
        self.assertEqual(server.log("Traceback|Unhandled|NOTIFY_SOCKET"), [])

    async def test_a_path(self) -> None:
        """All three services, with a path."""
        for service in SERVICES:
            path = self.path()
            await self.live(service, path, path)

    async def test_an_abstract_name(self) -> None:
        """The same with an abstract name, as in containers."""
        name = f"/netchat/{os.getpid()}/{time.monotonic_ns():x}"
        for service in SERVICES:
            await self.live(service, f"\0{name}{service}", f"@{name}{service}")

    async def test_workers(self) -> None:
        """The service is ready once all workers are, and only the supervisor says so."""
        path = self.path()
        manager = self.manage(path)
        flags = ("--port=0", f"--interface={LOCALHOST}", "--drain=3", "--workers=2")
        server = self.managed(path, "netecho", *flags)
        ready = await manager.hears("READY")
        self.assertEqual(ready["STATUS"], "0 connections, 2 of 2 workers")
        await server.until(lambda: len(server.log(r"Worker \d serves")) == 2, "both lines")
        client = await self.connect(await server.port())
        status = "1 connection, 2 of 2 workers"
        await manager.until(
            lambda: any(each.get("STATUS") == status for each in manager.messages), status
        )
        server.signal(signal.SIGTERM)
        stopping = await manager.hears("STOPPING")
        self.assertEqual(stopping["EXTEND_TIMEOUT_USEC"], "18000000")
        await client.closed()
        await server.ended()
        self.assertFalse(any("READY" in each for each in manager.messages))

    async def test_a_failed_start(self) -> None:
        """A service that cannot start never says that it is ready."""
        path = self.path()
        manager = self.manage(path)
        with socket.create_server((LOCALHOST, 0)) as taken:
            port = taken.getsockname()[1]
            server = self.managed(path, "netchat", f"--port={port}", f"--interface={LOCALHOST}")
            self.assertEqual(await server.ended(), 1)
        self.assertEqual(manager.messages, [])

    async def test_a_reactor_that_hangs(self) -> None:
        """A process whose reactor does not run sends no sign of life."""
        path = self.path()
        manager = self.manage(path)
        server = self.managed(path, "netecho", "--port=0", seconds=0.2)
        await manager.hears("WATCHDOG")
        server.signal(signal.SIGSTOP)
        stopped = Path(f"/proc/{server.pid}/stat")
        while stopped.read_text().rpartition(")")[2].split()[0] != "T":
            pass  # the signal is on its way
        manager.messages.clear()
        other = self.managed(path, "netecho", "--port=0")  # its start takes many times as long
        await other.port()
        await manager.hears("READY")
        self.assertEqual(manager.messages, [])
        server.signal(signal.SIGCONT)
        await manager.hears("WATCHDOG")


class ActivationTests(ManagedTestCase):
    """Sockets that systemd has opened; the service starts with the first connection."""

    async def test_the_unit(self) -> None:
        """The first client, who was there before the service, is served."""
        activate = program("systemd-socket-activate")
        with socket.create_server((LOCALHOST, 0)) as free:
            port = free.getsockname()[1]
        path = self.path()
        manager = self.manage(path)
        place = self.directory()
        running: Program = self.spawn(
            *(activate, "--fdname=netchat", f"--listen={LOCALHOST}:{port}"),
            *("-E", f"NOTIFY_SOCKET={path}", "-E", f"STATE_DIRECTORY={place}"),
            *(script("twistd"), "--nodaemon", "--pidfile=", "--reactor=eager", "netchat"),
            *("--listen", "systemd:domain=INET:name=netchat"),
            *("--store", f"sqlite:{place}/chat.db"),
        )
        await running.until(lambda: b"Listening on" in running.errors, "the socket")
        client = await self.connect(port)
        await client.has(b"/help lists commands.\n")
        await manager.hears("READY")
        self.assertTrue((place / "chat.db").exists())
        self.assertEqual(await self.second(port), b"Welcome")
        running.signal(signal.SIGTERM)
        await manager.hears("STOPPING")
        self.assertEqual(await running.ended(), -signal.SIGTERM)

    async def second(self, port: int) -> bytes:
        """Connect again, and return how the welcome begins."""
        client = await self.connect(port)
        await client.has(b"Welcome")
        return bytes(client.received[:7])
