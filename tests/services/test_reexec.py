"""Tests for :mod:`twisted_net.services.reexec`: a state for new code, and how it is started."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services import reexec, upgrading
from twisted_net.services.reexec import (
    HELD_BACK,
    REEXEC_VARIABLE,
    KeptDescriptors,
    SavedState,
    SelfReplacement,
    end_trial,
)
from twisted_net.services.upgrading import Launch
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.upgrade.old_process import START_SECONDS
from twisted_net.upgrade.program import StartCommand


class ReexecTestCase(SynchronousTestCase):
    def command(self, *words: str, **more: Any) -> StartCommand:
        """Return a command whose environment is empty."""
        return StartCommand(words, environment={"A": "b"}, **{"activated": (), **more})

    def become(self, command: StartCommand, values: dict[str, Any]) -> tuple[list[str], Any]:
        """Execute a command, but for the system call. Return its words and what it would find."""
        called: list[Any] = []

        def execve(path: str, words: list[str], environment: dict[str, str]) -> None:
            copy = os.dup(int(environment[REEXEC_VARIABLE]))
            saved = SavedState.from_environment({REEXEC_VARIABLE: str(copy)})
            called.append((words, environment, saved))
            self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & HELD_BACK, HELD_BACK)
            self.assertEqual(os.getcwd(), command.directory)
            raise FileNotFoundError(2, "No such file or directory", path)

        self.patch(os, "execve", execve)
        replacement = SelfReplacement(command)
        kept = KeptDescriptors(replacement.first)
        failure = self.assertRaises(UpgradeFailed, replacement.become, values, kept)
        self.assertEqual(str(failure), "No such file or directory")
        ((words, environment, saved),) = called
        self.assertEqual(environment["A"], "b")
        return words, saved


class StateTests(ReexecTestCase):
    """What new code finds of the state."""

    def test_there_and_back(self) -> None:
        """It finds everything. If it cannot be started, the old code goes on as before."""
        before = os.getcwd(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
        descriptors = set(os.listdir("/dev/fd"))
        values = {"long": b"x" * 1000, "pairs": [[None, 1]]}
        words, saved = self.become(self.command("twistd", "-n", directory="/"), values)
        self.assertEqual(words, ["twistd", "-n"])
        self.assertEqual(saved.values, {"version": reexec.REEXEC_VERSION, **values})
        self.assertFalse(saved.is_trial)
        self.assertEqual((os.getcwd(), signal.pthread_sigmask(signal.SIG_BLOCK, ())), before)
        self.assertEqual(len(os.listdir("/dev/fd")), len(descriptors))

    def test_sockets_of_systemd(self) -> None:
        """They go through the launcher; kept descriptors have other numbers than they will."""
        with socket.socket() as listening:
            command = self.command(
                "twistd", activated=[listening.fileno()], listen_variables={"LISTEN_FDS": "1"}
            )
            replacement = SelfReplacement(command)
            kept = KeptDescriptors(replacement.first)
            copy = kept.keep(listening.fileno())
            self.assertGreaterEqual(copy, 4)
            self.assertTrue(os.get_inheritable(copy))
            kept.close()
            words, _ = self.become(command, {})
            self.assertEqual(words[0], sys.executable)
            self.assertTrue(words[1].endswith("launcher.py"))
            self.assertEqual(words[3:], ["twistd"])

    def test_there_is_none(self) -> None:
        """A process that has just begun has none; nor has one with somebody else's variable."""
        self.assertIsNone(SavedState.from_environment({}))
        for text in ("x", "999999", ""):
            environment = {REEXEC_VARIABLE: text}
            self.assertIsNone(SavedState.from_environment(environment))
            self.assertEqual(environment, {})

    def test_another_version(self) -> None:
        """New code that takes other states ends with a line."""
        save = SelfReplacement(self.command("x"))
        trial = self.trial(save, {})
        self.patch(reexec, "REEXEC_VERSION", 7)
        failure = self.assertRaises(SystemExit, SavedState.from_environment, trial)
        self.assertEqual(str(failure), "the new code takes states of version 7, and not 1")

    def trial(self, replacement: SelfReplacement, values: dict[str, Any]) -> dict[str, str]:
        """Begin a trial, and return its environment, with a copy of the state's descriptor."""
        reactor = SpawningReactor()
        Deferred.fromCoroutine(replacement.check(reactor, values)).addErrback(lambda _: None)
        number, _, how = reactor.environment[REEXEC_VARIABLE].partition(",")
        self.assertEqual((how, reactor.descriptors[int(number)]), ("trial", int(number)))
        return {REEXEC_VARIABLE: f"{reactor.copy},{how}"}

    def test_a_trial_ends(self) -> None:
        """The new code knows that it is only tried, and ends before it does anything."""
        saved = SavedState.from_environment(self.trial(SelfReplacement(self.command("x")), {}))
        assert saved is not None
        self.assertTrue(saved.is_trial)
        ended: list[int] = []
        self.patch(os, "_exit", ended.append)
        end_trial(None)
        end_trial(SavedState({}, is_trial=False))
        self.assertEqual(ended, [])
        end_trial(saved)
        self.assertEqual(ended, [0])


class SpawningReactor(Clock):
    """Starts processes that a test ends."""

    pid: int | None = 77
    error: OSError | None = None

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,
        words: list[str],
        env: dict[str, str],
        path: str,
        childFDs: dict[int, Any],
    ) -> None:
        if self.error is not None:
            raise self.error
        self.protocol, self.environment, self.descriptors = protocol, env, childFDs
        self.copy = os.dup(int(env[REEXEC_VARIABLE].partition(",")[0]))
        protocol.transport = self

    def signalProcess(self, name: str) -> None:
        if self.pid is None:
            raise ProcessExitedAlready
        self.end(0, killed_by=9)

    def end(self, status: int, killed_by: int | None = None) -> None:
        """End the process."""
        self.pid = None

        class Reason(Exception):
            signal = killed_by
            exitCode = status

        self.protocol.processEnded(Failure(Reason()))  # type: ignore[no-untyped-call]


class TrialTests(ReexecTestCase):
    """How the new code's trial ends."""

    def begin(self) -> tuple[SpawningReactor, Deferred[None]]:
        reactor = SpawningReactor()
        replacement = SelfReplacement(self.command("twistd"))
        return reactor, Deferred.fromCoroutine(replacement.check(reactor, {}))

    def why(self, checked: Deferred[None]) -> str:
        return str(self.failureResultOf(checked, UpgradeFailed).value)

    def test_it_starts(self) -> None:
        reactor, checked = self.begin()
        self.addCleanup(os.close, reactor.copy)
        self.assertNoResult(checked)
        reactor.end(0)
        self.successResultOf(checked)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_it_does_not(self) -> None:
        """The reason has what it has said last."""
        reactor, checked = self.begin()
        self.addCleanup(os.close, reactor.copy)
        reactor.protocol.errReceived(b"Traceback\n")
        reactor.protocol.errReceived(b"No module named 'x'\n\n")
        reactor.end(1)
        self.assertEqual(self.why(checked), "the new code ended with status 1: No module named 'x'")

    def test_it_hangs(self) -> None:
        reactor, checked = self.begin()
        self.addCleanup(os.close, reactor.copy)
        reactor.advance(START_SECONDS)
        self.assertEqual(self.why(checked), "the new code has not started within 60 s")

    def test_there_is_no_process(self) -> None:
        reactor = SpawningReactor()
        reactor.error = OSError("no process")
        replacement = SelfReplacement(self.command("twistd"))
        checked = Deferred.fromCoroutine(replacement.check(reactor, {}))
        self.assertEqual(self.why(checked), "the new code cannot be started: no process")

    def test_nobody_waits_any_more(self) -> None:
        """The process is ended."""
        reactor, checked = self.begin()
        self.addCleanup(os.close, reactor.copy)
        checked.cancel()
        self.assertIsNone(reactor.pid)
        self.failureResultOf(checked)


class DaemonTests(SynchronousTestCase):
    """twistd's flags, when a daemon becomes new code."""

    def flags(self, **more: Any) -> dict[str, Any]:
        """Return what is left of twistd's flags."""
        saved = SavedState({}, is_trial=False)
        self.patch(upgrading.SavedState, "from_environment", lambda environment: saved)
        flags = {"pidfile": "pid", "nodaemon": False, "debug": False, "logfile": None}
        flags |= {"syslog": False, "logger": None, **more}
        launch = Launch(flags)
        self.assertEqual(flags["pidfile"], "", "twistd would find itself running")
        launch.restore_pid_file()
        self.assertEqual(flags["pidfile"], "pid")
        return flags

    def test_it_does_not_fork_again(self) -> None:
        """It logs where daemons do."""
        flags = self.flags()
        self.assertEqual((flags["nodaemon"], flags["logfile"]), (True, "twistd.log"))
        self.assertEqual(self.flags(logfile="x")["logfile"], "x")
        self.assertIsNone(self.flags(syslog=True)["logfile"])

    def test_in_the_foreground(self) -> None:
        """Nothing changes, and the log stays on standard output."""
        for name in ("nodaemon", "debug"):
            self.assertIsNone(self.flags(**{name: True})["logfile"])
