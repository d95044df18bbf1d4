"""Tests for :mod:`twisted_net.endpoints.bound_sockets`, on real sockets of this machine."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from twisted_net.endpoints.bound_sockets import BindOptions, BoundServerEndpoint
from twisted_net.services import echo

FACTORY: Any = Factory()


class Adopting:
    """A reactor that only adopts ports.

    :ivar adopted: their sockets.
    """

    def __init__(self) -> None:
        self.adopted: list[socket.socket] = []

    def adoptStreamPort(self, descriptor: int, family: int, factory: object) -> None:
        self.adopted.append(socket.socket(family, socket.SOCK_STREAM, 0, os.dup(descriptor)))


class BoundTests(SynchronousTestCase):
    """Sockets, as the reactor gets them."""

    def setUp(self) -> None:
        self.reactor = Adopting()
        self.addCleanup(lambda: [each.close() for each in self.reactor.adopted])
        if not socket.has_dualstack_ipv6():
            raise SkipTest("this machine has no IPv6")

    def bound(self, port: int = 0, interface: str = "::", **options: bool) -> socket.socket:
        """Listen, and return the socket."""
        endpoint = BoundServerEndpoint(self.reactor, port, 5, interface, BindOptions(**options))
        self.successResultOf(endpoint.listen(FACTORY))
        return self.reactor.adopted[-1]

    def option(self, sock: socket.socket, level: int, name: int) -> bool:
        return bool(sock.getsockopt(level, name))

    def test_ipv6_only(self) -> None:
        """A port for IPv6 alone leaves the same port of IPv4 free."""
        for only in (False, True):
            sock = self.bound(ipv6_only=only)
            self.assertEqual(self.option(sock, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), only)
        self.assertTrue(any(self.leaves_ipv4_free() for _ in range(20)))

    def leaves_ipv4_free(self) -> bool:
        port = self.bound(ipv6_only=True).getsockname()[1]
        with socket.socket() as other:
            try:
                other.bind(("0.0.0.0", port))
            except OSError:  # another program may have this one
                return False
        return True

    def test_reuse_port(self) -> None:
        """Several sockets share a port if each of them says so, on any address."""
        for interface in ("::", "127.0.0.1", "::1"):
            port = self.bound(0, interface, reuse_port=True).getsockname()[1]
            self.bound(port, interface, reuse_port=True)
            endpoint = BoundServerEndpoint(self.reactor, port, 5, interface)
            failure = self.failureResultOf(endpoint.listen(FACTORY), CannotListenError)
            self.assertIn(f"{interface}:{port}", str(failure.value))

    def test_an_ipv4_address_for_ipv6_only(self) -> None:
        """IPv6 only, of an IPv4 address, is an error."""
        BindOptions(ipv6_only=True).check("::1")
        BindOptions(ipv6_only=True).check("")
        with self.assertRaisesRegex(ValueError, "IPv6 only, but 127.0.0.1 is an IPv4 address"):
            BindOptions(ipv6_only=True).check("127.0.0.1")


class EndpointsTests(SynchronousTestCase):
    """Flags and endpoint strings, on a reactor that does not run."""

    def setUp(self) -> None:
        self.reactor: Any = SelectReactor()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        self.reactor.runUntilCurrent()  # it closes the ports that were stopped
        for each in self.reactor.removeAll():
            each.connectionLost(None)

    def port(self, endpoint: Any) -> Any:
        """Listen, and return the port and its socket."""
        port = self.successResultOf(endpoint.listen(FACTORY))
        self.addCleanup(port.stopListening)
        return port

    def has_option(self, port: Any, level: int, name: int) -> bool:
        return bool(port.socket.getsockopt(level, name))

    def test_strings(self) -> None:
        """``net:`` knows both options."""
        for text, shared, alone in (
            ("net:0", False, False),
            ("net:0:reusePort=yes", True, False),
            ("net:0:interface=127.0.0.1:reusePort=yes", True, None),
            ("net:0:ipv6Only=yes:reusePort=no", False, True),
        ):
            endpoint = serverFromString(self.reactor, text)  # type: ignore[no-untyped-call]
            port = self.port(endpoint)
            found = self.has_option(port, socket.SOL_SOCKET, socket.SO_REUSEPORT)
            self.assertEqual(found, shared, text)
            if alone is not None:
                found = self.has_option(port, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                self.assertEqual(found, alone, text)

    def test_errors(self) -> None:
        """Other values are errors that name the option."""
        for text, line in (
            ("net:0:reusePort=1", "^reusePort=1: must be yes or no$"),
            ("net:0:ipv6Only=", "^ipv6Only=: must be yes or no$"),
            ("net:0:127.0.0.1:ipv6Only=yes", "^IPv6 only, but 127.0.0.1 is an IPv4 address$"),
        ):
            with self.assertRaisesRegex(ValueError, line):
                serverFromString(self.reactor, text)  # type: ignore[no-untyped-call]

    def test_flags(self) -> None:
        """The flags are for ``--port`` and for ``--tls-port``; two services share a port."""
        number = 0
        for _ in range(2):
            options = echo.Options()
            words = ["--reuse-port", "--ipv6-only", "--tls-port", str(number), "--self-signed"]
            options.parseOptions([*words, "--port", "0"])
            plain, tls = (self.port(each.endpoint) for each in options.listeners(self.reactor))
            for port in (plain, tls):
                for level, name in (
                    (socket.SOL_SOCKET, socket.SO_REUSEPORT),
                    (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY),
                ):
                    self.assertTrue(self.has_option(port, level, name))
            number = tls.getHost().port
