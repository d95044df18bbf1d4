"""Arrivals and departures in few lines: :mod:`twisted_net.chat.presence`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.presence import NAMED_AT_MOST, Presence


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.presence = Presence("#lobby")

    def test_arrivals_and_departures_are_told_once(self) -> None:
        """Each line with whom it is about; then there is nothing to tell."""
        self.assertFalse(self.presence)
        self.presence.left("bob")
        self.presence.came("ann")
        self.assertTrue(self.presence)
        told = {("ann", "* ann joined #lobby."), ("bob", "* bob left #lobby.")}
        self.assertEqual(set(self.presence.tell()), told)
        self.assertEqual((self.presence.tell(), bool(self.presence)), ([], False))

    def test_who_came_and_went_is_not_mentioned(self) -> None:
        """A health check leaves no trace."""
        self.presence.came("ann")
        self.presence.left("ann")
        self.assertEqual((bool(self.presence), self.presence.tell()), (False, []))

    def test_a_departure_after_a_told_arrival_is_told(self) -> None:
        """What the others know of, they hear the end of."""
        self.presence.came("ann")
        self.presence.tell()
        self.presence.left("ann")
        self.assertEqual(self.presence.tell(), [("ann", "* ann left #lobby.")])

    def test_more_than_a_few_are_counted(self) -> None:
        """Separately for both, and about nobody."""
        for number in range(NAMED_AT_MOST):
            self.presence.came(f"in-{number}")
            self.presence.left(f"out-{number}")
        self.assertEqual(len(self.presence.tell()), 2 * NAMED_AT_MOST)
        for number in range(1000):
            self.presence.came(f"in-{number}")
        self.presence.left("ann")
        told = {("", "* 1000 people joined #lobby."), ("ann", "* ann left #lobby.")}
        self.assertEqual(set(self.presence.tell()), told)

    def test_a_newcomer_that_speaks_is_introduced(self) -> None:
        """Once: it is then neither introduced again nor told; its departure is."""
        self.presence.came("ann")
        self.assertEqual(self.presence.introduce("ann"), "* ann joined #lobby.")
        self.assertIsNone(self.presence.introduce("ann"))
        self.assertEqual(self.presence.tell(), [])
        self.presence.left("ann")
        self.assertEqual(self.presence.tell(), [("ann", "* ann left #lobby.")])

    def test_one_who_is_known_is_not_introduced(self) -> None:
        """Nor is somebody who never came."""
        self.presence.came("ann")
        self.presence.tell()
        self.assertIsNone(self.presence.introduce("ann"))
        self.assertIsNone(self.presence.introduce("nobody"))

    def test_a_known_name_that_changes_is_to_be_told(self) -> None:
        """And its departure is told under the new name."""
        self.presence.came("ann")
        self.presence.tell()
        self.assertTrue(self.presence.renamed("ann", "bob"))
        self.presence.left("bob")
        self.assertEqual(self.presence.tell(), [("bob", "* bob left #lobby.")])

    def test_a_newcomer_that_changes_its_name_joins_under_it(self) -> None:
        """The others never heard of the old one."""
        self.presence.came("guest-1")
        self.assertFalse(self.presence.renamed("guest-1", "ann"))
        self.assertFalse(self.presence.renamed("ann", "bob"))
        self.assertEqual(self.presence.tell(), [("bob", "* bob joined #lobby.")])

    def test_a_newcomer_that_changes_its_name_and_goes(self) -> None:
        """Was never there."""
        self.presence.came("guest-1")
        self.presence.renamed("guest-1", "ann")
        self.presence.left("ann")
        self.assertEqual(self.presence.tell(), [])

    def test_a_name_that_a_newcomer_takes_over(self) -> None:
        """Whoever had it has left before somebody else joins under it."""
        self.presence.left("ann")
        self.presence.came("ann")
        told = [("ann", "* ann left #lobby."), ("ann", "* ann joined #lobby.")]
        self.assertEqual(self.presence.tell(), told)

    def test_the_room_has_its_own_name(self) -> None:
        """As it was given."""
        presence = Presence("#cellar")
        presence.came("ann")
        self.assertEqual(presence.tell(), [("ann", "* ann joined #cellar.")])
