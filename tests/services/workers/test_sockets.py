"""Tests for :mod:`twisted_net.services.workers.sockets`: one set of flags, two kinds of sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.moving import release_port
from twisted_net.endpoints.bound_sockets import BoundServerEndpoint
from twisted_net.endpoints.listening import Listener, ListenerService
from twisted_net.services.workers.handoff import HandoffReader
from twisted_net.services.workers.sockets import AcceptingPort, AcceptingSockets, HandedSockets


class FakeSocket:
    """A listening socket that gives what a test has put into it."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def accept(self) -> Any:
        if not self.waiting:
            raise BlockingIOError
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return found, ("10.0.0.1", 1)


class FakePort:
    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.reactor = Clock()
        self.connected = True
        self.reading = True
        self.doRead: Any = None

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False


class AcceptingPortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fake = FakePort()
        self.accepted: list[Any] = []
        self.port = AcceptingPort(self.fake, lambda sock, address: self.accepted.append(sock))

    def wake(self, *waiting: Any) -> None:
        self.fake.socket.waiting += waiting
        self.fake.doRead()

    def test_all_that_wait(self) -> None:
        """Each wake-up accepts what is there."""
        self.wake("a", "b", "c")
        self.assertEqual(self.accepted, ["a", "b", "c"])

    def test_a_pause(self) -> None:
        """Nothing more is accepted, not even in the same wake-up."""
        self.port = AcceptingPort(self.fake, lambda sock, address: self.port.pause())
        self.wake("a", "b")
        self.assertEqual((self.fake.socket.waiting, self.fake.reading), (["b"], False))
        self.port.resume()
        self.assertTrue(self.fake.reading)

    def test_who_is_gone_already(self) -> None:
        """It does not matter."""
        self.wake(ConnectionAbortedError(errno.ECONNABORTED, "x"), "b")
        self.wake()
        self.assertEqual(self.accepted, ["b"])

    def test_no_descriptor_is_free(self) -> None:
        """It waits for a moment, and does not turn in circles."""
        self.wake(OSError(errno.EMFILE, "Too many open files"), "b")
        self.assertEqual((self.accepted, self.fake.reading), ([], False))
        self.fake.reactor.advance(0.1)
        self.assertTrue(self.fake.reading)
        self.wake()
        self.assertEqual(self.accepted, ["b"])

    def test_a_pause_at_that_moment(self) -> None:
        """It lasts."""
        self.wake(OSError(errno.EMFILE, "Too many open files"))
        self.port.pause()
        self.fake.reactor.advance(0.1)
        self.assertFalse(self.fake.reading)

    def test_a_port_that_has_stopped(self) -> None:
        """It is not woken up again."""
        self.fake.connected = False
        self.fake.reading = False
        self.port.resume()
        self.assertFalse(self.fake.reading)
        self.wake("a")
        self.assertEqual(self.accepted, [])


class HandedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.sockets = HandedSockets()

    def endpoint(self, text: str) -> Any:
        return self.sockets.endpoint(
            self.reactor, text.partition(":")[0], lambda view: serverFromString(view, text)
        )

    def test_nothing_listens(self) -> None:
        """A worker has a port of its own kind for each endpoint, in the order of the flags."""
        texts = ("tcp:80", "unix:/run/x", "systemd:domain=INET:index=0", "net:81", "haproxy:tcp:82")
        factories = []
        for text in texts:
            factory = Factory.forProtocol(Protocol)
            factories.append(factory)
            self.successResultOf(self.endpoint(text).listen(factory))
        self.assertEqual(sorted(self.sockets.ports), [0, 1, 2, 3, 4])
        self.assertEqual([self.sockets.ports[each].factory for each in (0, 1, 2)], factories[:3])
        self.assertEqual((self.reactor.tcpServers, self.reactor.unixServers), ([], []))

    def test_numbers_are_those_of_flags(self) -> None:
        """The order of listening does not matter."""
        first, second = self.endpoint("tcp:80"), self.endpoint("tcp:81")
        self.successResultOf(second.listen(Factory.forProtocol(Protocol)))
        self.assertEqual(list(self.sockets.ports), [1])
        self.successResultOf(first.listen(Factory.forProtocol(Protocol)))
        self.assertEqual(sorted(self.sockets.ports), [0, 1])

    def test_an_upgrade(self) -> None:
        """All ports pause, pass on and take over the one handoff socket."""
        ports = [
            self.successResultOf(self.endpoint(text).listen(Factory.forProtocol(Protocol)))
            for text in ("tcp:80", "tcp:81")
        ]
        for port in ports:
            port.stopReading()  # nothing is there to be paused yet
        one, other = socket.socketpair()
        self.addCleanup(other.close)
        readers: list[Any] = []
        self.reactor.addReader, self.reactor.removeReader = readers.append, readers.remove
        reader = self.sockets.reader = HandoffReader(self.reactor, one, lambda handed: None)
        ports[0].startReading()
        self.assertEqual((readers, ports[1].fileno()), ([reader], one.fileno()))
        copies = [os.dup(port.fileno()) for port in ports]
        self.reactor.removeReader = lambda reader: None
        for port in ports:
            release_port(port)
        self.assertEqual(one.fileno(), -1)
        service = ListenerService(
            ConnectionFactory(clock=self.reactor),
            [Listener(self.endpoint(f"tcp:{number}"), str(number)) for number in range(2)],
        )
        service.inherit({str(n): socket.socket(fileno=copy) for n, copy in enumerate(copies)})
        service.startService()
        inherited = self.sockets.inherited
        assert inherited is not None
        self.addCleanup(inherited.close)
        self.assertEqual(inherited.fileno(), copies[0])
        self.assertRaises(OSError, os.fstat, copies[1])

    def test_tls_of_an_endpoint(self) -> None:
        """It is the worker's work."""
        made: Any = self.sockets.endpoint(
            self.reactor,
            "ssl",
            lambda view: view.listenSSL(443, Factory.forProtocol(Protocol), CertificateOptions()),
        )
        self.assertIsInstance(made.factory, TLSMemoryBIOFactory)

    def test_sockets_with_options(self) -> None:
        """They are the supervisor's, too."""
        endpoint: Any = self.sockets.endpoint(
            self.reactor, "other", lambda view: BoundServerEndpoint(view, 80, 5)
        )
        port = self.successResultOf(endpoint.listen(Factory.forProtocol(Protocol)))
        self.assertIs(port, self.sockets.ports[0])

    def test_the_end(self) -> None:
        """The factory is started and stopped once, as by a port that listens."""
        factory = Factory.forProtocol(Protocol)
        port = self.successResultOf(self.endpoint("tcp:80").listen(factory))
        self.assertEqual(factory.numPorts, 1)
        for _ in range(2):
            self.successResultOf(port.stopListening())
        self.assertEqual((factory.numPorts, port.factory), (0, None))


class AcceptingSocketsTests(SynchronousTestCase):
    def test_views(self) -> None:
        """Whatever listens gets a port that accepts for workers, and nothing before it may."""
        heard: list[Any] = []
        sockets = AcceptingSockets()
        sockets.use(lambda *arguments: heard.append(arguments))
        fakes = [FakePort() for _ in range(4)]

        class Reactor(Clock):
            def listenTCP(self, *arguments: Any, **more: Any) -> Any:
                return fakes[0] if not more else fakes[3]

            def listenUNIX(self, *arguments: Any, **more: Any) -> Any:
                return fakes[1]

            def adoptStreamPort(self, *arguments: Any, **more: Any) -> Any:
                return fakes[2]

        reactor = Reactor()
        sockets.endpoint(reactor, "tcp", lambda view: view.listenTCP(80, None))
        sockets.endpoint(reactor, "unix", lambda view: view.listenUNIX("x", None))
        sockets.endpoint(reactor, "systemd", lambda view: view.adoptStreamPort(3, 2, None))
        self.assertEqual([each.reading for each in fakes[:3]], [False] * 3)
        sockets.resume()
        self.assertEqual([each.reading for each in fakes[:3]], [True] * 3)
        fakes[2].socket.waiting.append("s")
        fakes[2].doRead()
        self.assertEqual(heard, [(2, "s", ("10.0.0.1", 1))])
        sockets.endpoint(reactor, "tcp", lambda view: view.listenTCP(80, None, backlog=5))
        self.assertTrue(fakes[3].reading)
        sockets.pause()
        self.assertEqual([each.reading for each in fakes], [False] * 4)
