"""The limits: :mod:`twisted_net.policy.limits`."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.limits import LimitChanges, Limits, OverflowPolicy
from twisted_net.wire.framing import DEFAULT_MAX_SIZE

LEAST: dict[str, int] = {
    "max_message": 1,
    "idle_timeout": 0,
    "queue_limit": 1,
    "stall_timeout": 0,
    "message_timeout": 0,
    "handshake_timeout": 0,
    "rate": 0,
    "burst": 1,
    "close_grace": 0,
}


class LimitsTests(SynchronousTestCase):
    def test_the_defaults_are_those_that_are_documented(self) -> None:
        """The defaults are as documented."""
        expected = {
            "max_message": 65536,
            "idle_timeout": 0,
            "queue_limit": 1048576,
            "overflow_policy": OverflowPolicy.CLOSE,
            "stall_timeout": 30,
            "message_timeout": 30,
            "handshake_timeout": 10,
            "rate": 0,
            "burst": 20,
            "close_grace": 5,
        }
        self.assertEqual(asdict(Limits()), expected)
        self.assertEqual(Limits().max_message, DEFAULT_MAX_SIZE)

    def test_the_least_of_each_is_allowed(self) -> None:
        """The smallest value of each limit is accepted."""
        for name, least in LEAST.items():
            self.assertEqual(getattr(Limits(**{name: least}), name), least)

    def test_what_makes_no_sense_is_refused_by_name(self) -> None:
        """A value that is too small, infinite or no number raises an error that names the limit."""
        for name, least in LEAST.items():
            values: tuple[Any, ...] = (least - 1, -(10**9), float("nan"), float("inf"))
            for value in values:
                error = self.assertRaises(ValueError, Limits, **{name: value})
                self.assertTrue(str(error).startswith(f"{name}: "), str(error))
                self.assertIn(repr(value), str(error))

    def test_a_changed_limit_is_checked_too(self) -> None:
        """A limit that is replaced is checked too."""
        self.assertEqual(replace(Limits(), idle_timeout=60).idle_timeout, 60)
        self.assertRaises(ValueError, replace, Limits(), idle_timeout=-1)

    def test_a_rule_is_not_taken_for_another(self) -> None:
        """The name of an overflow policy is not accepted as the policy."""
        error = self.assertRaises(ValueError, Limits, overflow_policy="close")
        self.assertIn("overflow_policy", str(error))

    def test_limits_cannot_be_changed_in_place(self) -> None:
        """Limits cannot be changed in place, because a factory's connections share them."""

        def change() -> None:
            Limits().max_message = 1  # type: ignore[misc]  # the point of the test

        self.assertRaises(FrozenInstanceError, change)

    def test_every_limit_can_be_given_by_name(self) -> None:
        """The keywords that factories take are exactly the existing limits."""
        self.assertEqual(LimitChanges.__annotations__.keys(), asdict(Limits()).keys())
