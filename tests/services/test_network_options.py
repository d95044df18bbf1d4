"""Tests for the flags about sockets and proxies."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.protocol import ChatFactory
from twisted_net.endpoints.proxied import ProxiedFactory
from twisted_net.endpoints.socket_options import SocketOptions
from twisted_net.services.chat import Options
from twisted_net.services.starting import StartError


def parsed(*flags: str) -> Options:
    options = Options()
    options.parseOptions(list(flags))
    return options


class FlagTests(SynchronousTestCase):
    def factory(self, *flags: str) -> Any:
        """Return the factory that a port gets."""
        reactor = MemoryReactor()
        (listener,) = parsed("--interface", "127.0.0.1", *flags).listeners(reactor)
        self.wrapped = ChatFactory()
        self.successResultOf(listener.endpoint.listen(self.wrapped))
        return reactor.tcpServers[0][1]

    def refused(self, *flags: str) -> str:
        return str(self.assertRaises(StartError, parsed, *flags))

    def test_no_proxies(self) -> None:
        self.assertIs(self.factory("--port", "0"), self.wrapped)

    def test_proxies(self) -> None:
        """Ranges and addresses may be separated by commas, or given with several flags."""
        factory = self.factory(
            "--proxy-protocol", "10.0.0.0/8,192.0.2.1", "--proxy-protocol=fd00::/8"
        )
        self.assertIsInstance(factory, ProxiedFactory)
        self.assertIs(factory.wrapped, self.wrapped)
        for address, trusted in [
            ("10.9.9.9", True),
            ("192.0.2.1", True),
            ("192.0.2.2", False),
            ("fd00::1", True),
            ("::1", False),
        ]:
            self.assertEqual(address in factory.trusted, trusted)
        self.assertFalse(factory.trust_unix)

    def test_unix(self) -> None:
        factory = self.factory("--proxy-protocol", "10.0.0.0/8,unix")
        self.assertTrue(factory.trust_unix)
        self.assertIn("10.0.0.1", factory.trusted)

    def test_before_tls(self) -> None:
        """The PROXY header is read before the TLS handshake."""
        factory = self.factory("--tls-port=0", "--self-signed", "--proxy-protocol=10.0.0.0/8")
        self.assertIsInstance(factory, ProxiedFactory)
        self.assertIs(factory.wrapped.wrappedFactory, self.wrapped)

    def test_no_range(self) -> None:
        for text, why in [
            ("10.1.2.3/8", "'10.1.2.3/8' is not an address range: 10.1.2.3/8 has host bits set"),
            ("10.0.0.0/8,", "'' is not an address range"),
            ("proxy.example", "'proxy.example' is not an address range"),
        ]:
            line = self.refused("--proxy-protocol", text)
            self.assertTrue(line.startswith(f"netchat: --proxy-protocol: {why}"), line)

    def test_trusted_proxies(self) -> None:
        """The same kinds of values name the proxies of browsers, for the chat and its pages."""
        for flags, trusted, unix in (
            (("--trusted-proxy=10.0.0.0/8,::1", "--trusted-proxy", "unix"), "10.1.1.1", True),
            (("--trusted-proxy=::1", "--no-web", "--web=tcp:0"), "::1", False),
        ):
            chat = parsed(*flags).factory(Clock())
            proxies = chat.trusted_proxies
            kind = IPv6Address if ":" in trusted else IPv4Address
            self.assertTrue(proxies.trusts(kind("TCP", trusted, 1)))
            self.assertFalse(proxies.trusts(IPv4Address("TCP", "192.0.2.1", 1)))
            self.assertEqual(proxies.trusts(UNIXAddress(b"/x")), unix)
        self.assertIsNone(parsed().factory(Clock()).trusted_proxies)

    def test_wrong_trusted_proxies(self) -> None:
        for flags, line in (
            (["10.0.0.1/8"], "--trusted-proxy: '10.0.0.1/8' is not an address range"),
            (["::1,proxy.example"], "--trusted-proxy: 'proxy.example' is not an address range"),
            (["::1", "--no-web"], "--no-web: leaves no browsers for --trusted-proxy; add --web"),
        ):
            found = self.refused("--trusted-proxy", *flags)
            self.assertTrue(found.startswith(f"netchat: {line}"), found)

    def test_socket_options(self) -> None:
        self.assertEqual(parsed().socket_options(), SocketOptions())
        flags = ("--keepalive=0", "--keepalive-interval=2", "--keepalive-count=3")
        self.assertEqual(
            parsed(*flags, "--user-timeout=4").socket_options(), SocketOptions(True, 0, 2, 3, 4)
        )

    def test_socket_options_that_make_no_sense(self) -> None:
        for flag, value in [
            ("--keepalive", "1.5"),
            ("--keepalive-interval", "0"),
            ("--keepalive-count", "128"),
            ("--user-timeout", "2000001"),
        ]:
            line = self.refused(flag, value)
            self.assertTrue(
                line.startswith(f"netchat: {flag} {value}: must be a whole number"), line
            )
