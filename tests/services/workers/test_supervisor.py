"""Tests for :mod:`twisted_net.services.workers.supervisor`: its life, signals and configuration."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.services.workers.fake_processes import SIGKILL, FakeReactor, FakeSpawner
from twisted_net.endpoints.listening import Listener
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.services.echo import Options
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.workers import supervisor as module
from twisted_net.services.workers.handle import ANSWER_SECONDS
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.sockets import AcceptingSockets
from twisted_net.services.workers.supervisor import (
    NEW_TICKET_KEY_EVERY,
    Supervisor,
    SupervisorParts,
)


class FakePort:
    """A port of the supervisor."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.connected = True
        self.reading = True
        self.socket = self
        self.waiting: list[Any] = []
        self.doRead: Any = None

    def accept(self) -> Any:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0), ("10.0.0.1", 1)

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def getHost(self) -> Any:
        return None

    def stopListening(self) -> Deferred[None]:
        self.connected = self.reading = False
        return succeed(None)


class ListeningReactor(FakeReactor):
    def listenTCP(self, *arguments: Any, **more: Any) -> FakePort:
        self.port = FakePort(self)
        return self.port


class Endpoint:
    def __init__(self, view: Any) -> None:
        self._view = view

    def listen(self, factory: Any) -> Deferred[Any]:
        return succeed(self._view.listenTCP(80, factory))


class SupervisorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(module, "settle", lambda: None)
        self.lines: list[str] = []
        self.patch(module, "fail_late", lambda reactor, line: self.lines.append(line))
        self.patch(os, "environ", {})
        for number in (signal.SIGHUP, signal.SIGUSR2):  # not the handlers of other tests as well
            self.addCleanup(signal.signal, number, signal.signal(number, self.ignore))
        self.reactor = ListeningReactor()
        self.spawner = FakeSpawner(self.reactor)
        self.addCleanup(self.spawner.close)
        self.keys: list[str] = []
        self.config = self.mktemp()
        self.write("max-connections = 1")
        options = Options()
        options.parseOptions(["--config", self.config, "--workers", "2"])
        sockets = AcceptingSockets()
        endpoint = sockets.endpoint(self.reactor, "tcp", Endpoint)
        self.service = Supervisor(
            self.reactor,
            SupervisorParts(
                command="netecho",
                sockets=sockets,
                listeners=[Listener(endpoint, "--port 80")],
                settings=lambda number: WorkerSettings(number, 2, "netecho", ()),
                spawn=self.spawner.spawn,
                count=2,
                admission=Admission(AdmissionRules(max_connections=1)),
                trusted=(),
                drain=10.0,
                options=options,
                renew_ticket_key=self.new_key,
            ),
        )
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.end)

    def ignore(self, number: int, frame: object) -> None:
        """Handle a signal."""

    def write(self, text: str) -> None:
        with open(self.config, "w") as file:
            file.write(f"{text}\n")

    def new_key(self) -> str:
        self.keys.append("ab" * 80)
        return self.keys[-1]

    def end(self) -> None:
        if self.service.running:
            stopped = self.service.stopService()
            for worker in self.spawner.started:
                if worker.pid is not None:
                    worker.end()
            self.successResultOf(stopped)

    def ready(self) -> None:
        for worker in self.spawner.started:
            worker.tell("ready")

    def told(self) -> list[list[str]]:
        """Return what each worker was told."""
        return [
            [each["tell"] for each in worker.heard() if "tell" in each]
            for worker in self.spawner.started
        ]

    def test_it_accepts_when_somebody_serves(self) -> None:
        """Before that, connections wait in the kernel; it is ready once all workers have served."""
        port = self.reactor.port
        self.assertFalse(port.reading)
        self.assertEqual(self.service.not_ready, "waits for its workers to start")
        self.spawner.started[1].tell("ready")
        self.assertEqual((port.reading, self.service.ready), (True, False))
        self.spawner.started[0].tell("ready")
        self.assertEqual((self.service.ready, self.service.not_ready), (True, ""))
        for worker in self.spawner.started:
            worker.end(killed_by=SIGKILL)
        self.assertEqual((port.reading, self.service.ready), (False, False))
        self.assertEqual(self.service.not_ready, "has no worker that serves")

    def test_limits(self) -> None:
        """It counts for all workers together; a place is free when a worker says so, or dies."""
        self.ready()
        for _ in range(3):
            one, other = socket.socketpair()
            self.addCleanup(other.close)
            self.reactor.port.waiting.append(one)
        self.reactor.port.doRead()
        admission = self.service.admission
        self.assertEqual((admission.open, admission.refused["full"]), (1, 2))
        self.spawner.started[0].tell("left", addresses=[None])
        self.assertEqual(admission.open, 0)

    def test_it_ends_after_its_workers(self) -> None:
        """It stops accepting first."""
        self.ready()
        self.told()
        stopped = self.service.stopService()
        self.assertFalse(self.reactor.port.connected)
        self.assertEqual(self.told(), [["stop"], ["stop"]])
        for worker in self.spawner.started:
            self.assertNoResult(stopped)
            worker.end()
        self.successResultOf(stopped)

    def test_draining(self) -> None:
        """It stops accepting, and the workers close their connections, but all stay."""
        self.ready()
        self.told()
        self.successResultOf(self.service.begin_drain())
        self.assertFalse(self.reactor.port.connected)
        self.assertEqual(self.told(), [["drain"], ["drain"]])
        self.assertTrue(self.service.is_draining)
        self.assertEqual(self.service.not_ready, "is draining")

    def test_a_second_signal(self) -> None:
        """It aborts the connections of all workers."""
        self.ready()
        self.told()
        self.service.factory.abort()
        self.assertEqual(self.told(), [["abort"], ["abort"]])

    def test_hanging_up(self) -> None:
        """SIGHUP reaches workers that have served, and the file is read here as well."""
        self.spawner.started[0].tell("ready")
        self.write("max-connections = 5")
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([len(each) for each in self.reloads()], [1, 0])
        self.assertEqual(self.service.admission.rules.max_connections, 5)
        self.write("drain = 3")
        reloading = self.service.reload("An operator")
        self.reply(done="x")
        self.assertIn("drain 10 -> 3", self.successResultOf(reloading))
        self.assertEqual((self.service.drain, self.service.pool.drain), (3.0, 3.0))
        self.assertGreater(self.service.admission.rules.max_connections, 5)  # as the system allows

    def reloads(self) -> list[list[dict[str, Any]]]:
        """Return what each worker is asked to read again."""
        return [
            [each for each in worker.heard() if each.get("ask") == "reload"]
            for worker in self.spawner.started
        ]

    def reply(self, **answer: Any) -> None:
        """Answer the first worker's question."""
        (question,) = self.reloads()[0]
        self.spawner.started[0].send({"id": question["id"], "answer": answer})

    def reload(self, why: str, act: Any) -> tuple[Deferred[str], list[str]]:
        """Read again; return what comes of it, and the lines in the log."""
        with capturedLogs() as logs:
            reloading = self.service.reload(why)
            act()
        return reloading, [str(formatEvent(each)) for each in logs]

    def test_one_line_for_one_change(self) -> None:
        """It says who has done it, and what; also which workers have not done so."""
        self.ready()
        self.write("max-connections = 5")
        done, lines = self.reload("An operator", lambda: self.answer_all({"answer": {"done": "x"}}))
        told = f"netecho: {self.config}: changed: max-connections 1 -> 5"
        self.assertEqual((lines, self.successResultOf(done)), ([f"An operator: {told}"], told))
        self.write("max-connections = 6")
        error = {"error": "a.conf: Permission denied", "status": 400}
        done, lines = self.reload("An operator", lambda: self.answer_all(error, count=1))
        self.assertEqual((lines, self.service.admission.rules.max_connections), ([], 6))
        with capturedLogs() as logs:
            self.reactor.advance(ANSWER_SECONDS)
        told = f"netecho: {self.config}: changed: max-connections 5 -> 6"
        told += "; not in worker 1: a.conf: Permission denied; not in worker 2: it does not answer"
        self.assertEqual(self.successResultOf(done), told)
        self.assertEqual([formatEvent(each) for each in logs], [f"An operator: {told}"])

    def test_a_worker_that_ends_meanwhile(self) -> None:
        """It is no failure: its successor reads what is new at its start."""
        self.ready()
        reloading = self.service.reload("SIGHUP")
        self.spawner.started[0].end(killed_by=SIGKILL)
        self.answer_all({"answer": {}}, of=self.spawner.started[1:])
        self.assertNotIn("not in worker", self.successResultOf(reloading))

    def answer_all(self, answer: dict[str, Any], count: int = 2, of: Any = None) -> None:
        """Answer what workers are asked to read again."""
        for worker in (of or self.spawner.started)[:count]:
            (question,) = [each for each in worker.heard() if each.get("ask") == "reload"]
            worker.send({"id": question["id"], **answer})

    def test_a_wrong_file(self) -> None:
        """Nothing changes, and who asks hears why; the workers read certificates alone."""
        self.ready()
        self.write("max-connections = x")
        reloading = self.service.reload("An operator")
        self.assertEqual([each["config"] for (each,) in self.reloads()], [False, False])
        with capturedLogs() as logs:
            self.reactor.advance(ANSWER_SECONDS)
        self.failureResultOf(reloading, ReloadError)
        (line,) = [str(formatEvent(each)) for each in logs]
        self.assertIn("; nothing has changed; not in worker 1: it does not answer", line)
        self.assertEqual(self.service.admission.rules.max_connections, 1)

    def test_new_code(self) -> None:
        """SIGUSR2 starts a successor of the first worker."""
        self.ready()
        os.kill(os.getpid(), signal.SIGUSR2)
        self.assertEqual([each.settings.number for each in self.spawner.started], [1, 2, 1])

    def test_ticket_keys(self) -> None:
        """All workers get a new one from time to time."""
        self.ready()
        self.told()
        self.reactor.advance(NEW_TICKET_KEY_EVERY)
        self.assertEqual(len(self.keys), 1)
        self.assertEqual(self.told(), [["ticket-key"], ["ticket-key"]])

    def test_failures(self) -> None:
        """The line of a worker, or ours, has the service's name once; only the first one counts."""
        self.spawner.started[0].say("netecho: --tls-port 1: no")
        self.spawner.started[0].end(1)
        self.spawner.started[1].end(3)
        self.assertEqual(self.lines, ["netecho: --tls-port 1: no"])

    def test_own_failures(self) -> None:
        """They begin with the service's name, too."""
        self.spawner.started[1].end(3)
        self.assertEqual(self.lines, ["netecho: worker 2 has ended with status 3"])
