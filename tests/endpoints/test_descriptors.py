"""Tests for :mod:`twisted_net.endpoints.descriptors`."""

from __future__ import annotations

import fcntl
import os
import resource

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.endpoints.descriptors import keep_high_descriptors, open_descriptors


class HighDescriptorsTests(SynchronousTestCase):
    def open_at(self, least: int) -> int:
        """Open something that child processes inherit, and return its number."""
        with open(os.devnull, "rb") as file:
            number = fcntl.fcntl(file, fcntl.F_DUPFD, least)
        self.addCleanup(os.close, number)
        return number

    def test_above_the_limit(self) -> None:
        """What is above it is not inherited any more; what is below it is, as before."""
        low, high = self.open_at(200), self.open_at(300)
        self.assertEqual({low, high} - set(open_descriptors()), set())
        self.patch(resource, "getrlimit", lambda _: (high, high))
        keep_high_descriptors()
        self.assertEqual([os.get_inheritable(each) for each in (low, high)], [True, False])

    def test_no_limit(self) -> None:
        """Then nothing is above it."""
        high = self.open_at(300)
        self.patch(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
        keep_high_descriptors()
        self.assertTrue(os.get_inheritable(high))
