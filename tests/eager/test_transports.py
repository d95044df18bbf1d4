"""Tests for :mod:`twisted_net.eager.transports`.

Promises that Twisted's transports make too are tested in ``test_promises``.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import (
    UnsupportedAddressFamily,
)
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from tests.buffers import MANY
from tests.eager.reactor_turns import (
    HalfRecorder,
    OnStockEagerly,
    OverUNIX,
    Recorder,
    TurnsTestCase,
)
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager import ports as ports_module
from twisted_net.eager.ports import EagerClient, EagerServer
from twisted_net.eager.reactor import EagerReactor
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.eager.transports import Eager
from twisted_net.eager.write_batch import WriteBatch
from twisted_net.policy.close_reasons import CLOSED


class Eagerness:
    """What eager transports add to Twisted's, where the reactor batches a turn."""

    def test_poller_unchanged(self):
        """Writing does not change the poller."""
        protocol, peer = self.connect()
        protocol.received = Recorder.write_back
        poller = self.count_changes()
        for _ in range(3):
            peer.send(b"ping")
            self.turn(wait=1)
            self.turn()
            self.assertEqual(peer.recv(100), b"ping")
        self.assertEqual(poller.changes, 0)

    def test_poller_for_the_rest(self):
        """The transport waits for the poller only while the socket does not take everything."""
        protocol, peer = self.connect()
        poller = self.count_changes()
        protocol.transport.write(b"x" * MANY)
        self.turn()
        self.assertEqual(poller.changes, 1)
        self.assertEqual(len(self.drain(peer, MANY)), MANY)
        self.assertEqual(poller.changes, 2)

    def test_limit(self):
        """A huge write sends at most SEND_LIMIT bytes at once, as with Twisted's transports."""
        protocol, peer = self.connect()
        protocol.transport.SEND_LIMIT = 1000
        protocol.transport.write(b"x" * 2500)
        self.reactor.batch.flush()
        self.assertEqual(len(peer.recv(1 << 20)), 1000)
        self.assertEqual(len(self.drain(peer, 1500)), 1500)

    def test_together(self):
        """All writes of a turn are sent together, with one send."""
        protocol, peer = self.connect()
        sends = self.count_sends(protocol)
        for piece in (b"a", b"b", b"c"):
            protocol.transport.write(piece)
        protocol.transport.writeSequence([b"d", b"e"])
        self.turn()
        self.assertEqual((sends, peer.recv(100)), ([5], b"abcde"))

    def test_streaming_producer_is_no_obstacle(self):
        """With a streaming producer that is not paused, writing does not change the poller."""
        protocol, peer = self.connect()
        protocol.transport.registerProducer(protocol, True)
        poller = self.count_changes()
        protocol.transport.write(b"x")
        self.turn()
        self.assertEqual((peer.recv(100), poller.changes), (b"x", 0))

    def test_options_left_alone(self):
        """The socket options are the same as Twisted's."""
        protocol, _ = self.connect()
        self.assertFalse(protocol.transport.getTcpNoDelay())

    def test_closer(self):
        """The closer is asked before the transport closes, and may close in its own way."""
        protocol, peer = self.connect()
        asked = []

        class Closer:
            def close_from_outside(self):
                asked.append(len(asked))
                return len(asked) == 1

        protocol.transport.closer = Closer()
        protocol.transport.loseConnection()
        self.turn()
        self.assertFalse(protocol.transport.disconnecting)
        protocol.transport.loseConnection()
        self.turn()
        self.assertEqual((asked, peer.recv(100)), ([0, 1], b""))

    def test_connection_of_ours(self):
        """A connection of ours closes in its own way when its eager transport is closed."""
        protocol, _ = self.connect()
        factory = ConnectionFactory.forProtocol(Connection, clock=Clock())
        connection = factory.buildProtocol(None)
        connection.makeConnection(protocol.transport)
        protocol.transport.loseConnection()
        self.assertIs(connection.reason, CLOSED)
        self.assertIs(protocol.transport.closer, connection)
        connection.abort()
        self.assertIsNone(protocol.transport.closer)

    def test_one_bad_transport(self):
        """A transport that fails to flush does not affect the others."""
        (bad, _), (good, peer) = self.connect(), self.connect()
        bad.transport.write(b"x")
        good.transport.write(b"y")
        bad.transport._tempDataBuffer = [None]
        self.turn()
        self.assertEqual(peer.recv(100), b"y")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class EagerTests(Eagerness, TurnsTestCase):
    """TCP on the eager reactor."""


class EagerUNIXTests(OverUNIX, EagerTests):
    """Unix sockets on the eager reactor."""


class ElsewhereTests(OnStockEagerly, TurnsTestCase):
    """Eager TCP on Twisted's reactor."""

    sent_at_once = True

    def test_poller_unchanged(self):
        """Writing inside dataReceived does not change the poller, and sends once."""
        protocol, peer = self.connect()
        protocol.received = Recorder.write_back
        poller = self.count_changes()
        sends = self.count_sends(protocol)
        peer.send(b"ping")
        self.turn(wait=1)
        self.assertEqual((sends, peer.recv(100), poller.changes), ([4], b"ping", 0))

    def test_others_inside(self):
        """What one connection's event writes to another is batched too."""
        (one, ours), (other, theirs) = self.connect(), self.connect()
        sends = self.count_sends(other)
        one.received = lambda self, data: [other.transport.write(data) for _ in range(3)]
        ours.send(b"x")
        self.turn(wait=1)
        self.assertEqual((sends, theirs.recv(100)), ([3], b"xxx"))

    def test_outside(self):
        """Over TCP, data written outside an event is sent at once."""
        protocol, peer = self.connect()
        protocol.transport.write(b"x")
        if self.sent_at_once:
            self.assertEqual(peer.recv(100), b"x")
            self.assertTrue(protocol.transport.getTcpNoDelay())
        else:
            self.assertRaises(BlockingIOError, peer.recv, 100)
            self.assertFalse(protocol.transport.getTcpNoDelay())
            self.assertEqual(self.drain(peer), b"x")


class ElsewhereUNIXTests(OverUNIX, ElsewhereTests):
    """Eager Unix sockets on Twisted's reactor."""

    sent_at_once = False


def _how(transport: tcp.Server) -> tuple[Any, ...]:
    return transport.client, transport.server, transport.sessionno


class CallsTests(OnStockEagerly, TurnsTestCase):
    """The reactor that ``eager`` returns."""

    def _connected(self, port, connect) -> tuple[Recorder, Recorder]:
        factory = port.factory
        server = factory.protocol()
        client = Recorder()
        factory.protocol = lambda: server
        clients = ClientFactory.forProtocol(lambda: client)
        clients.noisy = factory.noisy = False
        connect(clients)
        self.turn_until(lambda: client.connected and server.connected)
        self.addCleanup(port.stopListening)
        return client, server

    def _check(self, client: Recorder, server: Recorder) -> None:
        for one, other in ((client, server), (server, client)):
            self.assertIsInstance(one.transport, Eager)
            one.transport.write(b"hello")
            self.turn_until(lambda other=other: other.events)
            self.assertEqual(other.events, [("data", b"hello")])

    def test_tcp(self):
        """listenTCP and connectTCP make eager transports, with TCP_NODELAY on."""
        port = self.calls.listenTCP(
            0, Factory.forProtocol(Recorder), interface="127.0.0.1", backlog=1
        )
        host = port.getHost()
        client, server = self._connected(
            port, lambda factory: self.calls.connectTCP(host.host, host.port, factory)
        )
        self._check(client, server)
        self.assertTrue(client.transport.getTcpNoDelay())

    def test_names(self):
        """A transport has the same names in logs as Twisted's, whatever happens to it."""
        port = self.calls.listenTCP(0, Factory.forProtocol(Recorder), interface="127.0.0.1")
        host = port.getHost()
        client, server = self._connected(
            port, lambda factory: self.calls.connectTCP(host.host, host.port, factory)
        )
        transport = server.transport
        stock = tcp.Server(transport.socket, server, *_how(transport), MemoryReactor())
        self.assertLessEqual(set(vars(stock)), set(dir(transport)))
        names = ("logstr", "repstr", "hostname", "sessionno", "client")
        told = [getattr(stock, name) for name in names]
        self.assertEqual([getattr(transport, name) for name in names], told)
        self.assertEqual((transport.logPrefix(), repr(transport)), (stock.logstr, stock.repstr))
        self.assertEqual(transport.fileno(), transport.socket.fileno())
        port.stopListening()
        transport.protocol = HalfRecorder()
        client.transport.loseConnection()
        self.turn_until(lambda: transport.protocol.events if transport.connected else True)
        self.assertEqual([getattr(transport, name) for name in names], told)
        self.assertEqual(transport.fileno(), transport.socket.fileno())
        transport.abortConnection()
        self.turn_until(lambda: not transport.connected)
        self.assertEqual([getattr(transport, name) for name in names], told)
        self.assertEqual(transport.fileno(), -1)

    def test_unix(self):
        """listenUNIX and connectUNIX make eager transports."""
        path = "\0" + self.id()[-60:] + str(os.getpid())
        port = self.calls.listenUNIX(path, Factory.forProtocol(Recorder))
        client, server = self._connected(
            port, lambda factory: self.calls.connectUNIX(path, factory)
        )
        self._check(client, server)

    def test_adopted_ports(self):
        """The connections of an adopted port are eager, for each family."""
        path = "\0" + self.id()[-60:] + str(os.getpid())
        for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, path)):
            with socket.socket(family) as ours:
                ours.bind(address)
                ours.listen()
                ours.setblocking(False)
                name = ours.getsockname()
                port = self.calls.adoptStreamPort(
                    ours.fileno(), family, Factory.forProtocol(Recorder)
                )
            if family == socket.AF_INET:
                connect = lambda factory, name=name: self.calls.connectTCP(*name, factory)  # noqa: E731
            else:
                connect = lambda factory, name=name: self.calls.connectUNIX(name, factory)  # noqa: E731
            self._check(*self._connected(port, connect))

    def test_a_crowd(self):
        """A port accepts at most twice as many connections in a turn as in the last one, and no
        more than 16, so that existing ones are served."""
        self.patch(ports_module, "perf_counter", lambda: 0)
        path = "\0" + self.id()[-60:] + str(os.getpid())
        factory = Factory.forProtocol(Recorder)
        factory.noisy = False
        ports = (
            (self.calls.listenTCP(0, factory, interface="127.0.0.1"), socket.AF_INET),
            (self.calls.listenUNIX(path, factory), socket.AF_UNIX),
        )
        for port, family in ports:
            made = []
            factory.buildProtocol = lambda address, made=made: made.append(address)  # rejected
            name = port.socket.getsockname()
            for _ in range(40):
                client = socket.socket(family)
                self.addCleanup(client.close)
                client.connect(name)
            counts = []
            while len(made) < 40:
                self.turn(wait=1)
                counts.append(len(made))
            self.assertEqual(counts, [1, 3, 7, 15, 31, 40])
            self.addCleanup(port.stopListening)

    def test_unknown_family(self):
        """An unknown address family raises Twisted's error."""
        for call in (self.calls.adoptStreamPort, self.calls.adoptStreamConnection):
            self.assertRaises(UnsupportedAddressFamily, call, 0, socket.AF_UNSPEC, Factory())

    def test_refused(self):
        """A connection attempt that the peer refuses fails as with Twisted's transports."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            failed = []
            factory = ClientFactory()
            factory.noisy = False
            factory.clientConnectionFailed = lambda connector, reason: failed.append(reason)
            self.calls.connectTCP(*taken.getsockname(), factory)
            self.turn_until(lambda: failed)


class ElsewhereCallsTests(CallsTests):
    """The same methods of the eager reactor."""

    make_reactor = EagerReactor
    make_eager = False

    def test_tcp(self):
        """listenTCP and connectTCP make eager transports, and do not set TCP_NODELAY."""
        port = self.calls.listenTCP(0, Factory.forProtocol(Recorder), interface="127.0.0.1")
        host = port.getHost()
        client, server = self._connected(
            port, lambda factory: self.calls.connectTCP(host.host, host.port, factory)
        )
        self._check(client, server)
        self.assertFalse(client.transport.getTcpNoDelay())


class EagerFunctionTests(SynchronousTestCase):
    """The function ``eager``."""

    def test_foreign(self):
        """A reactor that is not built from Twisted's parts is returned unchanged."""
        reactor = MemoryReactor()
        self.assertIs(eager(reactor), reactor)

    def test_own(self):
        """A reactor that makes transports of its own is returned unchanged."""

        class Own(EPollReactor):
            def __init__(self):
                pass

            def listenTCP(self, *arguments):
                pass

        reactor = Own()
        self.assertIs(eager(reactor), reactor)

    def test_the_rest(self):
        """Everything else is the reactor's, including its interfaces."""

        class Silent(EPollReactor):
            def __init__(self):
                self.answer = 42

        made = eager(Silent())
        self.assertEqual(made.answer, 42)
        self.assertTrue(IReactorTCP.providedBy(made))
        self.assertRaises(AttributeError, getattr, made, "nonsense")

    def test_kinds(self):
        """The transports are instances of Twisted's classes."""
        self.assertTrue(issubclass(EagerServer, tcp.Server))
        self.assertTrue(issubclass(EagerClient, tcp.Client))


class GatherTests(SynchronousTestCase):
    """The list of waiting transports."""

    def test_slices(self):
        """A flush may be bounded: the rest stays in order, before transports that are added
        later."""
        batch = WriteBatch(always_open=True)
        order = []

        class Waiting:
            def __init__(self, name):
                self.name = name

            def flush_batched(self):
                order.append(self.name)

        batch.waiting.extend(map(Waiting, range(5)))
        batch.flush(2)
        batch.waiting.append(Waiting(5))
        self.assertEqual(order, [0, 1])
        batch.flush(10)
        self.assertEqual((order, batch.waiting), (list(range(6)), []))
