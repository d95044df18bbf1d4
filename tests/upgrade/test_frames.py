"""Tests for :mod:`twisted_net.upgrade.frames`: what two processes say to each other."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.upgrade.moving import copied
from twisted_net.upgrade.frames import MOST_DESCRIPTORS, FrameSocket, StateEncoder
from twisted_net.wire.framing import TooLong

states = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=600),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


class StateTests(SynchronousTestCase):
    """States as JSON."""

    @settings(max_examples=100, database=None)
    @given(states)
    def test_round_trip(self, state: Any) -> None:
        """JSON and bytes of any length arrive as they were."""
        self.assertEqual(copied(state), state)

    def test_a_message_over_the_limit(self) -> None:
        """What takes the place of a message that is too long arrives with its beginning."""
        found = copied([TooLong(7, b"start")])[0]
        self.assertEqual((found.max_size, found.start), (7, b"start"))

    def test_others(self) -> None:
        """Nothing else is taken: never a pickle."""
        for state in (object(), {1, 2}, Exception()):
            self.assertRaises(TypeError, StateEncoder().encode, [state])


class FrameSocketTests(SynchronousTestCase):
    """A Unix socket between two processes."""

    def setUp(self) -> None:
        ours, theirs = socket.socketpair()
        self.ours, self.theirs = FrameSocket(ours), FrameSocket(theirs)
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def test_descriptors(self) -> None:
        """As many descriptors as Linux allows arrive with their frame, in order."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        sent = [write] * MOST_DESCRIPTORS
        self.ours.send({"first": True}, sent)
        self.ours.send({"second": b"x" * 1000})
        os.close(write)
        message, descriptors = self.theirs.receive()
        self.assertEqual((message, len(descriptors)), ({"first": True}, MOST_DESCRIPTORS))
        self.assertEqual(self.theirs.receive(), ({"second": b"x" * 1000}, []))
        for number, each in enumerate(descriptors):
            self.assertFalse(os.get_inheritable(each))
            os.write(each, b"%d;" % number)
            os.close(each)
        self.assertTrue(os.read(read, 100).startswith(b"0;1;2;"))

    def test_the_end(self) -> None:
        """A process that has ended is noticed, between two frames and within one."""
        self.ours.send({"last": 1})
        self.ours.close()
        self.assertEqual(self.theirs.receive()[0], {"last": 1})
        self.assertRaises(EOFError, self.theirs.receive)

    def test_nothing_in_time(self) -> None:
        """A process that says nothing is not waited for longer than that."""
        self.theirs.deadline = time.monotonic()
        self.assertRaises(TimeoutError, self.theirs.receive)
