"""Tests for ``send_now`` of :mod:`twisted_net.eager.transports`, and for its callers."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from tests.buffers import MANY, tcp_pair
from tests.eager.reactor_turns import OnStockEagerly, OverUNIX, TurnsTestCase
from twisted_net.connection.broadcast import Broadcast
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager import transports
from twisted_net.eager.transports import send_to_all
from twisted_net.wire.framing import Raw


class SendNow:
    """What holds on every reactor."""

    def producing(self) -> tuple[Any, socket.socket]:
        protocol, peer = self.connect()
        protocol.transport.registerProducer(protocol, True)
        return protocol, peer

    def test_at_once(self):
        """The data is sent on return, and the poller does not change."""
        protocol, peer = self.producing()
        poller = self.count_changes()
        self.assertTrue(protocol.transport.send_now(b"x"))
        self.assertEqual((peer.recv(100), poller.changes), (b"x", 0))

    def test_not_before_what_waits(self):
        """It does nothing while older bytes are queued."""
        protocol, peer = self.producing()
        protocol.transport._tempDataBuffer.append(b"a")
        protocol.transport._tempDataLen = 1
        self.assertFalse(protocol.transport.send_now(b"b"))
        self.assertRaises(BlockingIOError, peer.recv, 100)

    def test_the_rest_waits(self):
        """The rest is queued, and the producer is paused and later resumed."""
        protocol, peer = self.producing()
        self.assertTrue(protocol.transport.send_now(b"a" * MANY))
        self.assertEqual(protocol.events, [("pause",)])
        self.assertFalse(protocol.transport.send_now(b"b"))
        self.assertEqual(len(self.drain(peer, MANY)), MANY)
        self.assertEqual(protocol.events, [("pause",), ("resume",)])
        self.assertTrue(protocol.transport.send_now(b"b"))
        self.assertEqual(self.drain(peer, 1), b"b")

    def test_only_while_nothing_ends(self):
        """It does nothing without a push producer, or once the connection is closing or closed."""
        for end in ("unregisterProducer", "loseConnection", "loseWriteConnection"):
            protocol, _ = self.producing()
            getattr(protocol.transport, end)()
            self.assertFalse(protocol.transport.send_now(b"x"), end)
        protocol, _ = self.connect()
        self.assertFalse(protocol.transport.send_now(b"x"))
        protocol, _ = self.producing()
        transport = protocol.transport
        transport.abortConnection()
        self.assertFalse(transport.send_now(b"x"))
        transport.unregisterProducer()
        transport.registerProducer(protocol, True)
        self.assertFalse(transport.send_now(b"x"))
        self.turn(2)
        self.assertFalse(transport.send_now(b"x"))

    def several(self) -> list[tuple[Any, socket.socket]]:
        return [self.producing() for _ in range(3)]

    def test_to_all(self):
        """The same data is sent to many with one send each, and the poller does not change."""
        made = self.several()
        sends = [self.count_sends(protocol) for protocol, _ in made]
        poller = self.count_changes()
        send_to_all([protocol.transport for protocol, _ in made], b"abc")
        self.assertEqual((sends, poller.changes), ([[3]] * 3, 0))
        self.assertEqual([peer.recv(100) for _, peer in made], [b"abc"] * 3)

    def test_to_all_but_one_is_full(self):
        """Each transport queues what its socket does not take."""
        made = self.several()
        (full, peer) = made[1]
        while full.transport.send_now(b"x" * 65536):
            pass
        waiting = len(full.transport.dataBuffer) - full.transport.offset
        full.transport.dataBuffer, full.transport.offset = b"", 0  # as if it had been sent
        full.events.clear()
        send_to_all([protocol.transport for protocol, _ in made], b"abc")
        self.assertEqual([made[n][1].recv(100) for n in (0, 2)], [b"abc"] * 2)
        self.assertGreater(waiting, 0)
        self.assertEqual((full.transport.dataBuffer, full.transport.offset), (b"abc", 0))
        self.assertTrue(self.drain(peer, 65536).endswith(b"xabc"))

    def test_to_all_but_one_is_broken(self):
        """The others are not affected, and nothing raises."""
        made = self.several()
        broken, peer = made[1]
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        for _ in range(2):
            transports = [each.transport for each, _ in made if each.transport.free()]
            send_to_all(transports, b"abc")
        self.assertEqual([made[n][1].recv(100) for n in (0, 2)], [b"abcabc"] * 2)
        self.assertEqual(broken.events, [])
        self.turn_until(lambda: broken.events)
        self.assertEqual(broken.events[-1][0], "lost")


class SendNowTests(SendNow, TurnsTestCase):
    """On the eager reactor."""

    def test_errors_show_later(self):
        """A reset ends the connection in a later turn, and raises nothing."""
        protocol, peer = self.producing()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        protocol.transport.send_now(b"x")
        protocol.transport.send_now(b"y")
        self.assertEqual(protocol.events, [])
        self.turn_until(lambda: protocol.events)
        self.assertEqual(protocol.events, [("stop",), ("lost", ConnectionLost)])


class ElsewhereTests(OnStockEagerly, SendNowTests):
    """On Twisted's reactor."""


class UNIXTests(OverUNIX, SendNow, TurnsTestCase):
    """Over a Unix socket, which carries descriptors as well."""

    def test_not_before_descriptors(self):
        """A descriptor that waits to be sent goes first."""
        protocol, _ = self.producing()
        with socket.socket() as sent:
            protocol.transport.sendFileDescriptor(sent.fileno())
            self.assertFalse(protocol.transport.send_now(b"x"))
            protocol.transport.write(b"y")
            self.turn()


class Shouting(ProtocolWrapper):
    """Stands for a wrapper that must see all bytes, such as TLS."""

    def write(self, data: bytes) -> None:
        super().write(data.upper())


class Member(Connection):
    framing = Raw


class StoppedClock:
    """A reactor whose time stands still, so that no round of a broadcast takes any.

    On a busy machine a round takes longer than a millisecond, and the next one waits as long.
    """

    def __init__(self, reactor: Any) -> None:
        self.callLater = reactor.callLater

    def seconds(self) -> float:
        return 0.0


class GroupTests(TurnsTestCase):
    def in_a_group(self, wrapped: bool = False) -> tuple[Broadcast, Connection, socket.socket]:
        """Return a broadcast, its only member, and that member's peer."""
        made: list[Connection] = []

        def make() -> Connection:
            made.append(Member())
            return made[0]

        factory: Factory = ConnectionFactory.forProtocol(make, clock=self.reactor)
        if wrapped:
            factory = WrappingFactory(factory)
            factory.protocol = Shouting
        ours, theirs = tcp_pair()
        theirs.setblocking(False)
        self.addCleanup(theirs.close)
        with ours:
            self.reactor.adoptStreamConnection(ours.fileno(), self.family, factory)
        broadcast = Broadcast(StoppedClock(self.reactor))
        broadcast.add(made[0])
        return broadcast, made[0], theirs

    def test_one_send(self):
        """A broadcast is one ``send`` for each member, in the next turn, and is counted."""
        broadcast, member, peer = self.in_a_group()
        sends: list[int] = []

        def send(sock: socket.socket, data: bytes) -> int:
            sends.append(sock.send(data))
            return sends[-1]

        self.patch(transports, "_send", send)
        broadcast.publish(b"ab")
        broadcast.publish(b"cd")
        self.reactor.runUntilCurrent()
        self.assertEqual((sends, peer.recv(100)), ([4], b"abcd"))
        self.assertEqual((member.bytes_sent, member.messages_sent), (4, 2))

    def test_after_an_answer(self):
        """Earlier writes go before the broadcast, in the same ``send``."""
        broadcast, member, peer = self.in_a_group()
        sends = self.count_sends(member)
        broadcast.publish(b"cd")
        member.send(b"ab")
        self.turn()
        self.assertEqual((sends, peer.recv(100)), ([4], b"abcd"))

    def test_wrappers_see_everything(self):
        """Broadcasts do not bypass a wrapper around the transport."""
        broadcast, member, peer = self.in_a_group(wrapped=True)
        broadcast.publish(b"ab")
        self.assertEqual(self.drain(peer, 2), b"AB")
        self.assertEqual((member.bytes_sent, member.messages_sent), (2, 1))

    def test_a_slow_member(self):
        """What it does not take waits in its queue, and arrives in order when it reads."""
        broadcast, member, peer = self.in_a_group()
        for piece in (b"a" * MANY, b"b", b"c"):
            broadcast.publish(piece)
            self.turn()
        self.assertEqual(member.queued, 2)
        self.assertEqual(self.drain(peer, MANY + 2), b"a" * MANY + b"bc")
        self.assertEqual(member.bytes_sent, MANY + 2)
