"""The three hooks of a connection, sending, counters, and the factory."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import CLOSED, DRAINING, PEER_CLOSED
from twisted_net.policy.limits import Limits
from twisted_net.testing import HOST, PEER, connect_peer, same_for_every_split
from twisted_net.wire.framing import JsonLines, LengthPrefixed, Lines, LocalProtocolError, Raw


class HookTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The hooks are called in order: connected, each message, disconnected with the reason."""
        connection, peer = made()
        peer.send(b"a\nb\n", b"c\n")
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", b"a", b"b", b"c", PEER_CLOSED])

    def test_every_split(self) -> None:
        """The messages are the same, however the data is split."""

        def run(pieces: Any) -> list[Any]:
            connection, peer = made()
            peer.send(*pieces)
            peer.write_eof()
            return connection.events  # type: ignore[no-any-return]

        events = same_for_every_split(b"one\r\n\nsay two\nclose\nlate\n", run)
        self.assertEqual(events, ["connected", b"one", b"", b"say two", b"close", CLOSED])

    def test_defaults(self) -> None:
        """A connection without hooks reads lines and does nothing."""
        connection, peer = made(Connection)
        peer.send(b"hello\n")
        peer.write_eof()
        self.assertEqual(peer.received, b"")
        self.assertIs(connection.reason, PEER_CLOSED)

    def test_incomplete_message_at_the_end(self) -> None:
        """An incomplete message is dropped when the peer closes."""
        connection, peer = made()
        peer.send(b"a\nb")
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", b"a", PEER_CLOSED])

    def test_sends_while_connecting(self) -> None:
        """The first hook may send."""

        class Greeter(Connection):
            def connected(self) -> None:
                self.send("welcome")

        _, peer = made(Greeter)
        self.assertEqual(peer.received, b"welcome\n")

    def test_closes_while_connecting(self) -> None:
        """The first hook may close: no message is delivered, and the end is reported."""

        class Refuser(Recorder):
            def connected(self) -> None:
                self.send("no")
                self.close(DRAINING)

        connection, peer = made(Refuser)
        peer.send(b"hello\n")
        peer.write_eof()
        self.assertEqual(peer.received, b"no\n")
        self.assertEqual(connection.events, [DRAINING])


class FramingTests(SynchronousTestCase):
    def assert_echoes(self, framing: Any, data: bytes) -> None:
        class Echo(Connection):
            def message_received(self, message: Any) -> None:
                self.send(message)

        Echo.framing = framing
        _, peer = made(Echo)
        peer.send(data)
        self.assertEqual(peer.received, data)

    def test_class(self) -> None:
        self.assert_echoes(JsonLines, b'{"a":1}\n')

    def test_partial(self) -> None:
        self.assert_echoes(partial(LengthPrefixed, 2), b"\0\3abc")

    def test_function(self) -> None:
        """A plain function on the class does not become a method."""

        def framing(*, max_size: int) -> Lines:
            return Lines(max_size=max_size)

        self.assert_echoes(framing, b"a\n")

    def test_gets_the_limit(self) -> None:
        sizes = []

        def framing(*, max_size: int) -> Raw:
            sizes.append(max_size)
            return Raw(max_size=max_size)

        class Sized(Connection):
            pass

        Sized.framing = framing
        made(Sized, max_message=77)
        self.assertEqual(sizes, [77])

    def test_what_cannot_be_sent(self) -> None:
        """Sending a message that cannot be framed raises, and the connection stays open."""
        connection, peer = made()
        with self.assertRaises(LocalProtocolError):
            connection.send(b"two\nlines")
        self.assertTrue(connection.send(b"one"))
        self.assertEqual(peer.received, b"one\n")
        self.assertEqual(connection.messages_sent, 1)


class NumberTests(SynchronousTestCase):
    def test_counters(self) -> None:
        """The counters count both directions, and keep their values after the end."""
        connection, peer = made()
        peer.send(b"say hello\nsay there\nx")
        connection.send_encoded(b"a\nb\nc\n", messages=3)
        peer.reset()
        self.assertEqual(
            (connection.bytes_received, connection.messages_received),
            (len(b"say hello\n") * 2 + 1, 2),
        )
        self.assertEqual((connection.bytes_sent, connection.messages_sent), (18, 5))

    def test_exact_when_part_was_queued(self) -> None:
        """Queued bytes count once, when they go to the transport."""
        connection, peer = made(queue_limit=20_000_000)
        for _ in range(100):
            connection.send_encoded(b"x" * 100_000)
        self.assertEqual(connection.bytes_sent, 100_000)
        self.assertEqual(connection.queued, 9_900_000)
        self.assertEqual(len(peer.received), 10_000_000)
        self.assertEqual((connection.bytes_sent, connection.messages_sent), (10_000_000, 100))
        self.assertEqual(connection.queued, 0)

    def test_addresses(self) -> None:
        """The addresses are kept after the end."""
        connection, peer = made()
        peer.reset()
        self.assertEqual((connection.peer, connection.host), (PEER, HOST))

    def test_mapped_address(self) -> None:
        """An IPv4 peer of an IPv6 socket has its IPv4 address."""
        peer = connect_peer(factory_of(Recorder), peer=IPv6Address("TCP", "::ffff:10.0.0.1", 5))
        self.assertEqual(peer.protocol.peer, IPv4Address("TCP", "10.0.0.1", 5))

    def test_numbered_from_one(self) -> None:
        factory = factory_of(Recorder)
        self.assertEqual([connect_peer(factory).protocol.id for _ in range(3)], [1, 2, 3])


class AfterTheEndTests(SynchronousTestCase):
    def use_everything(self, connection: Any) -> None:
        self.assertFalse(connection.send(b"late"))
        self.assertFalse(connection.send_encoded(b"late"))
        self.successResultOf(connection.drained())
        for method in ("pause", "resume", "touch", "write_eof", "close", "abort", "pauseProducing"):
            getattr(connection, method)()
        connection.resumeProducing()
        connection.stopProducing()
        connection.dataReceived(b"late\n")
        connection.handshakeCompleted()
        connection.writeConnectionLost()
        self.assertEqual(connection.queued, 0)

    def test_everything_is_safe(self) -> None:
        """After any end, every method may be called and does nothing."""
        for end in ("write_eof", "reset"):
            connection, peer = made(idle_timeout=5)
            getattr(peer, end)()
            before, reason = list(connection.events), connection.reason
            self.use_everything(connection)
            peer.advance(60)
            self.assertEqual(connection.events, before)
            self.assertIs(connection.reason, reason)
            self.assertEqual(peer.received, b"")

    def test_everything_is_safe_while_closing(self) -> None:
        connection, peer = made()
        connection.close()
        self.assertFalse(connection.send(b"late"))
        connection.pause()
        connection.resume()
        connection.touch()
        connection.write_eof()
        connection.close(DRAINING)
        peer.write_eof()
        self.assertEqual(peer.received, b"")
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_everything_is_safe_in_the_last_hook(self) -> None:
        test = self

        class Last(Recorder):
            def disconnected(self, reason: Any) -> None:
                super().disconnected(reason)
                test.use_everything(self)

        connection, peer = made(Last)
        peer.write_eof()
        self.assertEqual(connection.events, ["connected", PEER_CLOSED])


class FactoryTests(SynchronousTestCase):
    def test_knows_the_open_ones(self) -> None:
        factory = factory_of(Recorder)
        peers = [connect_peer(factory) for _ in range(3)]
        self.assertEqual(len(factory), 3)
        self.assertEqual(list(factory.connections.values()), [peer.protocol for peer in peers])
        peers[1].reset()
        self.assertEqual(sorted(factory.connections), [1, 3])
        self.assertEqual(len(factory), 2)

    def test_true_when_empty(self) -> None:
        self.assertTrue(factory_of(Recorder))

    def test_tell(self) -> None:
        factory = factory_of(Recorder)
        peers = [connect_peer(factory) for _ in range(3)]
        factory.close()
        peers += [connect_peer(factory) for _ in range(2)]
        factory.send_to_all(b"news")
        self.assertEqual([peer.received for peer in peers], [b"", b"", b"", b"news\n", b"news\n"])

    def test_close(self) -> None:
        """``close`` closes all connections with the reason, and data sent before still arrives."""
        factory = factory_of(Recorder)
        peers = [connect_peer(factory) for _ in range(3)]
        factory.send_to_all(b"bye")
        factory.close(DRAINING)
        for peer in peers:
            peer.write_eof()
        self.assertEqual([peer.received for peer in peers], [b"bye\n"] * 3)
        self.assertEqual([peer.protocol.events[-1] for peer in peers], [DRAINING] * 3)
        self.assertEqual(len(factory), 0)

    def test_accepts(self) -> None:
        """With ``accepts`` False, clients are rejected and open connections stay."""
        factory = factory_of(Recorder)
        first = connect_peer(factory)
        factory.accepts = False
        self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        factory.accepts = True
        connect_peer(factory)
        first.send(b"say still here\n")
        self.assertEqual(first.received, b"still here\n")
        self.assertEqual(len(factory), 2)

    def test_limits(self) -> None:
        """Single limits override the given limits, which override the defaults."""
        limits = Limits(max_message=5, idle_timeout=7)
        factory = ConnectionFactory(limits=limits, idle_timeout=9)
        self.assertEqual((factory.limits.max_message, factory.limits.idle_timeout), (5, 9))
        self.assertEqual(limits.idle_timeout, 7)

    def test_wrong_limits_are_named(self) -> None:
        for name, value in (
            ("idle_timeout", -1),
            ("idle_timeout", float("nan")),
            ("close_grace", float("inf")),
            ("max_message", 0),
            ("queue_limit", 0),
        ):
            with self.assertRaisesRegex(ValueError, name):
                ConnectionFactory.forProtocol(Recorder, **{name: value})
        with self.assertRaisesRegex(TypeError, "idle_timout"):
            ConnectionFactory.forProtocol(Recorder, idle_timout=5)

    def test_clocks_only_when_needed(self) -> None:
        """The default clock is the reactor's, which is not looked up when the factory is made."""
        factory = ConnectionFactory.forProtocol(Recorder)
        self.assertIs(factory._clock, None)
        clock = Clock()
        self.assertIs(ConnectionFactory(clock=clock).clock, clock)

    def test_drained_fails_with_the_end(self) -> None:
        connection, peer = made()
        peer.full()
        waiting = connection.drained()
        self.assertNoResult(waiting)
        peer.reset()
        self.failureResultOf(waiting, CancelledError)
