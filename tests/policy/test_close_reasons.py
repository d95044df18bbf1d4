"""The table of close reasons: :mod:`twisted_net.policy.close_reasons`."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy import close_reasons
from twisted_net.policy.close_reasons import IDLE, REASONS, CloseReason
from twisted_net.wire.framing import ErrorCode


class ReasonsTests(SynchronousTestCase):
    def test_every_reason_is_in_the_table_under_its_code(self) -> None:
        """Every code can be looked up in the table."""
        rows = [value for value in vars(close_reasons).values() if isinstance(value, CloseReason)]
        self.assertEqual({row.code: row for row in rows}, REASONS)
        self.assertEqual(len(rows), len(REASONS), "two rows have the same code")

    def test_a_reason_has_the_name_of_its_code(self) -> None:
        """The code ``too-long`` belongs to ``TOO_LONG``."""
        for code, reason in REASONS.items():
            self.assertIs(getattr(close_reasons, code.upper().replace("-", "_")), reason)

    def test_the_reasons_of_the_design_are_there(self) -> None:
        """The reasons in the design document exist."""
        promised = (
            "peer-closed peer-reset idle slow too-long bad-input full too-many too-fast "
            "denied handshake login kicked draining failed"
        )
        self.assertEqual(set(promised.split()) - REASONS.keys(), set())

    def test_what_a_framing_raises_has_a_row(self) -> None:
        """The error codes of the framings are close reasons."""
        for code in get_args(ErrorCode):
            self.assertIn(code, REASONS)

    def test_codes_can_be_labels(self) -> None:
        """Codes have lower-case letters and hyphens, so they work as labels and search terms."""
        for reason in REASONS.values():
            self.assertRegex(reason.code, re.compile(r"\A[a-z]+(-[a-z]+)*\Z"))
            self.assertEqual(str(reason), reason.code)

    def test_texts_are_one_sentence_each(self) -> None:
        """Every text is one sentence, and no two are the same."""
        for reason in REASONS.values():
            self.assertRegex(reason.text, re.compile(r"\A[A-Z][^.\n]*\.\Z"))
        self.assertEqual(len({reason.text for reason in REASONS.values()}), len(REASONS))

    def test_websocket_codes_may_be_sent(self) -> None:
        """The WebSocket codes may be sent, except 1006, which means that none can be sent."""
        for reason in REASONS.values():
            if reason.code == "peer-reset":
                self.assertEqual(reason.websocket, 1006, reason)
            else:
                self.assertIn(reason.websocket, {*range(1000, 1004), *range(1007, 1015)}, reason)

    def test_nobody_is_asked_to_repeat_what_would_fail_again(self) -> None:
        """Clients should retry after passing conditions, but not after an error or a goodbye."""
        final = "peer-closed quit closed too-long bad-input denied login kicked"
        passing = "peer-reset idle slow full too-many too-fast handshake draining failed"
        self.assertEqual([code for code in final.split() if REASONS[code].retry], [])
        self.assertEqual([code for code in passing.split() if not REASONS[code].retry], [])

    def test_only_ordinary_endings_are_no_news(self) -> None:
        """An end by a limit or an error is notable."""
        ordinary = ("peer-closed", "peer-reset", "quit", "closed")
        for code, reason in REASONS.items():
            self.assertEqual(reason.notable, code not in ordinary, code)

    def test_a_row_cannot_be_changed(self) -> None:
        """A reason cannot be changed, because all connections share it."""

        def change() -> None:
            IDLE.code = "other"  # type: ignore[misc]  # the point of the test

        self.assertRaises(FrozenInstanceError, change)
