"""Formatting of addresses for people."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.addresses import format_address, normalize_mapped


class ShownTests(SynchronousTestCase):
    def test_each_kind(self) -> None:
        for address, text in [
            (IPv4Address("TCP", "192.0.2.1", 80), "192.0.2.1:80"),
            (IPv6Address("TCP", "2001:db8::1", 80), "[2001:db8::1]:80"),
            (UNIXAddress(b"/run/a"), "/run/a"),
            (UNIXAddress(b"\0a"), "@a"),
            (UNIXAddress(None), "unix"),
            (UNIXAddress(b""), "unix"),
            (None, "unix"),
        ]:
            self.assertEqual(format_address(address), text)

    def test_a_name_that_acts_on_the_reader(self) -> None:
        """The name of a client's Unix socket cannot forge a line or move the cursor."""
        self.assertEqual(format_address(UNIXAddress(b"/a\n2026 b\x1b[2J\xff")), "/a2026 b\ufffd")

    def test_unmapped(self) -> None:
        mapped = IPv6Address("TCP", "::ffff:192.0.2.1", 80)
        self.assertEqual(normalize_mapped(mapped), IPv4Address("TCP", "192.0.2.1", 80))
        for address in (IPv6Address("TCP", "::1", 80), UNIXAddress(None)):
            self.assertIs(normalize_mapped(address), address)
