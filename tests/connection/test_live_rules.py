"""Rules that change while a factory, a guard or an endpoint serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.guard import GuardFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DENIED, IDLE
from twisted_net.testing import Peer, connect_peer

_BAD, _GOOD = "192.0.2.66", "198.51.100.7"


def peer_of(factory: Any, host: str) -> Peer:
    return connect_peer(factory, peer=IPv4Address("TCP", host, 4000))


class LiveRulesTests(SynchronousTestCase):
    def factories(self, rules: AdmissionRules) -> list[ConnectionFactory]:
        """Return one factory of each kind."""
        return [
            factory_of(Recorder, admission=Admission(rules)),
            GuardFactory(Factory.forProtocol(Echo), clock=Clock(), admission=Admission(rules)),
        ]

    def test_a_range_is_denied(self) -> None:
        """New connections are refused. Open ones stay, unless they are closed by choice."""
        for factory in self.factories(AdmissionRules()):
            bad, good = peer_of(factory, _BAD), peer_of(factory, _GOOD)
            assert factory.admission is not None
            factory.admission.denied.add("192.0.2.0/24")
            self.assertRaises(ConnectionRefusedError, peer_of, factory, _BAD)
            self.assertTrue(peer_of(factory, _GOOD).connected)
            self.assertTrue(bad.connected)
            self.assertEqual(factory.close_denied(), 1)
            bad.turn()
            self.assertTrue(bad.finished)
            self.assertIs(bad.protocol.reason, DENIED)
            self.assertTrue(good.connected)
            self.assertEqual(factory.close_denied(), 0)
            factory.admission.denied.remove("192.0.2.0/24")
            self.assertTrue(peer_of(factory, _BAD).connected)

    def test_only_some_are_allowed(self) -> None:
        """The same with a range that is the only one allowed."""
        for factory in self.factories(AdmissionRules()):
            bad, good = peer_of(factory, _BAD), peer_of(factory, _GOOD)
            assert factory.admission is not None
            factory.admission.allowed.add(_GOOD)
            self.assertEqual(factory.close_denied(), 1)
            self.assertIs(bad.protocol.reason, DENIED)
            self.assertIs(good.protocol.reason, None)

    def test_unix_sockets_stay(self) -> None:
        """A Unix socket has no address, so no range denies it."""
        factory = factory_of(Recorder, admission=Admission(AdmissionRules()))
        peer = connect_peer(factory, peer=UNIXAddress(b""))
        assert factory.admission is not None
        factory.admission.allowed.add(_GOOD)
        self.assertEqual(factory.close_denied(), 0)
        self.assertTrue(peer.connected)

    def test_the_first_rules(self) -> None:
        """A factory without rules gets some while it serves, and they cover all who are there."""
        factory = factory_of(Recorder)
        self.assertEqual(factory.close_denied(), 0)
        bad = peer_of(factory, _BAD)
        factory.admission = Admission(AdmissionRules())
        factory.admission.denied.add(_BAD)
        self.assertEqual(factory.close_denied(), 1)
        bad.turn()
        self.assertIs(bad.protocol.reason, DENIED)

    def test_maxima(self) -> None:
        """The open connections count for a maximum that is set while they are open."""
        for factory in self.factories(AdmissionRules()):
            peers = [peer_of(factory, _BAD) for _ in range(3)]
            assert factory.admission is not None
            factory.admission.change(max_per_address=3, max_connections=4)
            self.assertRaises(ConnectionRefusedError, peer_of, factory, _BAD)
            self.assertTrue(peer_of(factory, _GOOD).connected)
            self.assertRaises(ConnectionRefusedError, peer_of, factory, _GOOD)
            peers[0].reset()
            self.assertTrue(peer_of(factory, _BAD).connected)

    def test_several_factories(self) -> None:
        """An admission that serves several factories counts the connections of all."""
        admission = Admission(AdmissionRules())
        one, two = (factory_of(Recorder, admission=admission) for _ in range(2))
        peers = [peer_of(one, _BAD), peer_of(two, _BAD)]
        admission.change(max_per_address=2)
        self.assertRaises(ConnectionRefusedError, peer_of, one, _BAD)
        for peer in peers:
            peer.reset()
        self.assertEqual((admission.open, admission.addresses), (0, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_that_was_replaced(self) -> None:
        """It counts those whom it has let in, also after another has taken its place."""
        before = Admission(AdmissionRules())
        factory = factory_of(Recorder, admission=before)
        old = peer_of(factory, _BAD)
        after = factory.admission = Admission(AdmissionRules())
        new = peer_of(factory, _BAD)
        before.change(max_per_address=1)
        after.change(max_per_address=1)
        for peer in (old, new):
            peer.reset()
        self.assertEqual((before.addresses, after.addresses), (0, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_factory_can_be_forgotten(self) -> None:
        """An admission does not keep the factories alive that it has served."""
        admission = Admission(AdmissionRules())
        factory = factory_of(Recorder, admission=admission)
        peer_of(factory, _BAD).reset()
        self.assertEqual(admission.factories, 1)
        del factory
        import gc

        gc.collect()
        self.assertEqual(admission.factories, 0)

    def test_endpoint(self) -> None:
        """The guard of a ``net:`` endpoint can be changed, too, and closes by choice."""
        reactor: Any = MemoryReactorClock()
        endpoint: Any = serverFromString(reactor, "net:0:perAddress=5")
        self.successResultOf(endpoint.listen(Factory.forProtocol(Echo)))
        (factory,) = endpoint.guards
        factory.clock = Clock()
        bad = peer_of(factory, _BAD)
        factory.admission.denied.add(_BAD)
        self.assertRaises(ConnectionRefusedError, peer_of, factory, _BAD)
        self.assertEqual(factory.close_denied(), 1)
        bad.turn()
        self.assertIs(bad.protocol.reason, DENIED)


class LiveLimitsTests(SynchronousTestCase):
    """``ConnectionFactory.limits`` may be replaced: connections from now on have the new ones."""

    def test_new_connections(self) -> None:
        factory = factory_of(Recorder)
        old = peer_of(factory, _GOOD)
        factory.limits = replace(factory.limits, idle_timeout=5, rate=2, burst=1, max_message=3)
        new = peer_of(factory, _GOOD)
        for peer in (old, new):
            peer.send(b"1\n2\n3\n")
        self.assertEqual(old.protocol.messages_received, 3)
        self.assertEqual(new.protocol.messages_received, 1)
        new.advance(2)
        self.assertEqual(new.protocol.messages_received, 3)
        new.advance(7)
        self.assertIs(new.protocol.reason, IDLE)
        self.assertIs(old.protocol.reason, None)
