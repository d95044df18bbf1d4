"""``listen()`` and ``serve()``."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from tests.endpoints.test_socket_options import KEEPALIVE, Socket
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import ListenFailed
from twisted_net.endpoints.serving import listen, serve

TAKEN = CannotListenError("", 8080, OSError(98, "Address already in use"))


class Port:
    def __init__(self, host: Any) -> None:
        self.host = host

    def getHost(self) -> Any:
        return self.host


class Endpoint:
    """An endpoint with a port, or with an error."""

    factory: Any = None

    def __init__(self, result: Any) -> None:
        self.result = result

    def listen(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return fail(self.result) if isinstance(self.result, Exception) else succeed(self.result)


class ListenTests(SynchronousTestCase):
    def test_a_class_or_a_factory(self) -> None:
        """A class gets a factory with the reactor as its clock; a factory is used as it is."""
        clock = Clock()
        factory = factory_of(Recorder)
        for protocol, expected in ((Recorder, None), (factory, factory)):
            port = Port(None)
            endpoint = Endpoint(port)
            self.assertIs(self.successResultOf(listen(clock, endpoint, protocol)), port)
            if expected is None:
                self.assertIsInstance(endpoint.factory, ConnectionFactory)
                self.assertIs(endpoint.factory.clock, clock)
            else:
                self.assertIs(endpoint.factory, expected)

    def test_a_string_has_keepalive(self) -> None:
        """A machine that vanishes is noticed, as on the side of ``connect()``."""
        port = SimpleNamespace(socket=Socket())
        reactor: Any = MemoryReactorClock()
        self.patch(reactor, "listenTCP", lambda *_, **__: port)
        self.assertIs(self.successResultOf(listen(reactor, "tcp:8080", Recorder)), port)
        self.assertEqual(port.socket.options[KEEPALIVE], 1)

    def test_it_fails(self) -> None:
        """It fails as the service does, with an error for programs."""
        for cause, text in (
            (TAKEN, "port 8080: Address already in use"),
            (OSError(13, "Permission denied"), "Endpoint: Permission denied"),
        ):
            failure = self.failureResultOf(listen(Clock(), Endpoint(cause), Recorder), ListenFailed)
            self.assertEqual(str(failure.value), text)
            self.assertIs(failure.value.__cause__, cause)

    def test_wrong_endpoints(self) -> None:
        """What is no endpoint is refused at once, with what to write."""
        for wrong, advice in (
            (8080, "'tcp:8080'"),
            ("8080", "'tcp:8080'"),
            ("tcp", "'tcp:PORT'"),
            ("localhost:8080", "'tcp:PORT'"),
            (None, "'tcp:PORT'"),
        ):
            error = self.assertRaises(ValueError, listen, Clock(), wrong, Recorder)
            self.assertRegex(str(error), rf"^[^\n]*; write {advice}$|^[^\n]*: write {advice}$")

    def test_wrong_ports(self) -> None:
        """A port that is none is named, wherever it stands."""
        for wrong, port in (
            ("tcp:x", "x"),
            ("tcp:65536", "65536"),
            ("tcp:-1:interface=127.0.0.1", "-1"),
            ("tcp:interface=127.0.0.1:port=1.5", "1.5"),
            ("tcp6:x", "x"),
            ("ssl:x", "x"),
        ):
            error = self.assertRaises(ValueError, listen, Clock(), wrong, Recorder)
            self.assertEqual(str(error), f"port {port}: must be a whole number from 0 to 65535")

    def test_wrong_protocols(self) -> None:
        """A protocol that makes no connections is refused at once."""
        wrong: Any = object()
        self.assertRaises(TypeError, listen, Clock(), Endpoint(Port(None)), wrong)


class ServeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.output = io.StringIO()
        self.patch(sys, "stdout", self.output)

    def serve(self, *arguments: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(serve(Clock(), *arguments))

    def test_it_says_where(self) -> None:
        """It prints each port or path, and goes on."""
        one, two = (
            Endpoint(Port(IPv4Address("TCP", "0.0.0.0", 8080))),
            Endpoint(
                Port(UNIXAddress("/run/chat"))  # type: ignore[no-untyped-call]
            ),
        )
        serving = self.serve(one, Recorder, (two, Recorder))
        self.assertNoResult(serving)
        self.assertEqual(self.output.getvalue(), "Listening on port 8080\nListening on /run/chat\n")
        serving.addErrback(lambda _: None)
        serving.cancel()

    def test_it_cannot(self) -> None:
        """It ends the program with one line."""
        for arguments, line in (
            ((Endpoint(TAKEN), Recorder), "Cannot listen: port 8080: Address already in use"),
            (("8080", Recorder), "Cannot listen: endpoint '8080': .*; write 'tcp:8080'"),
        ):
            failure = self.failureResultOf(self.serve(*arguments), SystemExit)
            self.assertRegex(failure.value.code, rf"\A{line}\Z")
