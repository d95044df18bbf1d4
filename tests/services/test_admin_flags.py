"""Tests for ``--admin`` and its flags, with all three services."""

from __future__ import annotations

from typing import Any

import twisted.internet.reactor  # imports it, so that it can be patched
from twisted.internet.address import IPv4Address

from tests.services.test_options import SERVICES, OptionsCase
from tests.services.test_services import Reactor, ServiceCase
from twisted_net.services import chat, echo
from twisted_net.services.admin_flags import is_open
from twisted_net.services.starting import StartError
from twisted_net.web.admin.timed_store import TimedStore
from twisted_net.web.admin.views import CannotReload, ChatServiceView, ServiceView

LOCAL = "tcp:9191:interface=127.0.0.1"


class FlagsTests(OptionsCase):
    def test_nothing_by_default(self) -> None:
        """Nothing listens for operators, and nothing is measured."""
        for service in SERVICES:
            self.assertIsNone(self.parsed(service=service).admin_listener(self.reactor))
        options = self.parsed(service=chat)
        self.assertNotIsInstance(options.factory(self.reactor)._store, TimedStore)

    def test_errors(self) -> None:
        """Each names flag, value and reason."""
        for words, text in (
            (("--admin", "nonsense:1"), "--admin nonsense:1: "),
            (("--admin-token-file", "/x"), "--admin-token-file /x: requires --admin"),
            (("--admin-host", "x"), "--admin-host x: requires --admin"),
        ):

            def start(words: tuple[str, ...] = words) -> Any:
                return self.parsed(*words).admin_listener(self.reactor)

            line = str(self.assertRaises(StartError, start))
            self.assertTrue(line.startswith(f"netecho: {text}"), line)


class LocalReactor(Reactor):
    """An in-memory reactor whose ports know their interface."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        listening = super().listenTCP(port, factory, backlog, interface)
        listening._hostAddress = IPv4Address("TCP", interface or "0.0.0.0", port)
        return listening


class AdminServiceTests(ServiceCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = LocalReactor()
        self.patch(twisted.internet, "reactor", self.reactor)

    def test_each_service(self) -> None:
        """The operator's view listens and stops with its service."""
        for module in SERVICES:
            service = self.made(module, "--admin", LOCAL)
            view = next(iter(service.admin.factory.views))
            self.assertIs(type(view), ChatServiceView if module is chat else ServiceView)
            before = len(self.reactor.tcpServers)
            service.privilegedStartService()
            service.startService()
            ports = [port for port, *_ in self.reactor.tcpServers[before:]]
            self.assertEqual(ports, [8080, 9191])
            service.admin.factory.doStart()  # as real ports do
            self.assertIs(service.factory.observer, view.endings)
            self.assertEqual(view.not_ready, "")
            self.successResultOf(service.stopService())
            service.admin.factory.doStop()
            self.assertIsNone(service.factory.observer)
            self.assertEqual(view.not_ready, f"{view.name} is draining")

    def test_reload(self) -> None:
        """Operators reload what SIGHUP reloads, and get its line."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("rate = 1\n")
        service = self.made(echo, "--admin", LOCAL, "--config", path)
        (view,) = service.admin.factory.views
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        with open(path, "w") as file:
            file.write("rate = 2\n")
        self.assertEqual(view.reload("x"), f"netecho: {path}: changed: rate 1 -> 2")
        with open(path, "w") as file:
            file.write("rat = 2\n")
        error = self.assertRaises(CannotReload, view.reload, "x")
        self.assertIn(f"{path}, line 1: rat: unknown flag", str(error))

    def test_it_stops_last(self) -> None:
        """While connections are being closed, operators can look."""
        service = self.made(echo, "--admin", LOCAL)
        service.privilegedStartService()
        service.startService()
        peer = self.connect(0)
        stopped = service.stopService()
        self.assertTrue(service.admin.running)
        peer.write_eof()
        self.successResultOf(stopped)
        self.assertFalse(service.admin.running)

    def test_a_busy_port(self) -> None:
        """Ends the start with one line."""
        self.reactor.busy = (9191,)
        service = self.made(echo, "--admin", LOCAL)
        line = str(self.assertRaises(StartError, service.privilegedStartService))
        self.assertEqual(line, f"netecho: --admin {LOCAL}: Address already in use")

    def test_open_to_others(self) -> None:
        """Without a token, an address that others can reach ends the start."""
        for endpoint in (
            *("tcp:9191", "tcp:9191:interface=0.0.0.0", r"tcp6:9191:interface=\:\:"),
            "net:9191:interface=192.0.2.1",
        ):
            line = str(self.assertRaises(StartError, self.made, echo, "--admin", endpoint))
            self.assertIn(f"--admin {endpoint}: other machines can connect to it", line)
        self.assertEqual(self.reactor.tcpServers, [], "and nothing has listened")
        for endpoint in (
            LOCAL,
            r"tcp6:9191:interface=\:\:1",
            "unix:/x",
            "tcp:1:interface=localhost",
        ):
            self.assertFalse(is_open(endpoint), endpoint)
        token = self.mktemp()
        with open(token, "w") as file:
            file.write("0123456789abcdef")
        service = self.made(echo, "--admin", "tcp:9191", "--admin-token-file", token)
        service.privilegedStartService()
        service.startService()
        self.successResultOf(service.stopService())

    def test_a_token_file_that_cannot_be_used(self) -> None:
        """Ends the start with one line."""
        words = ("--admin", LOCAL, "--admin-token-file", "/nonexistent")
        line = str(self.assertRaises(StartError, self.made, echo, *words))
        self.assertEqual(
            line, "netecho: --admin-token-file /nonexistent: No such file or directory"
        )
