"""Lanes of broadcasts, on real sockets: :mod:`twisted_net.connection.lanes`."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.test_broadcast_turns import GroupMachine, Member, TurningClock
from twisted_net.connection.broadcast import MANY, Broadcast, WriteScheduler
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.lanes import NOWHERE, Lane
from twisted_net.eager.ports import EagerServer
from twisted_net.eager.reactor import EagerReactor


class Transport(EagerServer):
    """On a socket that has no address, and for which every ``send`` is a packet."""

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 1)


class SocketPeer:
    """The far end of a connection, which may read slowly.

    :ivar packets: what each ``send`` to it has sent, as far as it has read.
    :ivar reads: whether it reads when somebody looks at :attr:`given`.
    """

    cost = 0.0
    writes = 0

    def __init__(self, clock: TurningClock, reactor: EagerReactor) -> None:
        self.ours, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 1
        )  # the least that the kernel gives
        self.socket.setblocking(False)
        factory = ConnectionFactory.forProtocol(Member, clock=clock, stall_timeout=0)
        self.protocol: Any = factory.buildProtocol(None)
        self.transport = Transport(self.ours, self.protocol, ("127.0.0.1", 1), None, 0, reactor)
        self.protocol.makeConnection(self.transport)
        self.packets: list[bytes] = []
        self.reads = True

    def close(self) -> None:
        """Close both ends, whatever has become of the transport."""
        self.socket.close()
        self.ours.close()

    @property
    def given(self) -> bytes:
        while self.reads:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                break
            if not data:
                break
            self.packets.append(data)
        return b"".join(self.packets)


def reactor_for(case: SynchronousTestCase) -> EagerReactor:
    """Return a reactor that the test turns by hand."""
    reactor: Any = EagerReactor()

    def close() -> None:
        for each in reactor.removeAll():
            each.socket.close()
        reactor._uninstallHandler()
        reactor._poller.close()
        for reader in reactor._internalReaders:
            reader.connectionLost(None)

    case.addCleanup(close)
    return reactor  # type: ignore[no-any-return]


class LaneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurningClock()
        self.reactor = reactor_for(self)
        self.broadcast = Broadcast(self.clock, WriteScheduler(self.clock, 4))
        self.peers: list[SocketPeer] = []

    def join(self, count: int) -> list[SocketPeer]:
        made = [SocketPeer(self.clock, self.reactor) for _ in range(count)]
        for peer in made:
            self.addCleanup(peer.close)
            self.broadcast.add(peer.protocol)
        self.peers += made
        return made

    def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.clock.turn()
            self.reactor.doPoll(0)

    def lanes(self) -> list[Lane]:
        found = {id(peer.protocol.membership): peer.protocol.membership for peer in self.peers}
        return [each for each in found.values() if isinstance(each, Lane)]

    def heard(self) -> list[bytes]:
        return [peer.given for peer in self.peers]

    def publish(self, data: bytes, sender: Any = None) -> None:
        self.broadcast.publish(data, sender and sender.protocol)
        self.turn(5)

    def test_who_receives_the_same(self) -> None:
        """Lanes have as many members as a turn writes to, and each of them gets one ``send``."""
        peers = self.join(10)
        self.publish(b"1")
        self.broadcast.publish(b"2")
        self.broadcast.publish(b"3")
        for heard in (4, 8, 10):
            self.turn()
            self.assertEqual(sum(peer.given.endswith(b"23") for peer in peers), heard)
        self.assertEqual([peer.packets for peer in peers], [[b"1", b"23"]] * 10)
        self.assertEqual([len(lane) for lane in self.lanes()], [4, 4, 2])

    def test_what_was_sent_is_counted(self) -> None:
        """Also for one who comes later, leaves its lane, comes back, and leaves the broadcast."""
        self.join(3)
        self.publish(b"before")
        peer = self.join(1)[0]
        connection = peer.protocol
        figures = []
        for _ in range(2):
            self.publish(b"abc")
            figures.append((connection.bytes_sent, connection.messages_sent))
            connection.send(b"alone")
            figures.append((connection.bytes_sent, connection.messages_sent))
        self.broadcast.discard(connection)
        self.publish(b"after")
        figures.append((connection.bytes_sent, connection.messages_sent))
        self.assertEqual(figures, [(3, 1), (8, 2), (11, 3), (16, 4), (16, 4)])
        self.assertIs(connection.membership, NOWHERE)
        self.assertEqual(self.peers[0].protocol.bytes_sent, 6 + 3 + 3 + 5)

    def test_one_who_is_sent_something_alone(self) -> None:
        """It gets everything in order, and is in a lane again after the next round."""
        peers = self.join(3)
        self.publish(b"1")
        peers[1].protocol.send(b"2")
        self.assertNotIsInstance(peers[1].protocol.membership, Lane)
        self.publish(b"3")
        self.publish(b"4")
        self.assertEqual(self.heard(), [b"134", b"1234", b"134"])
        self.assertIsInstance(peers[1].protocol.membership, Lane)

    def test_one_who_leaves_its_lane_during_a_round(self) -> None:
        """It gets what the others get, whether or not its lane had been written to."""
        peers = self.join(8)
        self.publish(b"1")
        self.broadcast.publish(b"2")
        self.turn()
        for peer in peers:
            peer.protocol.send(b"-")
        self.turn(5)
        self.publish(b"3")
        heard = self.heard()
        self.assertEqual(sorted(heard), [b"1-23"] * 4 + [b"12-3"] * 4)

    def test_a_full_socket(self) -> None:
        """What it does not take waits, and the others are not affected."""
        slow, quick = self.join(2)
        slow.reads = False
        messages = [b"%d " % number for number in range(200)]
        for message in messages:
            self.publish(message)
            self.clock.advance(1)
            self.assertTrue(quick.given.endswith(message))
        self.assertGreater(slow.protocol.write_buffer_size, 0)
        self.assertNotIsInstance(slow.protocol.membership, Lane)
        slow.reads = True
        for _ in range(400):
            if slow.given == quick.given:
                break
            self.turn()
        self.assertEqual(slow.given, quick.given)
        self.assertEqual(slow.protocol.bytes_sent, quick.protocol.bytes_sent)
        self.publish(b"x")
        self.publish(b"y")
        self.assertIs(slow.protocol.membership, quick.protocol.membership)

    def test_a_lost_connection(self) -> None:
        """Its end is noticed in a later turn, and the others are not affected."""
        peers = self.join(3)
        self.publish(b"1")
        peers[1].socket.close()
        self.publish(b"2")
        self.assertIsNotNone(peers[1].protocol.reason)
        self.assertIs(type(peers[1].protocol.membership), type(NOWHERE))
        self.broadcast.discard(peers[1].protocol)
        self.publish(b"3")
        self.assertEqual([peer.given for peer in (peers[0], peers[2])], [b"123"] * 2)

    def test_what_ends_being_in_a_lane(self) -> None:
        """Whatever is done with the transport."""
        for act in (
            lambda transport: transport.write(b"x"),
            lambda transport: transport.writeSequence([b"x", b"y"]),
            lambda transport: transport.loseConnection(),
            lambda transport: transport.loseWriteConnection(),
            lambda transport: transport.abortConnection(),
            lambda transport: transport.unregisterProducer(),
            lambda transport: transport.startWriting(),
            lambda transport: transport.stopWriting(),
            lambda transport: transport.protocol.detach(),
            lambda transport: transport.protocol.leave_lane(),
        ):
            peer = self.join(1)[0]
            self.publish(b"1")
            self.assertIsInstance(peer.protocol.membership, Lane)
            self.assertTrue(peer.transport.free())
            self.assertEqual(peer.transport._tempDataBuffer, ())  # nothing can be added to it
            act(peer.transport)
            self.assertNotIsInstance(peer.protocol.membership, Lane)
            self.assertIsInstance(peer.transport._tempDataBuffer, list)
            self.broadcast.discard(peer.protocol)
            self.peers.remove(peer)

    def test_many_in_no_lane(self) -> None:
        """In a silent room, all leave their lanes for pings. They are in lanes again afterwards."""
        peers = self.join(2 * MANY)
        self.publish(b"1")
        self.turn(2 * MANY)
        for peer in peers:
            peer.protocol.send(b"-")
        self.turn()
        self.assertEqual(self.lanes(), [])
        self.assertIsNone(self.broadcast._others, "it takes memory")
        self.broadcast.discard(peers[0].protocol)
        self.peers.remove(peers[0])
        self.join(1)
        self.broadcast.publish(b"2")
        self.turn(2 * MANY)
        self.assertEqual(peers[0].given, b"1-")
        self.assertEqual(self.heard(), [b"1-2"] * (2 * MANY - 1) + [b"2"])
        self.broadcast.flush()
        self.assertEqual(sum(len(lane) for lane in self.lanes()), 2 * MANY)

    def test_one_in_two_broadcasts(self) -> None:
        """It is in no lane until it has left one of them."""
        peer, _ = self.join(2)
        self.publish(b"1")
        other = Broadcast(self.clock, WriteScheduler(self.clock, 4))
        other.add(peer.protocol)
        self.publish(b"2")
        self.assertNotIsInstance(peer.protocol.membership, Lane)
        self.assertEqual(peer.protocol.broadcasts, (self.broadcast, other))
        other.discard(peer.protocol)
        self.publish(b"3")
        self.publish(b"4")
        self.assertEqual(self.heard(), [b"1234"] * 2)
        self.assertEqual(len(self.lanes()), 1)

    def test_lanes_that_many_have_left(self) -> None:
        """They become one, and everything stays counted."""
        peers = self.join(16)
        self.publish(b"1")
        for peer in peers:
            if peers.index(peer) % 4:
                self.broadcast.discard(peer.protocol)
                self.peers.remove(peer)
        self.assertEqual([len(lane) for lane in self.lanes()], [1] * 4)
        self.publish(b"2")
        self.assertEqual([len(lane) for lane in self.lanes()], [4])
        self.assertEqual(self.heard(), [b"12"] * 4)
        figures = {(each.protocol.bytes_sent, each.protocol.messages_sent) for each in self.peers}
        self.assertEqual(figures, {(2, 2)})

    def test_lanes_that_some_have_left(self) -> None:
        """There are no more of them than are needed."""
        peers = self.join(16)
        self.publish(b"1")
        for peer in peers[::4] + peers[1:6:4]:
            self.broadcast.discard(peer.protocol)
            self.peers.remove(peer)
        self.assertEqual(sorted(len(lane) for lane in self.lanes()), [2, 2, 3, 3])
        self.publish(b"22")
        self.assertEqual(sorted(len(lane) for lane in self.lanes()), [2, 4, 4])
        self.publish(b"3")
        self.assertEqual(self.heard(), [b"1223"] * 10)
        figures = {(each.protocol.bytes_sent, each.protocol.messages_sent) for each in self.peers}
        self.assertEqual(figures, {(4, 3)})

    def test_a_turn_that_another_broadcast_has_begun(self) -> None:
        """A lane that is too long for the rest of a turn is the first one in the next."""
        other = Broadcast(self.clock, self.broadcast._scheduler)
        small = [SocketPeer(self.clock, self.reactor) for _ in range(3)]
        for peer in small:
            self.addCleanup(peer.close)
            other.add(peer.protocol)
        large = self.join(4)
        for number in range(3):
            other.publish(b"a")
            self.broadcast.publish(b"b")
            self.turn()
            if number:
                self.assertEqual(small[0].given, b"a" * (number + 1))
                self.assertEqual(large[0].given, b"b" * number)
                other.publish(b"")
            self.turn()
            self.assertEqual([peer.given for peer in large], [b"b" * (number + 1)] * 4)

    def test_flush(self) -> None:
        """It sends to all at once."""
        self.join(9)
        self.publish(b"1")
        self.broadcast.publish(b"2")
        self.broadcast.flush()
        self.assertEqual(self.heard(), [b"12"] * 9)
        self.turn(5)
        self.assertEqual(self.heard(), [b"12"] * 9)


class LaneMachine(GroupMachine):
    """The same steps as for other transports, and what only sockets do."""

    def __init__(self) -> None:
        super().__init__()
        self.case = SynchronousTestCase()
        self.reactor = reactor_for(self.case)
        peers: Any = [SocketPeer(self.clock, self.reactor) for _ in range(6)]
        self.peers = peers
        self.alone: dict[int, list[bytes]] = {who: [] for who in range(6)}

    @rule()
    def turn(self) -> None:
        self.clock.turn()
        self.reactor.doPoll(0)

    @rule(who=GroupMachine.who)
    def send_alone(self, who: int) -> None:
        if who not in self.closed:
            word = self.word(9)
            self.peers[who].protocol.send(word)
            self.alone[who].append(word.strip())

    @rule(who=GroupMachine.who, reads=st.booleans())
    def read(self, who: int, reads: bool) -> None:
        peer: Any = self.peers[who]
        peer.reads = reads

    def check(self, who: int, where: int) -> None:
        peer: Any = self.peers[who]
        reads, peer.reads = peer.reads, True
        before = None
        while peer.given != before:
            before = peer.given
            self.reactor.doPoll(0)
            self.reactor.doPoll(0)
        super().check(who, where)
        words = [word for word in before.split() if word.startswith(b"9.")]
        assert words == self.alone[who], (words, self.alone[who])
        connection = peer.protocol
        assert connection.bytes_sent == len(before), (connection.bytes_sent, before)
        assert connection.messages_sent == len(before.split())
        peer.reads = reads

    def teardown(self) -> None:
        super().teardown()
        for peer in self.peers:
            far_end: Any = peer
            far_end.close()
        self.case.doCleanups()


class LaneModelTests(SynchronousTestCase):
    def test_anything(self) -> None:
        """Every member gets what it should, once and in order, whatever happens meanwhile."""
        run_state_machine_as_test(
            LaneMachine,
            settings=settings(max_examples=60, stateful_step_count=40, database=None),
        )
