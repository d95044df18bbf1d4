"""The services with ``--workers``: real processes, sockets and signals."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread

from tests.live.harness import LOCALHOST, PATIENCE, Client, LiveTestCase, Server, script
from tests.live.test_tls_reload import Authority

_SERVES = re.compile(r"Worker (\d+) serves, pid (\d+)")


LIMITED = """
import os, resource, sys

number = os.dup2(1, 251)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


class WorkersTestCase(LiveTestCase):
    """A service with workers."""

    def pids(self, server: Server) -> dict[int, int]:
        """Return the process ids of the workers that have served, the last of each number."""
        found = _SERVES.findall(server.output.decode(errors="replace"))
        return {int(number): int(pid) for number, pid in found}

    def starts(self, server: Server) -> int:
        """Return how many worker processes have served."""
        return len(_SERVES.findall(server.output.decode(errors="replace")))

    async def serve_with(self, count: int, service: str, *flags: str) -> tuple[Server, int]:
        """Start a service with workers, and wait until all of them serve."""
        server, port = await self.serve(service, "--workers", str(count), *flags)
        await self.serving(server, count)
        return server, port

    async def serving(self, server: Server, starts: int) -> None:
        """Wait until this many worker processes have served."""
        await server.until(lambda: self.starts(server) >= starts, f"{starts} workers to serve")

    async def echoes(self, port: int, count: int) -> list[Client]:
        """Make connections, each of which has got its echo."""
        clients = [await self.connect(port) for _ in range(count)]
        for client in clients:
            client.send(b"hello\n")
        for client in clients:
            await client.has(b"hello\n")
        return clients

    async def ask(self, port: int, path: str, **body: Any) -> Any:
        """Ask the operator's view: a GET, or a POST if there is a body."""
        client = await self.connect(port)
        data = json.dumps(body).encode() if body else b""
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {LOCALHOST}\r\n"
        head += f"X-Netchat-Admin: 1\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        client.send(head.encode() + data)
        await client.closed()
        _, _, answer = bytes(client.received).partition(b"\r\n\r\n")
        return answer.decode() if path == "/metrics" else json.loads(answer)


class ServingTests(WorkersTestCase):
    """Workers serve, and what happens when they do not."""

    async def test_all_workers_serve(self) -> None:
        """A hundred connections go to both workers in equal parts."""
        server, port = await self.serve_with(2, "netecho")
        clients = await self.echoes(port, 100)
        for client in clients:
            client.transport.loseConnection()
        await server.until(lambda: len(server.log("Connection .* ended")) == 100, "100 ends")
        for number in (1, 2):
            self.assertEqual(len(server.log(rf"\[worker {number}\] Connection .* ended")), 50)

    async def test_a_killed_worker_is_replaced(self) -> None:
        """Its connections are lost, those of the other are not, and new ones are served."""
        server, port = await self.serve_with(2, "netecho")
        clients = await self.echoes(port, 10)
        os.kill(self.pids(server)[1], signal.SIGKILL)
        await server.until(lambda: server.log("Worker 1 was killed by SIGKILL"), "its death")
        lost, kept = clients[::2], clients[1::2]
        for client in clients:
            client.on_change = server.changed
        await server.until(
            lambda: lost[0].lost is not None or kept[0].lost is not None, "lost connections"
        )
        if kept[0].lost is not None:
            lost, kept = kept, lost
        for client in lost:
            await client.closed()
        for client in kept:
            client.send(b"still here\n")
            await client.has(b"still here\n")
        await self.serving(server, 3)
        await self.echoes(port, 4)

    async def test_a_crash_loop_ends_the_service(self) -> None:
        """Workers that die again and again of their start end it with one line and status 1."""
        server, _ = await self.serve_with(1, "netecho")
        for starts in range(1, 6):
            await self.serving(server, starts)
            os.kill(self.pids(server)[1], signal.SIGKILL)
        self.assertEqual(await server.ended(), 1)
        self.assertEqual(
            server.errors.decode(),
            "netecho: 5 workers in a row have died within 5 s of their start, the last one was "
            "killed by SIGKILL\n",
        )

    async def test_the_same_modules(self) -> None:
        """A worker imports what the supervisor does, not what lies in the working directory."""
        directory = self.directory()
        (directory / "twisted_net").mkdir()
        (directory / "twisted_net" / "__init__.py").write_text("raise ValueError('another one')\n")
        flags = ("--port", "0", "--interface", LOCALHOST, "--workers", "1")
        server = self.twistd("netecho", *flags, cwd=directory)
        await self.serving(server, 1)
        await self.echoes(await server.port(), 1)

    async def test_a_worker_that_cannot_start(self) -> None:
        """Its own line ends the service."""
        server = self.twistd(
            *("netchat", "--port", "0", "--interface", LOCALHOST, "--workers", "1"),
            *("--store", "sqlite:/does/not/exist/chat.db"),
        )
        self.assertEqual(await server.ended(), 1)
        lines = server.errors.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("netchat: --store sqlite:/does/not/exist/chat.db: ", lines[0])

    async def test_a_drain_loses_nothing(self) -> None:
        """What four workers had read before SIGTERM is answered, and then everything ends."""
        server, port = await self.serve_with(4, "netecho")
        clients = await self.echoes(port, 40)
        data = os.urandom(50_000)
        for client in clients:
            client.send(data)
        for client in clients:
            await client.until(lambda each=client: len(each.received) == 50_006, "its echo")
        server.signal(signal.SIGTERM)
        for client in clients:
            await client.closed()
            self.assertEqual(bytes(client.received), b"hello\n" + data)
        self.assertEqual(await server.ended(), -signal.SIGTERM)
        self.assertEqual(len(server.log(r"\[worker \d\] Connection .* ended: draining")), 40)
        for pid in self.pids(server).values():
            self.assertFalse(Path(f"/proc/{pid}").exists())

    async def test_a_second_signal_aborts(self) -> None:
        """It ends connections that would take long."""
        server, port = await self.serve_with(2, "netecho", "--drain", "3600")
        for client in await self.echoes(port, 4):
            client.transport.pauseProducing()
            client.send(b"x" * 30_000_000)
        server.signal(signal.SIGTERM)
        await server.until(lambda: server.log("Received SIGTERM"), "the first signal")
        await server.until(lambda: server.log(r"Port \d+ Closed"), "it to stop listening")
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), -signal.SIGTERM)

    async def test_one_worker_is_asked_to_end(self) -> None:
        """SIGTERM replaces it: its connections get their time, and nobody is refused."""
        server, port = await self.serve_with(2, "netecho")
        clients = await self.echoes(port, 4)
        for client in clients:
            client.on_change = server.changed
        os.kill(self.pids(server)[1], signal.SIGTERM)
        await self.echoes(port, 6)
        await server.until(lambda: server.log("Worker 1 has ended, after its last"), "its end")
        await server.until(
            lambda: [each.lost is None for each in clients].count(False) == 2, "ends"
        )
        await self.serving(server, 3)
        await self.echoes(port, 2)

    async def test_orphans_end(self) -> None:
        """When the supervisor is killed, workers close their connections and end."""
        server, port = await self.serve_with(2, "netecho")
        clients = await self.echoes(port, 4)
        pids = self.pids(server)
        server.signal(signal.SIGKILL)
        for client in clients:
            await client.closed()
        await server.ended()
        for pid in pids.values():
            await self.gone(pid)

    async def gone(self, pid: int) -> None:
        """Wait until a process has ended."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            ended = await deferToThread(select.select, [descriptor], [], [], PATIENCE)
        finally:
            os.close(descriptor)
        self.assertEqual(ended[0], [descriptor], f"process {pid} does not end")

    async def test_an_upgrade(self) -> None:
        """SIGUSR2 replaces all processes, while connections are made all the time."""
        server, port = await self.serve_with(2, "netecho")
        before = set(self.pids(server).values())
        (old,) = await self.echoes(port, 1)
        server.signal(signal.SIGUSR2)
        while not server.log("Upgrade: this supervisor goes on with 2 workers"):
            await self.echoes(port, 1)
        old.send(b"still here\n")
        await old.has(b"still here\n")
        self.assertEqual(before & set(self.pids(server).values()), set())
        await self.echoes(port, 4)


class SharedTests(WorkersTestCase):
    """What all workers have in common."""

    async def test_limits_count_once(self) -> None:
        """--max-connections is that of all workers together."""
        server, port = await self.serve_with(2, "netecho", "--max-connections", "5")
        clients = await self.echoes(port, 5)
        refused = await self.connect(port)
        await refused.closed()
        clients[0].transport.loseConnection()
        await server.until(lambda: server.log("Connection .* ended: peer-closed"), "a free place")
        await self.admitted(port)

    async def admitted(self, port: int) -> None:
        """Connect until one is served: a free place is known to the supervisor a moment later."""
        while True:
            client = await self.connect(port)
            client.send(b"hello\n")
            await client.until(
                lambda each=client: each.received or each.lost is not None, "an answer or an end"
            )
            if client.received:
                return

    async def test_sessions_are_resumed_by_any_worker(self) -> None:
        """Tickets of one worker are good for the other, and the certificate is the same."""
        server = self.twistd(
            *("netecho", "--tls-port", "0", "--interface", LOCALHOST, "--self-signed"),
            *("--workers", "2"),
        )
        port = await server.port("--tls-port 0")
        await self.serving(server, 2)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        first = await self.handshake(context, port, None)
        self.assertFalse(first[0])
        for _ in range(4):
            reused, _, certificate = await self.handshake(context, port, first[1])
            self.assertTrue(reused)
            self.assertEqual(certificate, first[2])

    async def handshake(
        self, context: ssl.SSLContext, port: int, session: Any
    ) -> tuple[bool, Any, bytes | None]:
        """Connect with TLS, in a thread."""

        def shake() -> tuple[bool, Any, bytes | None]:
            plain = socket.create_connection((LOCALHOST, port), PATIENCE)
            with plain, context.wrap_socket(plain, session=session) as wrapped:
                wrapped.sendall(b"x")
                assert wrapped.recv(1) == b"x"
                reused = bool(wrapped.session_reused)
                return reused, wrapped.session, wrapped.getpeercert(True)

        return await deferToThread(shake)

    async def test_operators_see_all(self) -> None:
        """Sums, lists with the worker, and commands that reach the right one."""
        admin = f"tcp:0:interface={LOCALHOST}"
        server, port = await self.serve_with(2, "netecho", "--admin", admin)
        view = await server.port(f"--admin {admin}")
        clients = await self.echoes(port, 6)
        metrics = await self.ask(view, "/metrics")
        self.assertIn(
            'twisted_net_connections{form="bytes",service="netecho",state="open"} 6.0', metrics
        )
        self.assertIn('twisted_net_received_bytes_total{service="netecho"} 36.0', metrics)
        self.assertIn('twisted_net_worker_up{worker="2"} 1.0', metrics)
        page = await self.ask(view, "/connections")
        self.assertEqual(page["total"], 6)
        rows = page["connections"]
        self.assertEqual([row["worker"] for row in rows].count(1), 3)
        (mine,) = [row for row in rows if row["peer"] == clients[4].address]
        await self.ask(view, f"/connections/{mine['id']}/close", text="enough")
        await clients[4].closed()
        done = await self.ask(view, "/bans", target="127.0.0.0/8", minutes=1)
        self.assertIn("5 connections closed", done["done"])
        for client in clients:
            await client.closed()

    async def test_workers_that_hang(self) -> None:
        """What is shown says whose part is missing; if all hang, it is an error."""
        admin = f"tcp:0:interface={LOCALHOST}"
        server, port = await self.serve_with(2, "netecho", "--admin", admin)
        view = await server.port(f"--admin {admin}")
        await self.echoes(port, 4)
        pids = self.pids(server)
        for number in (1, 2):
            os.kill(pids[number], signal.SIGSTOP)
            self.addCleanup(os.kill, pids[number], signal.SIGCONT)
            if number == 1:
                page = await self.ask(view, "/connections")
                self.assertEqual((page["total"], page["missing_workers"]), (2, [1]))
        self.assertEqual(await self.ask(view, "/connections"), {"error": "No worker answers."})

    async def test_the_log_as_json(self) -> None:
        """Each line of a worker is one object, with its number."""
        server = self.twistd("netecho", "--port", "0", "--workers", "2", "--log-format", "json")
        await self.serving(server, 2)
        events = [json.loads(line) for line in server.log()]
        (listening,) = [each for each in events if each.get("label") == "--port 0"]
        port = int(listening["where"].rpartition(":")[2])
        for client in await self.echoes(port, 2):
            client.transport.loseConnection()
        await server.until(lambda: len(server.log('"reason":"peer-closed"')) == 2, "two ends")
        ends = [json.loads(line) for line in server.log('"reason":"peer-closed"')]
        self.assertEqual(sorted(each["worker"] for each in ends), [1, 2])
        self.assertTrue(all(each["message"].startswith("Connection 1 ") for each in ends))

    async def test_clients_of_a_proxy(self) -> None:
        """Each worker applies its share of the limits by address."""
        _, port = await self.serve_with(
            *(2, "netecho", "--proxy-protocol", "127.0.0.1", "--max-per-address", "2")
        )
        clients = [await self.connect(port) for _ in range(4)]
        for client in clients[:2]:
            client.send(b"PROXY TCP4 192.0.2.9 10.0.0.1 5000 80\r\nhello\n")
            await client.has(b"hello\n")
        for client in clients[2:]:
            client.send(b"PROXY TCP4 192.0.2.9 10.0.0.1 5000 80\r\nhello\n")
            await client.closed()
        self.assertEqual([bytes(each.received) for each in clients[2:]], [b"", b""])

    async def test_looking_on(self) -> None:
        """An operator sees what a connection of any worker says."""
        admin = f"tcp:0:interface={LOCALHOST}"
        server, port = await self.serve_with(2, "netecho", "--admin", admin)
        view = await server.port(f"--admin {admin}")
        clients = await self.echoes(port, 2)
        rows = (await self.ask(view, "/connections"))["connections"]
        for client in clients:
            (number,) = [row["id"] for row in rows if row["peer"] == client.address]
            tap = await self.connect(view)
            tap.send(f"GET /connections/{number}/tap HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await tap.has(b'"tap":1')
            client.send(b"look\n")
            await tap.has(b'"text":"look\\n"')
            client.transport.loseConnection()
            await tap.has(b'"ended":"peer-closed"')

    async def test_certificates_are_read_again(self) -> None:
        """SIGHUP reaches all workers, and is one line."""
        directory = self.directory()
        cert, key = directory / "cert.pem", directory / "key.pem"
        Authority(directory).issue(cert, key, "localhost")
        server = self.twistd(
            *("netecho", "--tls-port", "0", "--interface", LOCALHOST, "--workers", "2"),
            *("--cert", str(cert), "--key", str(key)),
        )
        await self.serving(server, 2)
        Authority(directory).issue(cert, key, "localhost")
        server.signal(signal.SIGHUP)
        await server.until(lambda: server.log("#info] SIGHUP: reading the certificates"), "a line")
        for number in (1, 2):  # what is new, each of them says, as after a renewal without SIGHUP
            said = rf"\[worker {number}\] Certificate .* for localhost"
            await server.until(lambda s=said: len(server.log(s)) == 2, "the renewed certificate")
        self.assertEqual(len(server.log("SIGHUP")), 1)

    async def test_the_configuration_is_read_again(self) -> None:
        """The supervisor obeys new limits, and so does each worker."""
        config = self.directory() / "echo.conf"
        config.write_text("max-connections = 1\nidle-timeout = 0\n")
        server, port = await self.serve_with(2, "netecho", "--config", str(config))
        await self.echoes(port, 1)
        refused = await self.connect(port)
        await refused.closed()
        config.write_text("max-connections = 3\nidle-timeout = 0.5\n")
        server.signal(signal.SIGHUP)
        await server.until(lambda: server.log("SIGHUP: .*max-connections 1 -> 3"), "a line")
        self.assertEqual(len(server.log("SIGHUP")), 1)
        for client in await self.echoes(port, 2):
            await client.closed()  # as it is idle

    async def test_a_socket_with_a_path(self) -> None:
        """A Unix socket is the supervisor's, and goes with it."""
        path = Path(f"/tmp/workers-{os.getpid()}")
        self.addCleanup(path.unlink, missing_ok=True)
        server = self.twistd("netecho", "--listen", f"unix:{path}", "--workers", "2")
        await self.serving(server, 2)
        from twisted.internet import reactor

        for _ in range(2):
            endpoint = UNIXClientEndpoint(reactor, str(path), timeout=PATIENCE)
            client: Any = await endpoint.connect(Factory.forProtocol(UnixClient))  # type: ignore[arg-type]
            client.send(b"hello\n")
            await client.has(b"hello\n")
            client.transport.abortConnection()
        await server.stop()
        self.assertFalse(path.exists())


class UnixClient(Client):
    """A connection over a Unix socket."""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport


class WrongTests(WorkersTestCase):
    """Wrong command lines end with one line."""

    async def fails(self, *flags: str) -> str:
        """Return the line with which a service ends."""
        server = self.twistd(*flags)
        self.assertEqual(await server.ended(), 1)
        (line,) = server.errors.decode().splitlines()
        self.assertNotIn(b"Traceback", server.output)
        return line

    async def test_numbers(self) -> None:
        """There is at least one worker, and no more than make sense."""
        for value in ("0", "-1", "x", "10000", "1.5", ""):
            line = await self.fails("netecho", f"--workers={value}")
            self.assertTrue(line.startswith(f"netecho: --workers {value}: must be "), line)
            self.assertIn("auto", line)

    async def test_a_chat_of_several_processes(self) -> None:
        """It needs a store that they share."""
        for store in ("memory:", "sqlite:chat.db"):
            self.assertEqual(
                await self.fails("netchat", "--workers", "2", "--store", store),
                "netchat: --workers 2: needs a store that several processes share: --store "
                "redis://HOST",
            )

    async def test_limits_of_endpoints(self) -> None:
        """What each worker would count by itself is refused."""
        endpoint = "net:0:perAddress=3"
        line = await self.fails("netecho", "--workers", "2", "--listen", endpoint)
        self.assertIn(f"--listen {endpoint}: perAddress= would be counted by each worker", line)

    async def test_an_upstream_without_a_path(self) -> None:
        """A worker that finds a mistake just after it has begun to serve ends in good order."""
        line = await self.fails(
            *("netidle", "--port", "0", "--interface", LOCALHOST, "--workers", "2"),
            *("--upstream", "unix:/does/not/exist"),
        )
        self.assertEqual(line, "netidle: --upstream unix:/does/not/exist: path not found")

    async def test_few_file_descriptors(self) -> None:
        """Too few end the start; enough are enough, also if the shell has left higher ones open."""
        for limit, count in (40, 8), (200, 2):
            command = self.command("netecho", "--port", "0", "--workers", str(count))
            limited = (script("python"), "-c", LIMITED, str(limit), *command)
            server: Server = self.spawn(*limited, kind=Server)
            if limit == 200:
                await self.serving(server, count)
                continue
            self.assertEqual(await server.ended(), 1)
            why = "netecho: --workers 8: this takes 56 file descriptors, and the limit is 40: raise"
            self.assertTrue(server.errors.decode().startswith(why), server)
            self.assertEqual(server.errors.count(b"\n"), 1)

    async def test_a_port_in_use(self) -> None:
        """The supervisor says so, before it starts workers."""
        _, port = await self.serve("netecho")
        line = await self.fails(
            *("netecho", "--port", str(port), "--interface", LOCALHOST, "--workers", "2")
        )
        self.assertEqual(line, f"netecho: --port {port}: Address already in use")
