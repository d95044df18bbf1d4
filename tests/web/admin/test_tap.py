"""Tests for :mod:`twisted_net.web.admin.tap`."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from twisted_net.connection.addresses import format_address
from twisted_net.connection.broadcast import Broadcast
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.testing import connect_peer
from twisted_net.web.admin.endings import Endings
from twisted_net.web.admin.redaction import hide_typed_secrets
from twisted_net.web.admin.tap import MOST_QUEUED, Tap, TapQueue
from twisted_net.wire.framing import LengthPrefixed, Raw, SkippingLines


class Viewer:
    """Takes lines, and can stop to read."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = 0

    def write(self, data: bytes) -> None:
        self.data += data

    def end(self) -> None:
        self.ended += 1

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines since the last call, without their times."""
        taken, self.data = self.data, b""
        found = [json.loads(line) for line in taken.splitlines()]
        for line in found:
            line.pop("time", None)
        return found


class RawRecorder(Recorder):
    framing = Raw  # type: ignore[assignment]

    def message_received(self, message: Any) -> None:
        self.messages = [*getattr(self, "messages", []), message]


class TapCase(SynchronousTestCase):
    def tapped(self, protocol: Any = Recorder, **settings: Any) -> tuple[Any, Any, Viewer, Tap]:
        """Return a connection, its peer, and a viewer who looks on."""
        factory = factory_of(protocol, **settings)
        peer = connect_peer(factory)
        viewer = Viewer()
        tap = self.tap(peer.protocol, viewer)
        viewer.lines()
        return peer.protocol, peer, viewer, tap

    def tap(self, connection: Connection, viewer: Viewer) -> Tap:
        tap = Tap(connection, viewer.write, viewer.end, hide_typed_secrets, lambda: 5.0)
        tap.begin()
        return tap


class TapTests(TapCase):
    def test_a_password_in_two_pieces(self) -> None:
        """It is hidden either way, also if it has no end; the service gets each piece at once."""
        connection, peer, viewer, tap = self.tapped(RawRecorder)
        endings = Endings(lambda: 5.0)
        connection.factory.observer = endings
        endings.tell(connection, tap.connection_ended)
        peer.send(b"USER ann\r\nPASS sec", b"ret\r\n")
        connection.transport.write(b"Set-Cookie: se")
        self.assertEqual(connection.messages, [b"USER ann\r\nPASS sec", b"ret\r\n"])
        connection.transport.write(b"cret\r\n\r\nAUTH x")
        peer.write_eof()
        lines = viewer.lines()
        self.assertEqual(
            [(line["dir"], line["text"]) for line in lines[:-1]],
            [
                ("in", "USER ann\r\n"),
                ("in", "PASS ***\r\n"),
                ("out", "Set-Cookie: ***\r\n\r\n"),
                ("out", "AUTH ***"),
            ],
        )
        self.assertEqual(lines[-1]["ended"], "peer-closed")

    def test_the_first_line(self) -> None:
        """It says whose tap it is."""
        peer = connect_peer(factory_of(Recorder))
        viewer = Viewer()
        self.tap(peer.protocol, viewer)
        expected = {"tap": 1, "time": 5.0, "peer": format_address(peer.getPeer()), "name": ""}
        self.assertEqual(json.loads(viewer.data), expected)

    def test_both_directions(self) -> None:
        """What it says and hears, each message by itself and in order."""
        _, peer, viewer, _ = self.tapped()
        peer.send(b"he", b"llo\nsay one\n")
        self.assertEqual(
            viewer.lines(),
            [
                {"dir": "in", "size": 5, "text": "hello"},
                {"dir": "in", "size": 7, "text": "say one"},
                {"dir": "out", "size": 3, "text": "one"},
            ],
        )
        self.assertEqual(peer.received, b"one\n")

    def test_in_the_middle_of_a_message(self) -> None:
        """A message whose beginning came before is shown as a whole."""
        peer = connect_peer(factory_of(Recorder))
        peer.send(b"hel")
        viewer = Viewer()
        self.tap(peer.protocol, viewer)
        viewer.lines()
        peer.send(b"lo\n")
        self.assertEqual(viewer.lines(), [{"dir": "in", "size": 5, "text": "hello"}])

    def test_passwords_are_hidden(self) -> None:
        """In both directions; the size is that of the message."""
        _, peer, viewer, _ = self.tapped()
        peer.send(b"/login ann secret\n", b'say {"session":"secret"}\n')
        self.assertNotIn(b"secret", viewer.data)
        self.assertEqual(viewer.lines()[0], {"dir": "in", "size": 17, "text": "/login ann ***"})

    def test_what_is_no_text(self) -> None:
        """Other bytes are shown in base64."""

        class Echo(Connection):
            framing = Raw

            def message_received(self, message: bytes) -> None:
                self.send(message)

        _, peer, viewer, tap = self.tapped(Echo)
        peer.send(b"\xff\x00")
        self.assertEqual([line["base64"] for line in viewer.lines()], ["/wA=", "/wA="])
        tap.end()
        peer.send(b"more")
        self.assertEqual(viewer.lines(), [])
        self.assertEqual(peer.received, b"\xff\x00more")

    def test_other_framings(self) -> None:
        """A framing with lengths is taken apart in both directions."""

        class Shout(Connection):
            framing = LengthPrefixed

            def message_received(self, message: bytes) -> None:
                self.send(message.upper())
                self.send(b"!")

        _, peer, viewer, _ = self.tapped(Shout)
        peer.send(LengthPrefixed().encode(b"hi"))
        self.assertEqual([line["text"] for line in viewer.lines()], ["hi", "HI", "!"])

    def test_own_framing_of_what_is_sent(self) -> None:
        """A protocol may send in another framing than it receives."""

        class Mixed(Connection):
            framing = LengthPrefixed
            sent_framing = SkippingLines

            def message_received(self, message: bytes) -> None:
                self.send_encoded(b"one\ntwo\n", 2)

        _, peer, viewer, _ = self.tapped(Mixed)
        peer.send(LengthPrefixed().encode(b"hi"))
        self.assertEqual([line["text"] for line in viewer.lines()], ["hi", "one", "two"])

    def test_a_message_that_is_too_long(self) -> None:
        """Its beginning may be a password, so it is not shown."""

        class Skipping(Recorder):
            framing = SkippingLines

            def message_received(self, message: Any) -> None:
                self.events.append(message)

        _, peer, viewer, _ = self.tapped(Skipping, max_message=8)
        peer.send(b"/login ann secret\n")
        self.assertEqual(viewer.lines(), [{"dir": "in", "too_long": True}])

    def test_what_cannot_be_taken_apart(self) -> None:
        """Bytes that are not in the framing are shown as they are, and the tap goes on."""

        class Odd(Connection):
            framing = LengthPrefixed

            def message_received(self, message: bytes) -> None:
                self.send_encoded(message)

        connection, peer, viewer, _ = self.tapped(Odd)
        for _ in range(2):
            peer.send(LengthPrefixed().encode(b"\x7f\xff\xff\xffodd"))
            shown = viewer.lines()
            self.assertEqual([line["dir"] for line in shown], ["in", "out"])
        self.assertIsNone(connection.reason)

    def test_the_end_of_the_connection(self) -> None:
        """The last line has the reason, and the viewer's request ends."""
        connection, peer, viewer, tap = self.tapped()
        endings = Endings(lambda: 0.0)
        connection.factory.observer = endings
        endings.tell(connection, tap.connection_ended)
        peer.send(b"close\n")
        peer.write_eof()
        self.assertEqual(viewer.lines()[-1], {"ended": "closed"})
        self.assertEqual(viewer.ended, 1)

    def test_nothing_stays(self) -> None:
        """Afterwards, connection and transport have no attribute more than before."""
        peer = connect_peer(factory_of(Recorder))
        before = set(vars(peer.protocol)), set(vars(peer))
        tap = self.tap(peer.protocol, Viewer())
        self.assertNotEqual((set(vars(peer.protocol)), set(vars(peer))), before)
        tap.end()
        tap.end()  # the viewer may leave while the connection ends
        self.assertEqual((set(vars(peer.protocol)), set(vars(peer))), before)


class BroadcastTests(TapCase):
    """A tapped member of a broadcast, which sends past ``send``."""

    def test_a_broadcast_is_seen(self) -> None:
        """Each message once, and nobody gets more or less than before."""
        clock = Clock()
        factory = ConnectionFactory.forProtocol(Recorder, clock=clock)
        peers = [connect_peer(factory, clock=clock) for _ in range(5)]
        broadcast = Broadcast(clock)
        for peer in peers:
            broadcast.add(peer.protocol)
        viewer = Viewer()
        tap = self.tap(peers[2].protocol, viewer)
        viewer.lines()
        for text in (b"one\n", b"two\n"):
            broadcast.publish(text)
        peers[0].advance(1)
        self.assertEqual([line["text"] for line in viewer.lines()], ["one", "two"])
        tap.end()
        broadcast.publish(b"three\n")
        peers[0].advance(1)
        self.assertEqual(viewer.lines(), [])
        for peer in peers:
            peer.turn()
            self.assertEqual(peer.received, b"one\ntwo\nthree\n")
            self.assertEqual(peer.protocol.messages_sent, 3)


class TapQueueTests(SynchronousTestCase):
    def test_a_slow_viewer(self) -> None:
        """What does not fit is counted, and a line says so in its place."""
        viewer = Viewer()
        queue = TapQueue(viewer.write)
        queue.add({"n": 0})
        queue.pause()
        self.assertEqual(viewer.lines(), [{"n": 0}])
        for number in range(1, 6):
            queue.add({"n": number, "text": "x" * (MOST_QUEUED // 4)})
        self.assertEqual(viewer.data, b"")
        queue.resume()
        self.assertEqual([line.get("n", line) for line in viewer.lines()], [1, 2, 3, {"gap": 2}])
        queue.add({"n": 6})
        self.assertEqual(viewer.lines(), [{"n": 6}])
        self.assertEqual(queue.missed, 2)

    def test_nothing_after_a_gap_comes_before_it(self) -> None:
        """A small line behind one that did not fit is part of the gap."""
        viewer = Viewer()
        queue = TapQueue(viewer.write, most=50)
        queue.pause()
        for line in ({"n": 1}, {"n": 2, "text": "x" * 99}, {"n": 3}):
            queue.add(line)
        queue.resume()
        self.assertEqual(viewer.lines(), [{"n": 1}, {"gap": 2}])

    def test_a_pause_while_it_catches_up(self) -> None:
        """The transport may be full again after each line."""
        viewer = Viewer()

        def write(data: bytes) -> None:
            viewer.write(data)
            queue.pause()

        queue = TapQueue(write)
        for number in range(4):
            queue.add({"n": number})
        for _ in range(4):
            queue.resume()
        self.assertEqual([line["n"] for line in viewer.lines()], [0, 1, 2, 3])

    def test_the_last_line_waits(self) -> None:
        """Everything before it comes first, and then the end is told, once."""
        viewer = Viewer()
        queue = TapQueue(viewer.write)
        queue.pause()
        queue.add({"n": 1})
        queue.end({"n": 2}, viewer.end)
        self.assertEqual(viewer.ended, 0)
        queue.resume()
        queue.resume()
        self.assertEqual(viewer.lines(), [{"n": 1}, {"n": 2}])
        self.assertEqual(viewer.ended, 1)
