"""Tests for :mod:`twisted_net.services.workers.adopted_process`."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services.workers import adopted_process as module
from twisted_net.services.workers.adopted_process import AdoptedProcess
from twisted_net.services.workers.spawning import WorkerProcess


class Readers:
    """A reactor whose readers a test calls."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.all:
            self.all.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.all:
            self.all.remove(reader)

    removeWriter = removeReader

    def read(self) -> None:
        for each in list(self.all):
            reason = each.doRead()
            if reason is not None:
                each.connectionLost(reason)


class AdoptedProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[Any] = []
        self.protocol = WorkerProcess(
            self.heard.append, lambda line: self.heard.append(("error", line)), self.heard.append
        )
        self.reactor = Readers()
        self.ends: list[int] = []
        pipes = {}
        for name in (1, 2):
            reading, writing = os.pipe()
            pipes[name] = reading
            self.ends.append(writing)
        self.watched: list[Any] = []
        self.patch(
            module, "registerReapProcessHandler", lambda pid, each: self.watched.append(each)
        )
        self.patch(module, "unregister", lambda pid, each: self.watched.remove(each))
        self.process = AdoptedProcess(self.reactor, self.protocol, 4711, pipes)
        self.process.watch()

    def die(self, status: int) -> None:
        """Let the system tell of the process's end."""
        self.patch(os, "waitpid", lambda pid, how: (pid, status))
        (watched,) = self.watched
        watched.reapProcess()

    def test_its_life(self) -> None:
        """Its lines are heard, signals reach it, and its end is told after its last line."""
        sent: list[Any] = []
        self.patch(os, "kill", lambda pid, number: sent.append((pid, number)))
        self.protocol.signal(signal.SIGHUP)
        self.assertEqual((self.protocol.pid, sent), (4711, [(4711, signal.SIGHUP)]))
        os.write(self.ends[0], b"one\n")
        os.write(self.ends[1], b"two\n")
        self.reactor.read()
        self.assertEqual(self.heard, [b"one", ("error", b"two")])
        os.write(self.ends[0], b"last")
        self.die(0x0300)
        self.assertEqual(self.watched, [])
        self.assertEqual(len(self.heard), 2)
        for each in self.ends:
            os.close(each)
        for _ in range(2):
            self.reactor.read()
        self.assertEqual(self.heard[2:], [b"last", 3])
        self.assertRaises(ProcessExitedAlready, self.process.signalProcess, "TERM")
        self.protocol.signal(signal.SIGTERM)
        self.assertEqual(len(sent), 1)

    def test_how_it_ends(self) -> None:
        """With a status, with none, or by a signal."""
        for status, heard in ((0, 0), (0x0100, 1), (9, -9)):
            self.setUp()
            for each in self.ends:
                os.close(each)
            self.reactor.read()
            self.die(status)
            self.assertEqual(self.heard, [heard])

    def test_it_lives(self) -> None:
        """Another child has ended."""
        self.patch(os, "waitpid", lambda pid, how: (0, 0))
        self.watched[0].reapProcess()
        self.assertEqual(self.process.pid, 4711)
        for each in (*self.ends, *(each.fileno() for each in self.process.pipes.values())):
            os.close(each)
