"""Signals that come while a service starts: it waits for a store that does not answer yet."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest

from tests.live.harness import LOCALHOST, PATIENCE, Client, LiveTestCase, Server, script
from tests.live.test_upgrade import UpgradingServer


class Gate(Client):
    """A connection of a service to its store. Until it is opened, nothing gets through."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self._store: Any = None

    def open(self, port: int) -> None:
        """Let everything through to a port."""
        from twisted.internet import reactor

        self.is_open = True
        endpoint = TCP4ClientEndpoint(reactor, LOCALHOST, port, timeout=PATIENCE)
        endpoint.connect(Factory.forProtocol(lambda: Beyond(self)))  # type: ignore[arg-type]

    def connected_to(self, store: Any) -> None:
        """There is a connection to the port."""
        self._store = store
        store.write(bytes(self.received))

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._store is not None:
            self._store.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        if self._store is not None:
            self._store.abortConnection()


class Beyond(Protocol):
    """The other side of a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connectionMade(self) -> None:
        self._gate.connected_to(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._gate.send(data)


class EarlySignalTests(LiveTestCase):
    """A chat whose store does not answer until the test lets it."""

    def setUp(self) -> None:
        self.gates = self.listen(Gate)

    def start(self, *flags: str, pid_file: str = "", kind: type[Server] = Server) -> Any:
        """Start a chat that uses the store behind the gates."""
        store = f"redis://{LOCALHOST}:{self.gates.port}?timeout={PATIENCE:g}"
        return self.spawn(
            *(script("twistd"), "-n", f"--pidfile={pid_file}", "netchat", "--port", "0"),
            *("--interface", LOCALHOST, "--store", store, *flags),
            kind=kind,
        )

    async def asked(self, times: int = 1) -> None:
        """Wait until the store was asked on so many connections."""
        await self.gates.until(
            lambda: sum(b"HELLO" in each.received for each in self.gates.clients) >= times,
            "somebody to ask the store",
        )

    def open(self, port: int) -> None:
        """Let everybody ask the store, from now on."""

        def open_all() -> None:
            for gate in self.gates.clients:
                if b"HELLO" in gate.received and not gate.is_open:  # type: ignore[attr-defined]
                    gate.open(port)  # type: ignore[attr-defined]

        self.gates.on_change = open_all
        open_all()

    def redis(self) -> int:
        """Start a store that answers, and return its port. It has to outlive the service."""
        try:
            from tests.live.redis_server import RedisServer
        except ImportError as error:  # hiredis is an extra
            raise SkipTest(f"there is no Redis to test with: {error}") from None
        server = RedisServer(self.directory())
        self.addCleanup(server.kill)
        return server.port

    async def test_an_end(self) -> None:
        """SIGINT and SIGTERM end it at once, with a line, and without its pid file."""
        for times, number in enumerate((signal.SIGINT, signal.SIGTERM), 1):
            pid_file = self.directory() / "pid"
            server = self.start(pid_file=str(pid_file))
            await self.asked(times)
            self.assertTrue(pid_file.exists())
            server.signal(number)
            self.assertEqual(await server.ended(), -number)
            name = signal.Signals(number).name
            self.assertEqual(server.errors.decode(), f"netchat: received {name}, shutting down\n")
            self.assertNotIn(b"Traceback", server.output)
            self.assertFalse(pid_file.exists())

    async def test_an_end_while_workers_start(self) -> None:
        """The supervisor ends, and so do the workers that do not serve yet."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.gates.clients.clear()
            server = self.start("--workers", "2")
            await self.asked(2)
            waiting = list(self.gates.clients)
            server.signal(number)
            self.assertEqual(await server.ended(), -number)
            self.assertEqual(server.errors.decode(), "")
            self.assertNotIn(b"Traceback", server.output)
            for gate in waiting:
                await gate.closed()

    async def test_a_reload(self) -> None:
        """SIGHUP is obeyed as soon as the service runs."""
        redis, config = self.redis(), self.directory() / "chat.conf"
        config.write_text("max-connections = 1\n")
        server = self.start("--config", str(config))
        await self.asked()
        config.write_text("max-connections = 3\n")
        server.signal(signal.SIGHUP)
        self.open(redis)
        await server.expect(rb"SIGHUP: .*max-connections 1 -> 3")

    async def test_a_reload_while_workers_start(self) -> None:
        """Workers that have read their flags before do so again once they serve."""
        redis, config = self.redis(), self.directory() / "chat.conf"
        config.write_text("idle-timeout = 0\n")
        server = self.start("--config", str(config), "--workers", "2")
        await self.asked(2)
        config.write_text("idle-timeout = 0.5\n")
        server.signal(signal.SIGHUP)
        await server.expect(rb"SIGHUP: .*idle-timeout 0 -> 0.5")
        self.open(redis)
        await server.until(lambda: len(server.log("serves, pid")) == 2, "two workers")
        port = await server.port()
        for client in [await self.connect(port) for _ in range(4)]:  # in turn to each of them
            await client.closed()
        for who in ("1", "2"):
            said = rf"\[worker {who}\] .*ended: idle"
            await server.until(lambda said=said: len(server.log(said)) == 2, said)

    async def test_an_upgrade(self) -> None:
        """SIGUSR2 is obeyed as soon as the service runs."""
        redis = self.redis()
        server = self.start(kind=UpgradingServer)
        await self.asked()
        server.signal(signal.SIGUSR2)
        self.open(redis)
        old = server.pid
        # Both processes say a line, in either order. The line of the old one names the new one.
        await server.expect(rb"Upgrade: this process goes on")
        await server.until(lambda: server.serving != old, "the line of the old process")

    async def test_an_upgrade_while_workers_start(self) -> None:
        """SIGUSR2 is refused with one line, and the workers start."""
        redis, server = self.redis(), self.start("--workers", "1")
        await self.asked()
        server.signal(signal.SIGUSR2)
        await server.expect(rb"Upgrade failed: netchat is not ready")
        self.open(redis)
        await server.expect(rb"Worker 1 serves")
