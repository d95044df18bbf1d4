"""Tests for :mod:`twisted_net.services.early_signals`: signals before the service runs."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services import chat, early_signals, echo, idle
from twisted_net.services.early_signals import (
    EndedBySignal,
    EndingSignals,
    NotedSignal,
    note_signals,
)
from twisted_net.services.reloader import SignalHandler


class Direct(MemoryReactorClock):
    """A reactor that keeps what callFromThread gets until :meth:`turn`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Callable[[], object]] = []

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self.calls.append(lambda: function(*args, **kwargs))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class EarlyCase(SynchronousTestCase):
    """All signals are as a new process has them; afterwards, as they were."""

    def setUp(self) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            fresh: Any = signal.SIG_DFL
            if number == signal.SIGINT:
                fresh = signal.default_int_handler
            self.addCleanup(signal.signal, number, signal.signal(number, fresh))

    def send(self, number: int) -> None:
        os.kill(os.getpid(), number)


class NotedTests(EarlyCase):
    """SIGHUP and SIGUSR2."""

    def test_from_the_flags_on(self) -> None:
        """Reading the flags of any service is enough to outlive them."""
        for module in (chat, echo, idle):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            module.Options().parseOptions([])
            self.send(signal.SIGHUP)  # otherwise, the tests end here
            self.send(signal.SIGUSR2)

    def test_obeyed_later(self) -> None:
        """All handlers that are installed in the first turn get it once, and later ones do not."""
        note_signals()
        self.send(signal.SIGHUP)
        reactor = Direct()
        heard: list[str] = []
        for name in ("a", "b"):
            SignalHandler(reactor, signal.SIGHUP, lambda name=name: heard.append(name))
        SignalHandler(reactor, signal.SIGUSR2, lambda: heard.append("another signal"))
        self.assertEqual(heard, [])
        reactor.turn()
        self.assertEqual(heard, ["a", "b"])
        self.send(signal.SIGHUP)
        reactor.turn()
        self.assertEqual(heard, ["a", "b", "b", "a"])
        SignalHandler(reactor, signal.SIGHUP, lambda: heard.append("c"))
        reactor.turn()
        self.assertEqual(heard[4:], [])

    def test_the_handlers_of_others_stay(self) -> None:
        """A handler of the application stays, and so does what nohup has set."""
        for handler in (signal.SIG_IGN, lambda number, frame: None):
            signal.signal(signal.SIGHUP, handler)
            note_signals()
            self.assertEqual(signal.getsignal(signal.SIGHUP), handler)
        self.assertIsInstance(signal.getsignal(signal.SIGUSR2), NotedSignal)

    def test_in_another_thread(self) -> None:
        """Outside the main thread, where Python cannot handle signals, nothing is done."""
        failed: list[BaseException] = []
        self.patch(threading, "excepthook", lambda args: failed.append(args.exc_value))
        for function in (note_signals, lambda: early_signals.end_on_signals("netecho")):
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)


class EndingTests(EarlyCase):
    """SIGINT and SIGTERM."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        self.deaths: list[int] = []
        self.at_exit: list[Any] = []
        self.patch(atexit, "register", lambda *call: self.at_exit.append(call))
        self.ending = EndingSignals("netecho", self.lines.append, self.deaths.append)
        self.ending.begin()
        self.reactor = MemoryReactorClock()

    def test_before_the_start(self) -> None:
        """One line, an end that nothing turns into a traceback, and the signal's own status."""
        for number, name in (signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT"):
            self.lines.clear()
            ending = EndingSignals("netecho", self.lines.append, self.deaths.append)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            ending.begin()
            error = self.assertRaises(EndedBySignal, self.send, number)
            self.assertIsInstance(error, SystemExit)
            self.assertEqual((error.code, str(error)), (1, f"received {name}"))
            self.assertEqual(self.lines, [f"netecho: received {name}, shutting down"])
            self.assertEqual(self.deaths, [])
            call, argument = self.at_exit[-1]
            call(argument)
            self.assertEqual(self.deaths.pop(), number)

    def test_twice(self) -> None:
        """If it does not end after the first one, the second one ends it as usual."""
        self.assertRaises(EndedBySignal, self.send, signal.SIGTERM)
        self.send(signal.SIGTERM)
        self.assertEqual(self.deaths, [signal.SIGTERM])

    def test_somebody_catches_it(self) -> None:
        """Then the process ends when the service has started."""
        self.assertRaises(EndedBySignal, self.send, signal.SIGTERM)
        self.assertRaises(EndedBySignal, self.ending.started, self.reactor)

    def test_until_the_reactor_runs(self) -> None:
        """The reactor stops in good order: it gets the signal again, and handles it itself."""
        self.ending.started(self.reactor)
        self.send(signal.SIGINT)
        sent: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *call: sent.append(call))
        for call, args, keywords in self.reactor.triggers["before"]["startup"]:
            call(*args, **keywords)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
        for call, args, _ in self.reactor.whenRunningHooks:
            call(*args)
        self.assertEqual(sent, [(os.getpid(), signal.SIGINT)])
        self.assertEqual(self.lines, [])

    def test_handlers_of_others_stay(self) -> None:
        """Those from before, such as SIG_IGN in workers, and those that came meanwhile."""
        self.ending.started(self.reactor)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for call, args, keywords in self.reactor.triggers["before"]["startup"]:
            call(*args, **keywords)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        other = EndingSignals("netecho", self.lines.append, self.deaths.append)
        other.begin()
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
