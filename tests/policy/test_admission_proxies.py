"""Clients that come through trusted proxies, and their count."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.policy.test_admission import ANN, BOB, LOOPBACK
from twisted_net.policy.admission import EXEMPT, Admission, AdmissionRules
from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY
from twisted_net.policy.ranges import parse_range

PROXY = "10.0.0.1"


def admission(**rules: Any) -> Admission:
    for name in ("allow", "deny"):
        rules[name] = tuple(parse_range(name, each) for each in rules.get(name, ()))
    return Admission(AdmissionRules(**rules))


class ProxyTests(SynchronousTestCase):
    def test_a_proxy_counts_in_total_alone(self) -> None:
        """Its address has no limits, and need not be allowed."""
        some = admission(max_connections=3, max_per_address=1, accept_rate=1, accept_burst=1)
        some.allowed.add(BOB)
        self.assertEqual([some.admit_proxy(PROXY) for _ in range(4)], [None, None, None, FULL])
        self.assertEqual((some.open, some.addresses, some.refused["full"]), (3, 0, 1))
        some.leave(EXEMPT)
        self.assertEqual((some.open, some.admit_proxy(None)), (2, None))

    def test_a_denied_proxy(self) -> None:
        some = admission(deny=["10.0.0.0/8"])
        self.assertEqual(some.admit_proxy(PROXY), DENIED)
        self.assertEqual((some.open, some.refused["denied"]), (0, 1))

    def test_moving(self) -> None:
        """The client's own limits apply, and those alone."""
        some = admission(max_connections=4, max_per_address=2)
        for _ in range(4):
            some.admit_proxy(PROXY)
        moved = [some.move(EXEMPT, ANN, 0) for _ in range(3)]
        self.assertEqual(moved, [None, None, TOO_MANY])
        self.assertIsNone(some.move(EXEMPT, BOB, 0))
        self.assertEqual((some.open, some.addresses, some.refused["too-many"]), (4, 2, 1))
        some.leave(ANN)
        self.assertEqual(some.check(ANN, 0), None)
        self.assertIsNone(some.admit(ANN, 0))
        for each in (ANN, ANN, BOB, EXEMPT):
            some.leave(each)
        self.assertEqual((some.open, some.addresses), (0, 0))
        self.assertRaises(ValueError, some.leave, EXEMPT)

    def test_moving_at_the_maximum(self) -> None:
        """The connection has its place already: ``full`` is no reason."""
        some = admission(max_connections=1, max_per_address=1)
        some.admit_proxy(PROXY)
        self.assertIsNone(some.move(EXEMPT, ANN, 0))
        self.assertIsNone(some.move(ANN, ANN, 0))  # where it is
        self.assertIsNone(some.move(ANN, BOB, 0))
        some.leave(BOB)
        self.assertEqual(some.open, 0)

    def test_ranges(self) -> None:
        for rules in ({"deny": [ANN]}, {"allow": [BOB]}):
            some = admission(**rules)
            some.admit_proxy(PROXY)
            self.assertEqual((some.move(EXEMPT, ANN, 0), some.check(ANN, 0)), (DENIED, DENIED))
            self.assertEqual((some.check(BOB, 0), some.move(EXEMPT, BOB, 0)), (None, None))
            self.assertEqual((some.open, some.refused["denied"]), (1, 2))

    def test_rate(self) -> None:
        """Single requests do not count, but are refused during the ban."""
        some = admission(accept_rate=1, accept_burst=2, ban=10)
        for _ in range(3):
            some.admit_proxy(PROXY)
        self.assertEqual([some.check(ANN, 0) for _ in range(9)], [None] * 9)
        moved = [some.move(EXEMPT, ANN, 0) for _ in range(3)]
        self.assertEqual(moved, [None, None, TOO_FAST])
        self.assertEqual((some.check(ANN, 9), some.check(BOB, 9)), (TOO_FAST, None))
        self.assertIsNone(some.check(ANN, 10))
        self.assertIsNone(some.move(EXEMPT, ANN, 10))

    def test_requests_at_the_maximum(self) -> None:
        some = admission(max_per_address=1)
        some.admit(ANN, 0)
        self.assertEqual((some.check(ANN, 0), some.check(BOB, 0)), (TOO_MANY, None))

    def test_local_clients(self) -> None:
        """They have no limits behind a proxy either."""
        some = admission(max_per_address=1)
        for _ in range(3):
            some.admit_proxy(PROXY)
            self.assertIsNone(some.move(EXEMPT, LOOPBACK, 0))
        for _ in range(3):
            some.leave(LOOPBACK)
        self.assertEqual(some.open, 0)

    def test_no_address(self) -> None:
        some = admission(max_per_address=1)
        some.admit_proxy(PROXY)
        for call in (some.move, some.check):
            arguments: Any = (EXEMPT, "x", 0) if call == some.move else ("x", 0)
            self.assertRaises(ValueError, call, *arguments)
        self.assertRaises(ValueError, some.admit_proxy, "x")
        self.assertEqual(some.open, 1)

    def test_new_rules(self) -> None:
        """If addresses count from now on, so do the clients of a proxy, and the proxy does not."""
        some = admission()
        places = [EXEMPT, EXEMPT, EXEMPT]

        class Connections:
            def admitted_by(self, _: Admission) -> list[str]:
                return places

        connections = Connections()
        some.serve(connections)
        for _ in places:
            some.admit_proxy(PROXY)
        self.assertIsNone(some.move(EXEMPT, ANN, 0))
        places[0] = ANN
        some.change(max_per_address=1)
        self.assertEqual(some.check(ANN, 0), TOO_MANY)
        self.assertIsNone(some.admit(PROXY, 0))
        for each in (ANN, EXEMPT, EXEMPT, PROXY):
            some.leave(each)
        self.assertEqual((some.open, some.addresses), (0, 0))

    @given(
        st.lists(st.tuples(st.sampled_from(["come", "move", "go"]), st.sampled_from([ANN, BOB]))),
        st.integers(0, 3),
    )
    def test_nothing_is_lost(self, steps: list[tuple[str, str]], most: int) -> None:
        """Whatever happens, the counts are those of the open connections."""
        some = admission(max_connections=6, max_per_address=most)
        places: list[str] = []
        for step, address in steps:
            if step == "come" and some.admit_proxy(PROXY) is None:
                places.append(EXEMPT)
            elif step == "move" and places and some.move(places[0], address, 0) is None:
                places.append(address)
                del places[0]
            elif step == "go" and places:
                some.leave(places.pop())
            self.assertEqual(some.open, len(places))
            for each in (ANN, BOB):
                is_full = 0 < most <= places.count(each)
                self.assertEqual(some.check(each, 0), TOO_MANY if is_full else None)
        for each in places:
            some.leave(each)
        self.assertEqual((some.open, some.addresses), (0, 0))
