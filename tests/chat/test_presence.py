"""Tests of :mod:`twisted_net.chat.presence`, which batches joins and leaves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.presence import Presence


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.presence = Presence()

    def test_arrivals_and_departures_are_told_once(self) -> None:
        """Joins and leaves are announced once."""
        self.assertFalse(self.presence)
        self.presence.left("bob")
        self.presence.came("ann")
        self.assertTrue(self.presence)
        self.assertEqual(self.presence.take(), (["bob"], ["ann"]))
        self.assertEqual((self.presence.take(), bool(self.presence)), (([], []), False))

    def test_who_came_and_went_is_not_mentioned(self) -> None:
        """A user who joins and leaves within the delay (a health check) is not announced."""
        self.presence.came("ann")
        self.presence.left("ann")
        self.assertEqual((bool(self.presence), self.presence.take()), (False, ([], [])))

    def test_a_departure_after_a_told_arrival_is_told(self) -> None:
        """A leave is announced if the join was."""
        self.presence.came("ann")
        self.presence.take()
        self.presence.left("ann")
        self.assertEqual(self.presence.take(), (["ann"], []))

    def test_what_is_later_stays(self) -> None:
        """Later events stay, and so does a join under a name whose leave is still pending."""
        self.presence.came("ann", 1.0)
        self.presence.came("bob", 2.0)
        self.presence.left("eve", 1.0)
        self.presence.left("dan", 2.0)
        self.presence.came("dan", 1.0)
        self.assertEqual(self.presence.take(1.5), (["eve"], ["ann"]))
        self.assertEqual(self.presence.take(2.0), (["dan"], ["bob", "dan"]))

    def test_a_leave_that_is_told_early(self) -> None:
        """A leave can be announced before its time, and then is not announced again."""
        self.presence.left("ann", 2.0)
        self.assertTrue(self.presence.take_leave("ann"))
        self.assertFalse(self.presence.take_leave("ann"))
        self.assertEqual(self.presence.take(), ([], []))

    def test_a_join_that_is_hastened(self) -> None:
        """A join can be announced earlier, but not later; one that was announced stays so."""
        self.presence.came("ann", 3.0)
        self.presence.hasten("ann", 1.0)
        self.presence.hasten("ann", 2.0)
        self.assertEqual(self.presence.take(1.0), ([], ["ann"]))
        self.presence.hasten("ann", 1.5)
        self.assertEqual(self.presence.take(), ([], []))

    def test_a_newcomer_that_speaks_is_introduced(self) -> None:
        """A new user is introduced before the first message, and then not announced again."""
        self.presence.came("ann")
        self.assertTrue(self.presence.introduce("ann"))
        self.assertFalse(self.presence.introduce("ann"))
        self.assertEqual(self.presence.take(), ([], []))
        self.presence.left("ann")
        self.assertEqual(self.presence.take(), (["ann"], []))

    def test_one_who_is_known_is_not_introduced(self) -> None:
        """A user who was announced before, or never joined, is not introduced."""
        self.presence.came("ann")
        self.presence.take()
        self.assertFalse(self.presence.introduce("ann"))
        self.assertFalse(self.presence.introduce("nobody"))

    def test_a_known_name_that_changes_is_to_be_told(self) -> None:
        """A new name of a known user is announced, and the leave has the new name."""
        self.presence.came("ann")
        self.presence.take()
        self.assertTrue(self.presence.renamed("ann", "bob"))
        self.presence.left("bob")
        self.assertEqual(self.presence.take(), (["bob"], []))

    def test_a_newcomer_that_changes_its_name_joins_under_it(self) -> None:
        """If a user changes the name before the join is announced, the join has the new name."""
        self.presence.came("guest-1")
        self.assertFalse(self.presence.renamed("guest-1", "ann"))
        self.assertFalse(self.presence.renamed("ann", "bob"))
        self.assertEqual(self.presence.take(), ([], ["bob"]))

    def test_a_newcomer_that_changes_its_name_and_goes(self) -> None:
        """A user who changes the name and leaves within the delay is not announced."""
        self.presence.came("guest-1")
        self.presence.renamed("guest-1", "ann")
        self.presence.left("ann")
        self.assertEqual(self.presence.take(), ([], []))

    def test_a_name_that_a_newcomer_takes_over(self) -> None:
        """If a new user takes the name of one who left, both events are announced."""
        self.presence.left("ann")
        self.presence.came("ann")
        self.assertEqual(self.presence.take(), (["ann"], ["ann"]))

    def test_what_goes_on_in_another_process(self) -> None:
        """Who is in no list is in none there either, and is announced to nobody."""
        self.presence.came("ann", 3.0)
        self.presence.listed()
        self.presence.came("bob", 3.0)
        other = Presence()
        other.restore_state(self.presence.export_state(1.0, (), 1.0), 10.0)
        self.assertEqual(other.arrivals, {"ann": 12.0, "bob": 12.0})
        other.left("ann")
        other.left("bob")
        self.assertEqual(other.take(), (["ann"], []))
