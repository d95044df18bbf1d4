"""Tests for :mod:`twisted_net.web.admin.metrics`. A live test asks ``promtool``."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.connection.recording import Recorder
from tests.web.admin.operating import AdminCase
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import Listener
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.testing import connect_peer, connect_tls_peer
from twisted_net.tls.certificates import Certificates
from twisted_net.web.admin.histogram import Histogram

EXPECTED = {
    "build_info": {"version", "python", "twisted", "openssl"},
    "connections": {"service", "form", "state"},
    "connections_accepted": {"service", "listener"},
    "connections_ended": {"service", "reason"},
    "connections_refused": {"service", "reason"},
    "received_bytes": {"service"},
    "sent_bytes": {"service"},
    "received_messages": {"service"},
    "sent_messages": {"service"},
    "queued_bytes": {"service"},
    "dropped_messages": {"service", "rule"},
    "rooms": {"service"},
    "store_append_duration_seconds": {"service", "le"},
    "reactor_turn_duration_seconds": {"le"},
    "tls_handshakes": {"service", "version"},
    "certificate_expiry_timestamp_seconds": {"service", "listener"},
    "websocket_compressed_bytes": {"service"},
    "ready": {"service"},
}
"""Every metric, without prefix and ``_total``, and its labels."""


class Port:
    """A port that has accepted some connections."""

    def __init__(self, sessionno: int) -> None:
        self.sessionno = sessionno


class MetricsTests(AdminCase):
    def metrics(self) -> dict[str, Any]:
        """Return the families by their names, without the prefix."""
        answer = self.ask("/metrics")
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        families = text_string_to_metric_families(answer.body.decode())
        return {each.name.removeprefix("twisted_net_"): each for each in families}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels."""
        return sum(
            sample.value
            for sample in self.metrics()[name].samples
            if labels.items() <= sample.labels.items()
        )

    def test_every_metric(self) -> None:
        """The whole list, its labels, and no name of a person, a room or an address in it."""
        view = self.watch_chat()
        view.appends = Histogram()
        view.service.listeners = [Listener(None, "--tls-port 1", Certificates.self_signed())]  # type: ignore[arg-type]
        view.service.ports_by_label = {"--tls-port 1": Port(3)}
        peer = connect_tls_peer(view.factory, clock=self.clock)
        peer.handshake()
        peer.advance(1)
        peer.send(b"/nick bob\n/join tea\n")
        found = self.metrics()
        self.assertEqual(set(found), set(EXPECTED))
        for name, family in found.items():
            self.assertTrue(family.documentation)
            labels = {label for sample in family.samples for label in sample.labels}
            self.assertEqual(labels, EXPECTED[name], name)
        text = self.ask("/metrics").body.decode()
        for private in ("bob", "tea", peer.getPeer().host):
            self.assertNotIn(private, text)
        for name in re.findall(r"^([a-z]\S*?)[{ ]", text, re.MULTILINE):
            self.assertTrue(name.startswith("twisted_net_"), name)

    def test_connections(self) -> None:
        """By form and state."""
        view = self.watch_chat()
        text, program = (connect_peer(view.factory, clock=self.clock) for _ in range(2))
        text.advance(1)
        text.send(b"hello\n")
        program.send(b'{"type":"hello"}\n')
        self.assertEqual(self.value("connections", form="text", state="open"), 1)
        self.assertEqual(self.value("connections", form="json", state="open"), 1)
        program.protocol.close()
        self.assertEqual(self.value("connections", form="json", state="closing"), 1)
        self.assertEqual(self.value("connections"), 2)
        self.assertEqual(self.value("rooms"), 1)
        secret = connect_tls_peer(view.factory, clock=self.clock)
        self.assertEqual(self.value("connections", state="handshaking"), 1)
        self.assertEqual(self.value("tls_handshakes"), 0)
        secret.handshake()
        self.assertEqual(self.value("tls_handshakes", version="unknown"), 1)

    def test_counters_never_fall(self) -> None:
        """What ended connections have received and sent stays in the sums."""
        view = self.watch(self.recorders())
        seen = []
        for _ in range(3):
            peer = connect_peer(view.factory, clock=self.clock)
            peer.send(b"say hello\n")
            seen.append(self.value("received_bytes"))
            peer.write_eof()
            seen.append(self.value("received_bytes"))
        self.assertEqual(seen, [10, 10, 20, 20, 30, 30])
        self.assertEqual(self.value("sent_bytes"), 18)
        self.assertEqual(self.value("received_messages"), 3)
        self.assertEqual(self.value("sent_messages"), 3)
        self.assertEqual(self.value("connections_ended", reason="peer-closed"), 3)
        self.assertEqual(self.value("connections_ended"), 3)

    def test_own_reasons(self) -> None:
        """A program may end connections for a reason that only it has."""
        view = self.watch(self.recorders())
        peer = connect_peer(view.factory, clock=self.clock)
        peer.protocol.close(CloseReason("bored", "I am bored.", False, 1000))
        peer.write_eof()
        self.assertEqual(self.value("connections_ended", reason="bored"), 1)

    def test_refusals(self) -> None:
        """By reason."""
        admission = Admission(AdmissionRules(max_connections=1))
        view = self.watch(
            ConnectionFactory.forProtocol(Recorder, clock=self.clock, admission=admission)
        )
        connect_peer(view.factory, clock=self.clock)
        with self.assertRaises(ConnectionRefusedError):
            connect_peer(view.factory, clock=self.clock)
        self.assertEqual(self.value("connections_refused", reason="full"), 1)
        self.assertEqual(self.value("connections_refused"), 1)

    def test_accepted(self) -> None:
        """As each listener's port has counted them, also after it has stopped."""
        view = self.watch(self.recorders())
        view.service.ports_by_label = {
            "/etc/a, line 7: b.conf, line 2: port 1": Port(3),
            "--listen unix:/x": object(),
        }
        self.assertEqual(self.value("connections_accepted", listener="--port 1"), 3)
        self.assertEqual(self.value("connections_accepted"), 3)

    def test_slow_clients(self) -> None:
        """What waits for them, and what the rule has dropped: before and after they were told."""
        view = self.watch(
            ConnectionFactory.forProtocol(
                Recorder,
                clock=self.clock,
                queue_limit=10,
                overflow_policy=OverflowPolicy.DROP_NEWEST,
            )
        )
        peers = [connect_peer(view.factory, clock=self.clock) for _ in range(2)]
        for peer in peers:
            peer.full()
            for _ in range(3):
                peer.protocol.send(b"12345")
        self.assertEqual(self.value("queued_bytes"), 12)
        self.assertEqual(self.value("dropped_messages", rule="drop-newest"), 4)
        peers[0].drain()
        self.assertEqual(self.value("dropped_messages", rule="drop-newest"), 4)
        peers[1].reset()
        self.assertEqual(self.value("dropped_messages"), 4)
        self.assertEqual(self.value("queued_bytes"), 0)

    def test_readiness(self) -> None:
        """1, and 0 while it drains."""
        view = self.watch(self.recorders())
        self.assertEqual(self.value("ready"), 1)
        view.service.begin_drain()
        self.assertEqual(self.value("ready"), 0)

    def test_measures(self) -> None:
        """Histograms of turns and of appends."""
        view = self.watch_chat()
        view.appends = Histogram()
        for seconds in (0.0002, 0.7):
            view.appends.observe(seconds)
            self.turns.observe(seconds)
        self.show(view)
        for name in ("store_append_duration_seconds", "reactor_turn_duration_seconds"):
            samples = {
                (sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value
                for sample in self.metrics()[name].samples
            }
            self.assertEqual(samples["bucket", "0.00025"], 1)
            self.assertEqual(samples["bucket", "+Inf"], 2)
            self.assertEqual(samples["count", None], 2)
            self.assertAlmostEqual(samples["sum", None], 0.7002)

    def test_a_certificate(self) -> None:
        """When the first one of a listener expires."""
        view = self.watch(self.recorders())
        certificates = Certificates.self_signed()
        view.service.listeners = [
            Listener(None, "--tls-port 1", certificates),  # type: ignore[arg-type]
            Listener(None, "--port 2"),  # type: ignore[arg-type]
        ]
        (pair,) = certificates.pairs.values()
        expires = self.value("certificate_expiry_timestamp_seconds", listener="--tls-port 1")
        self.assertEqual(expires, pair.expires.timestamp())
