"""Whoever wants to know is told of each refused client: its address and the reason."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent, formatEventAsClassicLogText
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, end_figures, factory_of
from tests.fail2ban import banned
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.guard import GuardFactory
from twisted_net.echo import EchoFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import HANDSHAKE, CloseReason
from twisted_net.policy.ranges import parse_range
from twisted_net.testing import PEER, Peer, connect_peer, connect_tls_peer
from twisted_net.wire.framing import Netstrings

ANY = parse_range("deny", "0.0.0.0/0")
ANY6 = parse_range("deny", "::/0")

WHERE = "[twisted_net.connection.factory#"


class RefusalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[tuple[Any, str]] = []

    def note(self, address: Any, reason: CloseReason) -> None:
        self.told.append((address, reason.code))

    def try_to_connect(self, factory: Any, peer: Any = PEER) -> list[str]:
        """Connect a client that is refused, and return the lines of the log."""
        with capturedLogs() as events:
            protocol = factory.buildProtocol(peer)
            if protocol is not None:
                transport = Peer(Clock(), peer=peer)
                protocol.makeConnection(transport)
                self.assertFalse(getattr(protocol, "ready", False))
        return [str(formatEvent(event)) for event in events if event["log_level"] is LogLevel.debug]


class HookTests(RefusalCase):
    def test_every_reason(self) -> None:
        """Each reason reaches the callback, and a line at debug level."""
        for rules, before, code in (
            ({"deny": (ANY,)}, 0, "denied"),
            ({"max_connections": 1}, 1, "full"),
            ({"max_per_address": 1}, 1, "too-many"),
            ({"accept_rate": 0.1, "accept_burst": 1}, 1, "too-fast"),
        ):
            self.told.clear()
            admission = Admission(AdmissionRules(**rules))  # type: ignore[arg-type]
            factory = factory_of(Recorder, admission=admission, on_refused=self.note)
            for _ in range(before):
                connect_peer(factory)
            lines = self.try_to_connect(factory)
            self.assertEqual(self.told, [(PEER, code)])
            self.assertEqual(lines, [f"Connection from 192.0.2.2:54321 refused: {code}"])

    def test_a_factory_that_stops(self) -> None:
        factory = factory_of(Recorder, on_refused=self.note)
        factory.accepts = False
        lines = self.try_to_connect(factory)
        self.assertEqual(self.told, [(PEER, "draining")])
        self.assertEqual(lines, ["Connection from 192.0.2.2:54321 refused: draining"])

    def test_a_factory_that_makes_none(self) -> None:
        """A factory that rejects a client itself, with and without an admission."""

        class Choosy(ConnectionFactory):
            def make(self, addr: Any) -> None:
                return None

        for admission in (None, Admission(AdmissionRules())):
            self.told.clear()
            factory = Choosy(clock=Clock(), admission=admission, on_refused=self.note)
            self.try_to_connect(factory)
            self.assertEqual(self.told, [(PEER, "denied")])

    def test_addresses(self) -> None:
        """An IPv4 client of an IPv6 socket is told as IPv4; other addresses as they are."""
        denied = Admission(AdmissionRules(deny=(ANY, ANY6), max_connections=1))
        for address, told, shown in (
            (
                IPv6Address("TCP", "::ffff:192.0.2.7", 5),
                IPv4Address("TCP", "192.0.2.7", 5),
                "192.0.2.7:5",
            ),
            (
                IPv6Address("TCP", "2001:db8::7", 5),
                IPv6Address("TCP", "2001:db8::7", 5),
                "[2001:db8::7]:5",
            ),
        ):
            self.told.clear()
            factory = factory_of(Recorder, admission=denied, on_refused=self.note)
            lines = self.try_to_connect(factory, address)
            self.assertEqual(self.told, [(told, "denied")])
            self.assertEqual(lines, [f"Connection from {shown} refused: denied"])
        factory = factory_of(Recorder, on_refused=self.note)
        factory.accepts = False
        for unix in (UNIXAddress(None), None):  # type: ignore[no-untyped-call]
            self.assertEqual(
                self.try_to_connect(factory, unix), ["Connection from unix refused: draining"]
            )

    def test_a_method(self) -> None:
        """Instead of the callback, the method may be overridden."""
        told = self.told

        class Telling(EchoFactory):
            def refused(self, address: Any, reason: CloseReason) -> None:
                told.append((address, reason.code))

        factory = Telling(clock=Clock(), admission=Admission(AdmissionRules(deny=(ANY,))))
        self.try_to_connect(factory)
        self.assertEqual(told, [(PEER, "denied")])

    def test_a_hook_that_fails(self) -> None:
        """It is logged, and the client is refused as usual."""

        def fail(address: Any, reason: CloseReason) -> None:
            raise ZeroDivisionError

        factory = ChatFactory(
            clock=Clock(), admission=Admission(AdmissionRules(deny=(ANY,))), on_refused=fail
        )
        peer = connect_peer(factory)
        self.assertEqual(peer.received, b"! Your address may not connect here.\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_without_lines(self) -> None:
        """Without ``log_ends``, only the hook is called; the summary once a minute stays."""
        factory = factory_of(
            Recorder,
            admission=Admission(AdmissionRules(deny=(ANY,))),
            on_refused=self.note,
            log_ends=False,
        )
        self.assertEqual(self.try_to_connect(factory), [])
        self.assertEqual(self.told, [(PEER, "denied")])


class GuardedTests(RefusalCase):
    def test_stock_factories(self) -> None:
        """A guard around a factory of Twisted's."""

        class Refusing(Factory):  # type: ignore[type-arg]
            noisy = False

            def buildProtocol(self, addr: Any) -> Protocol | None:
                return None

        denied = Admission(AdmissionRules(deny=(ANY,)))
        for wrapped, admission in ((Factory.forProtocol(Protocol), denied), (Refusing(), None)):
            self.told.clear()
            factory: Any = GuardFactory(
                wrapped, clock=Clock(), admission=admission, on_refused=self.note
            )
            lines = self.try_to_connect(factory)
            self.assertEqual(self.told, [(PEER, "denied")])
            self.assertEqual(lines, ["Connection from 192.0.2.2:54321 refused: denied"])

    def test_a_factory_of_ours(self) -> None:
        """The hook of the wrapped factory is called too, once, whichever of the two refuses."""
        denied = Admission(AdmissionRules(deny=(ANY,)))
        for outer, inner in ((denied, None), (None, denied)):
            self.told.clear()
            wrapped = factory_of(Recorder, admission=inner, on_refused=self.note)
            factory = GuardFactory(wrapped, clock=wrapped.clock, admission=outer)
            lines = self.try_to_connect(factory)
            self.assertEqual(self.told, [(PEER, "denied")])
            self.assertEqual(lines, ["Connection from 192.0.2.2:54321 refused: denied"])


class HandshakeTests(RefusalCase):
    def test_failed(self) -> None:
        """A failed handshake is told as well, with the peer's address; so is one that is late."""

        class Noting(Recorder):
            def handshake_failed(self, reason: CloseReason) -> None:
                self.events.append(("handshake_failed", self.peer, reason))

        for end in (lambda peer: peer.reset(), lambda peer: peer.advance(12)):
            self.told.clear()
            factory = factory_of(Noting, on_refused=self.note)
            peer = connect_tls_peer(factory)
            with capturedLogs() as events:
                end(peer)
            self.assertEqual(peer.protocol.events, [("handshake_failed", PEER, HANDSHAKE)])
            self.assertEqual(self.told, [(PEER, "handshake")])
            lines = [str(formatEvent(event)) for event in events]
            self.assertRegex(lines[0], r"^Connection 1 from 192\.0\.2\.2:54321 ended: handshake \(")

    def test_inside_a_guard(self) -> None:
        """Each of the two factories is told once."""
        wrapped = factory_of(Recorder, on_refused=self.note)
        outer: list[Any] = []
        factory = GuardFactory(
            wrapped, clock=wrapped.clock, on_refused=lambda *told: outer.append(told)
        )
        peer = connect_tls_peer(factory)
        peer.reset()
        self.assertEqual(outer, [(PEER, HANDSHAKE)])
        self.assertEqual(self.told, [(PEER, "handshake")])

    def test_a_health_check(self) -> None:
        """A peer that connects and closes has not failed."""
        factory = factory_of(Recorder, on_refused=self.note)
        connect_tls_peer(factory).write_eof()
        self.assertEqual(self.told, [])


class Fail2banTests(SynchronousTestCase):
    """The filter in ``docs/`` finds the addresses in the log."""

    def test_refusals(self) -> None:
        for code in ("denied", "too-many", "too-fast"):
            for shown, host in (("192.0.2.7:5", "192.0.2.7"), ("[2001:db8::7]:5", "2001:db8::7")):
                line = f" {WHERE}debug] Connection from {shown} refused: {code}"
                self.assertEqual(banned(line), host)

    def test_ends(self) -> None:
        for code in ("handshake (x)", "bad-input (a)", "too-long", "unfinished", "login"):
            line = f"{WHERE}info] Connection 71 from 192.0.2.7:5 ended: {code}"
            for more in ("", end_figures(3.2), f", user ann{end_figures()}"):
                self.assertEqual(banned(line + more), "192.0.2.7")

    def test_ends_of_users(self) -> None:
        """The same if the line has the user's name, whatever that is."""

        class Named(Recorder):
            framing = Netstrings

            def name_for_log(self) -> str:
                return "x, user y from 192.0.2.9:1 ended: login"

        with capturedLogs() as events:
            factory = factory_of(Named)
            for data in (b"no netstring", b""):
                peer = connect_peer(factory)
                peer.send(data)
                peer.write_eof()
        lines = [str(formatEventAsClassicLogText(event)).strip() for event in events]
        self.assertRegex(lines[0], r"ended: bad-input.*, user x")
        self.assertEqual(list(map(banned, lines)), ["192.0.2.2"])

    def test_others(self) -> None:
        """Ends that say nothing about the client, a full server, and what a client wrote."""
        where = f"{WHERE}debug]"
        for line in (
            f"{where} Connection 1 from 192.0.2.7:5 ended: peer-closed",
            f"{where} Connection 1 from 192.0.2.7:5 ended: idle",
            f"{where} Connection from 192.0.2.7:5 refused: full",
            f"{where} Connection from 192.0.2.7:5 refused: draining",
            f"{where} Connection from unix refused: denied",
            "[x#info] said: Connection from 192.0.2.7:5 refused: denied",
            f"[a] {where} Connection from 192.0.2.7:5 refused: denied",
        ):
            self.assertIsNone(banned(line), line)
