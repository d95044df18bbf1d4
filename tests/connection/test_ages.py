"""Tests for :mod:`twisted_net.connection.ages`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from twisted_net.connection.ages import EXACT, GAP, MOST_NOTES, Ages
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import connect_peer


class AgesTests(SynchronousTestCase):
    def test_between_notes(self) -> None:
        """A connection counts from the last note before it."""
        ages = Ages()
        self.assertEqual(ages.age(1, 5), 0, "nothing is known")
        ages.note(0, 100)
        ages.note(3, 104)
        ages.note(3, 105)
        ages.note(4, 106)
        self.assertEqual([ages.age(number, 110) for number in (1, 3, 4, 5)], [10, 10, 5, 4])
        self.assertEqual(ages.age(5, 50), 0, "the clock was set back")

    def test_memory_is_bounded(self) -> None:
        """After many notes, the last ones are still exact, and the others near enough."""
        ages = Ages()
        last = 20 * MOST_NOTES
        for number in range(last):
            ages.note(number, float(number))  # the next connection begins now
        self.assertLessEqual(len(ages), MOST_NOTES)
        self.assertEqual(ages.age(last - 10, last), 11)
        for number in range(1, last, 997):
            age = last - number + 1
            found = ages.age(number, last)
            self.assertTrue(age <= found <= age * (1 + 1 / EXACT) + 1, number)

    @given(st.lists(st.floats(0, 3), max_size=60))
    def test_at_most_a_gap_too_long(self, pauses: list[float]) -> None:
        """Whatever the pauses between connections are."""
        factory = factory_of(Recorder)
        clock = factory.clock
        began = {}
        for pause in pauses:
            clock.advance(pause)  # type: ignore[attr-defined]
            connection = connect_peer(factory).protocol
            began[connection.id] = clock.seconds()
        clock.advance(7)  # type: ignore[attr-defined]
        for number, time in began.items():
            more = factory.age(number) - (clock.seconds() - time)
            self.assertTrue(-1e-9 <= more <= GAP, more)

    def test_with_admission(self) -> None:
        """The factory notes whoever admits."""
        for admission in (None, Admission(AdmissionRules())):
            factory = factory_of(Recorder, admission=admission)
            factory.clock.advance(50)  # type: ignore[attr-defined]
            connect_peer(factory)
            factory.clock.advance(9)  # type: ignore[attr-defined]
            self.assertEqual(factory.age(1), 9)
