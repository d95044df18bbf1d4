"""Our factories in other applications."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import twisted.internet.reactor  # ensures that there is a reactor to patch
from twisted.application import service, strports
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.policies import TimeoutFactory, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from twisted_net.chat.messages import SendMessage
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.echo import EchoFactory
from twisted_net.idle import IdleTimeoutFactory
from twisted_net.policy.limits import Limits
from twisted_net.testing import Peer

FACTORIES: tuple[Callable[[], Any], ...] = (EchoFactory, ChatFactory, IdleTimeoutFactory)


class Reactor(MemoryReactorClock):  # type: ignore[misc]  # zope's interfaces
    """Twisted's reactor in memory."""


class EmbeddingCase(SynchronousTestCase):
    """Installs a reactor in memory as the global reactor."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.patch(twisted.internet, "reactor", self.reactor)

    def connect(self, number: int = -1) -> Peer:
        """Connect a client to a port of the reactor."""
        factory = self.reactor.tcpServers[number][1]
        factory.doStart()
        peer = Peer(self.reactor)
        peer.protocol = factory.buildProtocol(peer.getPeer())
        peer.protocol.makeConnection(peer)
        peer.turn()
        return peer

    def assertWorks(self, factory: Any, number: int = -1) -> None:
        """Check that the connections on a port behave as the factory's should."""
        peer = self.connect(number)
        peer.advance(0.2)
        greeting = peer.take()
        peer.send(b"/ping\n")
        if isinstance(factory, ChatFactory):
            self.assertTrue(greeting.startswith(b"Welcome to the chat server! You are guest-"))
            self.assertEqual(peer.take(), b"* pong\n")
        else:
            self.assertEqual(greeting, b"")
            expected = b"/ping\n" if isinstance(factory, EchoFactory) else b""
            self.assertEqual(peer.take(), expected)
        peer.write_eof()
        self.assertFalse(peer.connected)


class ListeningTests(EmbeddingCase):
    def test_without_an_argument(self) -> None:
        """Factories take the reactor's clock when they first need it, and no earlier."""
        self.patch(twisted.internet, "reactor", None)
        made = [make() for make in FACTORIES]
        self.patch(twisted.internet, "reactor", self.reactor)
        for factory in made:
            self.reactor.listenTCP(8080, factory)
            self.assertWorks(factory)

    def test_listen_tcp(self) -> None:
        """``listenTCP`` works."""
        for make in FACTORIES:
            factory = make()
            self.reactor.listenTCP(8080, factory)
            self.assertWorks(factory)

    def test_server_from_string(self) -> None:
        """An endpoint works."""
        for make in FACTORIES:
            factory = make()
            listening = serverFromString(self.reactor, "tcp:8080").listen(factory)
            self.successResultOf(listening)
            self.assertWorks(factory)

    def test_strports(self) -> None:
        """A service from ``strports`` works, and stops without our help."""
        for make in FACTORIES:
            factory = make()
            found = strports.service("tcp:8080", factory)
            found.startService()
            self.assertWorks(factory)
            found.stopService()

    def test_a_tac_file(self) -> None:
        """A ``.tac`` file works, as ``twistd -y`` reads it."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(
                textwrap.dedent(
                    """
                    from twisted.application import service, strports
                    from twisted_net.chat.protocol import ChatFactory
                    from twisted_net.echo import EchoFactory
                    from twisted_net.idle import IdleTimeoutFactory

                    application = service.Application("ours and theirs")
                    for port, factory in enumerate(
                        (EchoFactory(), ChatFactory(), IdleTimeoutFactory(EchoFactory(), 30)), 1
                    ):
                        strports.service(f"tcp:{port}", factory).setServiceParent(application)
                    """
                )
            )
        application = service.loadApplication(path, "python")
        service.IService(application).privilegedStartService()
        service.IService(application).startService()
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [1, 2, 3])
        for number, factory in enumerate((EchoFactory(), ChatFactory(), EchoFactory())):
            self.assertWorks(factory, number)

    def test_one_factory_on_several_ports(self) -> None:
        """A chat on several ports is one chat."""
        factory = ChatFactory()
        self.reactor.listenTCP(1, factory)
        self.reactor.listenTCP(2, factory)
        ann, bob = self.connect(0), self.connect(1)
        bob.advance(0.2)
        bob.take()
        ann.send(b"hello\n")
        self.assertEqual(bob.received, b"* guest-1 joined #lobby.\n<guest-1> hello\n")
        self.assertEqual(len(factory), 2)

    def test_it_may_start_and_stop_often(self) -> None:
        """A factory whose ports have all closed can listen again."""
        for make in FACTORIES:
            factory = make()
            for _ in range(3):
                self.reactor.listenTCP(8080, factory)
                self.assertWorks(factory)
                factory.doStop()

    def test_no_state_is_shared(self) -> None:
        """Two factories of a kind in one process share no state."""
        for make in FACTORIES:
            one, two = make(), make()
            self.reactor.listenTCP(1, one)
            self.reactor.listenTCP(2, two)
            peers = self.connect(-2), self.connect(-1)
            first, second = peers[0].take(), peers[1].take()
            self.assertEqual(first, second, "two guests of the same number")
            peers[0].send(b"hello\n")
            self.assertEqual(peers[1].received, b"")
            self.assertIsNot(one.timers, two.timers)

    def test_a_factory_without_connections_is_true(self) -> None:
        """``factory or default`` returns the factory."""
        for make in FACTORIES:
            self.assertTrue(make())


class NeighboursTests(EmbeddingCase):
    def test_beside_a_web_site(self) -> None:
        """A factory and a web site work in one process, each on its port."""

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"%d people" % len(chat)

        chat = ChatFactory()
        self.reactor.listenTCP(80, Site(Page(), reactor=self.reactor, timeout=None))
        self.reactor.listenTCP(8080, chat)
        self.connect()
        browser = self.connect(0)
        browser.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(browser.received.endswith(b"1 people"))

    def test_an_idle_limit_before_somebody_elses_factory(self) -> None:
        """``IdleTimeoutFactory(theirs, seconds)`` uses the reactor's clock."""

        class Shout(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(data.upper())  # type: ignore[union-attr]

        self.reactor.listenTCP(1, IdleTimeoutFactory(Factory.forProtocol(Shout), 5))
        peer = self.connect()
        peer.send(b"hello")
        self.assertEqual(peer.received, b"HELLO")
        peer.advance(6)
        self.assertFalse(peer.connected)

    def test_limits_before_limits(self) -> None:
        """If two wrappers are nested, the shorter limit applies."""
        inner = IdleTimeoutFactory(EchoFactory(), 3)
        self.reactor.listenTCP(1, IdleTimeoutFactory(inner, 30))
        peer = self.connect()
        peer.send(b"hello")
        self.assertEqual(peer.received, b"hello")
        peer.advance(4.5)
        self.assertTrue(peer.finished)
        peer.write_eof()
        self.assertFalse(peer.connected)

    def test_behind_twisteds_wrappers(self) -> None:
        """Our factories work behind Twisted's wrappers."""
        for wrap in (
            lambda factory: TimeoutFactory(factory, 5),
            WrappingFactory,
        ):
            factory = EchoFactory()
            self.reactor.listenTCP(1, wrap(factory))
            peer = self.connect()
            peer.send(b"hello")
            self.assertEqual(peer.received, b"hello")
            peer.reset()
            self.assertEqual(len(factory), 0)

    def test_in_a_multi_service(self) -> None:
        """Factories in a MultiService are started and stopped with the others."""
        parent = service.MultiService()
        strports.service("tcp:1", EchoFactory()).setServiceParent(parent)
        strports.service("tcp:2", ChatFactory()).setServiceParent(parent)
        parent.startService()
        self.assertWorks(EchoFactory(), 0)
        self.assertWorks(ChatFactory(), 1)
        parent.stopService()


class OwnTests(EmbeddingCase):
    def test_the_example_of_the_design(self) -> None:
        """The design document's example, a server in five lines, works."""

        class Shout(Connection):
            def message_received(self, line: bytes) -> None:
                self.send(line.upper())

        factory = ConnectionFactory.forProtocol(Shout, idle_timeout=60)
        serverFromString(self.reactor, "tcp:8080").listen(factory)
        peer = self.connect()
        peer.send(b"hello\r\nyou\n")
        self.assertEqual(peer.received, b"HELLO\nYOU\n")
        peer.advance(61)
        self.assertEqual(peer.protocol.reason.code, "idle")
        peer.write_eof()
        self.assertEqual((len(factory), peer.connected), (0, False))

    def test_a_chat_of_ones_own(self) -> None:
        """A subclass of the chat factory can set its own limits."""

        class Quiet(ChatFactory):
            def receive(self, link: Any, request: Any, id: str) -> Any:
                if isinstance(request, SendMessage):
                    request = replace(request, text=request.text.lower())
                return super().receive(link, request, id)

        factory = Quiet(limits=Limits(max_message=10), idle_timeout=5)
        self.assertEqual((factory.limits.max_message, factory.limits.idle_timeout), (10, 5))
        self.reactor.listenTCP(1, factory)
        ann, bob = self.connect(), self.connect()
        ann.advance(4)
        bob.take()
        ann.send(b"HELLO\n", b"THIS IS TOO LONG\n")
        self.assertEqual(bob.received, b"<guest-1> hello\n")

    def test_telling_everybody(self) -> None:
        """The application can send to all connections and count them."""
        factory = ChatFactory()
        self.reactor.listenTCP(1, factory)
        peers = [self.connect() for _ in range(3)]
        peers[0].advance(0.2)
        for peer in peers:
            peer.take()
        factory.send_to_all("* Lunch is ready.")
        self.assertEqual({peer.received for peer in peers}, {b"* Lunch is ready.\n"})
        self.assertEqual((len(factory), sorted(factory.connections)), (3, [1, 2, 3]))
