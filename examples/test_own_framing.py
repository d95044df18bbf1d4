"""Tests of own_framing.py: ``python -m twisted.trial test_own_framing``."""

from collections.abc import Sequence

from own_framing import Records
from twisted.trial.unittest import SynchronousTestCase

from twisted_net import RemoteProtocolError
from twisted_net.testing import same_for_every_split


class RecordsTests(SynchronousTestCase):
    def test_records(self) -> None:
        """The same records come out, wherever the bytes are cut."""

        def run(pieces: Sequence[bytes]) -> list[bytes]:
            framing = Records(max_size=10)
            return [record for piece in pieces for record in framing.feed(piece)]

        self.assertEqual(same_for_every_split(b"one;;three;rest", run), [b"one", b"", b"three"])

    def test_what_is_sent_is_read(self) -> None:
        framing = Records()
        self.assertEqual(framing.feed(framing.encode(b"one")), [b"one"])

    def test_an_incomplete_record_is_pending(self) -> None:
        framing = Records()
        framing.feed(b"on")
        self.assertTrue(framing.pending)

    def test_a_record_that_is_too_long(self) -> None:
        framing = Records(max_size=10)
        error = self.assertRaises(RemoteProtocolError, framing.feed, b"x" * 11)
        self.assertEqual(error.code, "too-long")
