"""The two ends of a short connection: how it is accepted, and how it is closed."""

from __future__ import annotations

import gc
import os
import socket
from typing import Any
from weakref import ref

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.eager.reactor_turns import Counting, HalfRecorder, Recorder
from twisted_net import ConnectionFactory
from twisted_net.connection.connection import Connection
from twisted_net.eager import ports
from twisted_net.eager import reactor as reactor_module
from twisted_net.eager.reactor import EagerReactor
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED, CloseReason
from twisted_net.wire.framing import Raw


class Echo(Connection):
    """Sends back what it received, and records its end."""

    framing = Raw
    ended: CloseReason | None = None

    def message_received(self, message: bytes) -> None:
        self.send(message)

    def disconnected(self, reason: CloseReason) -> None:
        self.ended = reason


class StaysOpen(Echo):
    """Goes on when its peer has sent everything, and says so."""

    def eof_received(self) -> None:
        self.send(b"bye")
        self.close()


class AcceptingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = EagerReactor()
        self.addCleanup(self.reactor._poller.close)
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        """Close the ports that were stopped, and the connections that are left."""
        self.reactor.runUntilCurrent()
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(ConnectionDone()))

    def listen(self, factory: Any, interface: str = "127.0.0.1") -> Any:
        port = self.reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(port.stopListening)
        return port

    def connect(self, port: Any, family: int = socket.AF_INET) -> socket.socket:
        client = socket.socket(family)
        self.addCleanup(client.close)
        client.settimeout(10)
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        client.connect((host, port.getHost().port))
        return client

    def turn_until(self, true: Any) -> int:
        """Turn the reactor until ``true()``, and return how many turns it took."""
        for turns in range(1, 100):
            self.reactor.doIteration(1)
            self.reactor.runUntilCurrent()
            if true():
                return turns
        raise AssertionError("100 turns were not enough")

    def served(self, kind: type[Connection]) -> tuple[Any, socket.socket]:
        """Return a connection that was accepted, and its client."""
        made: list[Any] = []

        def build() -> Any:
            made.append(kind())
            return made[-1]

        factory = ConnectionFactory.forProtocol(build, clock=self.reactor)
        client = self.connect(self.listen(factory))
        self.turn_until(lambda: made)
        return made[0], client


class EndTests(AcceptingTestCase):
    """A peer that has finished."""

    def test_at_once(self) -> None:
        """If nothing is to be sent, the connection ends in the same turn."""
        connection, client = self.served(Echo)
        client.sendall(b"hello")
        self.turn_until(lambda: connection.bytes_sent)
        self.reactor._poller = counting = Counting(self.reactor._poller)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.turn_until(lambda: connection.ended), 1)
        self.assertIs(connection.ended, PEER_CLOSED)
        self.assertEqual(counting.changes, 1)  # it is unregistered
        self.assertEqual(client.recv(100), b"hello")
        self.assertEqual(client.recv(100), b"")
        self.assertEqual(connection.peer.port, client.getsockname()[1])
        self.assertNotIn(connection.transport, self.reactor.getReaders())

    def test_with_unsent_bytes(self) -> None:
        """What was written before still goes out."""
        connection, client = self.served(Echo)
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        self.turn_until(lambda: connection.ended)
        self.assertIs(connection.ended, PEER_CLOSED)
        self.assertEqual(client.recv(100), b"hello")
        self.assertEqual(client.recv(100), b"")

    def test_with_a_full_socket(self) -> None:
        """Bytes that the socket did not take go out as well."""
        connection, client = self.served(Echo)
        connection.send(b"x" * 10_000_000)
        client.shutdown(socket.SHUT_WR)
        received = 0
        client.settimeout(0)

        def take() -> bool:
            nonlocal received
            try:
                while data := client.recv(1 << 20):
                    received += len(data)
            except BlockingIOError:
                return False
            return connection.ended is not None

        self.turn_until_many(take)
        self.assertEqual((received, connection.ended), (10_000_000, PEER_CLOSED))

    def turn_until_many(self, true: Any) -> None:
        while not true():
            self.reactor.doIteration(0)
            self.reactor.runUntilCurrent()

    def test_a_hook_that_sends(self) -> None:
        """A connection with an ``eof_received`` of its own is asked."""
        connection, client = self.served(StaysOpen)
        client.shutdown(socket.SHUT_WR)
        self.turn_until(lambda: connection.ended)
        self.assertIs(connection.ended, CLOSED)
        self.assertEqual(client.recv(100), b"bye")

    def test_paused(self) -> None:
        """A connection that is paused hears of it later, with all messages."""
        connection, client = self.served(Echo)
        connection.pause()
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        self.reactor.doIteration(0)
        self.assertIsNone(connection.ended)
        connection.resume()
        self.turn_until(lambda: connection.ended)
        self.assertEqual((connection.ended, client.recv(100)), (PEER_CLOSED, b"hello"))

    def test_a_stock_protocol(self) -> None:
        """A protocol without half-close is told that it is lost; one with it, of the half-close."""
        for kind, told in ((Recorder, ("lost", ConnectionDone)), (HalfRecorder, ("read lost",))):
            made: list[Any] = []
            factory = Factory()
            factory.buildProtocol = lambda address, made=made, kind=kind: (  # type: ignore[method-assign]
                made.append(kind()) or made[-1]
            )
            client = self.connect(self.listen(factory))
            self.turn_until(lambda made=made: made)
            client.shutdown(socket.SHUT_WR)
            self.turn_until(lambda made=made: made[0].events)
            self.assertEqual(made[0].events, [told])
            made[0].transport.abortConnection()
            self.reactor.runUntilCurrent()


class CloseTests(AcceptingTestCase):
    def test_a_fork_has_the_socket(self) -> None:
        """The peer of a connection that a fork has as well hears of its end."""
        connection, client = self.served(Echo)
        transport = connection.transport
        self.reactor.share_sockets()  # as before a fork
        copy = os.dup(transport.fileno())
        self.addCleanup(os.close, copy)
        client.shutdown(socket.SHUT_WR)
        self.turn_until(lambda: connection.ended)
        self.assertEqual(client.recv(1), b"")

    def test_the_reactor_hears_of_forks(self) -> None:
        """The hook is called before a fork, and keeps no reactor alive."""
        hooks: list[Any] = []
        self.patch(reactor_module, "register_at_fork", lambda *, before: hooks.append(before))
        reactor: Any = EagerReactor()
        transport = object.__new__(ports.EagerServer)
        reactor._selectables[-5] = transport
        hooks[0]()
        self.assertTrue(transport.is_shared)
        del reactor._selectables[-5]
        reactor.removeAll()
        reactor._poller.close()
        gone = ref(reactor)
        del reactor
        gc.collect()
        self.assertIsNone(gone())
        hooks[0]()

    def test_abort_resets(self) -> None:
        """An aborted connection is reset."""
        connection, client = self.served(Echo)
        connection.abort()
        self.turn_until(lambda: connection.ended)
        self.assertRaises(ConnectionResetError, client.recv, 1)


class AcceptTests(AcceptingTestCase):
    def test_the_time_in_a_turn(self) -> None:
        """A port whose connections take long to make accepts only one in a turn."""
        now = [0.0]
        self.patch(ports, "perf_counter", lambda: now[0])
        made: list[Any] = []
        factory = Factory()

        def build(address: Any) -> None:
            now[0] += 1
            made.append(address)

        factory.buildProtocol = build  # type: ignore[assignment, method-assign]
        port = self.listen(factory)
        for _ in range(5):
            self.connect(port)
        counts = []
        while len(made) < 5:
            self.reactor.doIteration(1)
            counts.append(len(made))
        self.assertEqual(counts, [1, 2, 3, 4, 5])

    def test_a_factory_that_fails(self) -> None:
        """A failure while a connection is made is logged, and the port goes on."""
        made: list[Any] = []
        factory = Factory()

        def build(address: Any) -> Any:
            made.append(address)
            if len(made) == 1:
                raise ZeroDivisionError
            return Protocol()

        factory.buildProtocol = build  # type: ignore[method-assign]
        port = self.listen(factory)
        clients = [self.connect(port) for _ in range(2)]
        self.turn_until(lambda: len(made) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        clients[0].setblocking(True)
        self.assertEqual(clients[0].recv(1), b"")  # its connection is closed

    def test_errors_are_twisteds(self) -> None:
        """An accept that fails is handled by Twisted's code."""
        port = self.listen(Factory.forProtocol(Protocol))
        calls: list[Any] = []
        self.patch(tcp.Port, "doRead", lambda port: calls.append(port))

        class Failing:
            def accept(self) -> Any:
                raise OSError(24, "Too many open files")

        actual, port.socket = port.socket, Failing()
        port.doRead()
        port.socket = actual
        self.assertEqual(calls, [port])

    def test_addresses(self) -> None:
        """Local and remote addresses are those of the socket, on one address or on all."""
        for interface, family in (
            ("127.0.0.1", socket.AF_INET),
            ("", socket.AF_INET),
            ("::1", socket.AF_INET6),
            ("::", socket.AF_INET6),
            ("::", socket.AF_INET),
        ):
            made: list[Any] = []
            factory = Factory()
            factory.buildProtocol = lambda address, made=made: (  # type: ignore[method-assign]
                made.append((address, Recorder())) or made[-1][1]
            )
            port = self.listen(factory, interface)
            client = self.connect(port, family)
            self.turn_until(lambda made=made: made)
            address, protocol = made[0]
            transport = protocol.transport
            stock = tcp.Server.getHost(transport)
            self.assertEqual(transport.getHost(), stock)
            self.assertEqual(transport.getPeer(), address)
            self.assertEqual(transport.client, transport.socket.getpeername())
            self.assertEqual(address.port, client.getsockname()[1])
            self.assertEqual(transport.getHost().port, port.getHost().port)
            transport.abortConnection()
            self.reactor.runUntilCurrent()

    def test_clients_with_the_same_address(self) -> None:
        """They share the string, so that it takes memory once."""
        made: list[Any] = []
        factory = Factory()
        factory.buildProtocol = lambda address: (  # type: ignore[method-assign]
            made.append((address, Recorder())) or made[-1][1]
        )
        port = self.listen(factory)
        for count in (1, 2):
            self.connect(port)
            self.turn_until(lambda count=count: len(made) == count)
        (one, first), (other, second) = made
        self.assertIs(one.host, other.host)
        self.assertIs(first.transport.hostname, one.host)
        self.assertIs(second.transport.hostname, one.host)

    def test_a_scope(self) -> None:
        """A link-local address has its scope, as in Twisted."""
        found: list[Any] = []
        factory = Factory()
        factory.buildProtocol = found.append  # type: ignore[assignment, method-assign]
        port = self.listen(factory, "::1")

        class Accepting:
            def __init__(self, *addresses: Any) -> None:
                self.addresses = list(addresses)

            def accept(self) -> Any:
                if not self.addresses:
                    raise BlockingIOError
                return socket.socket(), self.addresses.pop()

        def accepted(address: tuple[Any, ...]) -> Any:
            actual, port.socket = port.socket, Accepting(address)
            port.doRead()
            port.socket = actual
            return found.pop().host

        self.assertEqual(accepted(("fe80::1", 1, 0, 1)), f"fe80::1%{socket.if_indextoname(1)}")
        self.assertEqual(accepted(("fe80::1", 1, 0, 0)), "fe80::1")

    def test_a_unix_client_with_a_short_name(self) -> None:
        """The name of a client's Unix socket may have four characters, as an IPv6 address has
        four parts."""
        made: list[Any] = []
        factory = Factory()
        factory.buildProtocol = lambda address: made.append(address)  # type: ignore[assignment, func-returns-value, method-assign, return-value]
        path = f"\0{self.id()[-50:]}{os.getpid()}"
        port = self.reactor.listenUNIX(path, factory)
        self.addCleanup(port.stopListening)
        for name in (b"\0abc", b"\0abcd"):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.bind(name)
            client.connect(path)
        self.turn_until(lambda: len(made) == 2)
        self.assertEqual([each.name for each in made], [b"\0abc", b"\0abcd"])

    def test_adopted_ports_ask_each_socket(self) -> None:
        """An adopted port may accept connections to other addresses than its own."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port = self.reactor.adoptStreamPort(
                listening.fileno(), socket.AF_INET, Factory.forProtocol(Recorder)
            )
        self.addCleanup(port.stopListening)
        self.assertIsNone(port.host)
