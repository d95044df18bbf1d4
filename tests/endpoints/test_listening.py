"""Tests for :mod:`twisted_net.endpoints.listening`."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_net.echo import EchoFactory
from twisted_net.endpoints.listening import Listener, ListenerService, ListenFailed
from twisted_net.testing import Peer, connect_peer


class Port:
    """A port that listens until it is stopped."""

    def __init__(self, number: int, stops: Deferred[None] | None = None) -> None:
        self.number = number
        self.listens = True
        self._stops = stops

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", self.number)

    def stopListening(self) -> Deferred[None] | None:
        self.listens = False
        return self._stops


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Returns what it was made with; counts calls and cancellations."""

    def __init__(self, result: Any = None) -> None:
        self.cancelled = 0
        self.asked = 0
        self.later: Deferred[Any] = Deferred(self._cancel)
        self.result = self.later if result is None else result

    def _cancel(self, later: Deferred[Any]) -> None:
        self.cancelled += 1

    def listen(self, factory: Any) -> Any:
        self.asked += 1
        if isinstance(self.result, Port):
            return succeed(self.result)
        if isinstance(self.result, Exception):
            return fail(self.result)
        return self.result


class Service(ListenerService):
    """Records late failures."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.late: list[str] = []

    def listen_failed_late(self, failure: ListenFailed) -> None:
        self.late.append(str(failure))


class ListeningCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = EchoFactory(clock=self.clock)

    def service(self, *endpoints: Any, drain: float = 10) -> Service:
        """Return a service with these endpoints, labelled ``--0``, ``--1`` and so on."""
        listeners = [Listener(each, f"--{number}") for number, each in enumerate(endpoints)]
        return Service(self.factory, listeners, drain)


class StartTests(ListeningCase):
    def test_it_listens_while_it_runs(self) -> None:
        """It listens once on all of its endpoints, from the first of the two starts on."""
        ports = [Port(1), Port(2)]
        endpoints = [Endpoint(port) for port in ports]
        service = self.service(*endpoints)
        self.assertEqual(service.ports, [])
        service.privilegedStartService()
        service.startService()
        self.assertEqual((service.ports, bool(service.running)), (ports, True))
        self.assertEqual([endpoint.asked for endpoint in endpoints], [1, 1])
        self.successResultOf(service.stopService())
        self.assertFalse(any(port.listens for port in ports))
        self.assertEqual((service.ports, bool(service.running)), ([], False))

    def test_ready(self) -> None:
        """It is ready while it listens everywhere, until it begins to stop."""
        late = Endpoint()
        service = self.service(Endpoint(Port(1)), late)
        self.assertFalse(service.ready)
        service.privilegedStartService()
        service.startService()
        self.assertFalse(service.ready, "one of them does not listen yet")
        late.later.callback(Port(2))
        self.assertTrue(service.ready)
        peer = connect_peer(self.factory)
        stopped = service.stopService()
        self.assertFalse(service.ready)
        self.assertNoResult(stopped)
        peer.write_eof()
        self.successResultOf(stopped)

    def test_without_the_privileged_start(self) -> None:
        """A program may call only startService."""
        service = self.service(Endpoint(Port(1)))
        service.startService()
        self.assertEqual(len(service.ports), 1)

    def test_each_port_has_a_line_in_the_log(self) -> None:
        """The log line of each port has the address and the label; port 0 shows the chosen port."""
        with capturedLogs() as events:
            self.service(Endpoint(Port(4711))).startService()
        (event,) = [event for event in events if event["log_level"] == LogLevel.info]
        self.assertEqual((event["where"], event["label"]), ("192.0.2.1:4711", "--0"))

    def test_it_can_be_started_again(self) -> None:
        """A restarted service accepts connections again."""
        service = self.service(Endpoint(Port(1)))
        for _ in range(2):
            service.startService()
            peer = connect_peer(self.factory)
            peer.write_eof()
            self.successResultOf(service.stopService())
            self.assertRaises(ConnectionRefusedError, connect_peer, self.factory)

    def test_twisteds_endpoints(self) -> None:
        """It listens on Twisted's endpoints, with the in-memory reactor."""
        reactor: Any = MemoryReactorClock()
        service = self.service(TCP4ServerEndpoint(reactor, 8080, 1024, "127.0.0.1"))
        service.startService()
        self.assertEqual(reactor.tcpServers, [(8080, self.factory, 1024, "127.0.0.1")])


class FailureTests(ListeningCase):
    def busy(self) -> CannotListenError:
        return CannotListenError("", 8080, OSError(98, "Address already in use"))

    def test_one_that_cannot_listen(self) -> None:
        """The error names the listener that failed, and the others stop listening."""
        for start in ("privilegedStartService", "startService"):
            ports = [Port(1), Port(2)]
            service = self.service(Endpoint(ports[0]), Endpoint(self.busy()), Endpoint(ports[1]))
            error = self.assertRaises(ListenFailed, getattr(service, start))
            self.assertEqual(str(error), "--1: Address already in use")
            self.assertFalse(any(port.listens for port in ports))
            self.assertEqual((service.ports, service.late), ([], []))

    def test_several_that_cannot_listen(self) -> None:
        """The error names the first listener that failed."""
        service = self.service(Endpoint(ValueError("bad port")), Endpoint(self.busy()))
        error = self.assertRaises(ListenFailed, service.startService)
        self.assertEqual(str(error), "--0: bad port")

    def test_other_causes(self) -> None:
        """Every other cause has a text."""
        for cause, text in (
            (OSError(13, "Permission denied"), "Permission denied"),
            (OverflowError("bind(): port must be 0-65535."), "bind(): port must be 0-65535."),
            (RuntimeError(), "RuntimeError"),
            (CannotListenError("x", 1, socket.gaierror(-2, "Name unknown")), "Name unknown"),
            (CannotListenError("x", 1, "odd"), "odd"),
        ):
            error = self.assertRaises(ListenFailed, self.service(Endpoint(cause)).startService)
            self.assertEqual(str(error), f"--0: {text}")

    def test_in_an_application(self) -> None:
        """The start of a .tac file ends with the line alone; who catches it has the same error."""
        clock: Any = Clock()
        cause = CannotListenError("", 80, OSError(errno.EADDRINUSE, "Address already in use"))
        for running, has_parent in (False, True), (False, False), (True, True):
            clock.running = running
            service = ListenerService(EchoFactory(clock=clock), [Listener(Endpoint(cause), "--x")])
            if has_parent:
                service.setServiceParent(MultiService())
            error: Any = self.assertRaises(ListenFailed, service.privilegedStartService)
            self.assertEqual(isinstance(error, SystemExit), has_parent and not running)
            self.assertEqual((str(error), error.port), ("--x: Address already in use", 80))
            self.assertEqual(error.code, "EADDRINUSE")
            if has_parent and not running:
                self.assertEqual(str(error.code), "--x: Address already in use")

    def test_for_programs(self) -> None:
        """The error has the errno, its name, the address and the port, and the cause."""
        unix: Any = CannotListenError(None, b"/run/chat", "Cannot acquire lock")
        for cause, code, number, address, port in (
            (self.busy(), "EADDRINUSE", 98, "", 8080),
            (
                CannotListenError("192.0.2.9", 80, OSError(99, "No")),
                "EADDRNOTAVAIL",
                99,
                "192.0.2.9",
                80,
            ),
            (CannotListenError("::", 80, PermissionError(13, "No")), "EACCES", 13, "::", 80),
            (CannotListenError("x", 1, socket.gaierror(-2, "No")), "ENOTFOUND", None, "x", 1),
            (CannotListenError("x", 1, "odd"), "EFAILED", None, "x", 1),
            (OSError(13, "No", "/run/chat"), "EACCES", 13, "/run/chat", 0),
            (unix, "EADDRINUSE", 98, "/run/chat", 0),
            (ValueError("bad port"), "EFAILED", None, "", 0),
            (OSError(99999, "odd"), "EFAILED", 99999, "", 0),
        ):
            service = self.service(Endpoint(cause))
            error: Any = self.assertRaises(ListenFailed, service.startService)
            self.assertEqual(
                (error.code, error.errno, error.address, error.port), (code, number, address, port)
            )
            self.assertIs(error.__cause__, cause)
        self.assertEqual(str(ListenFailed("--x", unix)), "--x: Address already in use")

    def test_for_programs_of_real_ports(self) -> None:
        """The same of a port and of a Unix socket that are in use."""
        reactor: Any = SelectReactor()  # it never runs
        self.addCleanup(reactor.runUntilCurrent)  # it closes the ports that were stopped
        path = self.mktemp()
        first: Any = [
            TCP4ServerEndpoint(reactor, 0, 50, "127.0.0.1"),
            UNIXServerEndpoint(reactor, path, wantPID=True),  # type: ignore[no-untyped-call]
        ]
        service = self.service(*first)
        service.startService()
        self.addCleanup(service.stopService)
        port = service.ports[0].getHost().port
        for again, expected in (
            (TCP4ServerEndpoint(reactor, port, 50, "127.0.0.1"), ("127.0.0.1", port)),
            (first[1], (path, 0)),
        ):
            error: Any = self.assertRaises(ListenFailed, self.service(again).startService)
            self.assertEqual((error.code, error.errno), ("EADDRINUSE", 98))
            self.assertEqual((error.address, error.port), expected)
            self.assertEqual(str(error), "--0: Address already in use")

    def test_for_programs_of_a_missing_directory(self) -> None:
        """The address is the socket's path, neither its lock's nor what the lock holds."""
        for name in ("chat", "chat.lock"):
            path = os.path.join(self.mktemp(), name)
            endpoint: Any = UNIXServerEndpoint(
                SelectReactor(),
                path,
                wantPID=True,  # type: ignore[no-untyped-call]
            )
            error: Any = self.assertRaises(ListenFailed, self.service(endpoint).startService)
            self.assertEqual((error.code, error.address, error.port), ("ENOENT", path, 0))

    def test_an_endpoint_that_raises(self) -> None:
        """An endpoint that raises is a failure, and the others stop listening."""

        @implementer(IStreamServerEndpoint)
        class Raising:
            def listen(self, factory: Any) -> Any:
                raise RuntimeError("no plan")

        port = Port(1)
        service = self.service(Endpoint(port), Raising())
        error = self.assertRaises(ListenFailed, service.startService)
        self.assertEqual((str(error), port.listens), ("--1: no plan", False))


class LaterTests(ListeningCase):
    """Endpoints that report later whether they can listen."""

    def test_it_comes_later(self) -> None:
        """A port that opens later is added to the ports, and stops with them."""
        endpoint = Endpoint()
        service = self.service(endpoint)
        service.privilegedStartService()
        service.startService()
        self.assertEqual((service.ports, endpoint.asked), ([], 1))
        port = Port(1)
        endpoint.later.callback(port)
        self.assertEqual(service.ports, [port])
        self.successResultOf(service.stopService())
        self.assertFalse(port.listens)

    def test_it_fails_later(self) -> None:
        """The service is told of a late failure, and its other ports stay."""
        endpoint, port = Endpoint(), Port(1)
        service = self.service(endpoint, Endpoint(port))
        service.startService()
        endpoint.later.errback(OSError(98, "Address already in use"))
        self.assertEqual(service.late, ["--0: Address already in use"])
        self.assertTrue(port.listens)

    def test_by_default_it_is_logged(self) -> None:
        """By default, a late failure is logged as an error."""
        endpoint = Endpoint()
        service = ListenerService(self.factory, [Listener(endpoint, "--x")])
        service.startService()
        with capturedLogs() as events:
            endpoint.later.errback(OSError(98, "Address already in use"))
        (event,) = [event for event in events if event["log_level"] >= LogLevel.error]
        self.assertNotIn("failure", event, "an observer would take it for a Failure of Twisted's")
        self.assertEqual(formatEvent(event), "--x: Address already in use")

    def test_stopping_before_it_has_said(self) -> None:
        """A pending listener is cancelled, which is not reported as a failure."""
        endpoint = Endpoint()
        service = self.service(endpoint)
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual((endpoint.cancelled, service.late, service.ports), (1, [], []))

    def test_another_one_fails_meanwhile(self) -> None:
        """If another listener fails, a pending one does not listen either."""
        endpoint = Endpoint()
        service = self.service(endpoint, Endpoint(OSError(98, "Address already in use")))
        self.assertRaises(ListenFailed, service.startService)
        self.assertEqual((endpoint.cancelled, service.late, service.ports), (1, [], []))

    def test_it_waits_for_something_else(self) -> None:
        """A Deferred that was called may still wait; the endpoint is not asked again."""
        first: Deferred[Any] = succeed(None)
        second: Deferred[Any] = Deferred()
        endpoint = Endpoint(first.addCallback(lambda _: second))
        service = self.service(endpoint)
        service.privilegedStartService()
        service.startService()
        self.assertEqual(endpoint.asked, 1)
        port = Port(1)
        second.callback(port)
        self.assertEqual(service.ports, [port])


class StopTests(ListeningCase):
    def started(self, count: int = 3, drain: float = 10) -> tuple[Service, list[Peer]]:
        service = self.service(Endpoint(Port(1)), drain=drain)
        service.startService()
        return service, [connect_peer(self.factory) for _ in range(count)]

    def test_nobody_is_there(self) -> None:
        """Without connections, it stops at once, and no timers are left."""
        service, _ = self.started(0)
        self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections_are_closed(self) -> None:
        """Each connection gets what it was sent; the stop waits for the last one."""
        service, peers = self.started()
        peers[0].send(b"hello")
        stopped = service.stopService()
        peers[0].advance(1)
        for peer in peers:
            self.assertNoResult(stopped)
            self.assertEqual((peer.finished, peer.protocol.reason.code), (True, "draining"))
            peer.write_eof()
        self.successResultOf(stopped)
        self.assertEqual(peers[0].received, b"hello")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_new_comes(self) -> None:
        """While stopping, no new connections are accepted, not even pending ones."""
        service, _ = self.started()
        service.stopService()
        self.assertRaises(ConnectionRefusedError, connect_peer, self.factory)

    def test_who_does_not_read_is_aborted(self) -> None:
        """A peer that does not read is aborted after ``drain`` seconds."""
        service, peers = self.started(drain=2)
        peers[0].full()
        peers[0].protocol.send_encoded(b"x" * 100_000)
        stopped = service.stopService()
        for peer in peers[1:]:
            peer.write_eof()
        peers[0].advance(1.9)
        self.assertNoResult(stopped)
        peers[0].advance(0.2)
        self.successResultOf(stopped)
        self.assertTrue(peers[0].aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_time_at_all(self) -> None:
        """With a drain of 0, all connections are aborted in the next turn."""
        service, peers = self.started(drain=0)
        stopped = service.stopService()
        peers[0].advance(0)
        self.successResultOf(stopped)

    def test_ports_that_take_their_time(self) -> None:
        """Connections are closed after all ports have stopped."""
        stops: Deferred[None] = Deferred()
        service = self.service(Endpoint(Port(1, stops)))
        service.startService()
        peer = connect_peer(self.factory)
        stopped = service.stopService()
        self.assertIsNone(peer.protocol.reason)
        stops.callback(None)
        peer.write_eof()
        self.successResultOf(stopped)

    def test_a_port_that_fails_to_stop(self) -> None:
        """If a port fails to stop, connections are still closed."""
        stops: Deferred[None] = fail(OSError("odd"))
        service = self.service(Endpoint(Port(1, stops)))
        service.startService()
        peer = connect_peer(self.factory)
        stopped = service.stopService()
        peer.write_eof()
        self.successResultOf(stopped)
        stops.addErrback(lambda _: None)

    def test_stopping_twice(self) -> None:
        """Both calls wait for the same end."""
        service, peers = self.started(1)
        stops = [service.stopService(), service.stopService()]
        peers[0].write_eof()
        for stop in stops:
            self.successResultOf(stop)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_without_a_start(self) -> None:
        """Stopping without a start does nothing."""
        self.successResultOf(self.service(Endpoint()).stopService())
