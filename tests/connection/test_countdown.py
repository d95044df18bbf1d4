"""Tests of :mod:`twisted_net.connection.countdown`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.countdown import Countdown


class CountdownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[str] = []
        self.countdown = Countdown(2.0, self.expired.append)

    def assertNothingLeft(self) -> None:
        """Assert that no item and no timer is left."""
        self.assertEqual((len(self.countdown), self.clock.getDelayedCalls()), (0, []))

    def test_each_has_the_same_time(self) -> None:
        """Each item expires after its own time, with one timer for all."""
        self.countdown.start("a", self.clock)
        self.clock.advance(1)
        self.countdown.start("b", self.clock)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.9)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.2)
        self.assertEqual(self.expired, ["a"])
        self.clock.advance(1)
        self.assertEqual(self.expired, ["a", "b"])
        self.assertNothingLeft()

    def test_stopping(self) -> None:
        """A stopped item does not expire, and the last one stops the timer."""
        self.countdown.start("a", self.clock)
        self.countdown.start("b", self.clock)
        self.countdown.stop("a")
        self.countdown.stop("a")
        self.clock.advance(1)
        self.countdown.stop("b")
        self.assertNothingLeft()
        self.countdown.start("c", self.clock)
        self.clock.advance(2)
        self.assertEqual(self.expired, ["c"])

    def test_starting_again(self) -> None:
        """An item that is started again has the whole time again."""
        self.countdown.start("a", self.clock)
        self.clock.advance(1)
        self.countdown.start("a", self.clock)
        self.clock.advance(1.5)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.5)
        self.assertEqual(self.expired, ["a"])
        self.assertNothingLeft()

    def test_what_came_in_time(self) -> None:
        """An item that is stopped in the turn of the reactor in which it is due does not expire.

        A reactor runs its timers first, and then reads what has come meanwhile.
        """
        for read in ((), ("a",)):
            self.countdown.start("a", self.clock)
            self.clock.rightNow += 2
            for timer in list(self.clock.calls):  # advance() would run those of later turns, too
                self.clock.calls.remove(timer)
                timer.func(*timer.args)
            for item in read:
                self.countdown.stop(item)
            self.clock.advance(0)
        self.assertEqual(self.expired, ["a"])
        self.assertNothingLeft()

    def test_what_expires_may_start_and_stop(self) -> None:
        """What is called may stop and start items."""

        def expired(item: str) -> None:
            self.expired.append(item)
            countdown.stop("b")
            countdown.start("c" + item, self.clock)

        countdown = Countdown(2.0, expired)
        for item in "ab":
            countdown.start(item, self.clock)
        self.clock.advance(2)
        self.assertEqual(self.expired, ["a"])
        self.clock.advance(2)
        self.assertEqual(self.expired, ["a", "ca"])

    def test_the_clock_is_set_back(self) -> None:
        """If the clock is set back, those who come then do not wait longer, nor do the others."""
        self.countdown.start("a", self.clock)
        self.clock.rightNow -= 86_400.0
        self.countdown.start("b", self.clock)
        self.clock.advance(2)
        self.assertEqual(self.expired, ["a", "b"])
        self.assertNothingLeft()

    def test_another_time(self) -> None:
        """It holds for those whose time is running, too, counted from when it began."""
        for seconds, early, late in ((5.0, 3.8, 0.4), (1.5, 0.3, 0.4)):
            del self.expired[:]
            self.countdown.change(2.0, self.clock)
            self.countdown.start("a", self.clock)
            self.clock.advance(1)
            self.countdown.change(seconds, self.clock)
            self.clock.advance(early)
            self.assertEqual(self.expired, [])
            self.clock.advance(late)
            self.assertEqual(self.expired, ["a"])
            self.assertNothingLeft()

    def test_a_shorter_time_that_is_over(self) -> None:
        self.countdown.start("a", self.clock)
        self.clock.advance(1)
        self.countdown.change(0.5, self.clock)
        self.clock.advance(0)
        self.assertEqual(self.expired, ["a"])
        self.assertNothingLeft()

    def test_no_time_any_more(self) -> None:
        """0 stops all."""
        self.countdown.start("a", self.clock)
        self.countdown.change(0, self.clock)
        self.assertNothingLeft()
        self.clock.advance(9)
        self.assertEqual(self.expired, [])
