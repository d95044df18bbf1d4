"""Tests for :mod:`twisted_net.endpoints.strings`."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_net.connection.guard import GUARD_LIMITS, GuardFactory
from twisted_net.echo import EchoFactory
from twisted_net.endpoints import descriptors, strings
from twisted_net.endpoints.descriptors import log_rarely, most_connections
from twisted_net.testing import Peer


class EndpointCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def listen(self, text: str) -> tuple[Any, ...]:
        """Return what the reactor was asked for."""
        endpoint = serverFromString(self.reactor, text)  # type: ignore[no-untyped-call]
        verifyObject(IStreamServerEndpoint, endpoint)
        self.successResultOf(endpoint.listen(EchoFactory(clock=self.reactor)))
        asked: tuple[Any, ...] = self.reactor.tcpServers[-1]
        return asked

    def guard(self, text: str) -> GuardFactory:
        """Return the guard that an endpoint wraps around a factory."""
        guard: GuardFactory = self.listen(text)[1]
        self.assertIsInstance(guard, GuardFactory)
        return guard

    def error(self, text: str) -> str:
        error = self.assertRaises(ValueError, serverFromString, self.reactor, text)
        self.assertNotIn("\n", str(error))
        return str(error)


class NetTests(EndpointCase):
    def test_where_it_listens(self) -> None:
        """It listens everywhere, or at one address, with a long backlog."""
        for dual, everywhere in ((True, "::"), (False, "")):
            self.patch(strings.socket, "has_dualstack_ipv6", lambda dual=dual: dual)
            port, _, backlog, interface = self.listen("net:8080")
            self.assertEqual((port, backlog, interface), (8080, 1024, everywhere))
        for text in ("net:0:interface=127.0.0.1", "net:0:127.0.0.1"):
            self.assertEqual(self.listen(text)[3], "127.0.0.1")
        self.assertEqual(self.listen(r"net:0:interface=\:\:1")[3], "::1")

    def test_limits(self) -> None:
        guard = self.guard("net:1:idle=60:stall=2.5:handshake=0:queueLimit=99")
        limits = guard.limits
        self.assertEqual((limits.idle_timeout, limits.stall_timeout), (60, 2.5))
        self.assertEqual((limits.handshake_timeout, limits.queue_limit), (0, 99))
        self.assertEqual(self.guard("net:1").limits, GUARD_LIMITS)

    def refused(self, text: str, *hosts: str) -> list[str]:
        """Connect from these hosts, one after another; return those that are rejected."""
        from twisted.internet.address import IPv4Address, IPv6Address

        guard, refused = self.guard(text), []
        for host in hosts:
            kind = IPv6Address if ":" in host else IPv4Address
            address = kind("TCP", host, 1)
            if not isinstance(guard.buildProtocol(address), type(guard.make(address))):
                refused.append(host)
        return refused

    def test_admission(self) -> None:
        one, two, six = "192.0.2.1", "198.51.100.1", "2001:db8::1"
        self.assertEqual(self.refused("net:1", *[one] * 50), [])
        self.assertEqual(self.refused("net:1:maxConnections=2", one, one, two), [two])
        self.assertEqual(self.refused("net:1:perAddress=1", one, two, one), [one])
        self.assertEqual(len(self.refused("net:1:acceptRate=1", *[one] * 25)), 5)
        self.assertEqual(
            self.refused(r"net:1:allow=192.0.2.0/24,2001\:db8\:\:/32", one, two, six), [two]
        )
        self.assertEqual(self.refused("net:1:deny=192.0.2.1", one, two), [one])

    def test_as_many_as_there_are_descriptors(self) -> None:
        """The default limit follows the number of descriptors; 0 means no limit."""
        self.patch(strings, "most_connections", lambda: 1)
        one = "192.0.2.1"
        self.assertEqual(self.refused("net:1", one, one), [one])
        self.assertEqual(self.refused("net:1:maxConnections=0", one, one), [])

    def test_it_guards(self) -> None:
        """The guard uses the reactor's clock."""
        guard = self.guard("net:1:idle=5")
        peer = Peer(self.reactor)
        peer.protocol = guard.buildProtocol(peer.getPeer())
        peer.protocol.makeConnection(peer)
        peer.send(b"echo")
        self.assertEqual(peer.received, b"echo")
        peer.advance(6)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_each_has_its_own_admission(self) -> None:
        endpoint = strings.parse_net(self.reactor, "1", maxConnections="1")
        for _ in range(2):
            endpoint.listen(EchoFactory(clock=self.reactor))
        first, second = (server[1] for server in self.reactor.tcpServers)
        self.assertIsNot(first.admission, second.admission)

    def test_errors(self) -> None:
        """Each error is one line with the option as it was written, and the reason."""
        for text, line in (
            ("net:http", "port http: must be a whole number from 0 to 65535"),
            ("net:65536", "port 65536: must be a whole number from 0 to 65535"),
            ("net:-1", "port -1: must be a whole number from 0 to 65535"),
            ("net:", "port : must be a whole number from 0 to 65535"),
            ("net:1:idle=x", "idle=x: must be a number of seconds from 0 to 1000000000"),
            ("net:1:idle=-1", "idle=-1: must be a number of seconds from 0 to 1000000000"),
            ("net:1:idle=nan", "idle=nan: must be a number of seconds from 0 to 1000000000"),
            ("net:1:stall=inf", "stall=inf: must be a number of seconds from 0 to 1000000000"),
            ("net:1:handshake=", "handshake=: must be a number of seconds from 0 to 1000000000"),
            ("net:1:perAddress=1.5", "perAddress=1.5: must be a whole number from 0 to 1073741824"),
            ("net:1:perAddress=-1", "perAddress=-1: must be a whole number from 0 to 1073741824"),
            (
                "net:1:maxConnections=many",
                "maxConnections=many: must be a whole number from 0 to 1073741824",
            ),
            ("net:1:queueLimit=0", "queueLimit=0: must be a whole number from 1 to 1099511627776"),
            ("net:1:acceptRate=-0.1", "acceptRate=-0.1: must be a number from 0 to 1000000000"),
        ):
            self.assertEqual(self.error(text), line)
        self.assertIn("allow=10.1.2.3/8: ", self.error("net:1:allow=10.1.2.3/8"))
        self.assertIn("has host bits set", self.error(r"net:1:allow=\:\:1,10.1.2.3/8"))
        self.assertIn("deny=: ", self.error("net:1:deny="))
        self.assertIn("unknown option; the options are idle, stall,", self.error("net:1:idel=5"))

    def test_parts_that_are_too_many_or_too_few(self) -> None:
        """Twisted passes extra and missing parts on."""
        for text in ("net", "net:1:127.0.0.1:2"):
            error = self.assertRaises(TypeError, serverFromString, self.reactor, text)
            self.assertNotIn("\n", str(error))

    def test_a_busy_port(self) -> None:
        """A busy port fails as with any endpoint."""

        def listenTCP(*arguments: Any, **more: Any) -> Any:
            raise CannotListenError("", 8080, OSError(98, "Address already in use"))

        self.reactor.listenTCP = listenTCP
        endpoint = strings.parse_net(self.reactor, "8080")
        self.failureResultOf(endpoint.listen(EchoFactory(clock=self.reactor)), CannotListenError)


class DescriptorTests(EndpointCase):
    def test_a_reserve_is_kept(self) -> None:
        for limit, each, most in (
            (1024, 1, 960),
            (1024, 2, 480),
            (100, 1, 50),
            (1, 1, 1),
            (descriptors.resource.RLIM_INFINITY, 1, 0),
        ):
            self.patch(descriptors.resource, "getrlimit", lambda _, limit=limit: (limit, limit))
            self.assertEqual(most_connections(each), most)

    def test_a_line_a_minute(self) -> None:
        """However often a port fails to accept, there is one line a minute and nothing else."""

        class Port:
            _logger = Logger(namespace="port")

        port = Port()
        log_rarely(port, self.reactor)
        with capturedLogs() as events:
            for _ in range(3):
                for _ in range(10):
                    port._logger.info("EMFILE encountered; releasing reserved file descriptor.")
                    port._logger.info("Closed socket from {address}", address=("192.0.2.1", 1))
                port._logger.info("Could not accept ({acceptError})", acceptError="ENFILE")
                self.reactor.advance(25)
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["Connections that could not be accepted since the last line: EMFILE 1"],
        )
        with capturedLogs() as events:
            port._logger.info("Closed socket from {address}", address=("192.0.2.1", 1))
        self.assertIn(": EMFILE 30, ENFILE 3", formatEvent(events[0]))

    def test_what_is_no_port_of_twisteds(self) -> None:
        """Other ports are left unchanged."""
        log_rarely(object(), self.reactor)
