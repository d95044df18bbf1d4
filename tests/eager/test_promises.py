"""Promises of Twisted's transports, tested on them and on :mod:`twisted_net.eager.transports`."""

from __future__ import annotations

import os
import socket
import struct

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.python.sendmsg import recvmsg

from tests.buffers import MANY
from tests.eager.reactor_turns import (
    HalfRecorder,
    OnStock,
    OnStockEagerly,
    OverUNIX,
    Recorder,
    TurnsTestCase,
)


def _reset(peer: socket.socket) -> None:
    """Close a socket with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class Promises:
    """What Twisted's transports promise."""

    def test_in_order(self):
        """Bytes arrive in the order in which they were written, with any method."""
        protocol, peer = self.connect()
        protocol.transport.write(b"a")
        protocol.transport.writeSequence([b"b", b"c"])
        protocol.transport.write(b"d")
        self.turn()
        protocol.transport.write(b"e")
        self.assertEqual(self.drain(peer), b"abcde")

    def test_in_order_past_a_full_socket(self):
        """What the socket does not take is queued, and later writes come after it."""
        protocol, peer = self.connect()
        protocol.transport.write(b"a" * MANY)
        protocol.transport.write(b"b")
        self.turn()
        protocol.transport.writeSequence([b"c", b"d"])
        self.assertEqual(self.drain(peer, MANY + 3), b"a" * MANY + b"bcd")

    def test_bytes_only(self):
        """Writing anything but bytes raises an error, and sends nothing."""
        protocol, peer = self.connect()
        for wrong in ("text", None, bytearray(b"x"), memoryview(b"x")):
            self.assertRaises(TypeError, protocol.transport.write, wrong)
            self.assertRaises(TypeError, protocol.transport.writeSequence, [b"x", wrong])
        self.assertEqual(self.drain(peer), b"")

    def test_nothing(self):
        """Writing nothing does nothing."""
        protocol, peer = self.connect()
        protocol.transport.write(b"")
        protocol.transport.writeSequence([])
        protocol.transport.writeSequence([b"", b""])
        self.assertEqual(self.drain(peer), b"")

    def test_answer_inside(self):
        """Writing and closing work inside dataReceived."""
        protocol, peer = self.connect()

        def received(self, data):
            self.transport.write(data)
            self.transport.loseConnection()
            self.transport.write(b"!")

        protocol.received = received
        peer.send(b"ping")
        self.turn_until(lambda: len(protocol.events) == 2)
        self.assertEqual(self.drain(peer), b"ping!")
        self.assertEqual(protocol.events, [("data", b"ping"), ("lost", ConnectionDone)])

    def test_close_after_write(self):
        """loseConnection sends everything first, and connectionLost comes in a later turn."""
        protocol, peer = self.connect()
        protocol.transport.write(b"x" * MANY)
        protocol.transport.loseConnection()
        self.assertEqual(protocol.events, [])
        self.assertEqual(len(self.drain(peer, MANY)), MANY)
        self.assertEqual(protocol.events, [("lost", ConnectionDone)])

    def test_write_after_close(self):
        """Data written between loseConnection and the end is still sent."""
        protocol, peer = self.connect()
        protocol.transport.loseConnection()
        protocol.transport.write(b"late")
        self.assertEqual(self.drain(peer), b"late")
        self.assertEqual(protocol.events, [("lost", ConnectionDone)])

    def test_write_when_lost(self):
        """After connectionLost, writes are ignored."""
        protocol, peer = self.connect()
        transport = protocol.transport
        peer.close()
        self.turn_until(lambda: protocol.events)
        transport.write(b"x")
        transport.writeSequence([b"x"])
        self.turn(2)

    def test_half_close(self):
        """loseWriteConnection sends everything, then ends the stream, and reading continues."""
        protocol, peer = self.connect(HalfRecorder())
        protocol.transport.write(b"last words")
        protocol.transport.loseWriteConnection()
        self.assertEqual(self.drain(peer), b"last words")
        protocol.transport.write(b"not sent")
        protocol.transport.writeSequence([b"not sent"])
        peer.send(b"answer")
        self.turn_until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events, [("write lost",), ("data", b"answer")])
        peer.close()
        self.turn_until(lambda: len(protocol.events) == 3)
        self.assertEqual(protocol.events[2], ("read lost",))
        protocol.transport.loseConnection()
        self.assertEqual(protocol.events[3], ("lost", ConnectionDone))

    def test_abort(self):
        """abortConnection drops what is queued, and connectionLost comes in a later turn."""
        protocol, peer = self.connect()
        protocol.transport.write(b"x" * MANY)
        self.turn()
        protocol.transport.abortConnection()
        protocol.transport.write(b"dropped")
        self.assertEqual(protocol.events, [])
        self.assertLess(len(self.drain(peer)), MANY)
        self.assertEqual(protocol.events, [("lost", ConnectionAborted)])

    def test_stop_writing(self):
        """stopWriting keeps what is queued until startWriting."""
        protocol, peer = self.connect()
        protocol.transport.write(b"x")
        protocol.transport.stopWriting()
        self.assertEqual(self.drain(peer), b"x" * self.sent_at_once)
        protocol.transport.startWriting()
        self.assertEqual(self.drain(peer), b"x" * (1 - self.sent_at_once))

    def test_streaming_producer(self):
        """A streaming producer is paused inside the write that fills the queue, not before."""
        protocol, peer = self.connect()
        protocol.transport.registerProducer(protocol, True)
        protocol.transport.write(b"x" * 1000)
        self.turn(2)
        self.assertEqual(protocol.events, [])
        protocol.transport.write(b"x" * MANY)
        self.assertEqual(protocol.events, [("pause",)])
        self.turn(2)
        self.assertEqual(protocol.events, [("pause",)])
        self.assertEqual(len(self.drain(peer, 1000 + MANY)), 1000 + MANY)
        self.assertEqual(protocol.events, [("pause",), ("resume",)])

    def test_producer_paused_by_small_writes(self):
        """Many small writes fill the queue like one large write."""
        protocol, peer = self.connect()
        protocol.transport.registerProducer(protocol, True)
        written = 0
        while not protocol.events:
            protocol.transport.write(b"x" * 1000)
            protocol.transport.writeSequence([b"y" * 500, b"z" * 500])
            written += 2000
        self.assertEqual(protocol.events[0], ("pause",))
        self.assertEqual(len(self.drain(peer, written)), written)
        self.assertEqual(protocol.events[-1], ("resume",))

    def test_pull_producer(self):
        """A pull producer is asked again each time that all its data is sent."""
        protocol, peer = self.connect()
        pieces = iter([b"a", b"b", b"c"])
        protocol.transport.write(b">")
        protocol.pull_from(pieces)
        self.assertEqual(self.drain(peer), b">abc")
        self.assertIsNone(next(pieces, None))

    def test_producer_stopped(self):
        """When the connection is lost, its producer is stopped."""
        protocol, peer = self.connect()
        protocol.transport.registerProducer(protocol, True)
        peer.close()
        self.turn_until(lambda: protocol.events)
        self.assertEqual(protocol.events, [("stop",), ("lost", ConnectionDone)])

    def test_close_inside_pause(self):
        """A producer may close the connection inside pauseProducing."""
        protocol, peer = self.connect()
        protocol.pauseProducing = lambda: (
            protocol.transport.unregisterProducer(),
            protocol.transport.loseConnection(),
        )
        protocol.transport.registerProducer(protocol, True)
        protocol.transport.write(b"x" * MANY)
        self.assertEqual(len(self.drain(peer, MANY)), MANY)
        self.assertEqual(protocol.events, [("lost", ConnectionDone)])

    def test_raising(self):
        """If dataReceived raises, the error is logged and the connection is lost with it."""
        protocol, peer = self.connect()
        protocol.received = Recorder.write_and_raise
        peer.send(b"x")
        self.turn_until(lambda: len(protocol.events) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.events[1], ("lost", ZeroDivisionError))
        self.assertEqual(self.drain(peer), b"")

    def test_error_in_a_later_turn(self):
        """Writing to a peer that is gone never raises or calls back; the reactor reports it
        later."""
        protocol, peer = self.connect()
        _reset(peer)
        for _ in range(3):
            protocol.transport.write(b"x")
            protocol.transport.writeSequence([b"x"])
        self.assertEqual(protocol.events, [])
        self.turn_until(lambda: protocol.events)
        self.assertEqual(len(protocol.events), 1)
        if self.family == socket.AF_INET:  # Unix sockets have no reset
            self.assertEqual(protocol.events, [("lost", ConnectionLost)])

    def test_unread_before_reset(self):
        """What a peer sent before it vanished is delivered first, even after a failed write."""
        protocol, peer = self.connect()
        peer.send(b"last words")
        _reset(peer)
        protocol.transport.write(b"x")
        self.turn_until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events[0], ("data", b"last words"))

    def test_paused_reading(self):
        """pauseProducing stops reading, but not writing."""
        protocol, peer = self.connect()
        protocol.transport.pauseProducing()
        peer.send(b"x")
        protocol.transport.write(b"y")
        self.assertEqual(self.drain(peer), b"y")
        self.assertEqual(protocol.events, [])
        protocol.transport.resumeProducing()
        self.turn_until(lambda: protocol.events)

    sent_at_once = False


class StockTests(Promises, OnStock, TurnsTestCase):
    """The reference."""


class StockUNIXTests(OverUNIX, StockTests):
    """The reference."""


class EagerTests(Promises, TurnsTestCase):
    """TCP on the eager reactor."""


class EagerUNIXTests(OverUNIX, EagerTests):
    """Unix sockets on the eager reactor."""


class AtWork:
    """Connections that have sent before, and so skip checks when they send again."""

    def connect(self, protocol=None):
        made, peer = super().connect(protocol)
        made.transport.write(b"before")
        self.turn()
        self.assertEqual(peer.recv(100), b"before")
        return made, peer


class EagerAtWorkTests(AtWork, EagerTests):
    """TCP on the eager reactor, after earlier writes."""


class EagerUNIXAtWorkTests(AtWork, EagerUNIXTests):
    """Unix sockets on the eager reactor, after earlier writes."""


class ElsewhereTests(Promises, OnStockEagerly, TurnsTestCase):
    """Eager TCP on Twisted's reactor, where bytes written outside an event are sent at once."""

    sent_at_once = True


class ElsewhereUNIXTests(OverUNIX, ElsewhereTests):
    """Eager Unix sockets on Twisted's reactor."""

    sent_at_once = False


class DescriptorPromises:
    """Descriptors travel over Unix sockets beside the bytes written in the same turn."""

    def _received(self, peer: socket.socket) -> tuple[bytes, int]:
        data, ancillary, _ = recvmsg(peer)
        descriptors = [fd for _, _, packed in ancillary for fd in struct.unpack("i", packed)]
        for fd in descriptors:
            os.close(fd)
        return data, len(descriptors)

    def test_before_the_bytes(self):
        """A descriptor that is passed before its byte is sent with it."""
        protocol, peer = self.connect()
        protocol.transport.sendFileDescriptor(peer.fileno())
        protocol.transport.write(b"x")
        self.turn(2)
        self.assertEqual(self._received(peer), (b"x", 1))

    def test_after_the_bytes(self):
        """A descriptor that is passed after its byte is sent with it."""
        protocol, peer = self.connect()
        protocol.transport.write(b"x")
        protocol.transport.sendFileDescriptor(peer.fileno())
        self.turn(2)
        self.assertEqual(self._received(peer), (b"x", 1))
        protocol.transport.write(b"y")
        self.turn(2)
        self.assertEqual(self._received(peer), (b"y", 0))


class StockDescriptorTests(DescriptorPromises, OverUNIX, OnStock, TurnsTestCase):
    """The reference."""


class EagerDescriptorTests(DescriptorPromises, OverUNIX, TurnsTestCase):
    """On the eager reactor."""


class EagerDescriptorAtWorkTests(AtWork, EagerDescriptorTests):
    """On the eager reactor, after earlier writes."""


class ElsewhereDescriptorTests(DescriptorPromises, OverUNIX, OnStockEagerly, TurnsTestCase):
    """On Twisted's reactor."""
