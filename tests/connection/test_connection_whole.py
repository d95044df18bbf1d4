"""Connections without framing, where each read is a message: what can happen in the hook."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting, made
from twisted_net.policy.close_reasons import CLOSED, FAILED, PEER_CLOSED
from twisted_net.wire.framing import Raw


class RawRecorder(Recorder):
    framing = Raw


class Nested(RawRecorder):
    """Calls one of its own methods during its first message."""

    inside: tuple[Any, ...] = ()

    def message_received(self, message: bytes) -> None:
        super().message_received(message)
        inside, self.inside = self.inside, ()
        for method, *arguments in inside:
            getattr(self, method)(*arguments)
        self.events.append(b"end of " + message)


class WholeTests(SynchronousTestCase):
    def nested(self, *inside: tuple[Any, ...]) -> tuple[Any, Any]:
        connection, peer = made(Nested)
        connection.inside = inside
        return connection, peer

    def test_each_read(self) -> None:
        """Each read is a message and counts as one. An empty read is not."""
        connection, peer = made(RawRecorder)
        peer.send(b"one")
        connection.dataReceived(b"")
        peer.send(b"two\n")
        self.assertEqual(connection.events, ["connected", b"one", b"two\n"])
        self.assertEqual((connection.messages_received, connection.bytes_received), (2, 7))

    def test_data(self) -> None:
        """Data that arrives during the hook waits until it ends."""
        connection, peer = self.nested(("dataReceived", b"b"), ("dataReceived", b"c"))
        peer.send(b"a")
        peer.send(b"d")
        order = [b"a", b"b", b"c", b"d"]
        expected = [each for message in order for each in (message, b"end of " + message)]
        self.assertEqual(connection.events[1:], expected)
        self.assertEqual(connection.messages_received, 4)

    def test_pause(self) -> None:
        connection, peer = self.nested(("pause",), ("dataReceived", b"b"))
        peer.send(b"a")
        self.assertEqual(connection.events[1:], [b"a", b"end of a"])
        self.assertFalse(peer.reading)
        connection.dataReceived(b"c")
        connection.resume()
        self.assertEqual(connection.events[3::2], [b"b", b"c"])
        self.assertTrue(peer.reading)

    def test_close(self) -> None:
        """After close(), nothing is delivered."""
        connection, peer = self.nested(("close",), ("dataReceived", b"b"))
        peer.send(b"a")
        peer.write_eof()
        self.assertEqual(connection.events[1:], [b"a", b"end of a", CLOSED])

    def test_peer_finishes(self) -> None:
        """An end that arrives during the hook is reported after it, and after earlier messages."""
        connection, peer = self.nested(("dataReceived", b"b"), ("readConnectionLost",))
        peer.send(b"a")
        expected = [b"a", b"end of a", b"b", b"end of b", PEER_CLOSED]
        self.assertEqual(connection.events[1:], expected)

    def test_lost(self) -> None:
        lost = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
        connection, peer = self.nested(("connectionLost", lost))
        peer.send(b"a")
        self.assertEqual(connection.events[1:], [b"a", b"end of a", PEER_CLOSED])

    def test_failure(self) -> None:
        """A failure closes this connection, which delivers nothing more."""
        connection, peer = made(RawRecorder)
        peer.send(b"fail")
        connection.dataReceived(b"b")
        peer.write_eof()
        self.assertEqual(connection.events[1:], [b"fail", FAILED])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_asynchronous(self) -> None:
        """The next read waits for the answer to the last one."""

        class RawWaiting(Waiting):
            framing = Raw

        connection, peer = made(RawWaiting)
        peer.send(b"a")
        connection.dataReceived(b"b")
        self.assertFalse(peer.reading)
        connection.hooks[0].callback(None)
        connection.hooks[1].callback(None)
        self.assertEqual(connection.events[1:], [b"a", b"done a", b"b", b"done b"])
        self.assertTrue(peer.reading)

    def test_rate(self) -> None:
        """Reads over the rate wait."""
        connection, peer = made(RawRecorder, rate=1, burst=2)
        for each in (b"a", b"b"):
            peer.send(each)
        connection.dataReceived(b"c")
        self.assertFalse(peer.reading)
        self.assertEqual(connection.events[1:], [b"a", b"b"])
