"""Connections that begin in plain text and start TLS later, on each kind of transport."""

from __future__ import annotations

import socket
from typing import Any

from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLContextFactory, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from tests.buffers import bound, bounded_client, bounded_listener
from tests.connection.recording import Recorder, factory_of, made_tls
from tests.eager.reactor_turns import OnStock, OnStockEagerly
from tests.eager.tls_turns import (
    AsClient,
    AsServer,
    Peer,
    TLSTestCase,
    client_options,
    server_options,
)
from twisted_net.connection.connection import Connection, State
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.guard import GuardFactory
from twisted_net.policy.close_reasons import BAD_INPUT, CLOSED, HANDSHAKE, IDLE, PEER_CLOSED
from twisted_net.testing import advance
from twisted_net.wire.framing import LocalProtocolError, Raw


class Upgrading(Recorder):
    """Starts TLS when asked to, and says something before and after."""

    options: Any
    directly = False  # by the transport's own method

    def message_received(self, message: bytes) -> Any:
        super().message_received(message)
        if message == b"STARTTLS":
            self.begin()
        return None

    def begin(self) -> None:
        self.send(b"go")
        if self.directly:
            self.transport.startTLS(self.options)
        else:
            self.start_tls(self.options)
        self.send(b"first")
        self.send(b"second")


class Directly(Upgrading):
    directly = True


class Asynchronous(Upgrading):
    """Waits in its hook, before TLS and for TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on: Deferred[None] = Deferred()

    async def message_received(self, message: bytes) -> None:  # type: ignore[override]
        Recorder.message_received(self, message)
        if message == b"STARTTLS":
            await self.go_on
            self.begin()
            await self.wait_ready()
            self.send(b"third")


class StartTLSCase(TLSTestCase):
    """Our side is the server, on the eager reactor."""

    def options(self) -> Any:
        return server_options()

    def begin(
        self, protocol: Any = Upgrading, wrap: Any = None, **limits: Any
    ) -> tuple[Any, socket.socket]:
        """Return a plain connection and its peer."""
        self.clock = Clock()
        factory = ConnectionFactory.forProtocol(protocol, clock=self.clock, **limits)
        self.factory = factory
        made: list[Any] = []
        make = factory.make

        def note(addr: Any) -> Any:
            made.append(make(addr))
            made[-1].options = self.options()
            return made[-1]

        factory.make = note  # type: ignore[method-assign]
        sock = self.connect_plain(factory if wrap is None else wrap(factory))
        sock.setblocking(False)
        self.addCleanup(sock.close)
        self.turn_until(lambda: made and made[-1].state is State.OPEN)
        return made[-1], sock

    def connect_plain(self, factory: Any) -> socket.socket:
        with bounded_listener() as listening:
            theirs = socket.create_connection(listening.getsockname())
            sock, _ = listening.accept()
        with sock:
            sock.setblocking(False)
            self.calls.adoptStreamConnection(sock.fileno(), socket.AF_INET, factory)
        return theirs

    def go_ahead(self, sock: socket.socket, plain: bytes = b"go\n") -> bytes:
        """Read the plain text up to the go-ahead, and return what comes behind it."""
        got = self.drain(sock, at_least=len(plain))
        self.assertEqual(got[: len(plain)], plain)
        return got[len(plain) :]

    def encrypt(self, sock: socket.socket, begun: bytes = b"") -> Peer:
        """Return the peer, which begins with TLS now.

        :param begun: what our side has sent of TLS already.
        """
        peer = self.tls_peer(sock)
        peer.incoming.write(begun)
        return peer

    def tls_peer(self, sock: socket.socket) -> Peer:
        context: Any = AsServer.context
        return Peer(sock, context(self), server_hostname="server.example")

    def upgrade(self, connection: Any, sock: socket.socket) -> Peer:
        """Ask for TLS, and complete the handshake."""
        sock.send(b"STARTTLS\n")
        peer = self.encrypt(sock, self.go_ahead(sock))
        self.until(lambda: peer.shaken and connection.state is State.OPEN, peer)
        return peer


class UpgradeTests(StartTLSCase):
    def test_sent_before_the_handshake(self) -> None:
        """What is sent behind start_tls() is encrypted and arrives in order, without deadlock."""
        for protocol in (Upgrading, Directly):
            connection, sock = self.begin(protocol)
            self.assertFalse(connection.is_encrypted)
            peer = self.upgrade(connection, sock)
            self.assertTrue(connection.is_encrypted)
            self.until(lambda peer=peer: len(peer.got) >= 13, peer)
            self.assertEqual(peer.got, b"first\nsecond\n")
            peer.send(b"say hello\n")
            self.until(lambda peer=peer: peer.got.endswith(b"hello\n"), peer)
            self.assertEqual(connection.events, ["connected", b"STARTTLS", b"say hello"])
            peer.say_farewell()
            self.until(lambda c=connection: c.state is State.CLOSED, peer)
            self.assertIs(connection.reason, PEER_CLOSED)

    def test_more_than_the_buffers(self) -> None:
        """What waits in plain text goes out first, in plain text; the rest is encrypted."""

        class Much(Upgrading):
            def begin(self) -> None:
                self.send(b"x" * 300_000)
                self.send(b"y" * 300_000)
                self.was_full = self.is_full
                super().begin()
                self.send(b"z" * 300_000)

        connection, sock = self.begin(Much)
        sock.send(b"STARTTLS\n")
        plain = b"x" * 300_000 + b"\n" + b"y" * 300_000 + b"\ngo\n"
        begun = self.go_ahead(sock, plain)
        self.assertTrue(connection.was_full)
        peer = self.encrypt(sock, begun)
        self.until(lambda: len(peer.got) >= 300_014, peer)
        self.assertEqual(peer.got, b"first\nsecond\n" + b"z" * 300_000 + b"\n")
        self.assertFalse(connection.is_full)
        self.assertEqual(self.factory.full, set())

    def test_an_asynchronous_hook(self) -> None:
        """A hook that runs, or waits for the handshake, does not keep it from being read."""
        connection, sock = self.begin(Asynchronous)
        sock.send(b"STARTTLS\n")
        self.turn_until(lambda: len(connection.events) > 1)
        connection.go_on.callback(None)
        peer = self.encrypt(sock, self.go_ahead(sock))
        self.until(lambda: peer.got == b"first\nsecond\nthird\n", peer)
        peer.send(b"more\n")
        self.until(lambda: connection.events[-1] == b"more", peer)

    def test_paused(self) -> None:
        """A paused connection completes the handshake, and then is not read until it resumes."""

        class Pausing(Upgrading):
            def begin(self) -> None:
                self.pause()
                super().begin()

        connection, sock = self.begin(Pausing)
        peer = self.upgrade(connection, sock)
        peer.send(b"later\n")
        self.settle(peer)
        self.assertEqual(connection.events, ["connected", b"STARTTLS"])
        connection.resume()
        self.until(lambda: connection.events[-1] == b"later", peer)

    def test_closing_during_the_handshake(self) -> None:
        """What was sent before close() still arrives, encrypted."""

        class Closing(Upgrading):
            def begin(self) -> None:
                super().begin()
                self.close()

        connection, sock = self.begin(Closing)
        sock.send(b"STARTTLS\n")
        peer = self.encrypt(sock, self.go_ahead(sock))
        self.until(lambda: peer.over is not None, peer)
        self.assertEqual((peer.got, peer.over), (b"first\nsecond\n", "farewell"))
        self.assertIs(connection.reason, CLOSED)

    def test_waiting(self) -> None:
        """wait_ready() waits for the handshake, and drained() for the first byte to leave."""
        connection, sock = self.begin()
        sock.send(b"STARTTLS\n")
        self.go_ahead(sock)
        self.assertIs(connection.state, State.HANDSHAKING)
        self.assertFalse(connection.is_encrypted)
        ready, drained = connection.wait_ready(), connection.drained()
        self.assertNoResult(ready)
        self.assertNoResult(drained)
        peer = self.encrypt(sock)
        self.until(lambda: peer.shaken and connection.state is State.OPEN, peer)
        self.successResultOf(ready)
        self.successResultOf(drained)

    def test_half_close(self) -> None:
        """TLS has no half-close: write_eof() closes, also with a wrapper in between."""
        for wrap in (None, WrappingFactory):
            connection, sock = self.begin(wrap=wrap)
            peer = self.upgrade(connection, sock)
            connection.write_eof()
            self.until(lambda peer=peer: peer.over is not None, peer)
            self.assertEqual(peer.over, "farewell")
            self.assertIs(connection.reason, CLOSED)


class LimitTests(StartTLSCase):
    def test_a_silent_peer(self) -> None:
        """The handshake has ``handshake_timeout`` seconds."""
        for protocol in (Upgrading, Directly):
            connection, sock = self.begin(protocol, handshake_timeout=5)
            sock.send(b"STARTTLS\n")
            self.go_ahead(sock)
            ready = connection.wait_ready()
            advance(self.clock, 3)
            connection.pause()
            connection.resume()  # does not prolong it
            self.turn(3)
            self.assertIs(connection.state, State.HANDSHAKING)
            advance(self.clock, 3.6)
            self.turn(3)
            self.assertIs(connection.state, State.CLOSED)
            self.assertIs(connection.reason, HANDSHAKE)
            self.failureResultOf(ready)
            self.assertEqual(connection.events[-1], HANDSHAKE)
            self.assertEqual(len(self.factory), 0)

    def test_after_a_half_message_before(self) -> None:
        """The limit of messages, which may be longer, does not take its place."""
        connection, sock = self.begin(handshake_timeout=5, message_timeout=50)
        sock.send(b"START")
        self.turn(3)
        sock.send(b"TLS\n")
        self.go_ahead(sock)
        advance(self.clock, 7)
        self.turn(3)
        self.assertIs(connection.reason, HANDSHAKE)

    def test_idle(self) -> None:
        """Without a limit for the handshake, the idle limit holds."""
        connection, sock = self.begin(handshake_timeout=0, idle_timeout=5)
        sock.send(b"STARTTLS\n")
        self.go_ahead(sock)
        advance(self.clock, 20)
        self.turn(3)
        self.assertIs(connection.reason, IDLE)

    def test_it_ends_with_the_handshake(self) -> None:
        connection, sock = self.begin(handshake_timeout=5)
        peer = self.upgrade(connection, sock)
        advance(self.clock, 20)
        self.settle(peer)
        self.assertIs(connection.state, State.OPEN)

    def test_a_failed_handshake(self) -> None:
        """A peer that goes on in plain text is a failed handshake; hooks are not failures."""
        for protocol in (Upgrading, Asynchronous):
            connection, sock = self.begin(protocol)
            sock.send(b"STARTTLS\n")
            if protocol is Asynchronous:
                self.turn_until(lambda c=connection: len(c.events) > 1)
                connection.go_on.callback(None)
            self.go_ahead(sock)
            sock.send(b"GET / HTTP/1.0\r\n\r\n")
            self.turn_until(lambda c=connection: c.state is State.CLOSED)
            self.assertIs(connection.reason, HANDSHAKE)
            self.assertEqual(connection.events[1:], [b"STARTTLS", HANDSHAKE])

    def test_a_peer_that_leaves(self) -> None:
        connection, sock = self.begin()
        sock.send(b"STARTTLS\n")
        self.go_ahead(sock)
        ready = connection.wait_ready()
        sock.close()
        self.turn_until(lambda: connection.state is State.CLOSED)
        self.failureResultOf(ready)
        self.assertIn(connection.reason, (HANDSHAKE, PEER_CLOSED))


class PipelinedTests(StartTLSCase):
    """What came behind the request in plain text is not taken for protected (RFC 3207, 6)."""

    def check(self, connection: Any, *handled: bytes) -> None:
        self.turn_until(lambda: connection.state is State.CLOSED)
        self.assertEqual(connection.events, ["connected", *handled, connection.reason])
        self.assertIs(connection.reason, BAD_INPUT)
        self.assertIn("in plain text", connection.detail)

    def test_whole_and_half_lines(self) -> None:
        for protocol in (Upgrading, Directly):
            for behind in (b"evil\n", b"ev", b"evil\nmore\nev"):
                connection, sock = self.begin(protocol)
                sock.send(b"a\nSTARTTLS\n" + behind)
                self.check(connection, b"a", b"STARTTLS")

    def test_while_a_hook_waits(self) -> None:
        """Messages that have arrived, and the rest that is still in the kernel."""
        for behind in (b"evil\n", b"ev"):
            connection, sock = self.begin(Asynchronous)
            sock.send(b"STARTTLS\n" + behind)
            self.turn_until(lambda c=connection: len(c.events) > 1)
            connection.go_on.callback(None)
            self.check(connection, b"STARTTLS")

    def test_while_paused(self) -> None:
        """start_tls() from outside a hook."""
        connection, sock = self.begin(Recorder)
        sock.send(b"pause\nevil\n")
        self.turn_until(lambda: len(connection.events) > 1)
        connection.start_tls(self.options())
        self.check(connection, b"pause")

    def test_at_the_rate_limit(self) -> None:
        connection, sock = self.begin(rate=1, burst=1)
        sock.send(b"STARTTLS\nevil\n")
        self.check(connection, b"STARTTLS")

    def test_a_second_segment(self) -> None:
        """Plain text that arrives later fails the handshake."""
        connection, sock = self.begin()
        sock.send(b"STARTTLS\n")
        self.turn_until(lambda: len(connection.events) > 1)
        sock.send(b"evil\n")
        self.turn_until(lambda: connection.state is State.CLOSED)
        self.assertIs(connection.reason, HANDSHAKE)
        self.assertNotIn(b"evil", connection.events)

    def test_raw(self) -> None:
        """Reads that wait count as messages."""

        class Reads(Upgrading):
            framing = Raw

        connection, sock = self.begin(Reads)
        connection.pause()
        sock.send(b"evil")
        self.turn(5)
        connection.dataReceived(b"evil")
        connection.start_tls(self.options())
        self.check(connection)


class WrappedTests(StartTLSCase):
    def test_below_a_wrapper(self) -> None:
        """A wrapper of Twisted's, which passes no handshake on, does not keep it from ending."""
        for wrap in (WrappingFactory, lambda factory: WrappingFactory(WrappingFactory(factory))):
            for protocol in (Upgrading, Directly):
                connection, sock = self.begin(protocol, wrap=wrap)
                peer = self.upgrade(connection, sock)
                self.until(lambda peer=peer: peer.got == b"first\nsecond\n", peer)
                peer.send(b"a\n")
                self.until(lambda c=connection: c.events[-1] == b"a", peer)

    def guarded(self, factory: Any) -> GuardFactory:
        self.guard = GuardFactory(factory, clock=self.clock, handshake_timeout=5)
        return self.guard

    def test_inside_a_guard(self) -> None:
        """A connection inside a guard."""
        for protocol in (Upgrading, Directly):
            connection, sock = self.begin(protocol, wrap=self.guarded)
            peer = self.upgrade(connection, sock)
            self.until(lambda peer=peer: peer.got == b"first\nsecond\n", peer)
            peer.send(b"a\n")
            self.until(lambda c=connection: c.events[-1] == b"a", peer)
            self.assertTrue(ISSLTransport.providedBy(connection.transport))
            connection.close()
            self.until(lambda peer=peer: peer.over is not None, peer)
            self.assertEqual(peer.over, "farewell")
            sock.close()
            self.turn_until(lambda: not len(self.guard))

    def test_pipelined_inside_a_guard(self) -> None:
        connection, sock = self.begin(wrap=self.guarded)
        sock.send(b"STARTTLS\nevil\n")
        self.turn_until(lambda: connection.state is State.CLOSED)
        self.assertIs(connection.reason, BAD_INPUT)
        self.turn_until(lambda: not len(self.guard))

    def test_a_protocol_of_twisteds_inside_a_guard(self) -> None:
        """It may pause, write much, and write before the handshake is done; the limit holds."""

        @implementer(IHandshakeListener)
        class Stock(Protocol):
            def __init__(self) -> None:
                self.events: list[Any] = []

            def dataReceived(self, data: bytes) -> None:
                self.events.append(data)
                transport: Any = self.transport
                if data == b"STARTTLS\n":
                    transport.write(b"go\n")
                    transport.pauseProducing()
                    transport.startTLS(server_options())
                    transport.write(b"x" * 200_000)
                    transport.write(b"end")

            def handshakeCompleted(self) -> None:
                self.events.append("handshake")
                transport: Any = self.transport
                transport.resumeProducing()

        for shakes in (True, False):
            self.clock = Clock()
            stock = Stock()
            guard = self.guarded(Factory.forProtocol(lambda stock=stock: stock))
            sock = self.connect_server(guard)
            sock.send(b"STARTTLS\n")
            self.go_ahead(sock)
            if not shakes:
                advance(self.clock, 7)
                self.turn_until(lambda guard=guard: not len(guard))
                self.assertEqual(guard.endings, {"handshake": 1})
                continue
            peer = self.encrypt(sock)
            self.until(lambda peer=peer: peer.got == b"x" * 200_000 + b"end", peer)
            peer.send(b"a")
            self.until(lambda stock=stock: stock.events[-1] == b"a", peer)
            self.assertEqual(stock.events, [b"STARTTLS\n", "handshake", b"a"])

    def connect_server(self, factory: Any) -> socket.socket:
        sock = StartTLSCase.connect_plain(self, factory)
        sock.setblocking(False)
        self.addCleanup(sock.close)
        self.turn_until(lambda: len(factory))
        return sock

    def test_refused_while_a_guard_holds_it(self) -> None:
        """Plain text that a paused guard holds is not given out as protected."""

        class Pausing(Protocol):
            def __init__(self) -> None:
                self.events: list[bytes] = []

            def dataReceived(self, data: bytes) -> None:
                self.events.append(data)
                transport: Any = self.transport
                transport.pauseProducing()

        self.clock = Clock()
        stock = Pausing()
        guard = self.guarded(Factory.forProtocol(lambda: stock))
        sock = self.connect_server(guard)
        connection: Any = next(iter(guard.connections.values()))
        connection.dataReceived(b"STARTTLS\n")
        connection.dataReceived(b"evil\n")
        transport: Any = stock.transport
        transport.startTLS(server_options())
        self.turn_until(lambda: not len(guard))
        self.assertEqual(stock.events, [b"STARTTLS\n"])
        self.assertEqual(guard.endings, {"bad-input": 1})
        sock.close()


class MisuseTests(StartTLSCase):
    def test_wrong_arguments(self) -> None:
        """What is no certificate is refused with a sentence, and the connection stays as it was."""
        connection, sock = self.begin(Recorder)
        for wrong in (None, "server.example", object(), client_options()):
            error = self.assertRaises(TypeError, connection.start_tls, wrong)
            self.assertRegex(str(error), r"^start_tls\(\) of a server takes .*, not ")
            self.assertNotIn("\n", str(error))
        self.assertIs(connection.state, State.OPEN)
        sock.send(b"say a\n")
        self.assertEqual(self.drain(sock, at_least=2), b"a\n")

    def test_twice(self) -> None:
        """TLS inside TLS is refused, during the handshake and after it, wherever it began."""
        connection, sock = self.begin()
        sock.send(b"STARTTLS\n")
        self.go_ahead(sock)
        self.assertRaises(LocalProtocolError, connection.start_tls, self.options())
        peer = self.encrypt(sock)
        self.until(lambda: peer.shaken and connection.state is State.OPEN, peer)
        error = self.assertRaises(LocalProtocolError, connection.start_tls, self.options())
        self.assertEqual(str(error), "start_tls(): the connection uses TLS already")
        connection, _ = made_tls()
        self.assertRaises(LocalProtocolError, connection.start_tls, self.options())

    def test_too_early_or_too_late(self) -> None:
        connection: Any = Connection()
        self.assertRaises(LocalProtocolError, connection.start_tls, self.options())
        connection, _ = self.begin(Recorder)
        connection.close()
        error = self.assertRaises(LocalProtocolError, connection.start_tls, self.options())
        self.assertEqual(str(error), "start_tls(): the connection is closing or has ended")

    def test_a_transport_without_it(self) -> None:
        """Not every transport can start TLS."""
        connection: Any = factory_of(Recorder).buildProtocol(None)
        connection.makeConnection(StringTransport())
        error = self.assertRaises(LocalProtocolError, connection.start_tls, self.options())
        self.assertIn("cannot start TLS", str(error))

    def test_a_failing_start(self) -> None:
        """If Twisted refuses the context, early or late, the connection goes on in plain text."""

        @implementer(IOpenSSLContextFactory)
        class Broken:
            def getContext(self) -> Any:
                raise ZeroDivisionError

        connection, sock = self.begin(Recorder)
        for arguments, error in (((), TypeError), ((Broken(),), ZeroDivisionError)):
            self.assertRaises(error, connection.transport.startTLS, *arguments)
            self.assertRaises(ZeroDivisionError, connection.start_tls, Broken())
            self.assertIs(connection.state, State.OPEN)
            self.assertFalse(connection.is_encrypted)
            sock.send(b"say a\n")
            self.assertEqual(self.drain(sock, at_least=2), b"a\n")
        sock.send(b"close\n")
        self.drain(sock)
        sock.close()
        self.turn_until(lambda: connection.state is State.CLOSED)


class ClientTests(StartTLSCase):
    """Our side is the client: the server's answer to its request begins TLS."""

    def options(self) -> Any:
        return client_options()

    def connect_plain(self, factory: Any) -> socket.socket:
        with bounded_listener() as listening:
            listening.setblocking(False)
            name, port = listening.getsockname()
            wrapped = _AsClientFactory(factory)
            connector = self.calls.connectTCP(name, port, wrapped)
            bound(connector.transport.socket)
            self.turn_until(lambda: wrapped.made)
            sock, _ = listening.accept()
        return sock

    def tls_peer(self, sock: socket.socket) -> Peer:
        context: Any = AsClient.context
        return Peer(sock, context(self), server_side=True)

    def test_the_servers_go_ahead(self) -> None:
        connection, sock = self.begin()
        peer = self.upgrade(connection, sock)
        self.until(lambda: peer.got == b"first\nsecond\n", peer)
        peer.send(b"a\n")
        self.until(lambda: connection.events[-1] == b"a", peer)

    def test_an_injected_answer(self) -> None:
        """RFC 2595: answers that came in plain text behind the go-ahead are not used."""
        connection, sock = self.begin()
        sock.send(b"STARTTLS\n* CAPABILITY AUTH=PLAIN\n")
        self.turn_until(lambda: connection.state is State.CLOSED)
        self.assertIs(connection.reason, BAD_INPUT)
        self.assertEqual(connection.events, ["connected", b"STARTTLS", BAD_INPUT])

    def test_another_name(self) -> None:
        """The server's certificate is verified; wait_ready() fails with the reason."""
        connection, sock = self.begin()
        connection.options = client_options("other.example")
        sock.send(b"STARTTLS\n")
        self.turn_until(lambda: len(connection.events) > 1)
        ready = connection.wait_ready()
        peer = self.encrypt(sock, self.go_ahead(sock))
        self.until(lambda: connection.state is State.CLOSED, peer)
        self.assertIs(connection.reason, HANDSHAKE)
        self.failureResultOf(ready, VerificationError)

    def test_wrong_arguments(self) -> None:
        connection, _ = self.begin(Recorder)
        for wrong in (None, "server.example", server_options()):
            error = self.assertRaises(TypeError, connection.start_tls, wrong)
            self.assertRegex(str(error), r"^start_tls\(\) of a client takes .*optionsForClientTLS")


class _AsClientFactory:
    """Gives a factory what ``connectTCP`` asks for."""

    noisy = False

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.made = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def buildProtocol(self, addr: Any) -> Any:
        self.made = True
        return self._factory.buildProtocol(addr)

    def startedConnecting(self, connector: Any) -> None:
        """Do nothing."""

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        """Do nothing."""

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        raise reason.value


class PausedFromTheStartTests(StartTLSCase):
    """TLS from the first byte: a pause before the handshake is done does not hold it up either."""

    def test_paused(self) -> None:
        class Pausing(Recorder):
            waits_for_handshake = False

            def connected(self) -> None:
                super().connected()
                self.pause()

        clock = Clock()
        factory = ConnectionFactory.forProtocol(Pausing, clock=clock)
        for around in (factory, GuardFactory(factory, clock=clock)):
            port = self.calls.listenSSL(0, around, server_options(), interface="127.0.0.1")
            sock = bounded_client(port.getHost().port)
            self.addCleanup(sock.close)
            peer = self.encrypt(sock)
            self.until(lambda peer=peer: peer.shaken and factory.connections, peer)
            peer.send(b"later\n")
            self.settle(peer)
            connection: Any = list(factory.connections.values())[-1]
            self.assertIs(connection.state, State.OPEN)
            self.assertEqual(connection.events, ["connected"])
            connection.resume()
            self.until(lambda c=connection: c.events[-1] == b"later", peer)
            sock.close()
            self.turn_until(lambda c=connection: c.state is State.CLOSED)
            port.stopListening()


_CASES = (
    PausedFromTheStartTests,
    UpgradeTests,
    LimitTests,
    PipelinedTests,
    WrappedTests,
    MisuseTests,
    ClientTests,
)

for _case in _CASES:
    for _kind in (OnStock, OnStockEagerly):
        _name = f"{_case.__name__}{_kind.__name__}"
        globals()[_name] = type(_name, (_kind, _case), {"__module__": __name__})
del _case, _kind, _name
