"""Tests for :mod:`twisted_net.services.workers.supervisor`: its life, signals and configuration."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.services.workers.fake_processes import SIGKILL, FakeReactor, FakeSpawner
from twisted_net.endpoints.listening import Listener
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.services.echo import Options
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.workers import supervisor as module
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
        self.assertEqual([each.signals for each in self.spawner.started], [["HUP"], []])
        self.assertEqual(self.service.admission.rules.max_connections, 5)
        self.write("drain = 3")
        told = self.service.reload("An operator")
        self.assertIn("drain 10 -> 3", told)
        self.assertEqual((self.service.drain, self.service.pool.drain), (3.0, 3.0))
        self.assertGreater(self.service.admission.rules.max_connections, 5)  # as the system allows

    def test_a_wrong_file(self) -> None:
        """Nothing changes, and who asks hears why."""
        self.write("max-connections = x")
        self.assertRaises(ReloadError, self.service.reload, "An operator")
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
