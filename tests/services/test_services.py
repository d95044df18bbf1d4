"""Tests for ``makeService`` of the three services."""

from __future__ import annotations

import time
from typing import Any

import twisted.internet.reactor  # imports it, so that it can be patched
from twisted.application.service import IService, IServiceMaker
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_net.chat.protocol import MAX_MESSAGE, ChatFactory
from twisted_net.echo import EchoFactory
from twisted_net.forward import ForwardFactory
from twisted_net.idle import DiscardFactory
from twisted_net.services import chat, early_signals, echo, idle, starting
from twisted_net.services.starting import StartError
from twisted_net.testing import Peer


class Reactor(MemoryReactorClock):  # type: ignore[misc]  # zope's interfaces
    """Twisted's in-memory reactor, with some busy ports."""

    busy: tuple[int, ...] = ()

    def listenTCP(self, port: int, *arguments: Any, **more: Any) -> Any:
        if port in self.busy:
            raise CannotListenError("", port, OSError(98, "Address already in use"))
        return super().listenTCP(port, *arguments, **more)


class ServiceCase(SynchronousTestCase):
    """Tests with an in-memory reactor as the global one."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.patch(twisted.internet, "reactor", self.reactor)
        self.lines: list[str] = []
        self.patch(starting.StartError, "show", lambda error: error)
        for module in (starting, idle):
            self.patch(module, "fail_late", lambda reactor, line: self.lines.append(line))

    def made(self, module: Any, *words: str) -> Any:
        """Return the service of a command line."""
        options = module.Options()
        options.parseOptions(list(words))
        return module.makeService(options)

    def connect(self, number: int = -1) -> Peer:
        """Connect to a port of the reactor."""
        factory = self.reactor.tcpServers[number][1]
        peer = Peer(self.reactor)
        peer.protocol = factory.buildProtocol(peer.getPeer())
        peer.protocol.makeConnection(peer)
        peer.turn()
        return peer


class MakeServiceTests(ServiceCase):
    def test_each_has_its_factory(self) -> None:
        """Each service has its factory, with the given limits."""
        words = ("--idle-timeout", "7", "--max-message", "99", "--drain", "3")
        for module, more, kind in (
            (echo, (), EchoFactory),
            (idle, (), DiscardFactory),
            (idle, ("--upstream", "tcp:127.0.0.1:1"), ForwardFactory),
            (chat, (), ChatFactory),
        ):
            service = self.made(module, *words, *more)
            verifyObject(IService, service)
            self.assertIs(type(service.factory), kind)
            limits = service.factory.limits
            self.assertEqual((limits.idle_timeout, limits.max_message), (7, 99))
            self.assertEqual(service.drain, 3)
        self.assertEqual(self.reactor.tcpServers, [], "made, not started")

    def test_defaults(self) -> None:
        """Each service has its own defaults."""
        self.assertEqual(self.made(echo).factory.limits.idle_timeout, 0)
        self.assertEqual(self.made(idle).factory.limits.idle_timeout, 60)
        self.assertEqual(self.made(chat).factory.limits.max_message, MAX_MESSAGE)

    def test_they_work(self) -> None:
        """Each service gives the right answer to a byte."""
        for module, sent, answer in (
            (echo, b"hello", b"hello"),
            (idle, b"hello", b""),
            (chat, b"/ping\n", b"* pong\n"),
        ):
            service = self.made(module, "--port", "0")
            service.privilegedStartService()
            service.startService()
            peer = self.connect()
            peer.advance(0.2)  # the chat greets it
            peer.take()
            peer.send(sent)
            self.assertEqual(peer.received, answer)
            stopped = service.stopService()
            peer.write_eof()
            self.successResultOf(stopped)
        self.assertEqual(len(self.reactor.tcpServers), 3)

    def test_idle_peers_are_closed(self) -> None:
        """All three services close idle peers, with and without TLS."""
        for module in (echo, idle, chat):
            service = self.made(module, "--idle-timeout", "5")
            service.startService()
            peer = self.connect()
            peer.advance(4)
            self.assertIsNone(peer.protocol.reason)
            peer.advance(2)
            self.assertEqual(peer.protocol.reason.code, "idle")
            service.stopService()

    def test_twice_in_one_process(self) -> None:
        """Two services of the same kind share nothing."""
        one, two = self.made(chat, "--port", "1"), self.made(chat, "--port", "2")
        one.startService()
        two.startService()
        first, second = self.connect(0), self.connect(1)
        first.advance(0.2)
        self.assertIn(b"guest-1 ", first.take())
        self.assertIn(b"guest-1 ", second.take())
        first.send(b"hello\n")
        self.assertEqual(second.received, b"")


class StartTests(ServiceCase):
    def test_limits_hold_when_the_clock_is_set(self) -> None:
        """The time of Twisted's reactors no longer follows the system's clock."""
        self.reactor.seconds = time.time
        self.made(echo, "--port", "0").startService()
        self.assertIsNot(self.reactor.seconds, time.time)
        self.reactor.seconds, self.reactor.running = time.time, True  # the application decides
        self.made(echo, "--port", "0").startService()
        self.assertIs(self.reactor.seconds, time.time)

    def test_the_garbage_collector_is_spared(self) -> None:
        """Imported objects are frozen when the reactor starts; in a running one, nothing is."""
        calls: list[str] = []
        self.patch(starting.gc, "collect", lambda: calls.append("collect"))
        self.patch(starting.gc, "freeze", lambda: calls.append("freeze"))
        self.made(echo).startService()
        self.assertEqual(calls, [])
        for hook, arguments, keywords in self.reactor.whenRunningHooks:
            hook(*arguments, **keywords)
        self.assertEqual(calls, ["collect", "freeze"])
        self.reactor.whenRunningHooks.clear()
        self.reactor.running = True
        self.made(echo).startService()
        self.assertEqual(self.reactor.whenRunningHooks, [])

    def test_a_busy_port(self) -> None:
        """A busy port ends the start with a line, and no other port listens."""
        self.reactor.busy = (8443,)
        words = ("--port", "8080", "--tls-port", "8443", "--self-signed")
        for module in (echo, idle, chat):
            for start in ("privilegedStartService", "startService"):
                service = self.made(module, *words)
                error = self.assertRaises(StartError, getattr(service, start))
                line = f"{module.Options.command}: --tls-port 8443: Address already in use"
                self.assertEqual((str(error), service.ports), (line, []))

    def test_a_listener_that_fails_late(self) -> None:
        """A listener that fails late ends the program with a line."""
        service = self.made(echo)
        service.listen_failed_late(Exception("--listen x: gone"))
        self.assertEqual(self.lines, ["netecho: --listen x: gone"])


class UpstreamTests(ServiceCase):
    """netidle checks its upstream when it starts."""

    def started(self, upstream: str = "tcp:upstream.example:1") -> Any:
        service = self.made(idle, "--upstream", upstream)
        self.addCleanup(service.stopService)
        service.startService()
        clients = self.reactor.tcpClients or self.reactor.unixClients
        self.factory = clients[-1][2] if self.reactor.tcpClients else clients[-1][1]
        return service

    def fails(self, error: Exception) -> list[str]:
        """Fail the check; return the log lines that are warnings or worse."""
        with capturedLogs() as events:
            self.factory.clientConnectionFailed(None, Failure(error))
        return [formatEvent(each) for each in events if each["log_level"] >= LogLevel.warn]

    def test_a_host_that_there_is_not(self) -> None:
        """A host that does not exist ends the start with a line."""
        self.started()
        self.assertEqual(self.fails(DNSLookupError()), [])
        self.assertEqual(self.lines, ["netidle: --upstream tcp:upstream.example:1: host not found"])

    def test_a_path_that_there_is_not(self) -> None:
        """A path that does not exist ends the start with a line."""
        self.started("unix:/nowhere")
        self.fails(ConnectError(osError=2))
        self.assertEqual(self.lines, ["netidle: --upstream unix:/nowhere: path not found"])

    def test_an_upstream_that_is_down(self) -> None:
        """An upstream that is down is logged, and the service runs."""
        service = self.started()
        lines = self.fails(ConnectError(osError=111))
        self.assertEqual((len(lines), self.lines, bool(service.running)), (1, [], True))
        self.assertIn("--upstream tcp:upstream.example:1 cannot be reached yet", lines[0])

    def test_an_upstream_that_is_there(self) -> None:
        """The check disconnects at once, and logs nothing."""
        self.started()
        peer = Peer(self.reactor)
        peer.protocol = self.factory.buildProtocol(None)
        with capturedLogs() as events:
            peer.protocol.makeConnection(peer)
            peer.turn()
        self.assertEqual((peer.connected, self.lines), (False, []))
        self.assertEqual([e for e in events if e["log_level"] >= LogLevel.info], [])

    def test_without_an_upstream(self) -> None:
        """Without an upstream, nothing is checked."""
        self.made(idle).startService()
        self.assertEqual(self.reactor.tcpClients, [])


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_them(self) -> None:
        """twistd finds each service by its name, with a description."""
        for name in ("note_signals", "end_on_signals"):  # as twistd asks for the options
            self.patch(early_signals, name, lambda *_: None)
        found = {each.tapname: each for each in getPlugins(IServiceMaker)}
        for module in (echo, idle, chat):
            maker = found[module.Options.command]
            self.assertIs(maker.options, module.Options)
            self.assertIs(maker.makeService, module.makeService)
            self.assertTrue(maker.description.endswith("."))
