"""What an idle connection consists of: few objects, and none that could be made later."""

from __future__ import annotations

import abc
import gc
import sys
from collections import Counter
from types import FunctionType, ModuleType
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import ChatCase
from tests.connection.recording import Recorder
from twisted_net.chat.registry import Registry, Room
from twisted_net.connection.broadcast import Broadcast
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.timer_wheel import _Slot
from twisted_net.eager.key_sharing import share_keys
from twisted_net.echo import EchoFactory
from twisted_net.policy.close_reasons import SLOW
from twisted_net.testing import Peer, connect_peer

CROWD = 40  # more than the thirty instances in which CPython lets names be shared

# What all connections share.
_SHARED = (
    type,
    ModuleType,
    FunctionType,
    ConnectionFactory,
    Broadcast,
    Registry,
    Room,
    _Slot,
    Peer,
)


def own(connection: Connection, neighbour: Connection) -> Counter[str]:
    """Count the objects of one connection alone, by type, without its transport."""
    shared = {id(each) for each in _reachable(neighbour)}
    found = [each for each in _reachable(connection) if id(each) not in shared]
    return Counter(type(each).__name__ for each in found if not isinstance(each, int | str))


def _reachable(connection: Connection) -> list[Any]:
    seen: set[int] = set()
    found: list[Any] = []
    stack: list[Any] = [connection]
    while stack:
        each = stack.pop()
        if id(each) not in seen and not isinstance(each, _SHARED):
            seen.add(id(each))
            found.append(each)
            stack += gc.get_referents(each)
    return found


def crowd(factory: ConnectionFactory, *lines: bytes) -> list[Connection]:
    """Open many connections, and only then send these lines from each."""
    peers = [connect_peer(factory) for _ in range(CROWD)]
    peers[0].advance(0.2)  # the chat greets them
    for peer in peers:
        peer.send(*lines)
    return [peer.protocol for peer in peers]


class IdleTests(ChatCase):
    def test_echo(self) -> None:
        """An echo connection is a connection, its framing, and one timeout."""
        *_, one, other = crowd(EchoFactory(clock=self.clock, idle_timeout=300), b"hello")
        self.assertEqual(own(one, other), {"EchoProtocol": 1, "Raw": 1, "Timeout": 1})

    def test_chat(self) -> None:
        """A chat connection also has a user and a session, and its framing has no buffer."""
        member = ["ChatProtocol", "SkippingLines", "Timeout", "User", "Session"]
        for lines in ((), (b"/topic x\n",), (b"hello\n",)):
            self.setUp()
            factory = self.make(idle_timeout=300)
            *_, one, other = crowd(factory, *lines)
            self.assertEqual(own(one, other), Counter(member), lines)

    def test_program(self) -> None:
        """A JSON client takes no more, even after a ping."""
        *_, one, other = crowd(self.make(idle_timeout=300), b'{"type":"hello","room":"lobby"}\n')
        for _ in range(3):
            for each in (one, other):
                each.transport.advance(20)
                each.transport.send(b'{"type":"pong"}\n')
        self.assertEqual(
            own(one, other),
            Counter(["ChatProtocol", "SkippingLines", "Timeout", "User", "Session"]),
        )

    def test_bytes(self) -> None:
        """A connection takes less than 900 bytes, without transport, kernel and shared tables."""
        *_, one, other = crowd(self.make(idle_timeout=300))
        shared = {id(each) for each in _reachable(other)}
        size = sum(sys.getsizeof(each) for each in _reachable(one) if id(each) not in shared)
        size += 8 * len(vars(one))  # attributes are stored next to the instance, not in it
        self.assertLess(size, 900)

    def test_the_sweep(self) -> None:
        """The stall check leaves nothing on connections with nothing waiting."""
        *_, one, other = crowd(self.make(idle_timeout=0, stall_timeout=3))
        before = set(vars(other))
        one.transport.advance(10)
        self.assertEqual(set(vars(one)), before)

    def test_own_names(self) -> None:
        """An attribute of a subclass does not cost a dictionary."""

        class Noting(Recorder):
            def message_received(self, message: bytes) -> None:
                self.last = message

        factory = ConnectionFactory.forProtocol(Noting, clock=Clock())
        connections = crowd(factory, b"a\n")
        held = [type(each) for each in gc.get_referents(connections[-1])]
        self.assertEqual((connections[-1].last, dict in held), (b"a", False))

    def test_one_address(self) -> None:
        """Connections share the local address, and each keeps its peer's address after its end."""
        factory = EchoFactory(clock=Clock())
        one, other = connect_peer(factory).protocol, connect_peer(factory).protocol
        self.assertIs(one.host, other.host)
        peer = one.peer
        one.abort()
        one.transport.turn()
        self.assertNotIn(one.id, factory.connections)
        one.transport = None
        self.assertEqual(one.peer, peer)

    def test_origins(self) -> None:
        """Only users who have sent a message have an origin."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        ann.send(b"hello\n")
        self.assertEqual(bob.take(), b"<ann> hello\n")
        self.assertEqual(list(self.factory.registry.by_origin.values()), [ann.protocol.user])
        ann.write_eof()
        self.assertEqual(self.factory.registry.by_origin, {})


class ShareNamesTests(SynchronousTestCase):
    def test_a_class_that_cannot_be_made(self) -> None:
        """Abstract classes and properties are left unchanged."""

        class Abstract(Connection, abc.ABC):
            @abc.abstractmethod
            def missing(self) -> None: ...

        class Owned(Connection):
            @property
            def reason(self) -> Any:  # type: ignore[override]
                return None

        for cls in (Abstract, Owned):
            share_keys(cls, cls.shared_keys)
        self.assertIsNone(Owned().reason)


class HeartbeatTests(ChatCase):
    def test_those_who_came_together_are_not_asked_together(self) -> None:
        """Connections opened together are pinged evenly over a quarter of the time."""
        crowd(self.factory, b'{"type":"hello"}\n')
        peers = [each.transport for each in self.factory.connections.values()]
        asked: dict[Peer, float] = {}
        while len(asked) < CROWD:
            for peer in peers:
                if b"ping" in peer.take():
                    asked[peer] = self.clock.seconds()
            self.clock.advance(0.5)
        seconds = self.factory.heartbeat
        self.assertGreaterEqual(min(asked.values()), 0.75 * seconds - 0.5)
        self.assertLessEqual(max(asked.values()), seconds + 1)
        self.assertLessEqual(max(Counter(asked.values()).values()), CROWD / 8)

    def test_full(self) -> None:
        """A peer whose queue is too full for a ping is closed, and then aborted."""
        self.factory = self.make(queue_limit=10, close_grace=2, stall_timeout=0)
        program = self.program("ann").peer
        program.full()
        program.protocol.send_encoded(b"x" * 10)
        program.advance(self.factory.heartbeat + 3)
        self.assertIs(program.protocol.reason, SLOW)
        program.advance(10)
        self.assertTrue(program.aborted)

    def test_signs_of_life(self) -> None:
        """Every way of writing a pong counts."""
        program = self.program("ann")
        for line in (b'{"type":"pong"}', b'{"type": "pong"}', b' { "type":"pong","x":1}'):
            for _ in range(3):
                program.peer.advance(self.factory.heartbeat - 5)
                program.raw(line)
        self.assertTrue(program.peer.connected)
        self.assertLessEqual({each["type"] for each in program.heard()}, {"ping", "presence"})
