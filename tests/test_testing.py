"""The test helpers behave as real Twisted transports do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, INegotiated
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.echo import EchoFactory
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED, PEER_RESET
from twisted_net.testing import (
    BUFFER_SIZE,
    TLSPeer,
    advance,
    answers,
    connect_pair,
    connect_peer,
    connect_tls_peer,
    same_for_every_split,
    splits,
)


class Plain(Protocol):
    """A plain Twisted protocol that echoes."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)
        self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        assert self.lost is None
        self.lost = reason.type


def plain() -> Any:
    return Factory.forProtocol(Plain)


class Producer:
    """Writes a thousand bytes at a time until it is paused, a limited number of times."""

    def __init__(self, transport: Any, times: int) -> None:
        self.transport = transport
        self.left = times
        self.paused = self.stopped = False

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(b"x" * 1000)
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.stopped = True


class PeerTests(SynchronousTestCase):
    def test_any_factory(self) -> None:
        peer = connect_peer(plain())
        peer.send(b"a", b"b")
        self.assertEqual(peer.protocol.data, [b"a", b"b"])
        self.assertEqual(peer.take(), b"ab")
        peer.send(b"c")
        self.assertEqual(peer.received, b"c")

    def test_reads_in_pieces(self) -> None:
        """A transport reads a limited number of bytes per turn."""
        peer = connect_peer(plain())
        peer.send(b"x" * (BUFFER_SIZE + 1))
        self.assertEqual([len(each) for each in peer.protocol.data], [BUFFER_SIZE, 1])

    def test_nothing_is_sent_inside_of_write(self) -> None:
        peer = connect_peer(plain())
        peer.protocol.transport.write(b"a")
        self.assertEqual(peer.unsent, b"a")
        peer.turn()
        self.assertEqual(peer.unsent, b"")

    def test_takes_bytes_only(self) -> None:
        self.assertRaises(TypeError, connect_peer(plain()).write, "text")

    def test_peer_finishes(self) -> None:
        """A protocol that does not support half-closes loses its connection on a FIN."""
        peer = connect_peer(plain())
        peer.write_eof()
        self.assertIs(peer.protocol.lost, ConnectionDone)
        self.assertFalse(peer.connected)

    def test_peer_resets(self) -> None:
        peer = connect_peer(plain())
        peer.reset()
        peer.reset()
        self.assertIs(peer.protocol.lost, ConnectionLost)

    def test_loses(self) -> None:
        """Earlier data goes out, nothing comes in, and the end is reported once, a turn later."""
        peer = connect_peer(plain())
        peer.write(b"bye")
        peer.loseConnection()
        peer.loseConnection()
        self.assertIs(peer.protocol.lost, None)
        peer.send(b"late")
        self.assertIs(peer.protocol.lost, ConnectionDone)
        self.assertEqual((peer.received, peer.protocol.data), (b"bye", []))
        self.assertTrue(peer.finished)
        self.assertFalse(peer.aborted)
        peer.write(b"later")
        self.assertEqual(peer.received, b"bye")

    def test_loses_only_when_read(self) -> None:
        peer = connect_peer(plain())
        peer.full()
        peer.write(b"bye")
        peer.loseConnection()
        peer.advance(1000)
        self.assertTrue(peer.connected)
        peer.drain(2)
        self.assertTrue(peer.connected)
        peer.drain(1)
        self.assertFalse(peer.connected)
        self.assertEqual(peer.received, b"bye")

    def test_aborts(self) -> None:
        peer = connect_peer(plain())
        peer.write(b"lost")
        peer.abortConnection()
        peer.abortConnection()
        self.assertIs(peer.protocol.lost, None)
        self.assertEqual(peer.received, b"")
        self.assertIs(peer.protocol.lost, ConnectionAborted)
        self.assertTrue(peer.aborted)
        self.assertFalse(peer.finished)

    def test_half_close(self) -> None:
        peer = connect_peer(plain())
        self.assertTrue(IHalfCloseableDescriptor.providedBy(peer))
        peer.write(b"last")
        peer.loseWriteConnection()
        peer.turn()
        self.assertTrue(peer.finished)
        peer.write(b"late")
        peer.send(b"a")
        self.assertEqual(peer.protocol.data, [b"a"])
        self.assertEqual(peer.received, b"last")
        peer.loseConnection()
        self.assertIs(peer.protocol.lost, ConnectionDone)

    def test_paused(self) -> None:
        peer = connect_peer(plain())
        peer.pauseProducing()
        peer.send(b"a", b"b")
        peer.write_eof()
        self.assertEqual((peer.protocol.data, peer.unread), ([], b"ab"))
        peer.resumeProducing()
        peer.turn()
        self.assertEqual(peer.protocol.data, [b"ab"])
        self.assertIs(peer.protocol.lost, ConnectionDone)

    def test_producer(self) -> None:
        """A producer is paused over the buffer size, resumed when it is empty, and stopped."""
        peer = connect_peer(plain())
        producer = Producer(peer, 500)
        peer.registerProducer(producer, True)
        self.assertRaises(RuntimeError, peer.registerProducer, producer, True)
        producer.resumeProducing()
        self.assertTrue(producer.paused)
        self.assertEqual(len(peer.unsent), 66_000)
        peer.loseConnection()
        self.assertEqual(len(peer.received), 500_000)
        self.assertFalse(peer.connected)
        self.assertFalse(producer.stopped)

    def test_producer_is_stopped(self) -> None:
        peer = connect_peer(plain())
        producer = Producer(peer, 500)
        peer.registerProducer(producer, True)
        peer.reset()
        self.assertTrue(producer.stopped)

    def test_full(self) -> None:
        """``full`` pauses a producer at once, and ``drain`` reads the given number of bytes."""
        peer = connect_peer(plain())
        producer = Producer(peer, 100)
        peer.registerProducer(producer, True)
        peer.full()
        peer.full()
        self.assertTrue(producer.paused)
        peer.drain(10_000)
        self.assertEqual(len(peer.received), 10_000)
        self.assertEqual(len(peer.unsent), 56_000)
        peer.drain()
        self.assertEqual(len(peer.received), 100_000)

    def test_tls(self) -> None:
        factory = factory_of(Recorder)
        peer = connect_tls_peer(factory)
        self.assertTrue(INegotiated.providedBy(peer))
        self.assertEqual(peer.protocol.events, [])
        peer.handshake()
        self.assertEqual(peer.protocol.events, ["connected"])
        self.assertRaises(AssertionError, peer.loseWriteConnection)
        peer.write_eof()
        self.assertEqual(peer.protocol.events, ["connected", PEER_CLOSED])

    def test_addresses(self) -> None:
        peer = connect_peer(factory_of(Recorder), host="here", peer="there")
        self.assertEqual((peer.protocol.host, peer.protocol.peer), ("here", "there"))

    def test_failing_protocol(self) -> None:
        """Exceptions of a protocol reach the test."""

        class Failing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise RuntimeError("it fails")

        with self.assertRaisesRegex(RuntimeError, "it fails"):
            connect_peer(Factory.forProtocol(Failing)).send(b"a")


class ClockTests(SynchronousTestCase):
    def test_given_to_the_factory(self) -> None:
        """A factory of ours without a clock gets the test's, and keeps it."""
        factory = EchoFactory()
        peer = connect_peer(factory)
        self.assertIs(factory.clock, peer.clock)
        self.assertIs(connect_peer(factory).clock, peer.clock)

    def test_of_the_factory(self) -> None:
        clock = Clock()
        self.assertIs(connect_peer(EchoFactory(clock=clock)).clock, clock)
        self.assertIs(connect_peer(plain(), clock=clock).clock, clock)

    def test_two_clocks(self) -> None:
        with self.assertRaises(TypeError):
            connect_peer(EchoFactory(clock=Clock()), clock=Clock())
        with self.assertRaises(TypeError):
            connect_pair(EchoFactory(clock=Clock()), EchoFactory(clock=Clock()))

    def test_real_clock(self) -> None:
        with self.assertRaises(TypeError):
            connect_peer(EchoFactory(clock=object()))  # type: ignore[arg-type]

    def test_advance(self) -> None:
        """Every call runs at its own time, including those scheduled on the way."""
        clock = Clock()
        calls: list[float] = []

        def again() -> None:
            calls.append(clock.seconds())
            clock.callLater(0.4, again)

        clock.callLater(0.4, again)
        advance(clock, 2.1)
        self.assertEqual([round(each, 6) for each in calls], [0.4, 0.8, 1.2, 1.6, 2.0])
        self.assertAlmostEqual(clock.seconds(), 2.1)
        advance(clock, 0)
        self.assertEqual(len(calls), 5)


class StartTLSTests(SynchronousTestCase):
    """A connection in memory that starts TLS later."""

    def test_start_tls(self) -> None:
        """What is sent behind it waits for the handshake; then it is a peer over TLS."""

        class Upgrading(Connection):
            def message_received(self, line: bytes) -> None:
                if line == b"STARTTLS":
                    self.send(b"go")
                    self.start_tls(CertificateOptions())
                self.send(b"encrypted" if self.is_encrypted else b"later")

        for behind, reason in ((b"", "peer-closed"), (b"evil\n", "bad-input")):
            peer = connect_peer(ConnectionFactory.forProtocol(Upgrading))
            peer.send(b"STARTTLS\n" + behind)
            if not behind:
                self.assertEqual(peer.take(), b"go\n")
                assert isinstance(peer, TLSPeer)
                peer.handshake()
                peer.send(b"a\n")
                self.assertEqual(peer.received, b"later\nencrypted\n")
                peer.write_eof()
            peer.turn()
            self.assertEqual(peer.protocol.reason.code, reason)

    def test_a_silent_peer(self) -> None:
        """The handshake has its limit."""
        peer = connect_peer(ConnectionFactory.forProtocol(Connection))
        peer.protocol.start_tls(CertificateOptions())
        peer.advance(12)
        self.assertEqual(peer.protocol.reason.code, "handshake")

    def test_a_pair(self) -> None:
        """Two connections that are each other's transport cannot; the error says what can."""
        factory = ConnectionFactory.forProtocol(Connection)
        pair = connect_pair(factory, factory)
        self.assertRaises(NotImplementedError, pair.server.start_tls, CertificateOptions())
        self.assertIs(pair.server.state.name, "OPEN")


class SplitTests(SynchronousTestCase):
    def test_splits(self) -> None:
        self.assertEqual(
            list(splits(b"abc")), [[b"abc"], [b"a", b"bc"], [b"ab", b"c"], [b"a", b"b", b"c"]]
        )
        self.assertEqual(list(splits(b"ab")), [[b"ab"], [b"a", b"b"]])
        self.assertEqual(list(splits(b"")), [[b""]])

    def test_same(self) -> None:
        self.assertEqual(same_for_every_split(b"abc", b"".join), b"abc")

    def test_difference(self) -> None:
        """The error shows the split that made the difference."""

        def longest(pieces: Sequence[bytes]) -> int:
            return max(map(len, pieces))

        with self.assertRaisesRegex(AssertionError, "split at 1"):
            same_for_every_split(b"abc", longest)
        with self.assertRaisesRegex(AssertionError, "byte by byte"):
            same_for_every_split(b"abc", lambda pieces: len(pieces) > 2)

    def test_answers(self) -> None:
        """Answers are complete although the peer closes at once, with any factory."""
        self.assertEqual(answers(lambda: factory_of(Recorder), b"say a\nsay b\nc"), b"a\nb\n")

        class Upper(LineReceiver):
            delimiter = b"\n"

            def lineReceived(self, line: bytes) -> None:
                self.sendLine(line.upper())

        self.assertEqual(answers(lambda: Factory.forProtocol(Upper), b"a\nb\n"), b"A\nB\n")
        with self.assertRaises(AssertionError):

            class Counter(Protocol):
                def dataReceived(self, data: bytes) -> None:
                    self.transport.write(b"%d" % len(data))

            answers(lambda: Factory.forProtocol(Counter), b"ab")


class PairTests(SynchronousTestCase):
    def test_talks(self) -> None:
        pair = connect_pair(recorders(), EchoFactory())
        pair.client.send(b"hello")
        pair.pump()
        self.assertEqual(pair.client.events, ["connected", b"hello"])
        self.assertEqual(pair.client.peer, pair.server.host)
        self.assertEqual(pair.server.peer, pair.client.host)
        pair.client.close()
        pair.pump()
        self.assertEqual(pair.client.events[-1], CLOSED)
        self.assertIs(pair.server.reason, PEER_CLOSED)

    def test_server_closes(self) -> None:
        pair = connect_pair(plain(), EchoFactory())
        pair.server.close()
        pair.pump()
        self.assertIs(pair.client.lost, ConnectionDone)
        self.assertIs(pair.server.reason, CLOSED)

    def test_abort(self) -> None:
        """After an abort, the other side sees a reset."""
        for aborted, other in (("client", "server"), ("server", "client")):
            factory = factory_of(Recorder)
            pair = connect_pair(factory, factory)
            getattr(pair, aborted).abort()
            pair.pump()
            self.assertEqual(getattr(pair, other).events, ["connected", PEER_RESET])
            self.assertEqual(getattr(pair, aborted).events, ["connected", CLOSED])
            self.assertEqual(len(factory), 0)

    def test_backpressure(self) -> None:
        """A side that does not read fills the buffers, and then the other side is full."""
        pair = connect_pair(plain(), EchoFactory())
        client = pair.client.transport
        producer = Producer(client, 10_000)
        client.registerProducer(producer, True)
        pair.server.pause()
        producer.resumeProducing()
        pair.pump()
        self.assertTrue(producer.paused)
        self.assertGreater(producer.left, 9_700)
        pair.client.transport.pauseProducing()  # now neither side reads
        pair.server.resume()
        pair.pump()
        self.assertGreater(producer.left, 9_400)
        pair.client.dataReceived = pair.client.data.append
        client.resumeProducing()
        pair.pump()
        self.assertEqual(producer.left, 0)
        self.assertEqual(sum(map(len, pair.client.data)), 10_000_000)

    def test_much(self) -> None:
        """Large amounts of data in both directions at once do not deadlock.

        Two sides that do not read while they are full would wait for each other forever.
        """

        class Reads(Recorder):
            reads_while_full = True

        pair = connect_pair(ConnectionFactory.forProtocol(Reads), EchoFactory())
        for number in range(100):
            pair.client.send(b"%d" % number * 5000)
        pair.pump()
        self.assertEqual(pair.client.events[1:], [b"%d" % number * 5000 for number in range(100)])

    def test_endless(self) -> None:
        """Two sides that never stop raise an error; two that only take long do not."""
        pair = connect_pair(plain(), plain())
        pair.client.transport.write(b"a")
        self.assertRaises(RuntimeError, pair.pump)

    def test_refused(self) -> None:
        server = EchoFactory()
        server.accepts = False
        self.assertRaises(ConnectionRefusedError, connect_pair, plain(), server)


def recorders() -> ConnectionFactory:
    return ConnectionFactory.forProtocol(Recorder)
