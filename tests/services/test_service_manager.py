"""Tests for :mod:`twisted_net.services.service_manager`: what systemd is told."""

from __future__ import annotations

import errno
import functools
import os
import signal
import socket
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.services.test_services import ServiceCase
from twisted_net.endpoints.listening import Listener
from twisted_net.services import chat, echo, idle, starting
from twisted_net.services.reloader import CertificateReloader
from twisted_net.services.service_manager import ServiceManager

PATH = "/run/systemd/notify"


class FakeSocket:
    """A datagram socket that remembers what is sent, and fails as it is told to.

    :ivar sent: the datagrams.
    :ivar failures: the errors of the next calls of ``send``, as numbers.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failures: list[int] = []
        self.addresses: list[str] = []
        self.missing = False
        self.closed = self.blocking = 0

    def __call__(self, family: int, kind: int) -> FakeSocket:
        assert (family, kind) == (socket.AF_UNIX, socket.SOCK_DGRAM)
        return self

    def setblocking(self, blocking: bool) -> None:
        self.blocking = blocking

    def connect(self, address: str) -> None:
        if self.missing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.addresses.append(address)

    def send(self, data: bytes) -> int:
        assert not self.blocking
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        self.sent.append(data.decode())
        return len(data)

    def close(self) -> None:
        self.closed += 1

    def taken(self) -> list[str]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class ManagerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.socket = FakeSocket()

    def manager(self, **environment: str) -> ServiceManager:
        """Return one with these variables, and a socket unless they say otherwise."""
        variables = {"NOTIFY_SOCKET": PATH, **environment}
        made = ServiceManager(self.clock, variables, self.socket)  # type: ignore[arg-type]
        self.addCleanup(made.close)
        return made


class SocketTests(ManagerCase):
    """Where the datagrams go."""

    def test_addresses(self) -> None:
        """The socket has a path, or an abstract name, which is written with an @."""
        for text, address in ((PATH, PATH), ("@/org/x", "\0/org/x"), ("@", "\0")):
            self.manager(NOTIFY_SOCKET=text).ready(lambda: "up")
            self.assertEqual(self.socket.addresses.pop(), address)
            self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=up"])

    def test_it_is_connected_at_once(self) -> None:
        """Later, --chroot may have moved the path out of reach, and --uid its permissions."""
        self.manager()
        self.assertEqual(self.socket.addresses, [PATH])

    def test_nobody_asks(self) -> None:
        """Without a socket, nothing is sent and no timer runs, also with a watchdog's variable."""
        for environment in ({}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}):
            manager = ServiceManager(self.clock, environment, self.socket)  # type: ignore[arg-type]
            manager.ready(lambda: "up")
            with manager.reloading():
                pass
            manager.stopping("down", 10)
            manager.close()
        self.assertEqual((self.socket.addresses, self.socket.sent), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unusable_addresses(self) -> None:
        """An address that cannot be used is logged with its value, and the service runs on."""
        self.socket.missing = True
        for text, reason in (
            (PATH, "No such file or directory"),
            ("vsock:2:1234", "must be a path or an abstract name, such as @name"),
            ("run/notify", "must be a path or an abstract name, such as @name"),
        ):
            with capturedLogs() as logs:
                manager = self.manager(NOTIFY_SOCKET=text)
                manager.ready(lambda: "up")
                manager.close()
            (line,) = [formatEvent(each) for each in logs]
            self.assertEqual(
                line, f"NOTIFY_SOCKET {text}: {reason}; the service manager is told nothing"
            )

    def test_a_full_queue(self) -> None:
        """What the manager cannot take now is sent later, in order; the reactor does not wait."""
        manager = self.manager(WATCHDOG_USEC="1000000")
        self.socket.failures = [errno.EAGAIN] * 3
        manager.ready(lambda: "up")
        with manager.reloading():
            pass
        self.assertEqual(self.socket.taken(), [])
        self.clock.pump([0.1] * 4)
        self.assertEqual(
            [each.partition("\n")[0] for each in self.socket.taken()],
            ["READY=1", "RELOADING=1", "READY=1"],
        )
        self.clock.advance(0.5)
        self.assertEqual(self.socket.taken(), ["WATCHDOG=1"])

    def test_keepalives_do_not_pile_up(self) -> None:
        """While the manager takes nothing, a keepalive a time is not kept."""
        manager = self.manager(WATCHDOG_USEC="1000000")
        self.socket.failures = [errno.EAGAIN] * 100
        manager.ready(lambda: "up")
        self.clock.pump([0.1] * 50)
        self.socket.failures.clear()
        self.clock.advance(0.1)
        self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=up"])

    def test_a_new_socket(self) -> None:
        """If the manager has made its socket anew, the next message finds it."""
        manager = self.manager()
        self.socket.failures = [errno.ECONNREFUSED]
        manager.ready(lambda: "up")
        self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=up"])
        self.assertEqual(self.socket.addresses, [PATH, PATH])

    def test_no_manager_any_more(self) -> None:
        """If it stays away, that is logged once, and the service runs on."""
        manager = self.manager(WATCHDOG_USEC="1000000")
        self.socket.failures = [errno.ECONNREFUSED] * 100
        with capturedLogs() as logs:
            manager.ready(lambda: "up")
            self.clock.pump([0.5] * 10)
        (line,) = [formatEvent(each) for each in logs]
        self.assertIn(f"NOTIFY_SOCKET {PATH}: Connection refused", line)

    def test_close(self) -> None:
        """After close(), nothing is sent and no timer runs."""
        manager = self.manager(WATCHDOG_USEC="1000000")
        manager.ready(lambda: "up")
        manager.close()
        manager.stopping("down", 10)
        self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=up"])
        self.assertEqual((self.socket.closed, self.clock.getDelayedCalls()), (1, []))


class WatchdogTests(ManagerCase):
    """WATCHDOG=1, at half the interval."""

    def keepalives(self, seconds: int, **environment: str) -> int:
        """Return how many came in whole seconds after the start."""
        manager = self.manager(**environment)
        manager.ready(lambda: "up")
        self.clock.pump([0.5] * 2 * seconds)
        manager.close()
        return sum("WATCHDOG=1" in each for each in self.socket.taken())

    def test_half_the_interval(self) -> None:
        """They come at half the interval, and at least every 10 seconds."""
        self.assertEqual(self.keepalives(60, WATCHDOG_USEC="4000000"), 30)
        self.assertEqual(self.keepalives(60, WATCHDOG_USEC="3600000000"), 6)

    def test_whose_watchdog(self) -> None:
        """They come only from the process that WATCHDOG_PID names, or if it is not set."""
        own = str(os.getpid())
        self.assertEqual(self.keepalives(4, WATCHDOG_USEC="2000000", WATCHDOG_PID=own), 4)
        for other in (str(os.getppid()), "", "x"):
            pings = self.keepalives(4, WATCHDOG_USEC="2000000", WATCHDOG_PID=other)
            self.assertEqual(pings, 0, other)

    def test_no_watchdog(self) -> None:
        """Without the variable there are none. One that is no time is logged with its value."""
        with capturedLogs() as logs:
            self.assertEqual(self.keepalives(60), 0)
        self.assertEqual(logs, [])
        for text in ("0", "", "-1", "soon", "9" * 400):
            with capturedLogs() as logs:
                self.assertEqual(self.keepalives(60, WATCHDOG_USEC=text), 0)
            (line,) = [formatEvent(each) for each in logs]
            self.assertIn(f"WATCHDOG_USEC {text[:80]}", line)
            self.assertIn("must be a whole number from 1 to", line)

    def test_they_go_on_while_it_stops(self) -> None:
        """A service that drains is alive."""
        manager = self.manager(WATCHDOG_USEC="2000000")
        manager.ready(lambda: "up")
        manager.stopping("down", 10)
        self.socket.taken()
        self.clock.advance(1)
        self.assertEqual(self.socket.taken(), ["WATCHDOG=1"])


class StateTests(ManagerCase):
    """READY, RELOADING, STOPPING and STATUS."""

    def test_status(self) -> None:
        """The status follows when it has changed, after at most 10 seconds. It is one line."""
        texts = ["0 connections", "0 connections", "1\nconnections"]
        manager = self.manager()
        manager.ready(lambda: texts.pop(0))
        self.clock.pump([10, 10])
        self.assertEqual(
            self.socket.taken(), ["READY=1\nSTATUS=0 connections", "STATUS=1 connections"]
        )

    def test_reloading(self) -> None:
        """RELOADING=1 has the time at which it began (systemd's Type=notify-reload)."""
        manager = self.manager()
        manager.ready(lambda: "up")
        before = time.monotonic_ns() // 1000
        with manager.reloading():
            self.assertEqual(len(self.socket.sent), 2)
        _, reloading, ready = self.socket.taken()
        name, _, micros = reloading.partition("\nMONOTONIC_USEC=")
        self.assertEqual((name, ready), ("RELOADING=1", "READY=1\nSTATUS=up"))
        self.assertTrue(before <= int(micros) <= time.monotonic_ns() // 1000)

    def test_a_failed_reload(self) -> None:
        """A service whose reload failed goes on, and says so."""
        manager = self.manager()
        manager.ready(lambda: "up")
        with self.assertRaises(ZeroDivisionError), manager.reloading():
            raise ZeroDivisionError
        self.assertEqual(self.socket.taken()[-1], "READY=1\nSTATUS=up")

    def test_reload_before_ready_and_while_stopping(self) -> None:
        """SIGHUP does not make a service ready that is starting, or stopping."""
        manager = self.manager()
        with manager.reloading():
            pass
        self.assertEqual(self.socket.taken(), [])
        manager.ready(lambda: "up")
        manager.stopping("down", 1)
        self.socket.taken()
        with manager.reloading():
            pass
        manager.ready(lambda: "up")
        self.assertEqual(self.socket.taken(), [])

    def test_stopping(self) -> None:
        """It asks for as much time as its connections have, and some more."""
        manager = self.manager()
        manager.ready(lambda: "up")
        manager.stopping("Stopping: 3 connections", 120)
        self.assertEqual(
            self.socket.taken()[-1],
            "STOPPING=1\nSTATUS=Stopping: 3 connections\nEXTEND_TIMEOUT_USEC=130000000",
        )
        self.clock.advance(60)
        self.assertEqual(self.socket.taken(), [])  # the status stays


class Late:
    """An endpoint that listens later."""

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: object) -> Deferred[Any]:
        return self.listening


class ServiceTests(ServiceCase):
    """The three services tell it."""

    MODULES = (echo, idle, chat)

    def setUp(self) -> None:
        super().setUp()
        self.socket = FakeSocket()
        fake = functools.partial(ServiceManager, make_socket=self.socket)  # type: ignore[arg-type]
        self.patch(starting, "ServiceManager", fake)
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": PATH, "WATCHDOG_USEC": "2000000"})

    def test_the_life_of_a_service(self) -> None:
        """READY=1 comes after all listen, STATUS counts connections, STOPPING=1 is the last."""
        for module in self.MODULES:
            service = self.made(module, "--port", "0", "--drain", "20")
            service.privilegedStartService()
            self.assertEqual(self.socket.taken(), [])
            service.startService()
            self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=0 connections"])
            self.connect()
            self.reactor.advance(1)
            self.assertEqual(self.socket.taken(), ["WATCHDOG=1\nSTATUS=1 connection"])
            stopped = service.stopService()
            self.assertEqual(
                self.socket.taken(),
                ["STOPPING=1\nSTATUS=Stopping; connections left: 1\nEXTEND_TIMEOUT_USEC=30000000"],
            )
            self.assertEqual(self.socket.closed, 0)
            self.reactor.pump([1] * 21)
            self.assertTrue(stopped.called)
            self.assertEqual(set(self.socket.taken()) - {"WATCHDOG=1"}, set())
            self.assertEqual(self.socket.closed, 1)
            self.socket.closed = 0

    def test_a_listener_that_takes_its_time(self) -> None:
        """A service is ready only once its last listener listens."""
        service = self.made(echo, "--port", "0")
        late = Late()
        service.listeners = [*service.listeners, Listener(late, "--listen late:")]  # type: ignore[arg-type]
        service.startService()
        self.assertEqual(self.socket.taken(), [])
        late.listening.callback(self.reactor.listenTCP(0, service.factory))
        self.assertEqual(self.socket.taken(), ["READY=1\nSTATUS=0 connections"])
        service.stopService()

    def test_a_stop_before_that(self) -> None:
        """A service that never was ready still says that it stops."""
        service = self.made(echo, "--port", "0")
        service.listeners = [Listener(Late(), "--listen late:")]  # type: ignore[arg-type]
        service.startService()
        service.stopService()
        (sent,) = self.socket.taken()
        self.assertTrue(sent.startswith("STOPPING=1\n"))

    def test_hangup(self) -> None:
        """SIGHUP is a reload for systemd too, with and without certificates."""
        service = self.made(echo, "--port", "0")
        self.reactor.callFromThread = lambda call: call()
        service.startService()
        self.socket.taken()
        os.kill(os.getpid(), signal.SIGHUP)
        reloading, ready = self.socket.taken()
        self.assertTrue(reloading.startswith("RELOADING=1\nMONOTONIC_USEC="))
        self.assertTrue(ready.startswith("READY=1\n"))
        service.stopService()

    def test_a_reloader_alone(self) -> None:
        """A reloader needs no manager."""
        reactor: Any = MemoryReactorClock()
        reactor.callFromThread = lambda call: call()
        reloader = CertificateReloader([], reactor)
        reloader.start()
        os.kill(os.getpid(), signal.SIGHUP)
        reloader.stop()
        self.assertEqual(self.socket.taken(), [])
