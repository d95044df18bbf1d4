"""Upgrades in place with ``--workers``: all processes are new, and nobody is closed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.live.harness import LOCALHOST, PATIENCE, Bounded, Client, Server, program, script
from tests.live.redis_server import RedisServer
from tests.live.test_service_manager import ManagedTestCase
from tests.live.test_upgrade import CHECKOUT, PROGRAM, ChatTests, UpgradeCase, UpgradingServer
from tests.live.test_websocket import WS, frame
from tests.live.test_workers import WorkersTestCase
from tests.live.upgrade_program import waiting_file

UPGRADE_PATIENCE = 4 * PATIENCE
"""Seconds for an upgrade: four processes are started one after another."""

_SERVES = re.compile(r"Worker (\d+) serves, pid (\d+)")


class SupervisorServer(UpgradingServer):
    """A server with workers. Its supervisor keeps its process id."""

    @property
    def serving(self) -> int:
        return self.pid

    async def stop(self) -> None:
        await Server.stop(self)

    def pids(self) -> dict[int, int]:
        """Return the process ids of the workers that have served, the last of each number."""
        found = _SERVES.findall(self.output.decode(errors="replace"))
        return {int(number): int(pid) for number, pid in found}

    async def upgrade(self) -> None:
        """Upgrade, and wait until the new supervisor has gone on."""
        self.upgrades += 1
        self.signal(signal.SIGUSR2)
        await self.has_upgraded()

    async def has_upgraded(self) -> None:
        """Wait until the new supervisor has gone on."""
        line = "Upgrade: this supervisor goes on"
        await self.until(lambda: len(self.log(line)) >= self.upgrades, line, UPGRADE_PATIENCE)

    async def fail_to_upgrade(self) -> str:
        before = len(self.log("Upgrade failed"))
        self.signal(signal.SIGUSR2)
        lines = await self.until(
            lambda: self.log("Upgrade failed")[before:], "the failure", UPGRADE_PATIENCE
        )
        return str(lines[0])


class WorkersUpgradeCase(UpgradeCase):
    """Tests with a supervisor and two workers."""

    timeout = 600
    workers = 2

    async def start(self, *arguments: str, how: Path | None = None) -> tuple[SupervisorServer, int]:
        words = (*arguments, "--port", "0", "--interface", LOCALHOST)
        command = self.command(*words, "--workers", str(self.workers))
        if how is not None:
            command = (sys.executable, PROGRAM, str(how), *command[1:])
        server: SupervisorServer = self.spawn(*command, kind=SupervisorServer)
        port = await server.port()
        await server.until(lambda: len(server.pids()) == self.workers, "the workers")
        return server, port

    async def echo(self, text: bytes, *clients: Client) -> None:
        """Send a text on all connections to netecho, and wait until it comes back."""
        for each in clients:
            each.send(text)
        for each in clients:
            await each.has(text)

    async def gone(self, *pids: int) -> None:
        """Wait until processes have ended."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                try:
                    ended = await deferToThread(select.select, [descriptor], [], [], PATIENCE)
                finally:
                    os.close(descriptor)
                self.assertEqual(ended[0], [descriptor], f"process {pid} does not end")

    async def poll(self, true: Any) -> None:
        """Wait for what only files show."""
        from twisted.internet import reactor, task

        for _ in range(int(UPGRADE_PATIENCE / 0.05)):
            if true():
                return
            await task.deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.fail("it did not happen")


class EchoTests(WorkersUpgradeCase):
    async def test_connections_go_on(self) -> None:
        """TCP and Unix connections go on after several upgrades, and new ones are accepted."""
        path = self.socket_path()
        server, port = await self.start("netecho", "--listen", f"unix:{path}")
        clients = [await self.connect(port) for _ in range(4)]
        clients += [await self.unix(path) for _ in range(4)]
        await self.echo(b"-;", *clients)
        for number in range(3):
            before = set(server.pids().values())
            await server.upgrade()
            self.assertEqual(before & set(server.pids().values()), set(), "all are new")
            clients += [await self.connect(port), await self.unix(path)]
            await self.echo(b"%d;" % number, *clients)
        for each in clients[:8]:
            self.assertEqual(each.received, b"-;0;1;2;")
        self.assertEqual(os.readlink(f"{path}.lock"), str(server.pid))
        pids = server.pids().values()
        server.signal(signal.SIGTERM)
        for each in clients:
            await each.closed()
        self.assertEqual(await server.ended(), -signal.SIGTERM)
        await self.gone(*pids)
        self.assertFalse(os.path.exists(path), "the path goes with the supervisor")

    async def test_twist(self) -> None:
        """The same under twist, which starts services in another way."""
        with socket.create_server((LOCALHOST, 0)) as free:
            port = free.getsockname()[1]
        words = ("netecho", "--port", str(port), "--interface", LOCALHOST, "--workers", "2")
        server: SupervisorServer = self.spawn(script("twist"), *words, kind=SupervisorServer)
        await server.until(lambda: server.output.count(b'"Worker {worker} serves') >= 2, "workers")
        clients = [await self.connect(port) for _ in range(4)]
        for number in range(2):
            server.signal(signal.SIGUSR2)
            line = b'"Upgrade: this supervisor goes on'
            await server.until(
                lambda line=line, number=number: server.output.count(line) > number,
                "the upgrade",
                UPGRADE_PATIENCE,
            )
            await self.echo(b"%d;" % number, *clients, await self.connect(port))

    async def test_unsent_bytes_go_on(self) -> None:
        """What a client has not read yet arrives after the upgrade, once and in order."""
        server, port = await self.start("netecho")
        client: Any = await self.connect(port, Bounded)
        client.transport.pauseProducing()
        data = b"".join(b"%08d" % number for number in range(3_000_000))
        client.send(data)
        await self._until_stuck(client)
        await server.upgrade()
        found = re.findall(r"connections? and (\d+) unsent bytes?", server.output.decode())
        self.assertGreater(sum(map(int, found)), 0)
        client.transport.resumeProducing()
        await client.until(lambda: len(client.received) >= len(data), "everything")
        self.assertEqual(bytes(client.received), data)

    async def test_a_killed_worker(self) -> None:
        """After an upgrade, a worker that dies is replaced, and only its connections are lost."""
        server, port = await self.start("netecho", "--max-connections", "8")
        clients = [await self.connect(port) for _ in range(8)]
        await self.echo(b"before;", *clients)
        await server.upgrade()
        await self.echo(b"after;", *clients)
        refused = await self.connect(port)
        await refused.closed()  # the new supervisor knows how many there are
        for each in clients:
            each.on_change = server.changed
        os.kill(server.pids()[1], signal.SIGKILL)
        await server.until(lambda: server.log("Worker 1 was killed by SIGKILL"), "its death")
        await server.until(lambda: sum(each.lost is not None for each in clients) == 4, "4 ends")
        await self.echo(b"still;", *(each for each in clients if each.lost is None))
        count = len(_SERVES.findall(server.output.decode()))
        await server.until(
            lambda: len(_SERVES.findall(server.output.decode())) > count, "a new worker"
        )
        await self.echo(b"new;", *[await self.connect(port) for _ in range(4)])
        await server.upgrade()
        await self.echo(b"again;", *(each for each in clients if each.lost is None))

    async def test_tls_is_closed(self) -> None:
        """TLS connections are closed as if the service stopped; their places are free then."""
        server, port = await self.start(
            *("netecho", "--tls-port", "0", "--self-signed", "--max-connections", "6"),
            *("--drain", "3"),
        )
        secure = await server.port("--tls-port 0")
        plain = [await self.connect(port) for _ in range(2)]
        secret = [await self.tls(secure) for _ in range(4)]
        await self.echo(b"before;", *plain, *secret)
        await server.upgrade()
        for each in secret:
            await each.closed()
        await server.until(
            lambda: len(server.log("Connection .* ended: draining")) == 4, "their ends"
        )
        await server.until(
            lambda: len(server.log("has ended, after its last connection")) == 2, "the old workers"
        )
        await self.echo(b"after;", *plain, *[await self.tls(secure) for _ in range(4)])
        refused = await self.connect(port)
        await refused.closed()

    tls = ChatTests.tls


class ForwardTests(WorkersUpgradeCase):
    async def test_both_sides_go_on(self) -> None:
        """Bytes that wait on either side of netidle arrive, and the ends are passed on."""
        upstream = self.listen(Bounded)
        server, port = await self.start("netidle", "--upstream", upstream.endpoint)
        pairs = []
        for number in range(4):
            client = await self.connect(port, Bounded)
            client.send(b"hello%d" % number)
            pairs.append((client, await upstream.hears(b"hello%d" % number)))
        client, other = pairs[0]
        other.transport.pauseProducing()
        data = b"".join(b"%08d" % number for number in range(3_000_000))
        client.send(data)
        await self._until_stuck(client)
        for _ in range(2):
            await server.upgrade()
            for each, far in pairs[1:]:
                far.received.clear()
                each.send(b"there")
                await far.has(b"there")
                each.received.clear()
                far.send(b"back")
                await each.has(b"back")
        other.transport.resumeProducing()
        await other.until(lambda: len(other.received) >= len(data) + 6, "everything")
        self.assertEqual(bytes(other.received), b"hello0" + data)
        client.transport.loseConnection()
        await other.closed()


class SharedChatTests(WorkersUpgradeCase):
    """People, programs and browsers of two workers that share a real Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer(self.directory() / "redis")
        self.addCleanup(self.redis.kill)

    async def test_nobody_notices(self) -> None:
        """Nobody leaves or joins, half messages are kept, and every message comes once."""
        path = self.socket_path()
        flags = ("netchat", "--store", self.redis.url, "--listen", f"unix:{path}")
        server, port = await self.start(*flags)
        everyone = []
        for place in range(2):  # one of each kind at each worker
            person = await self.connect(port)
            await person.has(b"Welcome")
            person.send(b"/nick Ann%d\n/join tea\n/leave lobby\nhalf" % place)
            await person.has(b"#lobby")
            everyone.append(person)
        for place in range(2):
            program = await self.connect(port)
            self.ask(program, type="hello", nick=f"bot{place}", room="tea")
            browser = await self.connect(port)
            browser.send(WS + frame(type="hello", nick=f"Web{place}", room="tea"))
            local = await self.unix(path)
            self.ask(local, type="hello", nick=f"Loc{place}", room="tea")
            for each in (program, browser, local):
                await each.has(b'"joined"')
            everyone += [program, browser, local]
        watcher = everyone[2]
        for name in (b"Ann0", b"Ann1", b"Web1", b"Loc1"):
            await watcher.until(lambda name=name: name in watcher.received, repr(name))
        before = watcher.received.count(b'"event"')
        for number in range(3):
            await server.upgrade()
            for place, person in enumerate(everyone[:2]):
                person.send(b" line %d of %d\nhalf" % (number, place))
            self.ask(watcher, type="message", room="tea", text=f"bot {number}", id=f"b{number}")
            for each in everyone[3:]:
                for text in (b"half line %d of 0", b"half line %d of 1", b"bot %d"):
                    await each.has(text % number)
            await everyone[0].has(b"bot %d" % number)
        self.assertEqual(watcher.received.count(b'"event"'), before, "nobody has left or come")
        for each in everyone[4:5]:
            offsets = [
                json.loads(line)["offset"]
                for line in bytes(each.received).splitlines()
                if line.startswith(b'{"type":"message"')
            ]
            self.assertEqual(offsets, list(range(1, 10)))
        self.assertTrue(all(each.lost is None for each in everyone))


class OneWorkerChatTests(ChatTests):
    """A chat in memory, or in a file, with one worker: the next one has it, too."""

    timeout = 600

    start = WorkersUpgradeCase.start
    workers = 1

    async def test_the_file_is_opened_again(self) -> None:
        """If the upgrade fails, the old worker opens its file again."""
        how = self.directory() / "how"
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server, port = await self.start("netchat", "--store", store, how=how)
        person, other = await self.connect(port), await self.connect(port)
        await self.together(person.has(b"Welcome"), other.has(b"Welcome"))
        for number, what in enumerate(("killed-before", "killed-after")):
            how.write_text(f"{what}\n")
            await server.fail_to_upgrade()
            person.send(b"stored %d\n" % number)
            await other.has(b"stored %d" % number)
        await server.upgrade()
        late = await self.connect(port)
        await late.has(b"stored 0")


class FailureTests(WorkersUpgradeCase):
    """New code that does not start, or does not go on: the old goes on, with one line."""

    async def begin(self) -> tuple[SupervisorServer, list[Client]]:
        self.how = self.directory() / "how"
        self.how.write_text("")
        self.server, self.port = await self.start("netecho", how=self.how)
        clients = [await self.connect(self.port) for _ in range(4)]
        await self.echo(b"begin;", *clients)
        return self.server, clients

    async def test_workers(self) -> None:
        """Nobody is closed, whatever is wrong with the new code; the next upgrade works."""
        server, clients = await self.begin()
        before = server.pids()
        for number, (what, said) in enumerate(
            (
                ("import", "ModuleNotFoundError"),
                ("flags", "unknown-flag"),
                ("version", "states of version 2, and not 1"),
                ("killed-before", "ended before it had adopted everything"),
                ("killed-after", "ended when it had adopted everything"),
                ("late", "has not adopted everything within"),
            )
        ):
            self.how.write_text(f"{what}\n")
            line = await server.fail_to_upgrade()
            self.assertIn("worker 1 goes on with its old code", line)
            self.assertIn("(0 of 2 workers were upgraded)", line)
            self.assertIn(said, line)
            await self.echo(b"still %d;" % number, *clients, await self.connect(self.port))
        self.assertEqual(server.pids(), before)
        self.how.write_text("\nkilled-after\n")
        line = await server.fail_to_upgrade()
        self.assertIn("worker 2 goes on with its old code", line)
        self.assertIn("(1 of 2 workers were upgraded)", line)
        self.assertNotEqual(server.pids()[1], before[1])
        self.assertEqual(server.pids()[2], before[2])
        await self.echo(b"both;", *clients)
        await server.upgrade()
        await self.echo(b"after all;", *clients)
        self.assertEqual(
            [bytes(each.received) for each in clients],
            [b"begin;" + b"".join(b"still %d;" % n for n in range(6)) + b"both;after all;"] * 4,
        )

    async def test_supervisor(self) -> None:
        """The workers are new, and the old supervisor goes on; the next upgrade works."""
        server, clients = await self.begin()
        for number, (what, said) in enumerate(
            (
                ("import", "No module named 'no_such_module'"),
                ("flags", "--unknown-flag: unknown flag"),
                ("version", "states of version 2, and not 1"),
            )
        ):
            self.how.write_text(f"supervisor-{what}")
            line = await server.fail_to_upgrade()
            self.assertIn("the supervisor goes on with its old code", line)
            self.assertIn("(all 2 workers were upgraded)", line)
            self.assertIn(said, line)
            await self.echo(b"still %d;" % number, *clients, await self.connect(self.port))
        self.how.write_text("")
        await server.upgrade()
        await self.echo(b"after all;", *clients, await self.connect(self.port))

    async def test_other_flags(self) -> None:
        """Listeners cannot change, nor can the workers go; the number of workers can."""
        config = self.directory() / "echo.conf"
        config.write_text("port = 0\ninterface = 127.0.0.1\nworkers = 2\n")
        server: SupervisorServer = self.spawn(
            *self.command("netecho", "--config", str(config)), kind=SupervisorServer
        )
        port = await server.port(f"{config}, line 1: port 0")
        await server.until(lambda: len(server.pids()) == 2, "the workers")
        clients = [await self.connect(port) for _ in range(6)]
        await self.echo(b"begin;", *clients)
        text = config.read_text()
        config.write_text(f"{text}tls-port = 0\nself-signed = yes\n")
        line = await server.fail_to_upgrade()
        self.assertIn("line 4: tls-port 0: an upgrade with --workers cannot change where", line)
        config.write_text(text.replace("workers = 2", ""))
        line = await server.fail_to_upgrade()
        self.assertIn("--workers is gone: restart the service instead", line)
        config.write_text(f"# more\n{text.replace('workers = 2', 'workers = 3')}")
        await server.upgrade()
        await server.until(lambda: 3 in server.pids(), "a third worker")
        await self.echo(b"three;", *clients, await self.connect(port))
        await server.upgrade()
        await self.echo(b"again;", *clients)
        config.write_text(text.replace("workers = 2", "workers = 1"))
        for each in clients:
            each.on_change = server.changed
        await server.upgrade()
        await server.until(lambda: sum(each.lost is not None for each in clients) == 3, "3 ends")
        await self.echo(b"one;", *(each for each in clients if each.lost is None))

    async def waiting(self, what: str) -> tuple[SupervisorServer, list[Client], Path]:
        """Begin an upgrade that waits until the file that is returned is gone."""
        server, clients = await self.begin()
        wait = waiting_file(self.how)
        wait.touch()
        self.how.write_text(what)
        server.signal(signal.SIGUSR2)
        await server.until(lambda: server.log("starting the new code of 2 workers"), "the start")
        return server, clients, wait

    async def test_one_at_a_time(self) -> None:
        """A second signal is refused with a line, and the first upgrade is not disturbed."""
        server, clients, wait = await self.waiting("wait\n")
        self.assertIn("an upgrade is running already", await server.fail_to_upgrade())
        wait.unlink()
        server.upgrades += 1
        await server.has_upgraded()
        await self.echo(b"after;", *clients)

    async def test_the_end_meanwhile(self) -> None:
        """SIGTERM ends all processes, those too that have just been started."""
        for what in ("wait\n", "supervisor-wait"):
            server, clients, wait = await self.waiting(what)
            if what.startswith("supervisor"):
                await server.until(lambda: server.log("worker 2 runs the new code"), "workers")  # noqa: B023
            server.signal(signal.SIGTERM)
            for each in clients:
                await each.closed()
            self.assertEqual(await server.ended(), -signal.SIGTERM)
            (line,) = server.log("Upgrade failed")
            self.assertTrue(line.endswith("Upgrade failed: the service ends"), line)
            wait.unlink()
            await self.gone(*server.pids().values())

    async def test_a_worker_dies_meanwhile(self) -> None:
        """It is replaced; the connections of the other one go on."""
        server, clients, wait = await self.waiting("wait\n")
        for each in clients:
            each.on_change = server.changed
        os.kill(server.pids()[1], signal.SIGKILL)
        await server.until(lambda: sum(each.lost is not None for each in clients) == 2, "2 ends")
        wait.unlink()
        (line,) = await server.until(lambda: server.log("Upgrade failed"), "the line")
        self.assertIn("worker 1 goes on with its old code: it was killed by SIGKILL", line)
        await server.until(lambda: len(server.log("Worker 1 serves")) == 2, "a new worker")
        kept = [each for each in clients if each.lost is None]
        await self.echo(b"kept;", *kept, *[await self.connect(self.port) for _ in range(2)])
        await server.upgrade()
        await self.echo(b"after;", *kept)

    async def held(self) -> tuple[SupervisorServer, list[Client], Path]:
        """Upgrade until the supervisor has become new code, which waits until the file is gone."""
        server, clients = await self.begin()
        wait = waiting_file(self.how)
        wait.touch()
        self.how.write_text("supervisor-hold")
        server.signal(signal.SIGUSR2)
        await self.poll(self.how.with_name("held").exists)
        return server, clients, wait

    async def test_while_the_supervisor_becomes_new_code(self) -> None:
        """Workers go on, new connections wait, and signals that would end it wait, too."""
        server, clients, wait = await self.held()
        await self.echo(b"alone;", *clients)
        late = await self.connect(self.port)
        late.send(b"late;")
        for number in (signal.SIGHUP, signal.SIGUSR2):
            server.signal(number)
        self.assertEqual(server.log("this supervisor goes on"), [])
        wait.unlink()
        server.upgrades += 2  # the second one is what the signal has asked for
        await server.has_upgraded()
        await late.has(b"late;")
        self.assertTrue(server.log("SIGHUP: "))
        await self.echo(b"after;", *clients, late)

    async def test_the_end_while_the_supervisor_becomes_new_code(self) -> None:
        """SIGTERM is obeyed as soon as there is somebody: all connections are closed."""
        server, clients, wait = await self.held()
        server.signal(signal.SIGTERM)
        await self.echo(b"alone;", *clients)
        wait.unlink()
        for each in clients:
            await each.closed()
        self.assertEqual(await server.ended(), -signal.SIGTERM)
        self.assertEqual(len(server.log("Connection .* ended: draining")), len(clients))
        await self.gone(*server.pids().values())


class LoadTests(UpgradeCase):
    """The command that upgrades services under load, with little of it."""

    timeout = 900

    async def test_everybody_sees_everything(self) -> None:
        """Nobody is closed, and everybody has every message and every byte, once and in order."""
        for reactor in ("", "eager"):
            running: Any = self.spawn(
                *(sys.executable, "-m", "tests.live.upgrades", "--connections", "40"),
                *("--messages", "40", "--upgrades", "2", "--streams", "10", "--idle", "200"),
                *("--workers", "2", "--store", "redis:", "--reactor", reactor),
                cwd=CHECKOUT,
            )
            self.assertEqual(await running.ended(PATIENCE * 10), 0, running)
            self.assertIn(b"closed: 0; lost, doubled or out of order: 0", running.output)
            self.assertEqual(running.output.count(b"wrong: 0"), 2)


class OperatorTests(WorkersUpgradeCase, ManagedTestCase):
    """What operators see: netchat-admin, metrics, the pid file, the service manager."""

    async def admin(self, at: str, *words: str) -> tuple[int, str]:
        """Run netchat-admin."""
        running: Any = self.spawn(script("netchat-admin"), "--at", at, *words)
        status = await running.ended(UPGRADE_PATIENCE)
        return status, bytes(running.output + running.errors).decode()

    async def test_netchat_admin(self) -> None:
        """It says what was done, or why it has failed. Counters never fall, and bans are kept."""
        how = self.directory() / "how"
        label = f"--admin tcp:0:interface={LOCALHOST}"
        server, port = await self.start("netecho", *label.split(), how=how)
        clients = [await self.connect(port) for _ in range(4)]
        await self.echo(b"before;", *clients)
        at = f"http://{LOCALHOST}:{await server.port(label)}"
        how.write_text("import\n")
        status, said = await self.admin(at, "upgrade")
        self.assertEqual(status, 1)
        self.assertIn("worker 1 goes on with its old code", said)
        view = int(at.rpartition(":")[2])
        await self.ask_view(view, "/bans", target="192.0.2.0/24", minutes=5)
        self.assertEqual(await self.received(view), 4 * 7)
        for number in range(1, 3):
            status, said = await self.admin(at, "upgrade")
            self.assertEqual(status, 0, said)
            self.assertIn("All 2 workers and the supervisor run the new code", said)
            server.upgrades += 1
            await server.has_upgraded()
            await self.echo(b"again;%d" % number, *clients)
            self.assertEqual(await self.received(view), 4 * (7 + 7 * number))
            status, said = await self.admin(at, "who")
            self.assertEqual(sum(each.address in said for each in clients), 4, said)
            (ban,) = (await self.ask_view(view, "/bans"))["bans"]
            self.assertEqual(ban["target"], "192.0.2.0/24")

    ask_view = WorkersTestCase.ask

    async def received(self, view: int) -> float:
        """Return the bytes that all workers have received."""
        metrics = await self.ask_view(view, "/metrics")
        found = re.search(r'received_bytes_total{service="netecho"} (\S+)', metrics)
        assert found is not None
        return float(found[1])

    async def test_a_daemon(self) -> None:
        """A daemon's pid file stays right, and goes with the supervisor; so does its log."""
        directory = self.directory()
        words = [script("twistd"), "--pidfile", "pid", "netecho", "--port", "0"]
        words += ["--interface", LOCALHOST, "--workers", "2"]
        starter: Any = self.spawn(*words, cwd=directory)
        self.assertEqual(await starter.ended(), 0)
        pid, log = directory / "pid", directory / "twistd.log"
        first = int(pid.read_text())
        self.addCleanup(self._end, pid)
        await self.poll(lambda: log.read_text().count("serves, pid") == 2)
        found = re.search(r"Listening on \S+:(\d+)", log.read_text())
        assert found is not None
        client = await self.connect(int(found[1]))
        for number in range(1, 3):
            os.kill(first, signal.SIGUSR2)
            await self.poll(
                lambda number=number: log.read_text().count("this supervisor goes on") == number
            )
            self.assertEqual(int(pid.read_text()), first)
            await self.echo(b"hello%d" % number, client)
        os.kill(first, signal.SIGTERM)
        await client.closed()
        client.transport.loseConnection()
        await self.poll(lambda: not pid.exists())

    async def test_systemd(self) -> None:
        """The main process stays, and goes on with systemd's sockets, again and again."""
        activate = program("systemd-socket-activate")
        with socket.create_server((LOCALHOST, 0)) as free:
            port = free.getsockname()[1]
        path = self.path()
        manager = self.manage(path)
        for reactor in ((), ("--reactor=eager",)):
            server: SupervisorServer = self.spawn(
                *(activate, "--fdname=echo", f"--listen={LOCALHOST}:{port}"),
                *("-E", f"NOTIFY_SOCKET={path}"),
                *(script("twistd"), "--nodaemon", "--pidfile=", *reactor, "netecho"),
                *("--workers", "2", "--listen", "systemd:domain=INET:name=echo"),
                kind=SupervisorServer,
            )
            await server.until(lambda: b"Listening on" in server.errors, "the socket")  # noqa: B023
            client = await self.connect(port)
            await self.echo(b"first;", client)
            await manager.hears("READY")
            most = 0
            for number in range(4):
                await server.upgrade()
                await manager.hears("READY")
                await self.echo(b"%d;" % number, client, await self.connect(port))
                most = most or self.descriptors(server)
            await self.poll(lambda: self.descriptors(server) <= most)  # noqa: B023
            self.assertEqual([each for each in manager.messages if "MAINPID" in each], [])
            self.assertEqual([each for each in manager.messages if "STOPPING" in each], [])
            manager.messages.clear()
            await server.stop()

    def descriptors(self, server: SupervisorServer) -> int:
        """Return how many descriptors the supervisor has."""
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    def _end(self, pid: Path) -> None:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


class EagerEchoTests(EchoTests):
    """The same with the eager reactor."""

    reactor = "eager"
