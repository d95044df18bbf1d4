"""Admission whose rules change while connections are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.ranges import Ranges, parse_range

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::1"


def codes(admission: Admission, *addresses: str | None, now: float = 0) -> list[str]:
    """Return the decisions about connections from these addresses."""
    found = []
    for address in addresses:
        reason = admission.admit(address, now)
        found.append("" if reason is None else reason.code)
    return found


class RangesTests(SynchronousTestCase):
    """A set of ranges that changes."""

    def test_add_and_remove(self) -> None:
        ranges = Ranges()
        self.assertFalse(ranges)
        ranges.add("192.0.2.0/24")
        ranges.add("192.0.2.7")
        ranges.add(IPv6Network("2001:db8::/32"))
        self.assertEqual(len(ranges), 3)
        self.assertEqual(
            [str(each) for each in ranges], ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32"]
        )
        self.assertIn(A, ranges)
        self.assertIn(C, ranges)
        ranges.remove("192.0.2.0/24")
        self.assertNotIn(A, ranges)
        self.assertIn("192.0.2.7", ranges)
        ranges.clear()
        self.assertFalse(ranges)
        self.assertEqual((len(ranges), list(ranges)), (0, []))
        self.assertNotIn("192.0.2.7", ranges)

    def test_twice_is_once(self) -> None:
        ranges = Ranges([IPv4Network("192.0.2.0/24")] * 2)
        ranges.add("192.0.2.0/24")
        self.assertEqual(len(ranges), 1)
        ranges.remove("192.0.2.0/24")
        self.assertNotIn(A, ranges)

    def test_what_is_not_there(self) -> None:
        """Only a range that was added can be removed."""
        ranges = Ranges([IPv4Network("192.0.2.0/24")])
        for other in ("192.0.2.0/25", "192.0.0.0/16", "2001:db8::/32", A):
            with self.assertRaisesRegex(ValueError, f"{other}.* is not one of the ranges"):
                ranges.remove(other)
        self.assertEqual(len(ranges), 1)

    def test_what_is_no_range(self) -> None:
        for wrong in ("192.0.2.1/24", "example.com", "", "fe80::1%eth0"):
            with self.assertRaisesRegex(ValueError, f"range: {wrong!r} is not an address range"):
                Ranges().add(wrong)
        with self.assertRaisesRegex(TypeError, "range: must be text or an ip_network, not 7"):
            Ranges().add(7)  # type: ignore[arg-type]

    def test_mapped(self) -> None:
        """A range of mapped addresses is one of IPv4, in whatever form it is given."""
        for mapped in ("::ffff:192.0.2.0/120", IPv6Network("::ffff:192.0.2.0/120")):
            ranges = Ranges()
            ranges.add(mapped)
            self.assertEqual(list(ranges), [IPv4Network("192.0.2.0/24")])
            self.assertIn("::ffff:192.0.2.9", ranges)
            self.assertEqual(list(Ranges([parse_range("x", "192.0.2.0/24")])), list(ranges))

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.integers(28, 32)), max_size=40))
    def test_as_a_set(self, changes: list[tuple[bool, int, int]]) -> None:
        """After any changes, it contains the same as a plain set of networks."""
        ranges, model = Ranges(), set[IPv4Network]()
        for adds, bits, length in changes:
            network = IPv4Network((0xC0000200 + bits, length), strict=False)
            if adds:
                ranges.add(network)
                model.add(network)
            elif network in model:
                ranges.remove(network)
                model.remove(network)
        self.assertEqual(set(ranges), model)
        self.assertEqual((len(ranges), bool(ranges)), (len(model), bool(model)))
        for bits in range(16):
            address = str(IPv4Network(0xC0000200 + bits).network_address)
            self.assertEqual(
                address in ranges, any(IPv4Network(address).subnet_of(each) for each in model)
            )


class Held:
    """Holds open connections, as a factory does."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.open: list[str | None] = []
        admission.serve(self)

    def admitted_by(self, admission: Admission) -> Iterator[str | None]:
        return iter(self.open)

    def admit(self, *addresses: str | None, now: float = 0) -> list[str]:
        found = codes(self.admission, *addresses, now=now)
        self.open += [each for each, code in zip(addresses, found, strict=True) if not code]
        return found

    def leave(self, address: str | None) -> None:
        self.open.remove(address)
        self.admission.leave(address)


class ChangeTests(SynchronousTestCase):
    """``Admission.change`` and its ranges."""

    def held(self, **rules: Any) -> tuple[Held, Admission]:
        admission = Admission(AdmissionRules(**rules))
        return Held(admission), admission

    def test_ranges(self) -> None:
        """A range that is added or removed counts from the next connection on."""
        held, admission = self.held()
        self.assertEqual(held.admit(A), [""])
        admission.denied.add("192.0.2.0/24")
        self.assertEqual(held.admit(A, C), ["denied", ""])
        admission.denied.remove("192.0.2.0/24")
        admission.allowed.add("192.0.2.1")
        self.assertEqual(held.admit(A, B, C), ["", "denied", "denied"])
        self.assertEqual(admission.rules.allow, (IPv4Network("192.0.2.1"),))
        admission.allowed.clear()
        self.assertEqual(held.admit(B), [""])

    def test_all_at_once(self) -> None:
        """Rules that are replaced leave nothing of the old ones, and ``denied`` is the same."""
        held, admission = self.held(deny=(IPv4Network(A),))
        denied = admission.denied
        admission.change(deny=(IPv4Network(B),))
        self.assertEqual(held.admit(A, B), ["", "denied"])
        denied.add(C)
        self.assertEqual(held.admit(C), ["denied"])
        self.assertEqual(len(admission.rules.deny), 2)

    def test_the_total(self) -> None:
        """A lower total closes nobody, and lets nobody in until enough have left."""
        held, admission = self.held(max_connections=3)
        held.admit(A, A, B)
        admission.change(max_connections=2)
        self.assertEqual(held.admit(A), ["full"])
        held.leave(A)
        self.assertEqual(held.admit(A), ["full"])
        held.leave(A)
        self.assertEqual(held.admit(A), [""])
        admission.change(max_connections=0)
        self.assertEqual(held.admit(A, B, C), ["", "", ""])

    def test_a_limit_per_address_that_is_new(self) -> None:
        """Connections that were open before count as well, and leave as usual."""
        held, admission = self.held()
        held.admit(A, A, A, B, None, "127.0.0.1")
        admission.change(max_per_address=2)
        self.assertEqual(held.admit(A, B, B, "127.0.0.1"), ["too-many", "", "too-many", ""])
        for address in (A, A):
            held.leave(address)
        self.assertEqual(held.admit(A), [""])
        while held.open:
            held.leave(held.open[0])
        self.assertEqual((admission.open, admission.addresses), (0, 0))

    def test_on_and_off(self) -> None:
        """However often the limit comes and goes, the count is right."""
        held, admission = self.held(max_per_address=2)
        held.admit(A, A)
        admission.change(max_per_address=0)
        held.admit(A, B)
        held.leave(A)
        admission.change(max_per_address=3, exempt_local=False)
        self.assertEqual(held.admit(A, A), ["", "too-many"])
        while held.open:
            held.leave(held.open[0])
        self.assertEqual((admission.open, admission.addresses), (0, 0))

    def test_a_new_rate(self) -> None:
        """A rate counts from now on, with a whole burst, and a ban that runs goes on."""
        held, admission = self.held(accept_rate=1, accept_burst=1)
        self.assertEqual(held.admit(A, A), ["", "too-fast"])
        admission.change(accept_rate=5, accept_burst=3)
        self.assertEqual(held.admit(A), ["too-fast"])
        self.assertEqual(held.admit(*[B] * 4), ["", "", "", "too-fast"])
        admission.change(ban=0)
        self.assertEqual(held.admit(*[A] * 4), ["", "", "", "too-fast"])
        admission.change(accept_rate=0)
        self.assertEqual(held.admit(*[A] * 40), [""] * 40)

    def test_fewer_remembered(self) -> None:
        held, admission = self.held(accept_rate=1)
        for number in range(10):
            held.admit(f"192.0.2.{number}")
            held.leave(f"192.0.2.{number}")
        self.assertEqual(admission.addresses, 10)
        admission.change(remembered=3)
        self.assertEqual(admission.addresses, 3)

    def test_wrong_changes(self) -> None:
        """A wrong value changes nothing; a wrong name is told with the right one."""
        _, admission = self.held(max_connections=1)
        before = admission.rules
        with self.assertRaisesRegex(ValueError, "max_per_address: .* not -1"):
            admission.change(max_connections=7, max_per_address=-1)
        with self.assertRaisesRegex(TypeError, "did you mean 'max_per_address'"):
            admission.change(max_per_adress=1)  # type: ignore[call-arg]
        self.assertEqual(admission.rules, before)

    def test_counted_by_hand(self) -> None:
        """Who counts without being asked for its connections can still count them out."""
        admission = Admission(AdmissionRules())
        codes(admission, A, B)
        admission.change(max_per_address=1)
        codes(admission, C)
        for address in (A, B, C):
            admission.leave(address)
        self.assertEqual((admission.open, admission.addresses), (0, 0))
        with self.assertRaisesRegex(ValueError, "no open connection"):
            admission.leave(A)

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("in"), st.sampled_from([A, B, C, "127.0.0.1", None])),
                st.tuples(st.just("out"), st.integers(0, 9)),
                st.tuples(st.just("per"), st.integers(0, 3)),
                st.tuples(st.just("rate"), st.sampled_from([0, 1000])),
                st.tuples(st.just("local"), st.booleans()),
            ),
            max_size=60,
        )
    )
    def test_any_order(self, steps: list[tuple[str, Any]]) -> None:
        """In any order of changes, an address has as many places as the limit of the moment."""
        held, admission = self.held(accept_burst=1000)
        for step, value in steps:
            if step == "in":
                limit = admission.rules.max_per_address
                local = value in ("127.0.0.1", None) and admission.rules.exempt_local
                full = not local and 0 < limit <= Counter(held.open)[value]
                self.assertEqual(held.admit(value), ["too-many" if full else ""])
            elif step == "out" and value < len(held.open):
                held.leave(held.open[value])
            elif step == "per":
                admission.change(max_per_address=value)
            elif step == "rate":
                admission.change(accept_rate=value)
            elif step == "local":
                admission.change(exempt_local=value)
            self.assertEqual(admission.open, len(held.open))
        while held.open:
            held.leave(held.open[0])
        self.assertEqual(admission.open, 0)
