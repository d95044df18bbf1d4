"""Listeners that take the sockets of another process."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any

from twisted.internet.interfaces import IReactorCore
from twisted.trial.unittest import TestCase

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.listening import Listener, ListenerService
from twisted_net.endpoints.strings import tcp_endpoint


class InheritedTests(TestCase):
    """Sockets that are there before the service starts."""

    def listening(self) -> socket.socket:
        """Return a socket as another process has made it."""
        found = socket.create_server(("127.0.0.1", 0))
        found.setblocking(False)
        return found

    async def check(self, reactor: IReactorCore, text: str, there: str, here: str) -> None:
        """Start a service with an inherited socket, and see that its port is the socket's."""
        from twisted.internet.endpoints import serverFromString

        inherited = self.listening()
        number = inherited.getsockname()[1]
        endpoint: Any = serverFromString(reactor, text.format(number))  # type: ignore[no-untyped-call]
        await self.start(endpoint, inherited, number, there, here)

    async def start(
        self, endpoint: Any, inherited: socket.socket, number: int, there: str, here: str
    ) -> None:
        """Start a service, and stop it."""
        factory: ConnectionFactory = EchoFactory()
        service = ListenerService(factory, [Listener(endpoint, here)])
        service.inherit({there: inherited})
        service.startService()
        port: Any = service.ports[0]
        self.assertEqual(port.getHost().port, number)
        self.assertEqual(inherited.fileno(), -1, "the port has the descriptor")
        await service.stopService()

    async def test_stock_and_eager_ports(self) -> None:
        """Whatever makes the port, it takes the socket, although its address is in use."""
        from twisted.internet import reactor

        label = "--port 8080"
        for each in (reactor, eager(reactor)):
            await self.check(each, "tcp:{}:interface=127.0.0.1", label, label)
        inherited = self.listening()
        number = inherited.getsockname()[1]
        await self.start(tcp_endpoint(reactor, number), inherited, number, label, label)

    async def test_a_line_in_a_file(self) -> None:
        """A flag may have moved to another line of the configuration, or out of it."""
        from twisted.internet import reactor

        there, here = "a.conf, line 3: port 8080", "a.conf, line 4: port 8080"
        await self.check(eager(reactor), "tcp:{}:interface=127.0.0.1", there, here)
        await self.check(eager(reactor), "tcp:{}:interface=127.0.0.1", there, "--port 8080")

    async def test_a_listener_that_is_gone(self) -> None:
        """A socket that nobody wants is closed; a new listener makes its own."""
        from twisted.internet import reactor

        inherited = self.listening()
        endpoint = tcp_endpoint(reactor, 0, "127.0.0.1")
        service = ListenerService(EchoFactory(), [Listener(endpoint, "--port 0")])
        service.inherit({"--port 8080": inherited})
        self.assertEqual(inherited.fileno(), -1)
        service.startService()
        self.assertEqual(len(service.ports), 1)
        await service.stopService()

    async def test_a_unix_socket(self) -> None:
        """The path keeps its permissions; the lock beside it goes to the new process at the end."""
        from twisted.internet import reactor
        from twisted.internet.endpoints import UNIXServerEndpoint

        for each in (reactor, eager(reactor)):
            with tempfile.TemporaryDirectory() as directory:
                path = f"{directory}/socket"
                os.symlink("1", f"{path}.lock")  # a process that runs
                inherited = socket.socket(socket.AF_UNIX)
                inherited.bind(path)
                inherited.listen()
                endpoint = UNIXServerEndpoint(each, path, mode=0o600, wantPID=True)
                service = ListenerService(EchoFactory(), [Listener(endpoint, path)])
                service.inherit({path: inherited})
                service.startService()
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                self.assertEqual(os.readlink(f"{path}.lock"), "1")
                service.take_over_paths()
                self.assertEqual(os.readlink(f"{path}.lock"), str(os.getpid()))
                await service.stopService()
                self.assertEqual(os.listdir(directory), [])

    async def test_release(self) -> None:
        """A socket that another process has goes on listening, and its path stays."""
        from twisted.internet import reactor

        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/socket"
            from twisted.internet.endpoints import UNIXServerEndpoint

            endpoint = UNIXServerEndpoint(eager(reactor), path)
            service = ListenerService(EchoFactory(), [Listener(endpoint, path)])
            service.startService()
            copy = socket.socket(fileno=os.dup(service.ports[0].fileno()))  # type: ignore[attr-defined]
            service.release_ports()
            await service.stopService()
            with socket.socket(socket.AF_UNIX) as client, copy:
                client.connect(path)
                copy.accept()[0].close()
