"""Which clients may connect."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY, CloseReason
from twisted_net.policy.ranges import Ranges, client_host, parse_range

MAPPED = ip_network("::ffff:0:0/96")
ANN, BOB, LOOPBACK = "192.0.2.1", "192.0.2.2", "127.0.0.1"


def ranges(*texts: str) -> Ranges:
    return Ranges(parse_range("deny", text) for text in texts)


class RangeTests(SynchronousTestCase):
    def test_holds_the_addresses_of_each_range(self) -> None:
        some = ranges("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")
        for address in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::9", "::1"]:
            self.assertIn(address, some)
        for address in ["11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db9::", "::2", "0.0.0.1"]:
            self.assertNotIn(address, some)

    def test_everything_and_nothing_are_ranges_too(self) -> None:
        self.assertIn(ANN, ranges("0.0.0.0/0"))
        self.assertNotIn("2001:db8::1", ranges("0.0.0.0/0"))
        self.assertIn("2001:db8::1", ranges("::/0"))
        self.assertNotIn(ANN, ranges())
        self.assertFalse(ranges())
        self.assertTrue(ranges("::/0"))

    def test_a_mapped_address_is_the_ipv4_address(self) -> None:
        self.assertIn("::ffff:10.1.2.3", ranges("10.0.0.0/8"))
        self.assertIn("10.1.2.3", ranges("::ffff:10.0.0.0/104"))
        self.assertIn("::ffff:a01:203", ranges("::ffff:10.1.2.3"))
        self.assertNotIn("::ffff:10.1.2.3", ranges("::/0"))

    def test_a_link_local_address_may_name_its_interface(self) -> None:
        self.assertIn("fe80::1%eth0", ranges("fe80::/10"))

    def test_what_is_no_range_is_named(self) -> None:
        for text, why in [
            ("10.0.0.0/33", "'33' is not a valid netmask"),
            ("10.1.2.3/8", "has host bits set"),
            ("::/129", "'129' is not a valid netmask"),
            ("2001:db8::1/32", "has host bits set"),
            ("example.org", "Expected 4 octets"),
            ("", "cannot be empty"),
            ("10.0.0.0/8 ", "netmask"),
            ("fe80::%eth0/64", "a zone"),
        ]:
            with self.assertRaises(ValueError) as caught:
                parse_range("deny", text)
            self.assertTrue(
                str(caught.exception).startswith(f"deny: {text!r} is not an address range: "),
                caught.exception,
            )
            self.assertIn(why, str(caught.exception))

    def test_what_is_no_address_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            "example.org" in ranges("10.0.0.0/8")  # noqa: B015  # the look-up itself raises

    @given(
        st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=20),
        st.lists(st.ip_addresses(), min_size=1),
    )
    def test_agrees_with_a_look_at_every_range(
        self, networks: list[tuple[object, int]], addresses: list[object]
    ) -> None:
        parsed = [
            ip_network(f"{address}/{min(size, 32 if '.' in str(address) else 128)}", strict=False)
            for address, size in networks
        ]
        # A range of mapped addresses is one of IPv4; there is a test of its own for that.
        parsed = [each for each in parsed if each.version == 4 or not each.subnet_of(MAPPED)]
        fast = Ranges(parsed)
        near = [network.broadcast_address for network in parsed]
        for address in [*addresses, *near]:
            if getattr(address, "ipv4_mapped", None) is None:
                self.assertEqual(
                    str(address) in fast, any(address in network for network in parsed)
                )

    @given(st.text())
    def test_any_text_is_a_range_or_a_value_error(self, text: str) -> None:
        try:
            parse_range("allow", text)
        except ValueError as error:
            self.assertTrue(str(error).startswith("allow: "))


class RuleTests(SynchronousTestCase):
    def test_without_rules_everybody_may_connect(self) -> None:
        admission = Admission(AdmissionRules())
        for address in [ANN, "2001:db8::1", LOOPBACK, None] * 50:
            self.assertIsNone(admission.admit(address, 0.0))
        self.assertEqual((admission.open, admission.addresses), (200, 0))

    def test_a_value_that_makes_no_sense_is_named(self) -> None:
        for change in [
            {"max_connections": -1},
            {"max_per_address": -1},
            {"accept_rate": -0.5},
            {"accept_rate": float("nan")},
            {"accept_rate": float("inf")},
            {"accept_burst": 0},
            {"ban": -1.0},
            {"remembered": 0},
        ]:
            with self.assertRaises(ValueError) as caught:
                AdmissionRules(**change)
            self.assertIn(next(iter(change)), str(caught.exception))


class AdmissionTests(SynchronousTestCase):
    def refused(self, admission: Admission) -> dict[str, int]:
        return {code: count for code, count in admission.refused.items() if count}

    def test_past_the_total_it_is_full_until_one_leaves(self) -> None:
        admission = Admission(AdmissionRules(max_connections=2))
        self.assertEqual(
            [admission.admit(each, 0.0) for each in (ANN, LOOPBACK, BOB, None)],
            [None, None, FULL, FULL],
        )
        admission.leave(ANN)
        self.assertIsNone(admission.admit(BOB, 0.0))
        self.assertEqual((admission.open, self.refused(admission)), (2, {"full": 2}))

    def test_past_its_own_limit_only_that_address_waits(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=2))
        self.assertEqual(
            [admission.admit(each, 0.0) for each in (ANN, ANN, ANN, BOB)],
            [None, None, TOO_MANY, None],
        )
        admission.leave(ANN)
        self.assertIsNone(admission.admit(ANN, 0.0))
        self.assertEqual(self.refused(admission), {"too-many": 1})

    def test_the_addresses_of_one_ipv6_network_count_as_one(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=1))
        self.assertIsNone(admission.admit("2001:db8:0:1::1", 0.0))
        self.assertEqual(admission.admit("2001:db8:0:1:ffff:ffff:ffff:ffff", 0.0), TOO_MANY)
        self.assertIsNone(admission.admit("2001:db8:0:2::1", 0.0))
        admission.leave("2001:db8:0:1::77")
        self.assertIsNone(admission.admit("2001:db8:0:1::78", 0.0))

    def test_an_ipv4_address_is_the_same_however_it_is_shown(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=1))
        self.assertIsNone(admission.admit(ANN, 0.0))
        self.assertEqual(admission.admit("::ffff:192.0.2.1", 0.0), TOO_MANY)
        # As bits, 192.0.2.1 equals the network part of this address.
        self.assertIsNone(admission.admit("0:0:c000:201::", 0.0))

    def test_loopback_and_unix_sockets_have_no_limit_of_their_own(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=1, accept_rate=1, accept_burst=1))
        for address in [LOOPBACK, "127.9.9.9", "::1", "::ffff:127.0.0.1", None] * 3:
            self.assertIsNone(admission.admit(address, 0.0))

    def test_local_peers_have_limits_where_the_rules_say_so(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=1, exempt_local=False))
        for address in [LOOPBACK, "::1", None]:
            self.assertIsNone(admission.admit(address, 0.0))
            self.assertEqual(admission.admit(address, 0.0), TOO_MANY)
            admission.leave(address)
            self.assertIsNone(admission.admit(address, 0.0))

    def test_who_is_too_fast_is_banned_for_a_while(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=1, accept_burst=3, ban=10))
        self.assertEqual(
            [admission.admit(ANN, 0.0) for _ in range(5)],
            [None, None, None, TOO_FAST, TOO_FAST],
        )
        self.assertIsNone(admission.admit(BOB, 0.0))
        self.assertEqual(admission.admit(ANN, 9.9), TOO_FAST)
        self.assertIsNone(admission.admit(ANN, 10.0))
        self.assertEqual(self.refused(admission), {"too-fast": 3})

    def test_without_a_ban_the_rate_alone_decides(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=2, accept_burst=1, ban=0))
        times = [0.0, 0.25, 0.5, 0.75, 1.0]
        self.assertEqual(
            [admission.admit(ANN, now) for now in times], [None, TOO_FAST, None, TOO_FAST, None]
        )

    def test_the_rate_counts_attempts_that_were_refused_otherwise(self) -> None:
        admission = Admission(AdmissionRules(max_connections=1, accept_rate=1, accept_burst=2))
        self.assertEqual([admission.admit(ANN, 0.0) for _ in range(3)], [None, FULL, TOO_FAST])

    def test_where_it_is_full_that_is_said_rather_than_too_many(self) -> None:
        admission = Admission(AdmissionRules(max_connections=1, max_per_address=1))
        self.assertEqual([admission.admit(ANN, 0.0) for _ in range(2)], [None, FULL])

    def test_only_those_allowed_may_connect_and_never_those_denied(self) -> None:
        admission = Admission(
            AdmissionRules(allow=(ip_network("192.0.2.0/24"),), deny=(ip_network("192.0.2.2/32"),))
        )
        self.assertEqual(
            [admission.admit(each, 0.0) for each in (ANN, BOB, "198.51.100.1", LOOPBACK)],
            [None, DENIED, DENIED, DENIED],
        )
        self.assertEqual(self.refused(admission), {"denied": 3})

    def test_ranges_do_not_concern_unix_sockets(self) -> None:
        admission = Admission(AdmissionRules(deny=(ip_network("0.0.0.0/0"), ip_network("::/0"))))
        self.assertIsNone(admission.admit(None, 0.0))

    def test_the_denied_leave_no_trace_in_the_table(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=1, deny=(ip_network("0.0.0.0/0"),)))
        admission.admit(ANN, 0.0)
        self.assertEqual(admission.addresses, 0)

    def test_what_is_no_address_is_refused_and_not_counted(self) -> None:
        admission = Admission(AdmissionRules())
        with self.assertRaises(ValueError):
            admission.admit("example.org", 0.0)
        self.assertEqual((admission.open, self.refused(admission)), (0, {}))

    def test_to_leave_twice_is_an_error_and_changes_nothing(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=5))
        admission.admit(ANN, 0.0)
        admission.admit(BOB, 0.0)
        admission.leave(ANN)
        for address in [ANN, "198.51.100.1"]:
            with self.assertRaises(ValueError) as caught:
                admission.leave(address)
            self.assertIn(address, str(caught.exception))
        self.assertEqual(admission.open, 1)
        admission.leave(BOB)
        self.assertRaises(ValueError, admission.leave, None)

    def test_a_clock_that_is_set_back_prolongs_no_ban(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=1, accept_burst=1, ban=5))
        admission.admit(ANN, 1e6)
        self.assertEqual(admission.admit(ANN, 1e6), TOO_FAST)
        self.assertEqual(admission.admit(ANN, 0.0), TOO_FAST)  # banned again: the bucket is empty
        self.assertIsNone(admission.admit(ANN, 5.0))


class MemoryTests(SynchronousTestCase):
    """An attacker with any number of addresses cannot make the table grow."""

    def test_addresses_without_a_connection_are_bounded_and_the_oldest_goes(self) -> None:
        rules = AdmissionRules(accept_rate=1, accept_burst=1, ban=1000, remembered=100)
        admission = Admission(rules)
        admission.admit("192.0.2.1", 0.0)  # stays connected
        for n in range(5000):
            address = f"2001:db8:{n:x}::1"
            self.assertIsNone(admission.admit(address, 0.0))
            admission.leave(address)
        self.assertEqual(admission.addresses, 101)
        self.assertEqual(admission.admit("192.0.2.1", 0.0), TOO_FAST)  # connected: not evicted
        self.assertEqual(admission.admit("2001:db8:1387::1", 0.0), TOO_FAST)  # 4999: remembered
        self.assertIsNone(admission.admit("2001:db8:0::1", 0.0))  # forgotten

    def test_who_keeps_trying_is_not_forgotten(self) -> None:
        rules = AdmissionRules(accept_rate=1, accept_burst=1, ban=1000, remembered=10)
        admission = Admission(rules)
        admission.admit(ANN, 0.0)
        admission.leave(ANN)
        for n in range(100):
            admission.admit(f"2001:db8:{n:x}::1", 0.0)
            admission.leave(f"2001:db8:{n:x}::1")
            self.assertEqual(admission.admit(ANN, 0.0), TOO_FAST)

    def test_the_quiet_are_forgotten_once_they_are_as_new(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=10, accept_burst=20, ban=5))
        for n in range(1000):
            admission.admit(f"10.0.{n >> 8}.{n & 255}", 0.0)
            admission.leave(f"10.0.{n >> 8}.{n & 255}")
        self.assertEqual(admission.addresses, 1000)
        for n in range(600):
            admission.admit(BOB, 100.0 + n)
        self.assertEqual(admission.addresses, 1)

    def test_a_long_connection_leaves_nothing_behind(self) -> None:
        admission = Admission(AdmissionRules(accept_rate=1, ban=5))
        admission.admit(ANN, 0.0)
        admission.admit(BOB, 1000.0)
        admission.leave(ANN)
        self.assertEqual(admission.addresses, 1)

    def test_without_a_rate_nothing_is_remembered(self) -> None:
        admission = Admission(AdmissionRules(max_per_address=1))
        admission.admit(ANN, 0.0)
        admission.leave(ANN)
        self.assertEqual(admission.addresses, 0)


class Naive:
    """A reference model: the same rules without a bound, in exact fractions."""

    def __init__(self, rules: AdmissionRules) -> None:
        self.rules = rules
        self.open: list[str] = []
        self.levels: dict[str, tuple[Fraction, Fraction]] = {}  # level, and when it was measured
        self.bans: dict[str, Fraction] = {}

    def admit(self, network: str, now: Fraction) -> CloseReason | None:
        rules = self.rules
        if rules.accept_rate:
            if network in self.bans and now - self.bans[network] < rules.ban:
                return TOO_FAST
            level, then = self.levels.get(network, (Fraction(rules.accept_burst), now))
            level = min(
                Fraction(rules.accept_burst), level + (now - then) * Fraction(rules.accept_rate)
            )
            if level < 1:
                self.levels[network] = level, now
                self.bans[network] = now
                return TOO_FAST
            self.levels[network] = level - 1, now
        if rules.max_connections and len(self.open) >= rules.max_connections:
            return FULL
        if rules.max_per_address and self.open.count(network) >= rules.max_per_address:
            return TOO_MANY
        self.open.append(network)
        return None


class ModelTests(SynchronousTestCase):
    @given(
        rules=st.builds(
            AdmissionRules,
            max_connections=st.integers(0, 6),
            max_per_address=st.integers(0, 3),
            accept_rate=st.sampled_from([0.0, 0.25, 1.0, 4.0]),  # exact as floats
            accept_burst=st.integers(1, 4),
            ban=st.sampled_from([0.0, 0.5, 4.0]),
        ),
        steps=st.lists(
            st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 3, 8, 40])),
            max_size=120,
        ),
    )
    def test_decides_as_the_rules_read(
        self, rules: AdmissionRules, steps: list[tuple[bool, int, int]]
    ) -> None:
        """Forgetting addresses that are as good as new changes no decision."""
        admission, naive = Admission(rules), Naive(rules)
        networks = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::", "2001:db8:0:2::"]
        eighths = 0
        for arrives, choice, pause in steps:
            eighths += pause
            if arrives:
                network = networks[choice % 4]
                address = network + str(choice) if ":" in network else network
                now = Fraction(eighths, 8)
                self.assertEqual(admission.admit(address, float(now)), naive.admit(network, now))
            elif naive.open:
                network = naive.open.pop(choice % len(naive.open))
                admission.leave(network)
            self.assertEqual(admission.open, len(naive.open))
            self.assertLessEqual(admission.addresses, 4)
        for network in naive.open:
            admission.leave(network)
        self.assertEqual(admission.open, 0)


class ClientTests(SynchronousTestCase):
    def test_a_client(self) -> None:
        """An IPv4 address is one client, as a mapped one is; of IPv6, a /64 is one."""
        for address, expected in (
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
            ("2001:db8:0:1::", "2001:db8:0:1::/64"),
            ("", ""),
            ("a.example", "a.example"),
            ("no:address", "no:address"),
        ):
            self.assertEqual(client_host(address), expected)
