"""The ``--config`` file of real services, read again on SIGHUP and by ``netchat-admin reload``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.live.harness import LOCALHOST, Client, Server, script
from tests.live.test_admin import ADMIN, AdminLiveCase


class ReloadTests(AdminLiveCase):
    def write(self, *lines: str) -> None:
        """Replace the file, as an editor does."""
        new = self.path.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.path)

    async def serve_file(self, service: str, *lines: str, program: str = "twistd") -> Any:
        """Start a service with these lines in its file; return it and its port."""
        self.path = Path(self.directory()) / "service.conf"
        self.write(*lines)
        flags = (service, "--interface", LOCALHOST, "--config", str(self.path))
        command = (
            self.command(*flags)
            if program == "twistd"
            else (script("twist"), "--log-format", "text", *flags)
        )
        server: Server = self.spawn(*command, kind=Server)
        port = await server.port(f"{self.path}, line 1: port 0")
        # It listens before it runs. When it has served somebody, it also handles SIGHUP.
        first: Client = await self.connect(port)
        first.send(b"x")
        first.transport.loseConnection()
        await server.until(lambda: b"ended: peer-closed" in self.text(server), "the first end")
        return server, port

    async def hang_up(self, server: Server, *lines: str) -> str:
        """Send SIGHUP after the file has changed; return the line of the log about it.

        Without lines, the file is gone.
        """
        self.write(*lines) if lines else self.path.unlink()
        before = len(self.about(server))
        server.signal(signal.SIGHUP)
        await server.until(lambda: len(self.about(server)) > before, "a line about SIGHUP")
        return self.about(server)[-1].partition("SIGHUP: ")[2]

    def text(self, server: Server) -> bytes:
        return bytes(server.output + server.errors)  # twist logs to the latter

    def about(self, server: Server) -> list[str]:
        return [line for line in self.text(server).decode().splitlines() if "SIGHUP: " in line]

    async def test_every_service(self) -> None:
        """A limit holds for who is connected; a wrong file and one that is gone change nothing."""
        for service, program in (
            *(("netecho", "twistd"), ("netidle", "twistd"), ("netchat", "twistd")),
            ("netchat", "twist"),
        ):
            server, port = await self.serve_file(
                service, "port = 0", "idle-timeout = 3600", program=program
            )
            where = f"{service}: {self.path}"
            peer: Client = await self.connect(port)
            said = await self.hang_up(server, "port = 0", "idle-timeout = 3600")
            self.assertEqual(said, f"{where}: nothing has changed")
            said = await self.hang_up(server, "port = 0", "idle-timout = 1")
            self.assertIn(f"{where}, line 2: idle-timout: unknown flag", said)
            said = await self.hang_up(server, "port = 0", "idle-timeout = 1", "rate = x")
            self.assertIn(f"{where}, line 3: rate x: must be", said)
            said = await self.hang_up(server)
            self.assertIn(f"--config {self.path}: No such file", said)
            self.assertIsNone(peer.lost)
            said = await self.hang_up(server, "port = 1", "idle-timeout = 1", "rate = 3")
            self.assertEqual(
                said,
                f"{where}: changed: idle-timeout 3600 -> 1, rate 0 -> 3; need a restart: port",
            )
            await peer.closed()
            await server.until(lambda each=server: b"ended: idle" in self.text(each), "its end")
            await server.stop()

    async def test_the_log_level(self) -> None:
        """It changes for the whole service, with workers, too."""
        for more in (), ("workers = 2",):
            lines = ("port = 0", f"admin = {ADMIN}", *more)
            server, _ = await self.serve_file("netecho", *lines)
            if more:
                await server.until(lambda s=server: len(s.log("serves, pid")) == 2, "workers")
            url = f"http://localhost:{await server.port(f'{self.path}, line 2: admin {ADMIN}')}"
            before = "debug"
            for level in ("info", "debug"):
                self.write(*lines, f"log-level = {level}")
                server.signal(signal.SIGHUP)
                said = f"SIGHUP: .*log-level {before} -> {level}$"
                await server.until(lambda s=server, said=said: s.log(said), said)
                self.assertEqual(await self.ask(f"{url}/log-level"), {"level": level})
                before = level
            await server.stop()

    async def test_ranges(self) -> None:
        """Who is connected stays; nobody else comes in."""
        server, port = await self.serve_file("netecho", "port = 0")
        stays: Client = await self.connect(port)
        stays.send(b"hello")
        await stays.has(b"hello")
        said = await self.hang_up(server, "port = 0", "deny = 127.0.0.0/8")
        self.assertIn("changed: deny +127.0.0.0/8", said)
        refused: Client = await self.connect(port)
        await refused.closed()
        stays.send(b"still here")
        await stays.has(b"still here")
        await self.hang_up(server, "port = 0")
        again: Client = await self.connect(port)
        again.send(b"again")
        await again.has(b"again")

    async def test_operators(self) -> None:
        """``netchat-admin reload`` prints the line; after a mistake its status is 1."""
        server, _ = await self.serve_file(
            "netchat", "port = 0", f"admin = {ADMIN}", "history = 5", "log-level = info"
        )
        url = f"http://localhost:{await server.port(f'{self.path}, line 2: admin {ADMIN}')}"
        self.write("port = 0", "history = 9", "log-level = warn")
        reload = self.admin(url, "reload")
        self.assertEqual(await reload.ended(), 0, reload)
        self.assertEqual(
            reload.output.decode(),
            f"netchat: {self.path}: changed: history 5 -> 9, log-level info -> warn;"
            " need a restart: admin\n",
        )
        self.assertEqual(await self.ask(f"{url}/log-level"), {"level": "warn"})
        self.write("history = many")
        reload = self.admin(url, "reload")
        self.assertEqual(await reload.ended(), 1, reload)
        self.assertIn("line 1: history many: must be", reload.errors.decode())
        self.assertEqual(reload.errors.count(b"\n"), 1)
