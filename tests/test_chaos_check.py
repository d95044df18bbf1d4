"""The check of the chaos run finds what is wrong: :mod:`tests.live.chaos_witness`."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.live.chaos_witness import Witness, check

JOINED = {"type": "joined", "room": "r", "epoch": "e", "offset": 0, "recovered": None}


class CheckTests(SynchronousTestCase):
    """Two witnesses in one room."""

    def setUp(self) -> None:
        self.witnesses = [self.witness(number) for number in range(2)]
        self.one, self.two = self.witnesses

    def witness(self, number: int) -> Witness:
        witness = Witness(Clock(), number, "r", [1], random.Random(1))
        witness.connected()
        witness.heard(JOINED)
        return witness

    def tell(self, witness: Witness, *offsets: int, **more: Any) -> None:
        for offset in offsets:
            text = {"text": f"text {offset}"} | more
            witness.heard({"type": "message", "room": "r", "offset": offset, **text})

    def rejoin(self, witness: Witness, offset: int, recovered: bool, epoch: str = "e") -> None:
        since = {"epoch": "e", "offset": offset}
        witness.said({"type": "join", "room": "r", "since": since, "id": "1"})
        witness.heard(JOINED | {"id": "1", "offset": 9, "recovered": recovered, "epoch": epoch})

    def violations(self, top: int = 3, is_lossy: bool = False) -> list[str]:
        log = {offset: f"text {offset}" for offset in range(1, top + 1)}
        return [each.text for each in check(self.witnesses, {"r": log}, is_lossy)]

    def finds(self, *expected: str, **how: Any) -> None:
        """Check what is found: each sentence contains what is expected."""
        found = self.violations(**how)
        self.assertEqual(len(found), len(expected), found)
        for text, part in zip(found, expected, strict=True):
            self.assertIn(part, text)

    def test_all_is_well(self) -> None:
        """Messages in order, a recovery after a disconnection, and an ack of one's own."""
        self.tell(self.one, 1, 2, 3)
        self.tell(self.two, 1)
        self.two.connected()
        self.rejoin(self.two, 1, True)
        self.tell(self.two, 2)
        self.two.heard({"type": "ack", "room": "r", "offset": 3, "id": "text 3"})
        self.two.acked["text 3"] = 3
        self.finds()
        self.assertEqual((self.two.recovered, self.two.told), (1, 0))

    def test_a_gap_that_is_asked_for(self) -> None:
        """What comes before the answer does not count."""
        self.tell(self.one, 1, 2, 3)
        self.tell(self.two, 1, 3)
        self.rejoin(self.two, 1, True)
        self.tell(self.two, 2, 3)
        self.finds()
        self.assertEqual(self.two.gaps, 1)

    def test_repeated_and_missing(self) -> None:
        """A message that comes twice, and one that never comes."""
        self.tell(self.one, 1, 2, 2, 3)
        self.tell(self.two, 1, 2)
        self.finds("c0 in r saw 2 (text 2) after 2", "c1 saw r up to 2, not to 3")

    def test_a_silent_gap(self) -> None:
        """Recovered, but not from where the client was."""
        self.tell(self.one, 1, 2, 3)
        self.tell(self.two, 1)
        self.rejoin(self.two, 2, True)
        self.tell(self.two, 2, 3)
        self.finds("c1 in r recovered e 9, but had e 1")

    def test_another_epoch(self) -> None:
        """Recovered, but into another epoch."""
        self.tell(self.one, 1, 2, 3)
        self.tell(self.two, 1)
        self.rejoin(self.two, 1, True, "other")
        self.tell(self.two, 2, 3)
        self.finds("recovered other 9")

    def test_one_offset_for_two(self) -> None:
        """Two messages with one offset in one epoch; in two epochs, it is a loss."""
        self.tell(self.one, 1, 2, 3)
        self.tell(self.two, 1, 2)
        self.tell(self.two, 3, text="another")
        found = self.violations()
        self.assertIn("3 of r is text 3 and, for c1, another, in one epoch", found)
        self.finds("in one epoch", is_lossy=True)
        self.two.stretches[-1].epoch = "f"
        self.finds(is_lossy=True)

    def test_acks(self) -> None:
        """An ack of what is not there, or is there twice."""
        for witness in self.witnesses:
            self.tell(witness, 1, 2, 3)
        self.one.acked["lost"] = 2
        self.two.acked["text 2"] = 2
        found = self.violations()
        self.assertIn("lost was acked at 2 of r, where there is text 2", found)
        self.assertIn("2 of r was acked for text 2 and for lost", found)
        log = {1: "text 1", 2: "text 2", 3: "text 2"}
        del self.one.acked["lost"]
        found = [each.text for each in check(self.witnesses, {"r": log})]
        self.assertIn("text 2 is in r twice: 2 and 3", found)

    def test_the_history_is_shown(self) -> None:
        """A violation has what the client has heard before."""
        self.tell(self.one, 1, 1)
        (violation,) = self.one.violations
        self.assertIn("connected", violation.history[0])
        self.assertIn("'text': 'text 1'", violation.history[-1])
