"""Tests for the drain in ``stopService`` of :mod:`twisted_net.endpoints.listening`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, Waiting
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.services import starting
from twisted_net.services.starting import NamedService, SecondSignal
from twisted_net.testing import Peer, advance, connect_peer, connect_tls_peer


class DrainCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def stopping(
        self, factory: ConnectionFactory, count: int, drain: float = 10
    ) -> tuple[list[Peer], Deferred[None]]:
        """Return the peers of a service that begins to stop."""
        service = ListenerService(factory, [], drain)
        service.startService()
        peers = [connect_peer(factory) for _ in range(count)]
        return peers, service.stopService()

    def recorders(self, protocol: Any = Recorder) -> ConnectionFactory:
        return ConnectionFactory.forProtocol(protocol, clock=self.clock)


class SpreadTests(DrainCase):
    def test_many_are_spread(self) -> None:
        """Closings are spread evenly over three quarters of the time; the stop ends with the last
        one."""
        peers, stopped = self.stopping(self.recorders(), 3000, 10)
        counts = []
        for _ in range(10):
            advance(self.clock, 0.75)
            for peer in peers:
                if peer.finished and peer.connected:
                    peer.reset()
            counts.append(sum(peer.protocol.reason is not None for peer in peers))
        self.assertEqual(counts[-1], 3000)
        for number, count in enumerate(counts, 1):
            self.assertLess(abs(count - 300 * number), 40)
        advance(self.clock, 0.5)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_few_are_quick(self) -> None:
        peers, stopped = self.stopping(self.recorders(), 3)
        advance(self.clock, 0.1)
        for peer in peers:
            peer.write_eof()
        self.successResultOf(stopped)

    def test_they_talk_until_it_is_their_turn(self) -> None:
        """A connection is served until it is closed."""
        peers, _ = self.stopping(self.recorders(), 1000)
        peers[999].send(b"say still here\n")
        self.assertEqual(peers[999].received, b"still here\n")

    def test_who_leaves_meanwhile(self) -> None:
        """The stop does not wait for peers that leave by themselves."""
        peers, stopped = self.stopping(self.recorders(), 1000)
        for peer in peers:
            peer.reset()
        advance(self.clock, 0.1)
        self.successResultOf(stopped)


class GoodbyeTests(DrainCase):
    def test_at_a_message_boundary(self) -> None:
        """The last line is complete, and nothing follows it."""
        factory = ChatFactory(clock=self.clock)
        peers, stopped = self.stopping(factory, 2)
        for peer in peers:
            peer.turn()
        advance(self.clock, 0.1)
        for peer in peers:  # they were not greeted yet
            self.assertTrue(peer.received.endswith(b"* The server is restarting.\n"))
            peer.write_eof()
        self.successResultOf(stopped)

    def test_after_what_was_said(self) -> None:
        """Everything sent before the close arrives, even at slow peers and in the turn of the
        stop."""
        factory = ChatFactory(clock=self.clock)
        service = ListenerService(factory, [], 10)
        service.startService()
        speaker, listener = connect_peer(factory), connect_peer(factory)
        advance(self.clock, 1)
        listener.take()
        listener.full()
        speaker.protocol.dataReceived(b"last words\n")
        stopped = service.stopService()
        advance(self.clock, 0.1)
        listener.drain()
        heard = listener.received
        self.assertTrue(heard.endswith(b"* The server is restarting.\n"), heard)
        self.assertIn(b"<guest-1> last words\n", heard)
        speaker.write_eof()
        listener.write_eof()
        self.successResultOf(stopped)

    def test_an_asynchronous_hook(self) -> None:
        """An asynchronous hook may finish, but cannot send any more."""
        peers, stopped = self.stopping(self.recorders(Waiting), 1)
        peers[0].write_eof()
        self.successResultOf(stopped)

    def test_tls_without_a_handshake(self) -> None:
        """A connection without a TLS handshake is closed at once."""
        factory = self.recorders()
        service = ListenerService(factory, [], 10)
        service.startService()
        peer = connect_tls_peer(factory)
        stopped = service.stopService()
        peer.turn()
        self.assertFalse(peer.connected)
        self.successResultOf(stopped)


class DeadlineTests(DrainCase):
    def test_who_does_not_read(self) -> None:
        """A peer that does not read is aborted after its grace or at the deadline, whichever is
        first."""
        for drain, least, most in ((2, 2, 2.1), (20, 5, 7)):
            factory = self.recorders()
            service = ListenerService(factory, [], drain)
            service.startService()
            peer = connect_peer(factory)
            peer.full()
            peer.protocol.send(b"x")
            stopped = service.stopService()
            advance(self.clock, least - 0.01)
            self.assertNoResult(stopped)
            advance(self.clock, most - least + 0.01)
            self.successResultOf(stopped)
            self.assertEqual(peer.protocol.reason.code, "draining")
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_time_at_all(self) -> None:
        _, stopped = self.stopping(self.recorders(), 5, drain=0)
        advance(self.clock, 0)
        self.successResultOf(stopped)

    def test_nobody_comes_in(self) -> None:
        factory = self.recorders()
        _, stopped = self.stopping(factory, 1)
        self.assertRaises(ConnectionRefusedError, connect_peer, factory)
        self.assertNoResult(stopped)


class ImpatienceTests(DrainCase):
    """A second signal during the drain."""

    def setUp(self) -> None:
        super().setUp()
        self.handlers: dict[int, Any] = {each: f"before {each}" for each in SecondSignal.SIGNALS}
        self.called: list[Any] = []
        self.patch(starting.signal, "signal", self.install)
        self.patch(starting, "second_signal", SecondSignal())
        self.patch(reactor, "running", True)
        self.patch(reactor, "callFromThread", lambda call, *arguments: call(*arguments))
        self.patch(reactor, "stop", lambda: self.called.append("stop"))

    def install(self, number: int, handler: Any) -> Any:
        if number not in self.handlers:  # SIGHUP, which reloads certificates
            return None
        before, self.handlers[number] = self.handlers[number], handler
        return before

    def test_it_ends_everything_at_once(self) -> None:
        """A second signal aborts everything at once, and the previous handlers are restored."""
        before = dict(self.handlers)
        factory = self.recorders()
        services = [NamedService("netecho", factory, []) for _ in range(2)]
        for service in services:
            service.startService()
        self.assertEqual(self.handlers, before)
        peer = connect_peer(factory)
        peer.full()
        peer.protocol.send(b"x")
        stopped = [service.stopService() for service in services]
        self.assertNotEqual(self.handlers, before)
        for number in SecondSignal.SIGNALS:
            self.handlers[number](number, None)
        advance(self.clock, 0)
        for each in stopped:
            self.successResultOf(each)
        self.assertTrue(peer.aborted)
        self.assertEqual(self.handlers, before)

    def test_nothing_to_wait_for(self) -> None:
        """Without connections, no signal handlers are installed."""
        before = dict(self.handlers)
        service = NamedService("netecho", self.recorders(), [])
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(self.handlers, before)

    def test_not_in_another_thread(self) -> None:
        """In other threads, no signal handlers are installed, because Python does not allow it."""
        before = dict(self.handlers)
        self.patch(starting.threading, "main_thread", lambda: None)
        factory = self.recorders()
        service = NamedService("netecho", factory, [])
        service.startService()
        peer = connect_peer(factory)
        stopped = service.stopService()
        self.assertEqual(self.handlers, before)
        peer.write_eof()
        self.successResultOf(stopped)
