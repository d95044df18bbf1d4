"""Tests for :mod:`twisted_net.eager.steady`: the time of a reactor when the clock is set."""

from __future__ import annotations

from time import time
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.eager import steady
from twisted_net.eager.reactor import EagerReactor


class SteadyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.passed = 1000.0
        self.patch(steady, "monotonic", lambda: self.passed)

    def made(self, kind: Any) -> Any:
        """Return a reactor of a kind, which never runs."""
        reactor = kind()
        self.addCleanup(reactor.disconnectAll)
        self.addCleanup(reactor.removeAll)
        return reactor

    def test_calls_are_on_time(self) -> None:
        """A delayed call is due after its seconds, and not before, whatever the clock says."""
        eager, plain = self.made(EagerReactor), self.made(SelectReactor)
        early: list[str] = []
        plain.callLater(60, early.append, "made before")
        steady.make_steady(plain)
        for reactor in (eager, plain):
            self.assertIsNot(reactor.seconds, time)
            called: list[float] = []
            reactor.callLater(60, lambda: called.append(self.passed))  # noqa: B023
            reactor.runUntilCurrent()
            self.passed += 59
            reactor.runUntilCurrent()
            self.assertEqual(called, [])
            self.passed += 2
            reactor.runUntilCurrent()
            self.assertEqual(called, [self.passed])
        self.assertEqual(early, ["made before"])

    def test_it_begins_with_the_time_of_day(self) -> None:
        """The log of twisted.web shows it as a date."""
        self.assertLess(abs(self.made(EagerReactor).seconds() - time()), 60)

    def test_other_clocks_stay(self) -> None:
        """A reactor with its own source of time keeps it."""
        clock = Clock()
        steady.make_steady(clock)
        clock.advance(7)
        self.assertEqual(clock.seconds(), 7)
