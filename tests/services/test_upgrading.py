"""Tests for :mod:`twisted_net.services.upgrading`: what surrounds an upgrade."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.echo import EchoFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.services import upgrading
from twisted_net.services.service_manager import ServiceManager
from twisted_net.services.upgrading import Launch, Upgrader
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.upgrade.new_process import UPGRADE_VARIABLE, Succession
from twisted_net.upgrade.program import StartCommand


class LaunchTests(SynchronousTestCase):
    """How a process was started."""

    def test_the_first_process(self) -> None:
        """It has nothing from an old one, and twistd handles the pid file."""
        flags = {"pidfile": "pid"}
        launch = Launch(flags)
        self.assertIs(launch.succession, None)
        self.assertEqual(flags, {"pidfile": "pid"})
        self.assertEqual(launch.command.directory, os.getcwd())

    def test_a_next_process(self) -> None:
        """twistd does not see the pid file until the new process goes on."""
        ours, theirs = os.pipe(), os.pipe()
        for each in (*ours, *theirs):
            self.addCleanup(os.close, each)
        flags = {"pidfile": "pid"}
        environment = {UPGRADE_VARIABLE: f"{ours[0]},{theirs[0]}"}
        self.assertIs(Succession.from_environment(environment), None, "they are no sockets")
        self.assertEqual(environment, {})
        launch = Launch(flags)
        launch.hide_pid_file()
        self.assertEqual(flags, {"pidfile": ""})
        launch.restore_pid_file()
        self.assertEqual(flags, {"pidfile": "pid"})

    def test_the_pid_file_is_replaced(self) -> None:
        """Whoever reads it finds one of the two numbers, and nothing is left beside it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "pid"
        path.write_text("1")
        Launch({"pidfile": str(path)}).write_pid_file(77)
        self.assertEqual(path.read_text(), "77")
        self.assertEqual(os.listdir(directory), ["pid"])
        with capturedLogs() as logged:
            Launch({"pidfile": "/nonexistent/pid"}).write_pid_file(77)
        self.assertEqual(
            [formatEvent(event) for event in logged],
            ["--pidfile /nonexistent/pid: No such file or directory"],
        )
        Launch({}).write_pid_file(77)


class UpgraderTests(SynchronousTestCase):
    """An upgrade that fails leaves one line."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = ListenerService(EchoFactory(clock=self.clock), [])
        self.service.running = True
        self.attempts: list[Deferred[Any]] = []
        tests = self

        class Attempt:
            def __init__(self, *arguments: Any) -> None:
                tests.arguments = arguments

            def start(self) -> Deferred[Any]:
                tests.attempts.append(Deferred())
                return tests.attempts[-1]

        self.arguments: Any = None
        self.patch(upgrading, "Upgrade", Attempt)
        self.upgrader = Upgrader(
            "netecho",
            lambda: {"netecho": self.service},
            Launch(),
            ServiceManager(self.clock, {}),
            Deferred,
        )

    def failed(self, upgrade: Deferred[str]) -> str:
        """Return why an upgrade has failed."""
        return str(self.failureResultOf(upgrade, UpgradeFailed).value)

    def test_one_line(self) -> None:
        """Each failure is in the log; the next attempt may work."""
        with capturedLogs() as logged:
            first = self.upgrader.upgrade(self.clock)
            second = self.upgrader.upgrade(self.clock)
            self.assertEqual(self.failed(second), "an upgrade is running already")
            self.attempts[0].errback(UpgradeFailed("it is late"))
            self.assertEqual(self.failed(first), "it is late")
            self.assertNoResult(self.upgrader.upgrade(self.clock))
        lines = [formatEvent(event) for event in logged]
        self.assertEqual(
            [line for line in lines if "failed" in line],
            [
                "Upgrade failed, and this process goes on: an upgrade is running already",
                "Upgrade failed, and this process goes on: it is late",
            ],
        )

    def test_a_service_that_is_not_ready(self) -> None:
        """A service that does not listen, or stops, is not upgraded."""
        self.service.running = False
        with capturedLogs():
            self.assertEqual(self.failed(self.upgrader.upgrade(self.clock)), "netecho is not ready")
        self.assertEqual(self.attempts, [])


class LogFileTests(SynchronousTestCase):
    """What two processes write to one log file."""

    def test_nothing_is_overwritten(self) -> None:
        """Both write at the end of it, and not where each of them has written last."""
        for _ in range(200):  # as a service that has been running for some time
            self.addCleanup(os.close, os.open(os.devnull, os.O_RDONLY))
        path = Path(self.mktemp()).absolute()
        old, new = (LogFile.fromFullPath(str(path)) for _ in range(2))
        for each in old, new:
            self.addCleanup(each.close)
        Launch({"logfile": str(path)}).append_to_log()
        for number in range(3):
            old.write(f"old {number}\n")
            new.write(f"new {number}\n")
        lines = path.read_text().splitlines()
        self.assertEqual(lines, ["old 0", "new 0", "old 1", "new 1", "old 2", "new 2"])

    def test_flags_of_a_tac_file(self) -> None:
        """A service of a .tac file, which gets no flags, finds the log on the command line."""
        path = Path(self.mktemp()).absolute()
        for words in (["-l", str(path)], ["--logfile", path.name], [f"--logfile={path}"]):
            log = LogFile.fromFullPath(str(path))
            self.addCleanup(log.close)
            launch = Launch()
            launch.command = StartCommand(["python", "twistd", *words], str(path.parent))
            launch.append_to_log()
            with path.open("a") as other:
                other.write("another\n")
            log.write("this\n")
            self.assertEqual(path.read_text(), "another\nthis\n", words)
            path.unlink()

    def test_without_a_file(self) -> None:
        """Standard output, a file that is gone, and no log at all are left alone."""
        for flags in ({}, {"logfile": "-"}, {"logfile": self.mktemp()}, {"logfile": None}):
            Launch(flags).append_to_log()
