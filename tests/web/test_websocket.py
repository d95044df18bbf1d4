"""WebSocket connections: how they open, talk and close."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.web.sockets import WebSocketPeer, opening
from twisted_net.connection.heartbeat import Heartbeat
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DRAINING, KICKED
from twisted_net.testing import connect_peer, connect_tls_peer
from twisted_net.web.upgrade import OpeningRequest
from twisted_net.web.websocket import (
    MOST_REFUSED,
    REFUSED_A_SECOND,
    WebSocketConnection,
    WebSocketFactory,
)
from twisted_net.wire.websocket import CloseFrame, PingFrame, PongFrame


class Recorder(WebSocketConnection):
    """Remembers what happens."""

    subprotocols = ("b", "a")

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connected(self) -> None:
        self.events.append("connected")

    def message_received(self, message: str | bytes) -> Any:
        self.events.append(message)

    def disconnected(self, reason: Any) -> None:
        self.events.append(reason.code)

    def may_open(self, request: OpeningRequest) -> bool:
        return request.target != "/secret"


class WebSocketCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def factory(self, **settings: Any) -> WebSocketFactory:
        return WebSocketFactory.forProtocol(Recorder, clock=self.clock, **settings)

    def opened(self, request: bytes | None = None, **settings: Any) -> tuple[Any, WebSocketPeer]:
        peer = connect_peer(self.factory(**settings))
        client = WebSocketPeer(peer, request)
        self.assertEqual(client.status, 101)
        return peer.protocol, client


class OpeningTests(WebSocketCase):
    def test_open(self) -> None:
        server, client = self.opened(opening("/x?y", "Sec-WebSocket-Protocol: a, b"))
        self.assertEqual((server.target, server.subprotocol), ("/x?y", "b"))
        self.assertEqual(server.events, ["connected"])
        client.send("text", b"bytes")
        self.assertEqual(server.events[1:], ["text", b"bytes"])
        server.send("answer")
        server.send(b"\x00")
        self.assertEqual(client.take(), ["answer", b"\x00"])

    def test_in_pieces(self) -> None:
        """A request that comes byte by byte, with a message right behind it."""
        peer = connect_peer(self.factory())
        client = WebSocketPeer(peer, b"")
        for byte in opening() + client.frames.encode("first"):
            self.assertNotIn("first", peer.protocol.events)
            peer.send(bytes([byte]))
        self.assertEqual(peer.protocol.events, ["connected", "first"])

    def test_half_a_message_behind_the_request(self) -> None:
        """It has the limit of an incomplete message."""
        peer = connect_peer(self.factory(message_timeout=5))
        client = WebSocketPeer(peer, b"")
        peer.send(opening() + client.frames.encode("first")[:-1])
        peer.advance(7)
        self.assertEqual(peer.protocol.reason.code, "unfinished")

    def test_refused(self) -> None:
        """Another page's request and one that may_open() refuses get 403, others 400 or 426."""
        for request, status in (
            (opening("/secret"), 403),
            (opening("/", "Origin: http://evil.example"), 403),
            (opening().replace(b"Version: 13", b"Version: 7"), 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        ):
            peer = connect_peer(self.factory())
            client = WebSocketPeer(peer, request)
            self.assertEqual(client.status, status, request)
            self.assertEqual(peer.protocol.reason.code, "handshake")
            self.assertEqual(peer.protocol.events, [])

    def test_a_page_that_may_connect(self) -> None:
        origin = "https://chat.example"
        self.opened(opening("/", f"Origin: {origin}"), origins=[origin])
        self.opened(opening("/", "Origin: http://evil.example"), origins=None)

    def test_limits(self) -> None:
        """A head of 8 KiB is the longest, and the handshake has its time limit."""
        peer = connect_peer(self.factory())
        peer.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 8200)
        self.assertEqual(peer.protocol.reason.code, "too-long")
        peer = connect_peer(self.factory(handshake_timeout=5))
        peer.send(b"GET / HTTP/1.1\r\n")
        peer.advance(4)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(8)
        self.assertEqual(peer.protocol.reason.code, "handshake")

    def test_too_early(self) -> None:
        """Nothing can be sent before the WebSocket is open; wait_ready() waits for it."""
        peer = connect_peer(self.factory())
        self.assertRaises(ValueError, peer.protocol.send, "x")
        waiting = peer.protocol.wait_ready()
        self.assertNoResult(waiting)
        WebSocketPeer(peer)
        self.successResultOf(waiting)

    def test_over_tls(self) -> None:
        peer = connect_tls_peer(self.factory())
        peer.handshake()
        client = WebSocketPeer(peer)
        client.send("x")
        self.assertEqual(peer.protocol.events, ["connected", "x"])


class ControlTests(WebSocketCase):
    def test_pings(self) -> None:
        """A ping is answered at once, in the middle of a message and while a hook runs."""
        server, client = self.opened()
        data = client.frames.encode("abc")
        client.peer.send(bytes([data[0] & 0x7F]) + data[1:])  # not the last fragment
        client.send(PingFrame(b"1"), PongFrame(b"ignored"))
        self.assertEqual(client.take(), [PongFrame(b"1")])
        self.assertEqual(server.events, ["connected"])

    def test_while_a_hook_runs(self) -> None:
        server, client = self.opened()
        running: Deferred[None] = Deferred()
        server.message_received = lambda message: running
        client.send("x", PingFrame(b"2"), "y")
        self.assertEqual(client.take(), [PongFrame(b"2")])

    def test_heartbeat(self) -> None:
        """A silent client is pinged, and closed if it does not answer."""
        server, client = self.opened()
        self.assertIsInstance(server, Heartbeat)
        server.start_heartbeat(10)
        client.peer.advance(12)
        self.assertEqual(client.take(), [PingFrame()])
        client.send(PongFrame())
        client.peer.advance(12)
        self.assertEqual(client.take(), [PingFrame()])
        client.peer.advance(12)
        self.assertEqual(client.close_frame(), CloseFrame(1001, "idle"))

    def test_compression(self) -> None:
        peer = connect_peer(self.factory())
        offer = "Sec-WebSocket-Extensions: permessage-deflate"
        client = WebSocketPeer(peer, opening("/", offer), window_bits=12)
        peer.protocol.send("long " * 1000)
        self.assertLess(len(peer.received), 500)
        self.assertEqual(client.take(), ["long " * 1000])


class ClosingTests(WebSocketCase):
    def test_the_server_closes(self) -> None:
        """The client gets the reason's code, after everything else, and nothing more."""
        server, client = self.opened()
        server.send("last")
        server.close(KICKED)
        server.send("more")
        client.send("ignored")
        self.assertEqual(client.take(), ["last", CloseFrame(1008, "kicked")])
        client.send(CloseFrame(1008))
        client.peer.write_eof()
        self.assertEqual(server.events, ["connected", "kicked"])

    def test_the_client_closes(self) -> None:
        """The close frame is answered with the same code, after the messages before it."""
        for sent, answer in (
            (CloseFrame(1000, "bye"), CloseFrame(1000, "peer-closed")),
            (CloseFrame(4321), CloseFrame(4321, "peer-closed")),
            (CloseFrame(), CloseFrame()),
        ):
            server, client = self.opened()
            client.send("last", sent)
            self.assertEqual(server.events, ["connected", "last"])
            self.assertEqual(client.close_frame(), answer)
            client.peer.write_eof()
            self.assertEqual(server.events[2:], ["peer-closed"])

    def test_errors(self) -> None:
        """The code says what was wrong."""
        for data, code, reason in (
            (b"\x81\x01x", 1002, "bad-input"),  # not masked
            (b"\x81\x81\x00\x00\x00\x00\xff", 1007, "bad-input"),
            (b"\x81\xfe\x03\xe9\x00\x00\x00\x00", 1009, "too-long"),
        ):
            server, client = self.opened(max_message=1000)
            client.peer.send(data)
            self.assertEqual(client.close_frame(), CloseFrame(code, reason))
            self.assertEqual(server.reason.code, reason)

    def test_gone(self) -> None:
        """A client that ends without a close frame, or is reset, is no error here."""
        server, client = self.opened()
        client.peer.write_eof()
        self.assertEqual(server.events, ["connected", "peer-closed"])
        server, client = self.opened()
        client.peer.reset()
        self.assertEqual(server.events, ["connected", "peer-reset"])
        self.assertIsNone(server.websocket.listener)

    def test_the_grace(self) -> None:
        """A client that does not close its side is aborted after the grace."""
        server, client = self.opened(close_grace=3)
        server.close()
        client.peer.advance(5)
        self.assertEqual(server.events, ["connected", "closed"])

    def test_a_slow_reader(self) -> None:
        server, client = self.opened(queue_limit=2000)
        client.peer.full()
        for _ in range(30):
            server.send(os.urandom(500))
        self.assertEqual(server.reason.code, "slow")

    def test_no_room_for_the_close_frame(self) -> None:
        """Who has no room for the close frame either is closed all the same."""
        for close in (lambda server: server.send(b"x"), lambda server: server.close(KICKED)):
            server, client = self.opened(queue_limit=2000)
            client.peer.full()
            for _ in range(2):
                server.send(os.urandom(3000))  # the first piece may be larger than the limit
            close(server)
            self.assertEqual(server.reason.code, "slow")
            client.peer.advance(8)
            self.assertFalse(client.peer.connected)
            self.assertEqual(server.events[-1], "slow")


class RejectionTests(WebSocketCase):
    """Browsers do not tell a page why an upgrade was refused, only the code of a close frame."""

    def test_told_after_the_upgrade(self) -> None:
        for rules, code, reason in (
            (AdmissionRules(max_connections=1), 1013, "full"),
            (AdmissionRules(max_per_address=1), 1013, "too-many"),
            (AdmissionRules(accept_rate=0.01, accept_burst=1), 1013, "too-fast"),
        ):
            factory = self.factory(admission=Admission(rules))
            WebSocketPeer(connect_peer(factory))
            peer = connect_peer(factory)
            client = WebSocketPeer(peer)
            self.assertEqual(client.status, 101)
            self.assertEqual(client.close_frame(), CloseFrame(code, reason))
            self.assertEqual(peer.protocol.events, [])
            peer.write_eof()
            self.assertEqual(len(factory), 1)

    def test_draining(self) -> None:
        factory = self.factory()
        factory.accepts = False
        client = WebSocketPeer(connect_peer(factory))
        self.assertEqual(client.close_frame(), CloseFrame(1012, DRAINING.code))

    def test_the_log(self) -> None:
        """A flood of refusals does not fill the log: only the summary has them."""
        factory = self.factory(admission=Admission(AdmissionRules(max_connections=1)))
        connect_peer(factory)
        with capturedLogs() as events:
            for _ in range(5):
                client = WebSocketPeer(connect_peer(factory))
                client.peer.write_eof()
        loud = [each for each in events if each["log_level"] is not LogLevel.debug]
        self.assertEqual(len(loud), 1, loud)
        self.assertEqual(dict(factory.endings), {})

    def test_many(self) -> None:
        """Those who wait to be told are bounded."""
        factory = self.factory(admission=Admission(AdmissionRules(max_connections=1)))
        connect_peer(factory)
        for _ in range(MOST_REFUSED):
            last = connect_peer(factory)
        self.assertEqual(len(factory), 1 + MOST_REFUSED)
        for _ in range(3):
            self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        last.reset()
        last.advance(1 / REFUSED_A_SECOND)
        connect_peer(factory)
        self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        last.advance(30)  # the handshakes of all have taken too long
        self.assertEqual(len(factory), 0)
