"""Clients that may not connect, and how they are rejected."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.rejection import RejectingProtocol, RejectionLog
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import Peer, connect_peer, connect_tls_peer


class AdmissionCase(SynchronousTestCase):
    def factory(self, protocol: Any = Recorder, kind: Any = None, **rules: Any) -> Any:
        factory = (kind or ConnectionFactory)(
            clock=Clock(), admission=Admission(AdmissionRules(**rules))
        )
        if kind is None:
            factory.protocol = protocol
        return factory


class AdmittedTests(AdmissionCase):
    """Admitted clients are counted in once and counted out once, whatever happens."""

    def check(self, factory: Any, open_now: int = 0) -> None:
        self.assertEqual(factory.admission.open, open_now)
        self.assertEqual(len(factory), open_now)

    def test_every_end(self) -> None:
        ends: list[Any] = [
            Peer.write_eof,
            Peer.reset,
            lambda peer: peer.send(b"close\n"),
            lambda peer: peer.send(b"abort\n"),
            lambda peer: peer.send(b"finish\n"),
            lambda peer: peer.protocol.factory.abort(),
            lambda peer: peer.send(b"abort\n", b"close\n"),
        ]
        for end in ends:
            factory = self.factory(max_connections=1, max_per_address=1)
            peer = connect_peer(factory)
            self.check(factory, 1)
            end(peer)
            peer.write_eof()
            self.check(factory)
            connect_peer(factory)

    def test_hooks_that_fail(self) -> None:
        class Failing(Connection):
            def connected(self) -> None:
                raise RuntimeError

            def disconnected(self, reason: Any) -> None:
                raise RuntimeError

        factory = self.factory(Failing)
        peer = connect_peer(factory)
        peer.write_eof()
        self.check(factory)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_over_tls(self) -> None:
        """TLS clients count with and without a handshake."""
        factory = self.factory(max_connections=1)
        peer = connect_tls_peer(factory)
        peer.advance(11)
        self.assertEqual(peer.protocol.reason.code, "handshake")
        self.check(factory)
        peer = connect_tls_peer(factory)
        peer.handshake()
        peer.write_eof()
        self.check(factory)

    def test_while_a_hook_runs(self) -> None:
        """A connection counts until its hook is done, and is not counted out twice."""
        factory = self.factory(Waiting)
        peer = connect_tls_peer(factory)
        peer.handshake()
        peer.send(b"a\n")
        peer.write_eof()
        self.check(factory, 1)
        peer.protocol.hooks[0].callback(None)
        peer.turn()
        self.check(factory)

    def test_addresses(self) -> None:
        """Connections count under the address that they came from, however it is shown later."""
        for address in (
            IPv4Address("TCP", "192.0.2.1", 1),
            IPv6Address("TCP", "::ffff:192.0.2.1", 1),
            IPv6Address("TCP", "fe80::1%eth0", 1),
            UNIXAddress("/socket"),  # type: ignore[no-untyped-call]
        ):
            factory = self.factory(max_per_address=1, exempt_local=False)
            for _ in range(2):
                peer = connect_peer(factory, peer=address)
                peer.write_eof()
                self.check(factory)

    def test_a_factory_that_changes_its_mind(self) -> None:
        """Clients that are rejected later, or whose protocol cannot be made, do not count."""

        class Undecided(ConnectionFactory):
            def make(self, addr: Any) -> Any:
                if addr.port == 1:
                    raise RuntimeError
                return None

        factory = self.factory(kind=Undecided)
        for port, error in ((1, RuntimeError), (2, ConnectionRefusedError)):
            address = IPv4Address("TCP", "192.0.2.1", port)
            self.assertRaises(error, connect_peer, factory, peer=address)
            self.check(factory)

    def test_another_admission(self) -> None:
        """Each connection leaves the admission that let it in, also if that was replaced."""
        factory = self.factory(max_connections=2)
        one = factory.admission
        first = connect_peer(factory)
        two = factory.admission = Admission(AdmissionRules(max_connections=1))
        second = connect_peer(factory)
        factory.admission = None
        third = connect_peer(factory)
        factory.admission = one
        fourth = connect_peer(factory)
        self.assertEqual((one.open, two.open), (2, 1))
        for peer in (second, third, first, fourth):
            peer.write_eof()
        self.assertEqual((one.open, two.open, len(factory)), (0, 0, 0))
        self.assertEqual(dict(factory.endings), {"peer-closed": 4})

    def test_another_admission_while_a_connection_is_made(self) -> None:
        class Replacing(ConnectionFactory):
            def make(self, addr: Any) -> Connection | None:
                self.admission = Admission(AdmissionRules())
                return super().make(addr)

        factory = self.factory(kind=Replacing)
        factory.protocol = Recorder
        one = factory.admission
        peer = connect_peer(factory)
        self.assertEqual((one.open, factory.admission.open), (1, 0))
        peer.write_eof()
        self.assertEqual((one.open, factory.admission.open, len(factory)), (0, 0, 0))

    def test_without_having_been_admitted(self) -> None:
        """A protocol that was made elsewhere is not counted out."""
        factory = self.factory()
        peer = Peer(factory.clock)
        peer.protocol = factory.make(None)
        peer.protocol.makeConnection(peer)
        peer.write_eof()
        self.check(factory)


class RefusedTests(AdmissionCase):
    def test_no_protocol_is_made(self) -> None:
        factory = self.factory(protocol=None, max_connections=0, deny=())
        factory.admission = Admission(AdmissionRules(max_connections=1))
        factory.admission.admit("192.0.2.9", 0)
        self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        self.assertEqual(factory.admission.refused["full"], 1)

    def test_the_chat_says_why(self) -> None:
        """The chat gives the reason in one line and closes. A free place can be used at once."""
        factory = self.factory(kind=ChatFactory, max_connections=1)
        first = connect_peer(factory)
        second = connect_peer(factory)
        self.assertIsInstance(second.protocol, RejectingProtocol)
        self.assertEqual(second.received, b"! The server is full.\n")
        self.assertFalse(second.connected)
        self.assertEqual(len(factory), 1)
        first.write_eof()
        third = connect_peer(factory)
        third.advance(0.2)
        self.assertIn(b"Welcome", third.received)

    def test_every_reason(self) -> None:
        one = IPv4Address("TCP", "192.0.2.1", 1)
        for rules, line in (
            ({"max_per_address": 1}, b"! Too many connections from your address.\n"),
            (
                {"accept_rate": 1, "accept_burst": 1},
                b"! Your address connects too often.\n",
            ),
        ):
            factory = self.factory(kind=ChatFactory, **rules)
            connect_peer(factory, peer=one)
            self.assertEqual(connect_peer(factory, peer=one).received, line)

    def test_over_tls_nothing_is_said(self) -> None:
        """Over TLS, nothing is sent and no handshake awaited, or a silent peer would stay."""
        factory = self.factory(kind=ChatFactory, max_connections=1)
        connect_peer(factory)
        refused = connect_tls_peer(factory)
        self.assertEqual((refused.received, refused.aborted), (b"", True))

    def test_accepts(self) -> None:
        """With ``accepts`` False, admission is neither asked nor counted."""
        factory = self.factory(kind=ChatFactory)
        factory.accepts = False
        self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        self.assertIsInstance(factory.buildProtocol(None), RejectingProtocol)
        self.assertEqual((factory.admission.open, sum(factory.admission.refused.values())), (0, 0))


class LogTests(SynchronousTestCase):
    def test_one_line_a_minute(self) -> None:
        """The first rejection is logged at once, the others with the next line."""
        refusals, lines = RejectionLog(), []
        for now in range(130):
            with capturedLogs() as events:
                refusals.count("full", now)
                refusals.count("denied", now)
            lines += [formatEvent(event) for event in events]
        self.assertEqual(
            lines,
            [
                "Refused connections since the last line: full 1",
                "Refused connections since the last line: denied 60, full 60",
                "Refused connections since the last line: denied 60, full 60",
            ],
        )

    def test_a_clock_that_is_set_back(self) -> None:
        refusals = RejectionLog()
        refusals.count("full", 1000)
        with capturedLogs() as events:
            refusals.count("full", 5)
        self.assertEqual(len(events), 1)

    def test_a_factory_logs(self) -> None:
        factory = ChatFactory(clock=Clock())
        factory.admission = Admission(AdmissionRules(max_connections=1))
        connect_peer(factory)
        with capturedLogs() as events:
            for _ in range(500):
                connect_peer(factory)
        lines = [formatEvent(each) for each in events if each["log_level"] is LogLevel.info]
        self.assertEqual([line for line in lines if "efused" in str(line)], lines[:1])
