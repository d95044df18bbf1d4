"""Tests for :mod:`twisted_net.web.admin.counters`: an upgrade in place, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.upgrade.moving import copied, move_all
from tests.web.admin.operating import LOOPBACK, Answer, request_bytes
from twisted_net import ConnectionFactory, ListenerService
from twisted_net.connection.connection import Connection
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.testing import Peer, connect_peer
from twisted_net.web import AdminFactory
from twisted_net.wire.framing import Lines


class Answering(Connection):
    """Answers each line with a longer one."""

    framing = Lines

    def message_received(self, message: Any) -> None:
        self.send(message * 20)

    def save_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        """There is none."""


class Port:
    """A port that has accepted some connections."""

    def __init__(self, sessionno: int) -> None:
        self.sessionno = sessionno


class CounterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.peers: list[Peer] = []

    def process(self) -> tuple[ConnectionFactory, AdminFactory, dict[str, Any]]:
        """Return the factory of a new process, its view, and its ports."""
        factory = ConnectionFactory.forProtocol(
            Answering,
            clock=self.clock,
            admission=Admission(AdmissionRules(max_connections=4)),
            queue_limit=10,
            overflow_policy=OverflowPolicy.DROP_NEWEST,
        )
        service = ListenerService(factory, [])
        view = AdminFactory({"own": service}, clock=self.clock)
        view.doStart()
        self.addCleanup(view.doStop)
        return factory, view, service.ports_by_label  # type: ignore[return-value]

    def connect(self, factory: ConnectionFactory) -> Peer:
        peer = connect_peer(factory, clock=self.clock)
        self.peers.append(peer)
        return peer

    def upgrade(self, old: Any, new: Any) -> None:
        """Let a new process go on, in the order in which :mod:`twisted_net.upgrade` does it."""
        (before, before_view, _), (after, after_view, _) = old, new
        told = copied(before_view.export_state([]))
        after_view.restore_state(told)
        is_open = set(before.connections.values())
        move_all([each for each in self.peers if each.protocol in is_open], before, after)
        after_view.all_adopted()

    def counters(self, view: AdminFactory) -> dict[str, float]:
        """Return all counters that are not 0, without the prefix."""
        peer = connect_peer(view, clock=self.clock, host=LOOPBACK)
        peer.send(request_bytes("/metrics", "GET"))
        families = text_string_to_metric_families(Answer(peer.received).body.decode())
        return {
            " ".join([each.name.removeprefix("twisted_net_"), *_labels(each.labels)]): each.value
            for family in families
            if family.type == "counter"
            for each in family.samples
            if each.value
        }

    def test_an_upgrade(self) -> None:
        """Every counter goes on, also after another upgrade; what stays there has ended here."""
        old = factory, view, ports = self.process()
        ports["--port 1"] = Port(5)
        view.views[0].endings.handshakes["TLSv1.3"] += 2
        ended, talks, slow, stays = (self.connect(factory) for _ in range(4))
        with self.assertRaises(ConnectionRefusedError):
            self.connect(factory)
        for peer in (ended, talks):
            peer.send(b"one\n")
        ended.write_eof()
        for peer in (slow, stays):
            peer.full()
            for _ in range(3):
                peer.protocol.send(b"12345")
        stays.protocol.close()
        known = self.counters(view)
        expected = {
            *("connections_accepted_total --port 1", "connections_ended_total peer-closed"),
            *("connections_refused_total full", "tls_handshakes_total TLSv1.3"),
            *("received_bytes_total", "sent_bytes_total", "received_messages_total"),
            *("sent_messages_total", "dropped_messages_total drop-newest"),
        }
        self.assertEqual(set(known), expected)
        self.assertEqual(known["dropped_messages_total drop-newest"], 4)
        for _ in range(2):
            new = factory, view, ports = self.process()
            ports["--port 1"] = Port(0)
            self.upgrade(old, new)
            known["connections_ended_total draining"] = 1
            self.assertEqual(self.counters(view), known)
            old = new
        ports["--port 1"].sessionno += 1
        talks.send(b"two\n")
        talks.write_eof()
        known["received_bytes_total"] += 4
        known["received_messages_total"] += 1
        known["sent_messages_total"] += 1
        known["sent_bytes_total"] += 61
        known["connections_accepted_total --port 1"] += 1
        known["connections_ended_total peer-closed"] += 1
        self.assertEqual(self.counters(view), known)

    def test_a_listener_that_is_gone(self) -> None:
        """What it has accepted stays in the sum."""
        old = self.process()
        old[2]["--port 1"] = Port(3)
        new = self.process()
        new[2]["--port 2"] = Port(0)
        self.upgrade(old, new)
        self.assertEqual(self.counters(new[1]), {"connections_accepted_total --port 1": 3})

    def test_the_other_process_counts_nothing(self) -> None:
        """Its code knows only the bans, or has another service."""
        old, new = self.process(), self.process()
        for state in ({}, {"counted": {}}):
            told = {**old[1].export_state([]), **state}
            if not state:
                del told["counted"]
            new[1].restore_state(told)
            new[1].all_adopted()
            self.assertEqual(self.counters(new[1]), {})


def _labels(labels: Mapping[str, str]) -> list[str]:
    return [value for name, value in labels.items() if name != "service"]
