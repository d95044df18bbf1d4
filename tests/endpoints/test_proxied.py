"""Connections through a proxy: during the header, and after it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from tests.connection.recording import Recorder
from tests.endpoints.proxying import (
    ANN,
    ANN_ADDRESSES,
    HEADERS,
    PROXY,
    STRANGER,
    TRUSTED,
    Noting,
    ProxiedCase,
    Wrapped,
)
from tests.wire.feeding import cut
from tests.wire.proxy_headers import encode_v2
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.proxied import ProxiedEndpoint, ProxiedFactory, proxy_header
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import HANDSHAKE, PEER_CLOSED
from twisted_net.policy.ranges import Ranges, parse_range
from twisted_net.testing import HOST, Peer, connect_peer, splits
from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader


class HeaderTests(ProxiedCase):
    def test_every_split(self) -> None:
        """However the header and the first bytes are split, the protocol gets client and bytes."""
        for name, header in HEADERS.items():
            for pieces in splits(header + b"hello\n"):
                with self.subTest(name, pieces=pieces):
                    peer = self.connect()
                    peer.send(*pieces)
                    protocol = self.wrapped.built[-1]
                    self.assertEqual(protocol.addresses, ANN_ADDRESSES)
                    self.assertEqual(protocol.received, b"hello\n")
                    self.assertIs(peer.protocol, protocol)
                    self.assertEqual((peer.getPeer(), peer.getHost()), ANN_ADDRESSES)
                    self.assertEqual(self.wrapped.asked[-1], ANN_ADDRESSES[0])
        self.assertEqual(self.factory.ended, {})
        self.assertEqual(self.factory.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(
        st.sampled_from(sorted(HEADERS)),
        st.binary(max_size=60),
        st.lists(st.integers(0, 120), max_size=6),
    )
    def test_any_bytes_and_any_cuts(self, name: str, data: bytes, places: list[int]) -> None:
        """The protocol gets the bytes after the header unchanged."""
        clock = Clock()
        wrapped = Wrapped()
        peer = connect_peer(ProxiedFactory(wrapped, TRUSTED, clock), clock=clock, peer=PROXY)
        peer.send(*cut(HEADERS[name] + data, places))
        peer.write_eof()
        (protocol,) = wrapped.built
        self.assertEqual(protocol.received, data)
        self.assertFalse(peer.connected)

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
    def test_garbage(self, data: bytes, places: list[int]) -> None:
        """A trusted peer may send anything: it gets a protocol, or one log line and the end."""
        clock = Clock()
        wrapped = Wrapped()
        factory = ProxiedFactory(wrapped, TRUSTED, clock)
        peer = connect_peer(factory, clock=clock, peer=PROXY)
        peer.send(*cut(data, places))
        peer.advance(12)
        self.assertEqual(peer.connected, bool(wrapped.built))  # it may be a header by chance
        self.assertEqual(sum(factory.ended.values()), not wrapped.built)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_nothing_is_built_before_it_is_complete(self) -> None:
        peer = self.connect()
        peer.send(HEADERS["v1"][:-1])
        self.assertEqual(self.wrapped.asked, [])
        self.assertEqual((peer.getPeer(), peer.getHost()), (PROXY, HOST))

    def test_kinds_of_addresses(self) -> None:
        unix = ProxyHeader(Family.UNIX, Endpoint("/run/a"), Endpoint("\0b"))
        ipv6 = ProxyHeader(Family.IPV6, Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 2))
        udp = ProxyHeader(ANN.family, ANN.source, ANN.destination, datagram=True)
        nameless = ProxyHeader(Family.UNIX, Endpoint(""), Endpoint("/run/\udcff"))
        first, second = IPv6Address("TCP", "2001:db8::1", 1), IPv6Address("TCP", "2001:db8::2", 2)
        by_udp = tuple(IPv4Address("UDP", each.host, each.port) for each in ANN_ADDRESSES)
        for header, addresses in [
            (ipv6, (first, second)),
            (unix, (UNIXAddress(b"/run/a"), UNIXAddress(b"\0b"))),
            (nameless, (UNIXAddress(None), UNIXAddress(b"/run/\xff"))),
            (udp, by_udp),
            (ProxyHeader(), (PROXY, HOST)),
            (ProxyHeader(local=True), (PROXY, HOST)),
        ]:
            peer = self.connect()
            peer.send(encode_v2(header))
            self.assertEqual(self.wrapped.built[-1].addresses, addresses)
            self.assertEqual(self.wrapped.asked[-1], addresses[0])

    def test_the_header_can_be_had(self) -> None:
        header = ProxyHeader(*(ANN.family, ANN.source, ANN.destination), tlvs=((2, b"a.example"),))
        peer = self.connect()
        peer.send(encode_v2(header))
        protocol = self.wrapped.built[-1]
        found = proxy_header(protocol.transport)
        self.assertEqual(found, header)
        assert found is not None
        self.assertEqual(found.authority, "a.example")

        class Around:
            transport = protocol.transport

        self.assertEqual(proxy_header(Around()), header)
        self.connect(STRANGER)
        self.assertIsNone(proxy_header(self.wrapped.built[-1].transport))

    def test_one_proxy_behind_another(self) -> None:
        """With two proxies, two headers are read, and the inner one has the client."""
        outer = ProxyHeader(ANN.family, Endpoint("10.0.0.8", 1), ANN.destination)
        factory = ProxiedFactory(self.factory, TRUSTED, self.clock)
        for pieces in splits(encode_v2(outer) + HEADERS["v1"] + b"hi"):
            peer = connect_peer(factory, clock=self.clock, peer=PROXY)
            peer.send(*pieces)
            protocol = self.wrapped.built[-1]
            self.assertEqual(protocol.addresses, ANN_ADDRESSES)
            self.assertEqual(protocol.received, b"hi")


class TrustTests(ProxiedCase):
    def test_strangers_go_straight_through(self) -> None:
        """Connections from other addresses go to the wrapped factory; headers are just bytes."""
        for address in [
            STRANGER,
            IPv6Address("TCP", "2001:db8::1", 1),
            IPv6Address("TCP", "fe80::1%eth0", 1),
            UNIXAddress(None),
        ]:
            peer = self.connect(address)
            self.assertIs(peer.protocol, self.wrapped.built[-1])
            peer.send(HEADERS["v1"])
            self.assertEqual(peer.protocol.addresses, (address, HOST))
            self.assertEqual(peer.protocol.received, HEADERS["v1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wrapped.refuses = True
        self.assertIsNone(self.factory.buildProtocol(STRANGER))

    def test_proxies(self) -> None:
        """Proxies may use IPv6, or appear as IPv4-mapped addresses of a dual-stack socket."""
        for address in [
            IPv6Address("TCP", "fd00::1", 1),
            IPv6Address("TCP", "::ffff:10.1.2.3", 1),
        ]:
            peer = self.connect(address)
            peer.send(HEADERS["v2"])
            self.assertEqual(self.wrapped.built[-1].addresses, ANN_ADDRESSES)

    def test_unix_sockets_if_asked_for(self) -> None:
        self.factory = ProxiedFactory(self.wrapped, Ranges([]), self.clock, trust_unix=True)
        peer = self.connect(UNIXAddress(None))
        self.assertEqual(self.wrapped.built, [])
        peer.send(HEADERS["v2"])
        self.assertEqual(self.wrapped.built[-1].addresses, ANN_ADDRESSES)
        self.assertIs(self.connect(STRANGER).protocol, self.wrapped.built[-1])

    def test_admission_decides_about_the_client(self) -> None:
        """Admission sees the client's address; a rejected connection is closed without a
        message."""
        rules = AdmissionRules(max_per_address=1, deny=(parse_range("deny", "192.0.2.78"),))
        admission = Admission(rules)
        plain = Wrapped.buildProtocol

        def build(factory: Wrapped, addr: Any) -> Any:
            refused = admission.admit(addr.host, self.clock.seconds())
            return None if refused else plain(factory, addr)

        self.patch(Wrapped, "buildProtocol", build)
        with capturedLogs() as logged:
            peers = []
            for host in ("192.0.2.77", "192.0.2.78", "192.0.2.79", "192.0.2.77"):
                peers.append(self.connect())
                header = ProxyHeader(ANN.family, Endpoint(host, 1), ANN.destination)
                peers[-1].send(encode_v2(header) + b"hello")
        self.assertEqual([peer.connected for peer in peers], [True, False, True, False])
        self.assertEqual((admission.refused["denied"], admission.refused["too-many"]), (1, 1))
        self.assertEqual((self.factory.ended, self.lines(logged)), ({}, []))


class EndTests(ProxiedCase):
    def test_no_header(self) -> None:
        """A trusted peer that sends no valid header is closed; the log has one line."""
        for data, why in [
            (b"GET / HTTP/1.1\r\n", "it does not begin with a PROXY header"),
            (b"PROXY TCP4 1.2.3.4\r\nhello\n", "no PROXY line: b'PROXY TCP4 1.2.3.4'"),
        ]:
            for pieces in splits(data):
                with self.subTest(pieces=pieces), capturedLogs() as logged:
                    self.factory.ended.clear()
                    peer = self.connect()
                    peer.send(*pieces)
                    self.assertFalse(peer.connected)
                    self.assertFalse(peer.aborted)
                    self.assertEqual(peer.received, b"")
                line = f"Connection from 10.0.0.9:40000 ended: bad-input ({why})"
                self.assertEqual(self.lines(logged), [("info", line)])
                self.assertEqual(self.factory.ended, {"bad-input": 1})
        self.assertEqual((self.wrapped.asked, self.factory.waiting), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """Neither silence nor a slow header keeps a connection for longer than the timeout."""
        for drip in (b"", b"P"):
            self.factory.ended.clear()
            with capturedLogs() as logged:
                peer = self.connect()
                peer.send(drip)
                peer.advance(9.9)
                peer.send(b"R" if drip else b"")
                self.assertTrue(peer.connected)
                peer.advance(1.2)
                self.assertFalse(peer.connected)
            line = "Connection from 10.0.0.9:40000 ended: handshake (no PROXY header within 10 s)"
            self.assertEqual(self.lines(logged), [("info", line)])
            self.assertEqual(self.factory.ended, {"handshake": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_header_after_the_end(self) -> None:
        """Data that a transport delivers after loseConnection is ignored."""
        reader: Any = self.connect().protocol
        reader.close(HANDSHAKE)
        reader.dataReceived(HEADERS["v1"])
        self.assertEqual(self.wrapped.asked, [])

    def test_health_checks(self) -> None:
        """A peer that closes or resets without data leaves no line."""
        for end, code in [("write_eof", "peer-closed"), ("reset", "peer-reset")]:
            with capturedLogs() as logged:
                getattr(self.connect(), end)()
            self.assertEqual(self.lines(logged), [], code)
        self.assertEqual(self.factory.ended, {"peer-closed": 1, "peer-reset": 1})
        self.assertEqual((self.wrapped.asked, self.factory.waiting), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone_within_the_header(self) -> None:
        """The log shows IPv4 addresses as such, even on a dual-stack socket."""
        with capturedLogs() as logged:
            peer = self.connect(IPv6Address("TCP", "::ffff:10.0.0.9", 40000))
            peer.send(b"PROXY ")
            peer.write_eof()
        line = "Connection from 10.0.0.9:40000 ended: handshake "
        self.assertEqual(
            self.lines(logged),
            [("info", line + "(the peer was gone 6 bytes into its PROXY header)")],
        )

    def test_after_the_header_the_ends_are_the_protocols(self) -> None:
        with capturedLogs() as logged:
            for end in ("write_eof", "reset"):
                peer = self.connect()
                peer.send(HEADERS["v1"])
                getattr(peer, end)()
                self.assertEqual(len(self.wrapped.built[-1].events), 1)
            peer = self.connect()
            peer.send(HEADERS["v1"])
            peer.advance(60)
            self.assertTrue(peer.connected)
        self.assertEqual((self.factory.ended, self.lines(logged)), ({}, []))

    def test_a_failing_factory(self) -> None:
        """The reactor logs an error in the wrapped factory, as it does without a proxy."""

        def build(addr: Any) -> Any:
            raise RuntimeError("no protocol")

        self.patch(self.wrapped, "buildProtocol", build)
        peer = self.connect()
        self.assertRaises(RuntimeError, peer.protocol.dataReceived, HEADERS["v1"])
        with capturedLogs() as logged:
            peer.reset()
        self.assertEqual((self.lines(logged), self.factory.waiting), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping(self) -> None:
        """When the last port stops, connections without a header are closed; the others stay."""
        first, second = self.connect(), self.connect()  # each starts the factory
        first.send(HEADERS["v2"])
        self.assertEqual(self.wrapped.running, 2)
        self.factory.doStop()
        second.turn()
        self.assertTrue(second.connected)
        with capturedLogs() as logged:
            self.factory.doStop()
            second.turn()
        self.assertEqual(self.wrapped.running, 0)
        self.assertEqual((first.connected, second.connected), (True, False))
        line = "Connection from 10.0.0.9:40000 ended: draining"
        self.assertEqual(self.lines(logged), [("info", line)])

    def test_timeouts_that_make_no_sense(self) -> None:
        for timeout in (0, -1, float("inf"), float("nan")):
            with self.assertRaisesRegex(ValueError, "^timeout: "):
                ProxiedFactory(self.wrapped, TRUSTED, self.clock, timeout)


class ConnectionTests(ProxiedCase):
    """With connections of twisted_net behind a proxy."""

    def setUp(self) -> None:
        super().setUp()
        self.inner = ConnectionFactory.forProtocol(Recorder, clock=self.clock)
        self.factory = ProxiedFactory(self.inner, TRUSTED, self.clock)

    def test_the_log_has_the_client(self) -> None:
        with capturedLogs() as logged:
            peer = self.connect()
            peer.send(HEADERS["v1"] + b"fail\n")
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
            peer.write_eof()
        (line,) = [text for level, text in self.lines(logged) if level == LogLevel.info.name]
        beginning = "Connection 1 from 192.0.2.77:56324 ended: failed (the hook fails), "
        self.assertTrue(line.startswith(beginning), line)

    def test_half_close(self) -> None:
        """A peer that has half-closed still gets its answers."""
        for pieces in splits(HEADERS["v2"] + b"say a\n"):
            peer = self.connect()
            peer.send(*pieces)
            connection = peer.protocol
            peer.write_eof()
            self.assertEqual(peer.received, b"a\n")
            self.assertEqual(connection.events, ["connected", b"say a", PEER_CLOSED])

    def test_producers(self) -> None:
        """The connection itself is the transport's producer."""
        peer = self.connect()
        peer.send(HEADERS["v2"])
        self.assertIs(peer.producer, peer.protocol)

    def test_who_waits_is_not_a_connection_yet(self) -> None:
        self.connect()
        self.assertEqual((len(self.inner), self.factory.waiting), (0, 1))
        self.inner.accepts = False
        peer = self.connect()
        peer.send(HEADERS["v2"])
        self.assertFalse(peer.connected)


class Port:
    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.stopped = False

    def stopListening(self) -> None:
        self.stopped = True


class Listening:
    """A server endpoint that passes a factory, or a wrapper around it, to its port."""

    def __init__(self, wrap: Any = None) -> None:
        self.wrap = wrap
        self.ports: list[Port] = []

    def listen(self, factory: Any) -> Deferred[Any]:
        self.ports.append(Port(self.wrap(factory) if self.wrap else factory))
        return succeed(self.ports[-1])


class EndpointTests(ProxiedCase):
    def test_listen(self) -> None:
        """Each port has its own factory, and all share one count."""
        inner: Any = Listening()
        endpoint = ProxiedEndpoint(inner, TRUSTED, self.clock, 3)
        for count in (1, 2):
            port: Any = self.successResultOf(endpoint.listen(self.wrapped))
            self.assertIs(port, inner.ports[-1])
            self.factory = port.factory
            self.connect().advance(4.1)
            self.assertEqual(endpoint.ended, {"handshake": count})

    def test_an_endpoint_that_wraps(self) -> None:
        """An endpoint that adds TLS is rejected: the header would have to come inside TLS."""
        inner: Any = Listening(Wrapped)
        listening = ProxiedEndpoint(inner, TRUSTED).listen(self.wrapped)
        failure = self.failureResultOf(listening, ValueError)
        self.assertIn("TLS", str(failure.value))
        self.assertTrue(inner.ports[0].stopped)

    def test_a_factory_inside_another(self) -> None:
        """A factory inside another one raises an error at the first connection."""
        peer = Peer(self.clock, HOST, PROXY)
        peer.protocol = Noting()
        reader: Any = self.factory.buildProtocol(PROXY)
        self.assertRaises(TypeError, reader.makeConnection, peer)
        peer.turn()
        self.assertFalse(peer.connected)
